//! The only I/O: whole messages and their descriptors over a `SOCK_SEQPACKET` socket.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags,
    SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketAddrUnix, SocketFlags, SocketType,
};

use crate::frame::{self, Body};
use crate::{
    BODY_BYTES_MAX, CodecError, MemfdError, Message, PACKET_BYTES_MAX, RefusalCode, Refused,
};
use crate::{codec, memfd};

mod listener;

pub use listener::Listener;

/// Longest body of a connection's first message, in bytes. It holds a name of 64; the rest is room
/// for options.
pub const GREETING_BYTES_MAX: usize = 4096;

/// Descriptors that one message may carry. No message of version 1 needs more than two (memory and
/// network namespace); the rest is room. A body in a memfd comes on top.
pub const FDS_MAX: usize = 4;

/// Descriptors that one packet may carry: a message's own and the body's.
const PACKET_FDS_MAX: usize = FDS_MAX + 1;

/// Why a message was not sent. Nothing of it has left.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// The message can't be encoded, or is too large.
    #[error(transparent)]
    Codec(#[from] CodecError),
    /// More descriptors than a message may carry.
    #[error("message with {count} descriptors, {FDS_MAX} at most")]
    TooManyDescriptors {
        /// How many it had.
        count: usize,
    },
    /// The socket failed: the peer hung up, or the send timeout passed (`WouldBlock`).
    #[error("can't send")]
    Io(#[source] io::Error),
}

/// Why no message was received. Descriptors that came with it are closed.
///
/// After every variant but [`Io`](Self::Io) the socket stands before the next packet and could go
/// on. A server can't say which request it refuses, though: see [`refusal`](Self::refusal).
#[derive(Debug, thiserror::Error)]
pub enum ReceiveError {
    /// The socket failed, or the receive timeout passed (`WouldBlock`).
    #[error("can't receive")]
    Io(#[source] io::Error),
    /// The packet is not a message.
    #[error(transparent)]
    Malformed(#[from] CodecError),
    /// Descriptors were lost: more came than a message may carry, or this process can't open more.
    #[error("message with more descriptors than can be received, {FDS_MAX} at most")]
    Truncated,
    /// A descriptor came with a message that may bring none.
    #[error("no descriptor may come with this message")]
    DescriptorRefused,
    /// The packet or the body in the memfd is longer than allowed.
    #[error("message of more than {max} bytes")]
    TooLarge {
        /// The largest allowed, in bytes.
        max: usize,
    },
    /// The descriptor that should hold the body is not a sealed memfd.
    #[error(transparent)]
    Descriptor(MemfdError),
}

impl ReceiveError {
    /// What to tell the peer, in a reply with id 0, before hanging up; `None` if it can't be told.
    pub fn refusal(&self) -> Option<Refused> {
        let code = match self {
            Self::Io(_) => return None,
            Self::Malformed(_) => RefusalCode::Malformed,
            Self::Truncated | Self::DescriptorRefused | Self::Descriptor(_) => {
                RefusalCode::Descriptor
            }
            Self::TooLarge { .. } => RefusalCode::TooLarge,
        };
        Some(Refused::new(code, self.to_string()))
    }
}

/// The body's memfd: being too large is the message's fault, all else the descriptor's.
impl From<MemfdError> for ReceiveError {
    fn from(error: MemfdError) -> Self {
        if let MemfdError::TooLarge { max, .. } = error {
            Self::TooLarge { max }
        } else {
            Self::Descriptor(error)
        }
    }
}

impl From<Errno> for ReceiveError {
    fn from(error: Errno) -> Self {
        Self::Io(error.into())
    }
}

/// Who is at the other end, as the kernel recorded it when the connection was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// The effective user, in the reader's user namespace.
    pub uid: u32,
    /// The effective group.
    pub gid: u32,
    /// The process; 0 if the reader's pid namespace doesn't have it.
    pub pid: u32,
}

/// What a message may be.
struct Bounds {
    /// Of a body in the packet.
    bytes: usize,
    /// The body may be in a memfd instead.
    memfd_body: bool,
    /// It may bring descriptors.
    descriptors: bool,
}

impl Bounds {
    const ALL: Self = Self {
        bytes: PACKET_BYTES_MAX,
        memfd_body: true,
        descriptors: true,
    };
}

/// What one `recvmsg` gave.
struct Packet {
    bytes: Vec<u8>,
    fds: Vec<OwnedFd>,
    /// Further descriptors were lost.
    truncated: bool,
}

/// A message, and its descriptors unless some were lost.
pub type Received<T> = (T, Option<Vec<OwnedFd>>);

/// One end of a conversation.
#[derive(Debug)]
pub struct Connection {
    socket: OwnedFd,
}

impl Connection {
    /// Connects to the socket at this path.
    pub fn connect(path: &Path) -> io::Result<Self> {
        let address = SocketAddrUnix::new(path)?;
        let socket = seqpacket(SocketFlags::CLOEXEC)?;
        rustix::io::retry_on_intr(|| rustix::net::connect(&socket, &address))?;
        Ok(Self { socket })
    }

    /// Takes over a connected `SOCK_SEQPACKET` socket.
    pub fn from_fd(fd: OwnedFd) -> Self {
        Self { socket: fd }
    }

    /// Sends one message, whole or not at all. The descriptors are duplicated to the peer.
    pub fn send<T: Message>(&self, message: &T, fds: &[BorrowedFd<'_>]) -> Result<(), SendError> {
        if fds.len() > FDS_MAX {
            return Err(SendError::TooManyDescriptors { count: fds.len() });
        }
        let body = codec::encode(message)?;
        let sent = if body.len() <= PACKET_BYTES_MAX {
            self.send_packet(&[&[frame::INLINE], &body], fds)
        } else {
            self.send_in_memfd(&body, fds)
        };
        sent.map_err(SendError::Io)
    }

    fn send_in_memfd(&self, body: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<()> {
        let memfd = memfd::sealed("dispatch-message", body)?;
        let fds: Vec<_> = fds.iter().copied().chain([memfd.as_fd()]).collect();
        self.send_packet(&[&[frame::IN_MEMFD]], &fds)
    }

    fn send_packet(&self, parts: &[&[u8]], fds: &[BorrowedFd<'_>]) -> io::Result<()> {
        let parts: Vec<_> = parts.iter().map(|part| IoSlice::new(part)).collect();
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(PACKET_FDS_MAX))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !fds.is_empty() {
            let pushed = control.push(SendAncillaryMessage::ScmRights(fds));
            assert!(
                pushed,
                "the buffer has room for {PACKET_FDS_MAX} descriptors"
            );
        }
        rustix::io::retry_on_intr(|| {
            rustix::net::sendmsg(&self.socket, &parts, &mut control, SendFlags::NOSIGNAL)
        })?;
        Ok(())
    }

    /// Receives one message and its descriptors; `None` when the peer has hung up.
    pub fn receive<T: Message>(&self) -> Result<Option<(T, Vec<OwnedFd>)>, ReceiveError> {
        self.receive_partly()?.map(whole).transpose()
    }

    /// The same, and a message in the packet also if its descriptors were lost: more came than it may
    /// carry, or this process can't open more. `None` stands for all of them then.
    pub fn receive_partly<T: Message>(&self) -> Result<Option<Received<T>>, ReceiveError> {
        self.receive_within(&Bounds::ALL)
    }

    /// The same from a peer that has no reason to send a body larger than a packet: a memfd that
    /// should be a body is refused unread.
    pub fn receive_inline<T: Message>(&self) -> Result<Option<(T, Vec<OwnedFd>)>, ReceiveError> {
        let received = self.receive_within(&Bounds {
            memfd_body: false,
            ..Bounds::ALL
        })?;
        received.map(whole).transpose()
    }

    /// The same from a peer that nothing is known of: no more than [`GREETING_BYTES_MAX`], and no
    /// descriptor. What comes beyond that is closed by the kernel, on the calling thread: closing a
    /// stranger's descriptor may take as long as the stranger likes.
    pub fn receive_greeting<T: Message>(&self) -> Result<Option<T>, ReceiveError> {
        let received = self.receive_within(&Bounds {
            bytes: GREETING_BYTES_MAX,
            memfd_body: false,
            descriptors: false,
        })?;
        Ok(received.map(|(message, _)| message))
    }

    fn receive_within<T: Message>(
        &self,
        bounds: &Bounds,
    ) -> Result<Option<Received<T>>, ReceiveError> {
        let Some(packet) = self.receive_packet(bounds)? else {
            return Ok(None);
        };
        let Packet {
            bytes,
            mut fds,
            truncated,
        } = packet;
        let message = match frame::parse(&bytes)? {
            Body::Inline(body) => codec::decode(body)?,
            Body::InMemfd if !bounds.memfd_body => {
                return Err(ReceiveError::TooLarge { max: bounds.bytes });
            }
            // The body was the last one.
            Body::InMemfd if truncated => return Err(ReceiveError::Truncated),
            Body::InMemfd => {
                let memfd = fds.pop().ok_or(MemfdError::Missing)?;
                codec::decode(&memfd::read_sealed(memfd.as_fd(), BODY_BYTES_MAX)?)?
            }
        };
        let is_whole = !truncated && fds.len() <= FDS_MAX;
        Ok(Some((message, is_whole.then_some(fds))))
    }

    fn receive_packet(&self, bounds: &Bounds) -> Result<Option<Packet>, ReceiveError> {
        // Nothing is held while nothing is there: many wait here, most of the time.
        let length = self.wait_for_packet()?;
        let mut bytes = vec![0; length.min(1 + bounds.bytes)];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(PACKET_FDS_MAX))];
        let space = if bounds.descriptors {
            &mut space[..]
        } else {
            &mut []
        };
        let mut control = RecvAncillaryBuffer::new(space);
        let received = loop {
            let mut parts = [IoSliceMut::new(&mut bytes)];
            let flags = RecvFlags::CMSG_CLOEXEC;
            match rustix::net::recvmsg(&self.socket, &mut parts, &mut control, flags) {
                Err(Errno::INTR | Errno::CONNRESET) => {}
                result => break result?,
            }
        };
        let fds = descriptors(&mut control);
        if received.flags.contains(ReturnFlags::TRUNC) {
            return Err(ReceiveError::TooLarge { max: bounds.bytes });
        }
        let truncated = received.flags.contains(ReturnFlags::CTRUNC);
        if truncated && !bounds.descriptors {
            return Err(ReceiveError::DescriptorRefused);
        }
        if received.bytes == 0 && !truncated && fds.is_empty() && self.peer_hung_up()? {
            return Ok(None);
        }
        bytes.truncate(received.bytes);
        Ok(Some(Packet {
            bytes,
            fds,
            truncated,
        }))
    }

    /// Waits for the next packet, and says how long it is; 0 is the end, or an empty packet.
    fn wait_for_packet(&self) -> rustix::io::Result<usize> {
        // The kernel looks for a packet first and for a hang-up then: what was sent in between is
        // there at a second look.
        let mut looked_again = false;
        loop {
            let flags = RecvFlags::PEEK | RecvFlags::TRUNC;
            let nothing: &mut [u8] = &mut [];
            match rustix::net::recv(&self.socket, nothing, flags) {
                // Said once, when the peer hung up without reading everything. What it sent
                // before is still there, and after that the end.
                Err(Errno::INTR | Errno::CONNRESET) => {}
                Ok((_, 0)) if !looked_again && self.peer_hung_up()? => looked_again = true,
                result => return result.map(|(_, length)| length),
            }
        }
    }

    /// Tells a hang-up from an empty packet, which both read as nothing. (An empty packet whose
    /// sender has hung up since is taken for the hang-up: either way the conversation is over.)
    fn peer_hung_up(&self) -> rustix::io::Result<bool> {
        let mut polled = [PollFd::new(&self.socket, PollFlags::RDHUP)];
        let now = Timespec::default();
        rustix::io::retry_on_intr(|| rustix::event::poll(&mut polled, Some(&now)))?;
        Ok(polled[0]
            .revents()
            .intersects(PollFlags::RDHUP | PollFlags::HUP))
    }

    /// How long [`send`](Self::send) waits for a peer that doesn't read; `None` is for ever.
    pub fn set_send_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        Ok(set_socket_timeout(&self.socket, Timeout::Send, timeout)?)
    }

    /// How long [`receive`](Self::receive) waits; `None` is for ever.
    pub fn set_receive_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        Ok(set_socket_timeout(&self.socket, Timeout::Recv, timeout)?)
    }

    /// Who is at the other end (`SO_PEERCRED`).
    pub fn peer(&self) -> io::Result<Peer> {
        // The kernel says pid 0 of a peer outside of this process's pid namespace. rustix 1.1 has
        // no value for that and makes it an error with errno 0; nix has one.
        let credentials =
            nix::sys::socket::getsockopt(&self.socket, nix::sys::socket::sockopt::PeerCredentials)?;
        Ok(Peer {
            uid: credentials.uid(),
            gid: credentials.gid(),
            pid: credentials.pid().unsigned_abs(),
        })
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// A message with all its descriptors.
fn whole<T>((message, fds): Received<T>) -> Result<(T, Vec<OwnedFd>), ReceiveError> {
    Ok((message, fds.ok_or(ReceiveError::Truncated)?))
}

fn seqpacket(flags: SocketFlags) -> rustix::io::Result<OwnedFd> {
    rustix::net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)
}

/// Takes every descriptor out of the control data: what isn't returned gets closed.
fn descriptors(control: &mut RecvAncillaryBuffer<'_>) -> Vec<OwnedFd> {
    let mut fds = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(received) = message {
            fds.extend(received);
        }
    }
    fds
}
