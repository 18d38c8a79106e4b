//! Whose an `AF_XDP` socket is, as it is kept for a daemon that is started again.
//!
//! Its element in the map may be longer: a later version adds behind what is here, and says in the
//! upper half of the first word which version can read it all the same.

/// The longest name that a client may give itself, in bytes.
pub const CLIENT_NAME_BYTES_MAX: usize = 64;

/// An element of [`CLAIMS_MAP`](crate::CLAIMS_MAP): who has the socket of a receive queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct SocketClaim {
    /// The version that wrote it in the lower 16 bits. In the upper ones, the lowest version that can
    /// read it; 0 is that same version, as in [`Self::VERSION`].
    pub version: u32,
    /// The user.
    pub uid: u32,
    /// The socket's `SO_COOKIE`.
    pub cookie: u64,
    /// Bytes of the memory that its frames are in.
    pub bytes: u64,
    /// What its client re-claims it with.
    pub token: [u8; 16],
    /// The token of the socket that brought the memory.
    pub memory: [u8; 16],
    /// Bytes of the client's name.
    pub client_bytes: u32,
    /// The process that opened it.
    pub pid: u32,
    /// What the client calls itself, zeros after it.
    pub client: [u8; CLIENT_NAME_BYTES_MAX],
}

const _: () = assert!(size_of::<SocketClaim>() == SocketClaim::BYTES);

impl SocketClaim {
    /// The layout that is described here.
    pub const VERSION: u32 = 1;
    /// What it takes in the map.
    pub const BYTES: usize = 128;

    /// A client's name as it is kept, cut to what there is room for, and its length.
    pub fn name(client: &str) -> ([u8; CLIENT_NAME_BYTES_MAX], u32) {
        let mut end = client.len().min(CLIENT_NAME_BYTES_MAX);
        while !client.is_char_boundary(end) {
            end -= 1;
        }
        let mut name = [0; CLIENT_NAME_BYTES_MAX];
        name[..end].copy_from_slice(&client.as_bytes()[..end]);
        #[expect(clippy::cast_possible_truncation, reason = "it is 64 at most")]
        (name, end as u32)
    }

    /// What the client calls itself.
    pub fn client(&self) -> &str {
        let end = usize::try_from(self.client_bytes).unwrap_or(usize::MAX);
        let name = self.client.get(..end).unwrap_or_default();
        core::str::from_utf8(name).unwrap_or_default()
    }

    /// The element's bytes.
    pub fn to_bytes(&self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        bytes[..4].copy_from_slice(&self.version.to_ne_bytes());
        bytes[4..8].copy_from_slice(&self.uid.to_ne_bytes());
        bytes[8..16].copy_from_slice(&self.cookie.to_ne_bytes());
        bytes[16..24].copy_from_slice(&self.bytes.to_ne_bytes());
        bytes[24..40].copy_from_slice(&self.token);
        bytes[40..56].copy_from_slice(&self.memory);
        bytes[56..60].copy_from_slice(&self.client_bytes.to_ne_bytes());
        bytes[60..64].copy_from_slice(&self.pid.to_ne_bytes());
        bytes[64..].copy_from_slice(&self.client);
        bytes
    }

    /// The claim that an element of the map is; `None` if it is too short, or if a version wrote it
    /// that this one can't read.
    pub fn from_bytes(element: &[u8]) -> Option<Self> {
        let bytes = element.first_chunk::<{ Self::BYTES }>()?;
        let claim = Self {
            version: u32::from_ne_bytes(part(bytes, 0)),
            uid: u32::from_ne_bytes(part(bytes, 4)),
            cookie: u64::from_ne_bytes(part(bytes, 8)),
            bytes: u64::from_ne_bytes(part(bytes, 16)),
            token: part(bytes, 24),
            memory: part(bytes, 40),
            client_bytes: u32::from_ne_bytes(part(bytes, 56)),
            pid: u32::from_ne_bytes(part(bytes, 60)),
            client: part(bytes, 64),
        };
        let (version, reader) = (claim.version & 0xffff, claim.version >> 16);
        let needed = if reader == 0 { version } else { reader };
        (version >= needed && needed == Self::VERSION).then_some(claim)
    }
}

/// As many bytes from here on.
fn part<const N: usize>(bytes: &[u8; SocketClaim::BYTES], from: usize) -> [u8; N] {
    let mut part = [0; N];
    part.copy_from_slice(&bytes[from..from + N]);
    part
}

#[cfg(test)]
mod tests {
    extern crate std;

    use core::mem::offset_of;
    use std::borrow::ToOwned as _;

    use super::*;

    fn claim(client: &str) -> SocketClaim {
        let (client, client_bytes) = SocketClaim::name(client);
        SocketClaim {
            version: SocketClaim::VERSION,
            uid: 1000,
            cookie: u64::MAX - 1,
            bytes: 16 << 20,
            token: [7; 16],
            memory: [8; 16],
            client_bytes,
            pid: 77,
            client,
        }
    }

    #[test]
    fn a_claim_survives_its_bytes() {
        let claim = claim("xsk-echo");
        let bytes = claim.to_bytes();
        assert_eq!(SocketClaim::from_bytes(&bytes), Some(claim));
        assert_eq!(claim.client(), "xsk-echo");
        assert_eq!(offset_of!(SocketClaim, token), 24);
        assert_eq!(offset_of!(SocketClaim, client), 64);
    }

    #[test]
    fn a_claim_that_this_version_can_not_read_is_none() {
        let by = |version: u32| {
            let mut bytes = claim("").to_bytes();
            bytes[..4].copy_from_slice(&version.to_ne_bytes());
            SocketClaim::from_bytes(&bytes)
        };
        for version in [0, 2, 3, 2 << 16 | 2, 3 << 16 | 1, 1 << 16] {
            assert_eq!(by(version), None, "{version:#x}");
        }
        for version in [1, 1 << 16 | 1, 1 << 16 | 2, 1 << 16 | 900] {
            assert!(by(version).is_some(), "{version:#x}");
        }
    }

    #[test]
    fn what_a_later_version_adds_is_behind_it() {
        let mut element = claim("xsk-echo").to_bytes().to_vec();
        element.extend([9; 64]);
        assert_eq!(SocketClaim::from_bytes(&element), Some(claim("xsk-echo")));
        for len in 0..SocketClaim::BYTES {
            assert_eq!(SocketClaim::from_bytes(&element[..len]), None);
        }
    }

    #[test]
    fn a_long_name_is_cut_between_characters() {
        let long = "ä".repeat(40);
        assert_eq!(claim(&long).client(), "ä".repeat(32));
        let odd = "a".to_owned() + &long;
        assert_eq!(claim(&odd).client().len(), 63);
    }
}
