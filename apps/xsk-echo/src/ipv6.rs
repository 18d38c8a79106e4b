//! IPv6 headers, and the extension headers that an echo request may have (RFC 8200).

use std::net::Ipv6Addr;

use headers::EXTENSIONS_MAX;

use crate::action::Reason;
use crate::ethernet::{array, put_word, swap, word};
use crate::ipv4::TTL_DEFAULT;

/// Bytes of the header without extensions.
pub(crate) const BYTES: usize = 40;

const PAYLOAD_LENGTH: usize = 4;
const NEXT_HEADER: usize = 6;
const HOP_LIMIT: usize = 7;
const SOURCE: usize = 8;
const DESTINATION: usize = 24;

const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const DESTINATION_OPTIONS: u8 = 60;

const PAD_1: u8 = 0;
/// Set in an option's type if it must not be passed over by who doesn't know it.
const MANDATORY: u8 = 0xc0;

/// A packet that is whole, with sound headers.
pub(crate) struct Ipv6 {
    pub(crate) header: usize,
    /// What is behind the extension headers.
    pub(crate) payload: usize,
    /// Where the packet ends; the frame may be longer.
    pub(crate) end: usize,
    /// The payload's.
    pub(crate) protocol: u8,
    pub(crate) hop_limit: u8,
    pub(crate) source: Ipv6Addr,
    pub(crate) destination: Ipv6Addr,
}

impl Ipv6 {
    /// The packet that begins there.
    pub(crate) fn read(frame: &[u8], header: usize) -> Result<Self, Reason> {
        let fixed: [u8; BYTES] = array(frame, header)?;
        if fixed[0] >> 4 != 6 {
            return Err(Reason::Malformed);
        }
        let payload = header + BYTES;
        let end = payload + usize::from(word(&fixed, PAYLOAD_LENGTH)?);
        let behind = frame.get(payload..end).ok_or(Reason::Malformed)?;
        let (protocol, extensions) = pass_extensions(behind, fixed[NEXT_HEADER])?;
        Ok(Self {
            header,
            payload: payload + extensions,
            end,
            protocol,
            hop_limit: fixed[HOP_LIMIT],
            source: Ipv6Addr::from(array(&fixed, SOURCE)?),
            destination: Ipv6Addr::from(array(&fixed, DESTINATION)?),
        })
    }

    /// Sends the packet back to where it came from, without its extension headers: they were for
    /// the way here. Returns how long the frame is now.
    pub(crate) fn turn(&self, frame: &mut [u8]) -> usize {
        let header = &mut frame[self.header..self.header + BYTES];
        swap::<16>(header, SOURCE, DESTINATION);
        header[HOP_LIMIT] = TTL_DEFAULT;
        let extensions = self.payload - self.header - BYTES;
        if extensions == 0 {
            return frame.len();
        }
        header[NEXT_HEADER] = self.protocol;
        #[expect(
            clippy::cast_possible_truncation,
            reason = "it is less than was in the same field"
        )]
        let payload_bytes = (self.end - self.payload) as u16;
        put_word(header, PAYLOAD_LENGTH, payload_bytes);
        frame.copy_within(self.payload..self.end, self.header + BYTES);
        self.end - extensions
    }
}

/// What is behind the extension headers, and how many bytes they are.
fn pass_extensions(behind: &[u8], mut protocol: u8) -> Result<(u8, usize), Reason> {
    let mut at = 0;
    for place in 0..=EXTENSIONS_MAX {
        match protocol {
            HOP_BY_HOP if place == 0 => {}
            // It may be nowhere else.
            HOP_BY_HOP => return Err(Reason::Malformed),
            ROUTING | DESTINATION_OPTIONS => {}
            FRAGMENT => return Err(Reason::Fragment),
            _ => return Ok((protocol, at)),
        }
        let [next, words, _, segments_left]: [u8; 4] = array(behind, at)?;
        let end = at + (usize::from(words) + 1) * 8;
        let extension = behind.get(at..end).ok_or(Reason::Malformed)?;
        if protocol != ROUTING {
            check_options(&extension[2..])?;
        } else if segments_left != 0 {
            return Err(Reason::Options);
        }
        (protocol, at) = (next, end);
    }
    Err(Reason::Malformed)
}

fn check_options(mut options: &[u8]) -> Result<(), Reason> {
    loop {
        options = match options {
            [] => return Ok(()),
            [PAD_1, rest @ ..] => rest,
            [kind, ..] if kind & MANDATORY != 0 => return Err(Reason::Options),
            [_, length, rest @ ..] => {
                let rest = rest.get(usize::from(*length)..);
                rest.ok_or(Reason::Malformed)?
            }
            [_] => return Err(Reason::Malformed),
        }
    }
}
