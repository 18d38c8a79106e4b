//! UDP datagrams to the port that returns them (RFC 862).

use crate::action::Reason;
use crate::checksum::Sum;
use crate::ethernet::{array, put_word, swap};

const LENGTH: usize = 4;
const CHECKSUM: usize = 6;
const HEADER_BYTES: usize = 8;

/// Ports below are services'. One of them that answers whatever it gets would answer our answer,
/// and so on for ever.
const SERVICES: u16 = 1024;

/// How a checksum has to look.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Checksum {
    /// It may be missing: IPv4.
    Optional,
    /// IPv6.
    Required,
}

/// A datagram that is to be answered.
pub(crate) struct Udp {
    bytes: u16,
    /// What the checksum has to be, if its making was left to the network device.
    late: Option<u16>,
}

impl Udp {
    /// Whether this datagram is to be answered. `addresses` is the sum of its packet's.
    pub(crate) fn check(
        payload: &[u8],
        addresses: Sum,
        port: u16,
        kind: Checksum,
    ) -> Result<Self, Reason> {
        let header: [u8; HEADER_BYTES] = array(payload, 0)?;
        let word = |at: usize| u16::from_be_bytes([header[at], header[at + 1]]);
        let (source, destination, bytes) = (word(0), word(2), word(LENGTH));
        let datagram = payload
            .get(..usize::from(bytes))
            .filter(|datagram| datagram.len() >= HEADER_BYTES)
            .ok_or(Reason::Malformed)?;
        if word(CHECKSUM) == 0 && kind == Checksum::Required {
            return Err(Reason::Checksum);
        }
        if destination != port {
            return Err(Reason::Port);
        }
        if source == port || source < SERVICES {
            return Err(Reason::Answer);
        }
        let pseudo = addresses.word(u16::from(headers::UDP)).word(bytes);
        let late = late(datagram, pseudo, word(CHECKSUM));
        Ok(Self { bytes, late })
    }

    /// Sends it back. What is summed stays the same, so the checksum does.
    pub(crate) fn turn(&self, payload: &mut [u8]) {
        debug_assert!(payload.len() >= usize::from(self.bytes));
        swap::<2>(payload, 0, 2);
        if let Some(checksum) = self.late {
            put_word(payload, CHECKSUM, checksum);
        }
    }
}

/// A packet that never was on a wire, as between two ends of a virtual cable, may hold the sum of
/// what the device would have started from, and not yet a checksum. Then the checksum that it
/// would have got.
fn late(datagram: &[u8], pseudo: Sum, field: u16) -> Option<u16> {
    (field == pseudo.folded()).then(|| {
        let before = &datagram[..CHECKSUM];
        let after = &datagram[HEADER_BYTES..];
        let checksum = pseudo.bytes(before).bytes(after).checksum();
        // Zero would mean that there is none.
        if checksum == 0 { !0 } else { checksum }
    })
}
