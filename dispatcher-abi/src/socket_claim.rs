//! Whose an `AF_XDP` socket is, as it is kept for a daemon that is started again.

/// The longest name that a client may give itself, in bytes.
pub const CLIENT_NAME_BYTES_MAX: usize = 64;

/// An element of [`CLAIMS_MAP`](crate::CLAIMS_MAP): who has the socket of a receive queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct SocketClaim {
    /// [`Self::VERSION`].
    pub version: u32,
    /// The user.
    pub uid: u32,
    /// The socket's `SO_COOKIE`.
    pub cookie: u64,
    /// Bytes of memory that it pins.
    pub bytes: u64,
    /// What its client re-claims it with.
    pub token: [u8; 16],
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
    pub const BYTES: usize = 112;

    /// The claim of a client of this name, which is cut to what there is room for.
    pub fn new(uid: u32, pid: u32, client: &str, token: [u8; 16], cookie: u64, bytes: u64) -> Self {
        let mut end = client.len().min(CLIENT_NAME_BYTES_MAX);
        while !client.is_char_boundary(end) {
            end -= 1;
        }
        let mut name = [0; CLIENT_NAME_BYTES_MAX];
        name[..end].copy_from_slice(&client.as_bytes()[..end]);
        Self {
            version: Self::VERSION,
            uid,
            cookie,
            bytes,
            token,
            #[expect(clippy::cast_possible_truncation, reason = "it is 64 at most")]
            client_bytes: end as u32,
            pid,
            client: name,
        }
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
        bytes[40..44].copy_from_slice(&self.client_bytes.to_ne_bytes());
        bytes[44..48].copy_from_slice(&self.pid.to_ne_bytes());
        bytes[48..].copy_from_slice(&self.client);
        bytes
    }

    /// The claim that these bytes are; `None` if another version wrote them.
    pub fn from_bytes(bytes: &[u8; Self::BYTES]) -> Option<Self> {
        let claim = Self {
            version: u32::from_ne_bytes(part(bytes, 0)),
            uid: u32::from_ne_bytes(part(bytes, 4)),
            cookie: u64::from_ne_bytes(part(bytes, 8)),
            bytes: u64::from_ne_bytes(part(bytes, 16)),
            token: part(bytes, 24),
            client_bytes: u32::from_ne_bytes(part(bytes, 40)),
            pid: u32::from_ne_bytes(part(bytes, 44)),
            client: part(bytes, 48),
        };
        (claim.version == Self::VERSION).then_some(claim)
    }
}

/// So many bytes from here on.
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

    #[test]
    fn a_claim_survives_its_bytes() {
        let claim = SocketClaim::new(1000, 77, "xsk-echo", [7; 16], u64::MAX - 1, 16 << 20);
        let bytes = claim.to_bytes();
        assert_eq!(SocketClaim::from_bytes(&bytes), Some(claim));
        assert_eq!(claim.client(), "xsk-echo");
        assert_eq!(offset_of!(SocketClaim, token), 24);
        assert_eq!(offset_of!(SocketClaim, client), 48);
    }

    #[test]
    fn another_versions_claim_is_none() {
        let mut bytes = SocketClaim::new(0, 1, "", [0; 16], 0, 0).to_bytes();
        bytes[0] ^= 2;
        assert_eq!(SocketClaim::from_bytes(&bytes), None);
    }

    #[test]
    fn a_long_name_is_cut_between_characters() {
        let long = "ä".repeat(40);
        let claim = SocketClaim::new(0, 1, &long, [0; 16], 0, 0);
        assert_eq!(claim.client(), "ä".repeat(32));
        let odd = "a".to_owned() + &long;
        assert_eq!(
            SocketClaim::new(0, 1, &odd, [0; 16], 0, 0).client().len(),
            63
        );
    }
}
