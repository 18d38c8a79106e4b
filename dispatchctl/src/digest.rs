//! An object's name as text.

/// The SHA-256 in lower-case hexadecimal.
pub(crate) fn hex(digest: [u8; 32]) -> String {
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}
