//! What the daemon, the loader's parent and its children say to each other, and how: packets of a
//! `SOCK_SEQPACKET` pair, with descriptors beside them and long bodies in sealed memfds.
//!
//! A child has worked on a stranger's bytes, so its answers are read as a stranger's: lengths are
//! bounded before anything is allocated, and nothing is waited for without a deadline.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Instant;

use bincode::config::{Config, Configuration, Fixint, LittleEndian, NoLimit};
use planner::TailCall;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags,
    SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags, SocketType,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::confine::Confinement;
use crate::object::GlobalValue;

/// The longest body in a packet; a longer one lies in a memfd.
const INLINE_BYTES_MAX: usize = 32 << 10;
/// The longest body at all: a verifier's log of 16 MiB, and room for the rest.
const BODY_BYTES_MAX: usize = 18 << 20;
/// Descriptors in one packet. The kernel's limit is 253.
const PACKET_FDS_MAX: usize = 200;
/// Descriptors of one message: the maps that a share group's members may bring along.
pub(super) const MESSAGE_FDS_MAX: usize = 4096;
/// The kind of a packet and how many descriptors the message has.
const HEADER_BYTES: usize = 5;

const INLINE: u8 = 0;
const IN_MEMFD: u8 = 1;
/// More descriptors of the message before.
const MORE: u8 = 2;

const CODEC: Configuration<LittleEndian, Fixint, NoLimit> = bincode::config::standard()
    .with_little_endian()
    .with_fixed_int_encoding();

/// To the parent: hand this conversation to a child. Its end of the socket comes along.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct HandOver {
    pub(super) confinement: Confinement,
}

/// To a child. The object's memfd is the first descriptor.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Request {
    /// Look at an object and at the program of this name in it (`None`: the only one).
    Inspect { program: Option<String> },
    /// Load a program. The root that it extends is the second descriptor, if it does; the maps that
    /// `existing` names follow.
    Load(Box<Load>),
}

/// As what, and with what, a program is loaded.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Load {
    pub(super) program: String,
    /// The type of the root's function that it takes the place of.
    pub(super) extends: Option<u32>,
    pub(super) frags: bool,
    pub(super) map_sizes: Vec<(String, u32)>,
    pub(super) globals: Vec<(String, GlobalValue)>,
    pub(super) tail_calls: Vec<Entry>,
    pub(super) trusted: bool,
    /// The maps that are there are the program's own.
    pub(super) own: bool,
    pub(super) existing: Vec<String>,
}

/// An entry of a program array.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Entry {
    map: String,
    index: u32,
    program: String,
}

impl From<&TailCall> for Entry {
    fn from(call: &TailCall) -> Self {
        Self {
            map: call.map.clone(),
            index: call.index,
            program: call.program.clone(),
        }
    }
}

impl From<Entry> for TailCall {
    fn from(entry: Entry) -> Self {
        Self {
            map: entry.map,
            index: entry.index,
            program: entry.program,
        }
    }
}

/// To the daemon.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Answer {
    /// What the object says of the program.
    Inspected(Inspected),
    /// The program is the first descriptor, its maps are the others.
    Loaded(Facts),
    /// It can't be done.
    Refused(RefusedObject),
    /// The code that reads objects failed on this one.
    Failed(String),
    /// From the parent: the child ended without an answer.
    Ended(End),
}

/// What an object says of a program.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Inspected {
    pub(super) program: String,
    pub(super) frags: bool,
    pub(super) fit: Fit,
}

/// Whether a program can take the place of a slot's function, as far as its object says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Fit {
    Fits,
    NoTypes,
    Prototype,
}

/// What was learned by loading.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Facts {
    pub(super) maps: Vec<String>,
    pub(super) has_program_array: bool,
    pub(super) priority: Option<u32>,
    pub(super) chain_call: Option<u8>,
}

/// Why an object was turned down.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusedObject {
    /// What kind of no.
    pub kind: RefusedKind,
    /// The reason, with its causes.
    pub text: String,
    /// The verifier's log.
    pub log: Option<String>,
    /// A map whose number of entries is left to the loader, and was not given.
    pub unsized_map: Option<String>,
}

/// A kind of no: one for each of [`ObjectError`](crate::object::ObjectError).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(
    missing_docs,
    reason = "each is described at the error that it stands for"
)]
pub enum RefusedKind {
    NotAnObject,
    NoSuchProgram,
    NoProgram,
    AmbiguousProgram,
    WrongProgramType,
    Unsupported,
    Helper,
    Map,
    Global,
    Verifier,
    Kernel,
}

