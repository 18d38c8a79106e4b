//! IPv4 headers (RFC 791, RFC 1122).

use std::net::Ipv4Addr;

use crate::action::Reason;
use crate::checksum::{Sum, WHOLE, updated};
use crate::ethernet::{array, put_word, swap, word};

const BYTES: usize = 20;
const TOTAL_LENGTH: usize = 2;
const FRAGMENT: usize = 6;
const TTL: usize = 8;
const CHECKSUM: usize = 10;
const SOURCE: usize = 12;
const DESTINATION: usize = 16;

/// Everything in the fragment's word but "don't fragment" and the reserved bit.
const FRAGMENT_MASK: u16 = 0x3fff;

const END_OF_OPTIONS: u8 = 0;
const NO_OPERATION: u8 = 1;
const LOOSE_SOURCE_ROUTE: u8 = 131;
const STRICT_SOURCE_ROUTE: u8 = 137;

/// What an answer starts with.
pub(crate) const TTL_DEFAULT: u8 = 64;

/// A packet that is whole, with a sound header.
pub(crate) struct Ipv4 {
    header: usize,
    pub(crate) payload: usize,
    /// Where the packet ends; the frame may be longer.
    pub(crate) end: usize,
    pub(crate) protocol: u8,
    pub(crate) source: Ipv4Addr,
    pub(crate) destination: Ipv4Addr,
}

impl Ipv4 {
    /// The packet that begins there.
    pub(crate) fn read(frame: &[u8], header: usize) -> Result<Self, Reason> {
        let fixed: [u8; BYTES] = array(frame, header)?;
        let header_bytes = usize::from(fixed[0] & 0x0f) * 4;
        let total_bytes = usize::from(word(&fixed, TOTAL_LENGTH)?);
        let (payload, end) = (header + header_bytes, header + total_bytes);
        if fixed[0] >> 4 != 4 || header_bytes < BYTES || end < payload {
            return Err(Reason::Malformed);
        }
        let whole = frame.get(header..end).ok_or(Reason::Malformed)?;
        let whole_header = &whole[..header_bytes];
        if Sum::default().bytes(whole_header).folded() != WHOLE {
            return Err(Reason::Checksum);
        }
        check_options(&whole_header[BYTES..])?;
        if word(&fixed, FRAGMENT)? & FRAGMENT_MASK != 0 {
            return Err(Reason::Fragment);
        }
        Ok(Self {
            header,
            payload,
            end,
            protocol: fixed[TTL + 1],
            source: Ipv4Addr::from(array(&fixed, SOURCE)?),
            destination: Ipv4Addr::from(array(&fixed, DESTINATION)?),
        })
    }

    /// Sends the packet back to where it came from. Its options stay.
    pub(crate) fn turn(&self, frame: &mut [u8]) {
        let header = &mut frame[self.header..self.payload];
        swap::<4>(header, SOURCE, DESTINATION);
        let before = [header[TTL], self.protocol];
        header[TTL] = TTL_DEFAULT;
        let checksum = u16::from_be_bytes([header[CHECKSUM], header[CHECKSUM + 1]]);
        let after = [TTL_DEFAULT, self.protocol];
        let checksum = updated(
            checksum,
            u16::from_be_bytes(before),
            u16::from_be_bytes(after),
        );
        put_word(header, CHECKSUM, checksum);
    }
}

/// A source route is refused, as hosts do by default: the answer would have to be sent along it.
fn check_options(mut options: &[u8]) -> Result<(), Reason> {
    loop {
        options = match options {
            [] | [END_OF_OPTIONS, ..] => return Ok(()),
            [NO_OPERATION, rest @ ..] => rest,
            [LOOSE_SOURCE_ROUTE | STRICT_SOURCE_ROUTE, ..] => return Err(Reason::Options),
            [_, length, ..] if *length >= 2 => {
                let rest = options.get(usize::from(*length)..);
                rest.ok_or(Reason::Malformed)?
            }
            _ => return Err(Reason::Malformed),
        }
    }
}
