//! Ethernet headers with up to two VLAN tags, and bytes of a frame.

use crate::action::Reason;
use crate::addresses::Mac;

pub(crate) const ARP: u16 = 0x0806;
pub(crate) const IPV4: u16 = 0x0800;
pub(crate) const IPV6: u16 = 0x86dd;
const VLAN: u16 = 0x8100;
const QINQ: u16 = 0x88a8;

const TYPE: usize = 12;
const TAG_BYTES: usize = 4;
const TAGS_MAX: usize = 2;

/// What an Ethernet header says.
pub(crate) struct Ethernet {
    pub(crate) destination: Mac,
    pub(crate) source: Mac,
    /// What follows the tags.
    pub(crate) ethertype: u16,
    /// Where that begins.
    pub(crate) payload: usize,
}

impl Ethernet {
    /// The header of this frame.
    pub(crate) fn read(frame: &[u8]) -> Result<Self, Reason> {
        let mut at = TYPE;
        let mut ethertype = word(frame, at)?;
        for _ in 0..TAGS_MAX {
            if ethertype != VLAN && ethertype != QINQ {
                break;
            }
            at += TAG_BYTES;
            ethertype = word(frame, at)?;
        }
        Ok(Self {
            destination: Mac(array(frame, 0)?),
            source: Mac(array(frame, 6)?),
            ethertype,
            payload: at + 2,
        })
    }
}

/// Gives the frame another destination and source; tags stay.
pub(crate) fn direct(frame: &mut [u8], destination: Mac, source: Mac) {
    frame[..6].copy_from_slice(&destination.0);
    frame[6..12].copy_from_slice(&source.0);
}

/// So many bytes from there on.
pub(crate) fn array<const N: usize>(bytes: &[u8], at: usize) -> Result<[u8; N], Reason> {
    let rest = bytes.get(at..).and_then(<[u8]>::first_chunk);
    rest.copied().ok_or(Reason::Malformed)
}

/// The word there, which is in network byte order.
pub(crate) fn word(bytes: &[u8], at: usize) -> Result<u16, Reason> {
    array(bytes, at).map(u16::from_be_bytes)
}

/// Puts a word there.
pub(crate) fn put_word(bytes: &mut [u8], at: usize, word: u16) {
    bytes[at..at + 2].copy_from_slice(&word.to_be_bytes());
}

/// Exchanges `N` bytes at one place with as many at a later one.
pub(crate) fn swap<const N: usize>(bytes: &mut [u8], one: usize, later: usize) {
    let (head, tail) = bytes.split_at_mut(later);
    head[one..one + N].swap_with_slice(&mut tail[..N]);
}