/// How a child ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum End {
    Exited(i32),
    Signalled(i32),
    /// It was killed for having taken so many seconds of processor time.
    Late(u64),
    /// There was none: the parent could not make one.
    Never(i32),
}

/// Why a message did not come.
#[derive(Debug, thiserror::Error)]
pub(super) enum WireError {
    /// The time is over.
    #[error("the time is over")]
    Late,
    /// The client that all this is for is gone.
    #[error("the client is gone")]
    ClientGone,
    /// The other side hung up.
    #[error("the other side is gone")]
    Gone,
    /// What came is no message.
    #[error("not a message: {0}")]
    Hostile(&'static str),
    /// The system said no.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl From<Errno> for WireError {
    fn from(errno: Errno) -> Self {
        match errno {
            Errno::PIPE | Errno::CONNRESET => Self::Gone,
            other => Self::Io(other.into()),
        }
    }
}

impl From<WireError> for io::Error {
    fn from(error: WireError) -> Self {
        match error {
            WireError::Io(error) => error,
            WireError::Gone => io::ErrorKind::BrokenPipe.into(),
            WireError::Late => io::ErrorKind::TimedOut.into(),
            WireError::ClientGone | WireError::Hostile(_) => Self::other(error),
        }
    }
}

/// How long to wait, and for whom.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Patience<'a> {
    /// `None`: for ever.
    pub(super) deadline: Option<Instant>,
    /// The client: when it hangs up, nobody waits any more.
    pub(super) client: Option<BorrowedFd<'a>>,
}

/// A pair of connected sockets.
pub(super) fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(rustix::net::socketpair(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        SocketFlags::CLOEXEC,
        None,
    )?)
}

/// Sends a message.
pub(super) fn send<T: Serialize>(
    socket: BorrowedFd<'_>,
    message: &T,
    fds: &[BorrowedFd<'_>],
    patience: Patience<'_>,
) -> Result<(), WireError> {
    let body = bincode::serde::encode_to_vec(message, CODEC).map_err(io::Error::other)?;
    let count = u32::try_from(fds.len()).map_err(io::Error::other)?;
    let memfd;
    let mut all: Vec<BorrowedFd<'_>> = fds.to_vec();
    let (kind, body) = if body.len() <= INLINE_BYTES_MAX {
        (INLINE, &body[..])
    } else {
        memfd = protocol::memfd::sealed("loader-message", &body)?;
        // First, so that it comes with the first packet.
        all.insert(0, memfd.as_fd());
        (IN_MEMFD, &[][..])
    };
    let mut kind = kind;
    let mut body = body;
    loop {
        let (now, later) = all.split_at(all.len().min(PACKET_FDS_MAX));
        let mut header = [kind; HEADER_BYTES];
        header[1..].copy_from_slice(&count.to_le_bytes());
        send_packet(socket, &[&header, body], now, patience)?;
        if later.is_empty() {
            return Ok(());
        }
        all = later.to_vec();
        (kind, body) = (MORE, &[]);
    }
}

fn send_packet(
    socket: BorrowedFd<'_>,
    parts: &[&[u8]],
    fds: &[BorrowedFd<'_>],
    patience: Patience<'_>,
) -> Result<(), WireError> {
    let parts: Vec<_> = parts.iter().map(|part| IoSlice::new(part)).collect();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(PACKET_FDS_MAX))];
    loop {
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !fds.is_empty() {
            control.push(SendAncillaryMessage::ScmRights(fds));
        }
        let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
        match rustix::net::sendmsg(socket, &parts, &mut control, flags) {
            Ok(_) => return Ok(()),
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => wait(socket, PollFlags::OUT, patience)?,
            Err(error) => return Err(error.into()),
        }
    }
}

