//! A message as bytes, and back. The only file that names bincode: another codec that passes the
//! golden bytes can take its place (`docs/decisions/0003-bincode.md`).

use bincode::config::{Config, Configuration, Fixint, LittleEndian, NoLimit};
use bincode::error::DecodeError;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::Options;

/// Longest body that travels in the packet itself, in bytes; a longer one travels in a sealed
/// memfd. Ordinary messages are under 4 KiB; 64 KiB and its overhead fit a socket's default send
/// buffer (208 KiB) several times over, so that a packet is never refused for its size.
pub const PACKET_BYTES_MAX: usize = 64 << 10;

/// Longest body at all, in bytes. A refusal carries the verifier's log whole, up to 16 MiB (the
/// most that every kernel accepts as `log_size` is `UINT_MAX >> 8`); 1 MiB is for all the rest.
pub const BODY_BYTES_MAX: usize = 17 << 20;

/// Fixed-size integers, little-endian. The limit is added where it is enforced.
const WIRE: Configuration<LittleEndian, Fixint, NoLimit> = bincode::config::standard()
    .with_little_endian()
    .with_fixed_int_encoding();

/// Why bytes are not a message, or a message can't become bytes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    /// The body is longer than [`BODY_BYTES_MAX`].
    #[error("message of {bytes} bytes, {BODY_BYTES_MAX} at most")]
    TooLarge {
        /// Its length.
        bytes: usize,
    },
    /// The bytes end, or say what no message says.
    #[error("not a message: {reason}")]
    Undecodable {
        /// The codec's own words.
        reason: String,
    },
    /// A message, and then something else.
    #[error("{bytes} bytes follow the message")]
    TrailingBytes {
        /// How many.
        bytes: usize,
    },
    /// The message has a shape that the wire can't express.
    #[error("message can't be encoded: {reason}")]
    Unencodable {
        /// The codec's own words.
        reason: String,
    },
    /// A packet without a byte in it.
    #[error("empty packet")]
    EmptyPacket,
    /// The packet's first byte is no kind of frame.
    #[error("unknown kind of frame {kind}")]
    UnknownFrame {
        /// The byte.
        kind: u8,
    },
}

/// Everything that is sent whole: a request, or a reply.
pub trait Message: Serialize + DeserializeOwned {
    /// The options at the message's very end, if this message can have some. They follow only if
    /// there are any: without them the bytes are those of version 0, which had none.
    fn trailing(&self) -> Option<&Options>;

    /// The same, to be filled.
    fn trailing_mut(&mut self) -> Option<&mut Options>;
}

/// The message's bytes.
pub fn encode<T: Message>(message: &T) -> Result<Vec<u8>, CodecError> {
    let mut bytes = encode_part(message)?;
    if let Some(options) = message.trailing().filter(|options| !options.is_empty()) {
        bytes.extend(encode_part(options)?);
        within_limit(bytes.len())?;
    }
    Ok(bytes)
}

/// The message that these bytes are, and nothing more than it.
///
/// A length inside the bytes is compared with a limit before anything is allocated for it: an
/// inline body can't ask for more than [`PACKET_BYTES_MAX`] at once, no body for more than
/// [`BODY_BYTES_MAX`].
pub fn decode<T: Message>(bytes: &[u8]) -> Result<T, CodecError> {
    let (mut message, used) = decode_front::<T>(bytes)?;
    let rest = &bytes[used..];
    if rest.is_empty() {
        return Ok(message);
    }
    let trailing = || CodecError::TrailingBytes { bytes: rest.len() };
    let place = message.trailing_mut().ok_or_else(trailing)?;
    let options: Options = decode_part(rest).map_err(|error| {
        // What is wrong with options, if that is what they are.
        match decode_part::<Vec<(u32, Vec<u8>)>>(rest) {
            Ok(_) => error,
            Err(_) => trailing(),
        }
    })?;
    if options.is_empty() {
        return Err(trailing());
    }
    *place = options;
    Ok(message)
}

/// The bytes of a part of a message, such as an option's value.
pub fn encode_part<T: Serialize>(part: &T) -> Result<Vec<u8>, CodecError> {
    let bytes =
        bincode::serde::encode_to_vec(part, WIRE).map_err(|error| CodecError::Unencodable {
            reason: error.to_string(),
        })?;
    within_limit(bytes.len())?;
    Ok(bytes)
}

/// The part of a message that these bytes are, and nothing more than it.
pub fn decode_part<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, CodecError> {
    let (part, used) = decode_front(bytes)?;
    match bytes.len() - used {
        0 => Ok(part),
        bytes => Err(CodecError::TrailingBytes { bytes }),
    }
}

/// What the bytes begin with, and how many of them it is.
fn decode_front<T: DeserializeOwned>(bytes: &[u8]) -> Result<(T, usize), CodecError> {
    within_limit(bytes.len())?;
    if bytes.len() <= PACKET_BYTES_MAX {
        decode_limited(bytes, WIRE.with_limit::<PACKET_BYTES_MAX>())
    } else {
        decode_limited(bytes, WIRE.with_limit::<BODY_BYTES_MAX>())
    }
}

fn decode_limited<T: DeserializeOwned>(
    bytes: &[u8],
    limit: impl Config,
) -> Result<(T, usize), CodecError> {
    bincode::serde::decode_from_slice(bytes, limit).map_err(undecodable)
}

fn within_limit(bytes: usize) -> Result<(), CodecError> {
    if bytes > BODY_BYTES_MAX {
        return Err(CodecError::TooLarge { bytes });
    }
    Ok(())
}

/// The reason in words that don't depend on the codec, where its peer may read it.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the rest can't come of our types"
)]
fn undecodable(error: DecodeError) -> CodecError {
    let reason = match error {
        DecodeError::UnexpectedEnd { .. } => "it ends early".to_owned(),
        DecodeError::LimitExceeded => "a length in it is above the limit".to_owned(),
        DecodeError::Utf8 { .. } => "a text in it is not UTF-8".to_owned(),
        DecodeError::OtherString(reason) => reason,
        other => other.to_string(),
    };
    CodecError::Undecodable { reason }
}
