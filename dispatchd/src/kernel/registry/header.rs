//! What a registry begins with.
//!
//! `magic, version, length` in version 2; `magic, version, reader, length` since: the version that
//! wrote it, and the lowest that can read it.

use planner::RegistryFault;

/// "XDPD".
const MAGIC: u32 = 0x5844_5044;
/// The version that this daemon writes. 1 had nothing of what members can be loaded as and was never
/// released; 2 had no revision, no source and no room.
pub(super) const VERSION: u32 = 3;
/// What the longest header takes.
pub(super) const BYTES: usize = 16;

/// Which record comes after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Header {
    V2,
    V3,
}

impl Header {
    /// The header of what this daemon writes.
    pub(super) fn written(len: u32) -> Vec<u8> {
        let words = [MAGIC, VERSION, VERSION, len];
        words.into_iter().flat_map(u32::to_le_bytes).collect()
    }

    /// The header of these bytes, and the record's.
    pub(super) fn read(bytes: &[u8]) -> Result<(Self, &[u8]), RegistryFault> {
        let mut words = bytes.chunks_exact(4).map(|chunk| {
            let mut word = [0; 4];
            word.copy_from_slice(chunk);
            u32::from_le_bytes(word)
        });
        let mut word = || words.next().ok_or(RegistryFault::Truncated);
        match word() {
            Ok(MAGIC) => {}
            Ok(_) | Err(_) => return Err(RegistryFault::NoRegistry),
        }
        let (header, len, start) = match word()? {
            version @ 0..=1 => return Err(RegistryFault::TooOld { version }),
            2 => (Self::V2, word()?, 12),
            version => {
                let (reader, len) = (word()?, word()?);
                if reader > VERSION {
                    return Err(RegistryFault::TooNew { version, reader });
                }
                if reader != 3 || version < reader {
                    return Err(RegistryFault::Garbled);
                }
                (Self::V3, len, BYTES)
            }
        };
        let body = bytes.get(start..).and_then(|rest| rest.get(..len as usize));
        Ok((header, body.ok_or(RegistryFault::Truncated)?))
    }
}
