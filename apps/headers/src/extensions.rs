//! IPv6 extension headers.

use crate::beyond::{beyond, beyond_words};
use crate::{EXTENSIONS_MAX, PORTS_BYTES, Packet, PortWord, has_ports};

const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const AUTHENTICATION: u8 = 51;
const DESTINATION_OPTIONS: u8 = 60;
const MOBILITY: u8 = 135;
const HOST_IDENTITY: u8 = 139;
const SHIM6: u8 = 140;

/// The bytes that every extension header has.
const BYTES_MIN: usize = 8;

/// Copies bytes out of a packet from wherever.
pub trait Far {
    /// `N` bytes at an offset, or `None` if the packet ends before.
    fn copy<const N: usize>(&self, offset: usize) -> Option<[u8; N]>;

    /// What is behind an IPv6 header, which the verifier had better see once only.
    #[inline(always)]
    fn upper(&self, protocol: u8, offset: usize) -> Upper
    where
        Self: Sized,
    {
        upper(self, protocol, offset)
    }

    /// What is behind an extension header, likewise.
    #[inline(always)]
    fn next(&self, header: Header) -> Header
    where
        Self: Sized,
    {
        next(self, header)
    }
}

impl Far for &[u8] {
    fn copy<const N: usize>(&self, offset: usize) -> Option<[u8; N]> {
        self.get(offset..)?.first_chunk().copied()
    }
}

/// A header behind an IPv6 header.
#[derive(Clone, Copy)]
pub struct Header {
    /// A protocol, or an extension header's number.
    protocol: u8,
    begins: Begins,
    /// Where it begins.
    offset: usize,
}

/// What is where a header should be.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Begins {
    /// The header.
    Whole,
    /// The middle of what follows it.
    Middle,
    /// Unknown: the header before is cut short. This is still that one.
    Unread,
}

impl Header {
    /// As a word.
    #[inline(always)]
    pub const fn word(self) -> u64 {
        self.protocol as u64 | (self.begins as u64) << 8 | (self.offset as u64) << 32
    }

    /// From a word.
    #[inline(always)]
    pub const fn of(word: u64) -> Self {
        Self {
            protocol: word as u8,
            begins: match word >> 8 & 3 {
                0 => Begins::Whole,
                1 => Begins::Middle,
                _ => Begins::Unread,
            },
            offset: (word >> 32) as usize,
        }
    }
}

/// What is behind the extension headers.
#[derive(Clone, Copy)]
pub struct Upper {
    /// The protocol, or the number of the header that can't be read.
    pub(crate) protocol: u8,
    /// The protocol's.
    pub(crate) destination_port: PortWord,
}

impl Upper {
    /// As a word.
    #[inline(always)]
    pub const fn word(self) -> u64 {
        (self.destination_port.0 as u64) << 8 | self.protocol as u64
    }

    /// From a word.
    #[inline(always)]
    pub const fn of(word: u64) -> Self {
        Self {
            protocol: word as u8,
            destination_port: PortWord((word >> 8) as u32),
        }
    }

    #[inline(always)]
    const fn unread(protocol: u8) -> Self {
        Self {
            protocol,
            destination_port: PortWord::UNREAD,
        }
    }

    #[inline(always)]
    const fn without_port(protocol: u8) -> Self {
        Self {
            protocol,
            destination_port: PortWord::NONE,
        }
    }
}

/// What is to be read next.
#[derive(Clone, Copy)]
struct Next {
    protocol: u8,
    at: usize,
}

impl<F: Far> Packet<F> {
    /// What is behind the headers of which this is the first, read where it lies. `None` if one is too large
    /// for that: one of up to 32 bytes is read if it is the only one, and else those of 8 bytes. The verifier would
    /// look at each sum of sizes.
    #[inline(always)]
    pub(crate) fn upper(&self, protocol: u8, at: usize) -> Option<Upper> {
        let mut next = Next { protocol, at };
        match self.steps(&mut next) {
            Ok(()) if is_extension(next.protocol) => Some(Upper::unread(next.protocol)),
            Ok(()) => Some(self.end(next)),
            Err(result) => result,
        }
    }

