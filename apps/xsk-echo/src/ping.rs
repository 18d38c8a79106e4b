//! ICMP echo requests, of both versions (RFC 792, RFC 4443).

use crate::action::Reason;
use crate::checksum::updated;
use crate::ethernet::{array, put_word};

const CHECKSUM: usize = 2;
const HEADER_BYTES: usize = 8;

/// An ICMP message's first two bytes, as a word: its type and code.
pub(crate) struct Echo {
    request: u16,
    reply: u16,
}

pub(crate) const V4: Echo = Echo {
    request: 0x0800,
    reply: 0x0000,
};
pub(crate) const V6: Echo = Echo {
    request: 0x8000,
    reply: 0x8100,
};

impl Echo {
    /// Whether this message is to be answered.
    pub(crate) fn check(&self, message: &[u8]) -> Result<(), Reason> {
        let header: [u8; HEADER_BYTES] = array(message, 0)?;
        match u16::from_be_bytes([header[0], header[1]]) {
            kind if kind == self.request => Ok(()),
            kind if kind == self.reply => Err(Reason::Answer),
            _ => Err(Reason::Other),
        }
    }

    /// Makes a reply of a message that was checked.
    pub(crate) fn turn(&self, message: &mut [u8]) {
        let checksum = u16::from_be_bytes([message[CHECKSUM], message[CHECKSUM + 1]]);
        let mut checksum = updated(checksum, self.request, self.reply);
        put_word(message, 0, self.reply);
        // Where all that is summed is zero, as only a reply of version 4 can be, the sum is that
        // zero of the two that a change can't lead to.
        if checksum == 0 && self.reply == 0 && message[CHECKSUM + 2..].iter().all(|it| *it == 0) {
            checksum = !0;
        }
        put_word(message, CHECKSUM, checksum);
    }
}
