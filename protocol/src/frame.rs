//! What stands before the body in a packet: one byte that says where the body is. With it no
//! packet is empty, so that an empty one can't be taken for a hang-up.

use crate::CodecError;

/// The body follows in the packet.
pub(crate) const INLINE: u8 = 0;
/// The body is in the last descriptor, a sealed memfd; nothing follows in the packet.
pub(crate) const IN_MEMFD: u8 = 1;

/// Where a packet's body is.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Body<'a> {
    Inline(&'a [u8]),
    InMemfd,
}

pub(crate) fn parse(packet: &[u8]) -> Result<Body<'_>, CodecError> {
    match packet {
        [] => Err(CodecError::EmptyPacket),
        [INLINE, body @ ..] => Ok(Body::Inline(body)),
        [IN_MEMFD] => Ok(Body::InMemfd),
        [IN_MEMFD, rest @ ..] => Err(CodecError::TrailingBytes { bytes: rest.len() }),
        [kind, ..] => Err(CodecError::UnknownFrame { kind: *kind }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_byte_says_where_the_body_is() {
        assert_eq!(parse(&[0, 7, 8]), Ok(Body::Inline(&[7, 8])));
        assert_eq!(parse(&[0]), Ok(Body::Inline(&[])));
        assert_eq!(parse(&[1]), Ok(Body::InMemfd));
    }

    #[test]
    fn other_packets_are_malformed() {
        assert_eq!(parse(&[]), Err(CodecError::EmptyPacket));
        assert_eq!(parse(&[1, 0]), Err(CodecError::TrailingBytes { bytes: 1 }));
        assert_eq!(parse(&[2]), Err(CodecError::UnknownFrame { kind: 2 }));
    }
}
