//! An object's name as text.

use std::fmt::Write as _;

/// The SHA-256 in lower-case hexadecimal.
pub(crate) fn hex(digest: [u8; 32]) -> String {
    let mut text = String::with_capacity(2 * digest.len());
    for byte in digest {
        let _ = write!(text, "{byte:02x}");
    }
    text
}