    /// Not a loop, which the verifier could not follow while a pointer advances in it.
    #[inline(always)]
    fn steps(&self, next: &mut Next) -> Result<(), Option<Upper>> {
        const _: () = assert!(EXTENSIONS_MAX == 8);
        self.step::<3>(next)?;
        self.step::<0>(next)?;
        self.step::<0>(next)?;
        self.step::<0>(next)?;
        self.step::<0>(next)?;
        self.step::<0>(next)?;
        self.step::<0>(next)?;
        self.step::<0>(next)
    }

    /// Goes on behind an extension header, or says what is behind all of them, as [`upper`](Self::upper) does. The
    /// last one may have so many times 8 bytes more.
    #[inline(always)]
    fn step<const MORE_MAX: u8>(&self, next: &mut Next) -> Result<(), Option<Upper>> {
        if !is_extension(next.protocol) {
            return Err(Some(self.end(*next)));
        }
        let Some(header) = self.near::<BYTES_MIN>(next.at) else {
            return Err(Some(Upper::unread(next.protocol)));
        };
        if is_middle(next.protocol, header) {
            return Err(Some(Upper::without_port(header[0])));
        }
        let behind = Next {
            protocol: header[0],
            at: beyond::<BYTES_MIN>(next.at),
        };
        let more = header[1];
        if more == 0 || next.protocol == FRAGMENT {
            *next = behind;
            return Ok(());
        }
        if more > MORE_MAX || next.protocol == AUTHENTICATION || is_extension(behind.protocol) {
            return Err(None);
        }
        Err(Some(self.end(Next {
            at: beyond_words(behind.at, more << 1),
            ..behind
        })))
    }

    #[inline(always)]
    fn end(&self, next: Next) -> Upper {
        Upper {
            protocol: next.protocol,
            destination_port: self.port(next.protocol, next.at),
        }
    }
}

/// What is behind the headers of which this is the first, copied from wherever.
#[inline(always)]
pub(crate) fn upper(packet: &impl Far, protocol: u8, offset: usize) -> Upper {
    let mut header = Header {
        protocol,
        begins: Begins::Whole,
        offset,
    };
    for _ in 0..EXTENSIONS_MAX {
        if header.begins != Begins::Whole || !is_extension(header.protocol) {
            break;
        }
        header = packet.next(header);
    }
    let protocol = header.protocol;
    if header.begins == Begins::Middle {
        return Upper::without_port(protocol);
    }
    if header.begins == Begins::Unread || is_extension(protocol) {
        return Upper::unread(protocol);
    }
    if !has_ports(protocol) {
        return Upper::without_port(protocol);
    }
    match packet.copy::<PORTS_BYTES>(header.offset) {
        Some(ports) => Upper {
            protocol,
            destination_port: PortWord::destination_of(&ports),
        },
        None => Upper::unread(protocol),
    }
}

/// What follows an extension header, copied from wherever.
#[inline(always)]
pub(crate) fn next(packet: &impl Far, header: Header) -> Header {
    let Some(bytes) = packet.copy::<BYTES_MIN>(header.offset) else {
        return Header {
            begins: Begins::Unread,
            ..header
        };
    };
    Header {
        protocol: bytes[0],
        begins: if is_middle(header.protocol, &bytes) {
            Begins::Middle
        } else {
            Begins::Whole
        },
        offset: header.offset + words(header.protocol, bytes[1]) * 4,
    }
}

/// Whether this header is a fragment's other than the first, so that the middle of something follows.
#[inline(always)]
const fn is_middle(protocol: u8, header: &[u8; BYTES_MIN]) -> bool {
    protocol == FRAGMENT && u16::from_be_bytes([header[2], header[3]]) >> 3 != 0
}

/// Words of 4 bytes in an extension header whose second byte is this.
#[inline(always)]
const fn words(protocol: u8, length: u8) -> usize {
    match protocol {
        FRAGMENT => 2,
        AUTHENTICATION => length as usize + 2,
        _ => (length as usize + 1) * 2,
    }
}

/// Whether an IPv6 header of this number has another header behind it.
#[inline(always)]
const fn is_extension(header: u8) -> bool {
    matches!(
        header,
        HOP_BY_HOP
            | ROUTING
            | FRAGMENT
            | AUTHENTICATION
            | DESTINATION_OPTIONS
            | MOBILITY
            | HOST_IDENTITY
            | SHIM6
    )
}