/// Receives a message with its descriptors.
pub(super) fn receive<T: DeserializeOwned>(
    socket: BorrowedFd<'_>,
    patience: Patience<'_>,
) -> Result<(T, Vec<OwnedFd>), WireError> {
    let Packet {
        kind,
        count,
        body,
        mut fds,
    } = receive_packet(socket, patience)?;
    let message = match kind {
        INLINE => decode(&body, CODEC.with_limit::<INLINE_BYTES_MAX>())?,
        IN_MEMFD if !fds.is_empty() => {
            let memfd = fds.remove(0);
            let body = protocol::memfd::read_sealed(memfd.as_fd(), BODY_BYTES_MAX)
                .map_err(|_| WireError::Hostile("its body can't be read"))?;
            decode(&body, CODEC.with_limit::<BODY_BYTES_MAX>())?
        }
        _ => return Err(WireError::Hostile("a packet of no known kind")),
    };
    if count > MESSAGE_FDS_MAX {
        return Err(WireError::Hostile("too many descriptors"));
    }
    while fds.len() < count {
        let more = receive_packet(socket, patience)?;
        if more.kind != MORE || more.fds.is_empty() {
            return Err(WireError::Hostile("descriptors are missing"));
        }
        fds.extend(more.fds);
    }
    if fds.len() != count {
        return Err(WireError::Hostile("more descriptors than were said"));
    }
    Ok((message, fds))
}

struct Packet {
    kind: u8,
    count: usize,
    body: Vec<u8>,
    fds: Vec<OwnedFd>,
}

fn receive_packet(socket: BorrowedFd<'_>, patience: Patience<'_>) -> Result<Packet, WireError> {
    let mut bytes = vec![0; HEADER_BYTES + INLINE_BYTES_MAX];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(PACKET_FDS_MAX))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    // The kernel looks for a packet first and for a hang-up then: what was sent in between is there
    // at a second look.
    let mut looked_again = false;
    let received = loop {
        let mut parts = [IoSliceMut::new(&mut bytes)];
        let flags = RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT;
        match rustix::net::recvmsg(socket, &mut parts, &mut control, flags) {
            Ok(received) if received.bytes == 0 && !looked_again => {
                looked_again = true;
                control.drain().for_each(drop);
            }
            Ok(received) => break received,
            // The second is said once, when the other side hung up without reading everything. What it
            // sent before is still there, and after that the end.
            Err(Errno::INTR | Errno::CONNRESET) => {}
            Err(Errno::AGAIN) => wait(socket, PollFlags::IN, patience)?,
            Err(error) => return Err(error.into()),
        }
    };
    let mut fds = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(received) = message {
            fds.extend(received);
        }
    }
    if received.bytes == 0 && fds.is_empty() {
        return Err(WireError::Gone);
    }
    if received
        .flags
        .intersects(ReturnFlags::TRUNC | ReturnFlags::CTRUNC)
        || received.bytes < HEADER_BYTES
    {
        return Err(WireError::Hostile("a packet that is cut"));
    }
    bytes.truncate(received.bytes);
    let body = bytes.split_off(HEADER_BYTES);
    let count = u32::from_le_bytes([bytes[1], bytes[2], bytes[3], bytes[4]]);
    Ok(Packet {
        kind: bytes[0],
        count: usize::try_from(count).unwrap_or(usize::MAX),
        body,
        fds,
    })
}

fn decode<T: DeserializeOwned>(bytes: &[u8], config: impl Config) -> Result<T, WireError> {
    match bincode::serde::decode_from_slice(bytes, config) {
        Ok((message, used)) if used == bytes.len() => Ok(message),
        _ => Err(WireError::Hostile("a body of another shape")),
    }
}

/// Waits until the socket can be used.
fn wait(socket: BorrowedFd<'_>, flags: PollFlags, patience: Patience<'_>) -> Result<(), WireError> {
    let left = match patience.deadline {
        None => None,
        Some(deadline) => {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(WireError::Late);
            }
            Some(Timespec::try_from(left).map_err(io::Error::other)?)
        }
    };
    let mut polled = [
        PollFd::from_borrowed_fd(socket, flags),
        // A descriptor is needed all the same: the socket itself, asked for nothing.
        PollFd::from_borrowed_fd(
            patience.client.unwrap_or(socket),
            match patience.client {
                Some(_) => PollFlags::RDHUP,
                None => PollFlags::empty(),
            },
        ),
    ];
    match poll(&mut polled, left.as_ref()) {
        Ok(_) | Err(Errno::INTR) => {}
        Err(error) => return Err(error.into()),
    }
    let hung_up = PollFlags::RDHUP | PollFlags::HUP | PollFlags::ERR;
    if patience.client.is_some() && polled[1].revents().intersects(hung_up) {
        return Err(WireError::ClientGone);
    }
    Ok(())
}
