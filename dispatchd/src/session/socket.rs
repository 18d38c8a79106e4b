//! `AF_XDP` sockets: checked, leased, made, given away.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use controller::{Answer, Request};
use dispatcher_abi::REDIRECT_QUEUES;
use planner::{Opening, PinnedMemory, QueueKey, Refusal, SocketKey};
use protocol::{
    OpenSocket, RefusalCode, Refused, ReplyBody, Socket, SocketGrant, SocketMode, SocketOptions,
    Umem, with_causes,
};
use rustix::net::AddressFamily;
use rustix::net::sockopt::{socket_cookie, socket_domain, xdp_options};
use rustix::net::xdp::XdpOptionsFlags;

use super::site::Site;
use super::umem::{self, Room};
use super::{Response, Session};
use crate::desk::Brought;
use crate::kernel::queues::{self, Queues};
use crate::kernel::xsk::{self, Bound, CopyMode, Made, Memory};
use crate::sockets::Held;
use crate::translate;

impl Session<'_> {
    /// Opens a socket. The queue is the client's before anything is made, so that of two who want it
    /// one hears of the other.
    pub(super) fn open_socket(
        &self,
        open: &OpenSocket,
        site: &Site,
        memfd: Option<OwnedFd>,
    ) -> Response {
        let interface = &site.interface.name;
        let key = SocketKey {
            place: QueueKey {
                chain: site.interface.key,
                queue: open.queue,
            },
            token: open.token,
        };
        let first = self.shared_with(interface, &open.grant)?;
        let beside = is_beside(&open.grant, first.as_ref(), key.place);
        let room = match &open.grant {
            SocketGrant::Bound(options) => umem::check(interface, options, beside, memfd)?,
            SocketGrant::Bare => Room::Elsewhere,
        };
        check_queue(site, open.queue)?;
        let memory = first.as_ref().map_or(
            PinnedMemory {
                of: key.token,
                bytes: room.bytes(),
            },
            |first| first.memory,
        );
        let opening = Opening {
            interface: site.interface.clone(),
            queue: open.queue,
            memory,
            beside,
            bare: open.grant == SocketGrant::Bare,
            redirect: open.redirect && receives(&open.grant),
            sends: sends(&open.grant),
            token: key.token,
        };
        match self.ask_plainly(site, Request::Open(opening.clone())) {
            // The daemon's own copies count as well until they are closed.
            Err(refused) if refused.code == RefusalCode::Quota => {
                self.hub.sockets.settle();
                self.ask_plainly(site, Request::Open(opening))?;
            }
            asked => drop(asked?),
        }
        let made = make(open, site, &room, first.as_ref());
        let made = made.map_err(|refused| self.failed(site, key, refused))?;
        let socket = Arc::new(made.socket);
        // Before it is the daemon's: without a descriptor the client could not close it.
        let given = socket.try_clone().map_err(|error| {
            let message = format!("interface {interface}: the socket: {error}");
            self.failed(site, key, translate::refused(RefusalCode::Daemon, message))
        })?;
        let held = Held {
            socket,
            zero_copy: made.zero_copy,
        };
        let brought = Brought {
            socket: Some((key, held)),
            ..self.brings(site)
        };
        let answer = self.ask(site, Request::Made { key, made: true }, brought)?;
        if !matches!(answer, Answer::Made(true)) {
            let message = format!("interface {interface} went away");
            return Err(translate::refused(RefusalCode::InterfaceGone, message));
        }
        let reply = ReplyBody::Socket(Socket {
            ifindex: key.place.chain.ifindex,
            queue: open.queue,
            zero_copy: made.zero_copy,
        });
        Ok((reply, Some(given)))
    }

    /// Gives a queue back whose socket could not be made. If that was because it is bound, the
    /// controller may know by which client.
    fn failed(&self, site: &Site, key: SocketKey, refused: Refused) -> Refused {
        let answer = self.ask_plainly(site, Request::Made { key, made: false });
        match answer {
            Ok(Answer::NotMade(Some(refusal))) if refused.code == RefusalCode::QueueTaken => {
                translate::refusal(&refusal)
            }
            _ => refused,
        }
    }

    /// The socket of this connection whose memory is to be shared, if any is.
    fn shared_with(&self, interface: &str, grant: &SocketGrant) -> Result<Option<First>, Refused> {
        let SocketGrant::Bound(SocketOptions {
            umem: Umem::Shared { token },
            ..
        }) = grant
        else {
            return Ok(None);
        };
        let published = self.hub.board.read();
        let found = published.sockets.iter().find(|socket| {
            socket.lease.token == *token
                && socket.lease.owner.connection == Some(self.client.connection)
        });
        let first = found.and_then(|found| {
            Some(First {
                place: found.key.place,
                socket: found.socket.upgrade()?,
                memory: found.lease.memory,
            })
        });
        first.map(Some).ok_or_else(|| {
            let message = format!(
                "interface {interface}: no socket of this connection has the memory to be shared"
            );
            translate::refused(RefusalCode::NoSuchSocket, message)
        })
    }

    /// Gives a socket its queue's packets, after the redirect program where there is none.
    pub(super) fn activate_socket(
        &self,
        site: &Site,
        queue: u32,
        token: [u8; 16],
    ) -> Result<ReplyBody, Refused> {
        let key = key_of(site, queue, token);
        self.check_rings(site, key)?;
        // The program's maps have an entry for each queue.
        let brought = Brought {
            queues: queues_of(site)?.map(|queues| queues.most),
            ..self.brings(site)
        };
        let Answer::Activated { notes } = self.ask(site, Request::Activate { key }, brought)?
        else {
            unreachable!("the answer to an activation");
        };
        Ok(ReplyBody::SocketActivated {
            notes: translate::notes(&notes),
        })
    }

    /// Turns down what can be seen to be in vain, before the redirect program is registered for it. The
    /// controller has it looked at again when the program is there.
    fn check_rings(&self, site: &Site, key: SocketKey) -> Result<(), Refused> {
        let interface = &site.interface.name;
        let published = self.hub.board.read();
        let leases = &published.state.leases;
        let authority = self.authority(&site.interface);
        leases
            .may_activate(&authority, interface, key)
            .map_err(|refusal| translate::refusal(&refusal))?;
        let Some(held) = self.hub.sockets.get(key) else {
            return Ok(());
        };
        let (interface, queue) = (interface.clone(), key.place.queue);
        let refusal = if !xsk::has_rx_ring(held.socket.as_fd()) {
            Refusal::NoRxRing { interface, queue }
        } else if xsk::has_had_frames(held.socket.as_fd()) == Some(false) {
            Refusal::NoFrames { interface, queue }
        } else {
            return Ok(());
        };
        Err(translate::refusal(&refusal))
    }

    pub(super) fn close_socket(
        &self,
        site: &Site,
        queue: u32,
        token: [u8; 16],
    ) -> Result<ReplyBody, Refused> {
        let key = key_of(site, queue, token);
        self.ask_plainly(site, Request::Close { key })?;
        Ok(ReplyBody::SocketClosed)
    }

    pub(super) fn reclaim_socket(
        &self,
        site: &Site,
        queue: u32,
        token: [u8; 16],
        socket: Option<OwnedFd>,
    ) -> Result<ReplyBody, Refused> {
        let socket = socket.ok_or_else(|| {
            translate::refused(
                RefusalCode::Descriptor,
                "the socket's descriptor is missing",
            )
        })?;
        // Nothing else is kept, or closed, on a thread that others wait for.
        if socket_domain(&socket).ok() != Some(AddressFamily::XDP) {
            let why = "the descriptor is no AF_XDP socket";
            return Err(translate::refused(RefusalCode::Descriptor, why));
        }
        let key = key_of(site, queue, token);
        // Any other descriptor has another number, or none.
        let cookie = socket_cookie(&socket).unwrap_or(0);
        let zero_copy = xdp_options(&socket)
            .is_ok_and(|mode| mode.contains(XdpOptionsFlags::XDP_OPTIONS_ZEROCOPY));
        let held = Held {
            socket: Arc::new(socket),
            zero_copy,
        };
        let brought = Brought {
            socket: Some((key, held)),
            ..self.brings(site)
        };
        self.ask(site, Request::ReclaimSocket { key, cookie }, brought)?;
        Ok(ReplyBody::SocketReclaimed)
    }
}

fn key_of(site: &Site, queue: u32, token: [u8; 16]) -> SocketKey {
    SocketKey {
        place: QueueKey {
            chain: site.interface.key,
            queue,
        },
        token,
    }
}

/// A socket whose memory another one shares.
struct First {
    place: QueueKey,
    socket: Arc<OwnedFd>,
    memory: PinnedMemory,
}

/// Whether a socket is to be on the queue of the one whose memory it shares, with the FILL and
/// COMPLETION rings of that one.
fn is_beside(grant: &SocketGrant, first: Option<&First>, place: QueueKey) -> bool {
    let SocketGrant::Bound(options) = grant else {
        return false;
    };
    let has_rings = options.fill != 0 || options.completion != 0;
    !has_rings && first.is_some_and(|first| first.place == place)
}

/// Makes the socket, once the queue is the client's.
fn make(
    open: &OpenSocket,
    site: &Site,
    room: &Room,
    first: Option<&First>,
) -> Result<Made, Refused> {
    let interface = &site.interface;
    let namespace = site.namespace.as_fd();
    let SocketGrant::Bound(options) = &open.grant else {
        return xsk::bare(namespace, interface)
            .map(|socket| Made {
                socket,
                zero_copy: false,
            })
            .map_err(|error| {
                let message = format!("interface {}: {}", interface.name, with_causes(&error));
                translate::refused(RefusalCode::Kernel, message)
            });
    };
    room.check_allocated(&interface.name)?;
    let memory = match (&options.umem, room) {
        (Umem::Own(layout), Room::Memfd { memfd, bytes }) => Memory::Own {
            memfd: memfd.as_fd(),
            bytes: *bytes,
            frame_size: layout.frame_size,
            headroom: layout.headroom,
            unaligned: layout.unaligned,
            tx_metadata_len: layout.tx_metadata_len,
            software_checksum: layout.software_checksum,
        },
        (Umem::Shared { .. }, _) => {
            let first = first.ok_or_else(|| umem::missing(&interface.name))?;
            Memory::Shared(first.socket.as_fd())
        }
        (Umem::Own(_), Room::Elsewhere) => return Err(umem::missing(&interface.name)),
    };
    let wanted = bound(open.queue, options, memory);
    xsk::bound(namespace, interface, &wanted)
        .map_err(|error| translate::not_made(&interface.name, &wanted, &error))
}

fn bound<'a>(queue: u32, options: &SocketOptions, memory: Memory<'a>) -> Bound<'a> {
    Bound {
        queue,
        memory,
        rings: [options.fill, options.completion, options.rx, options.tx],
        mode: match options.mode {
            SocketMode::Auto => CopyMode::Auto,
            SocketMode::Copy => CopyMode::Copy,
            SocketMode::ZeroCopy => CopyMode::ZeroCopy,
        },
        need_wakeup: options.need_wakeup,
        multi_buffer: options.multi_buffer,
        busy_poll: options
            .busy_poll
            .as_ref()
            .map(|poll| (poll.timeout_us, poll.budget)),
    }
}

/// Whether a socket is to get packets. What a bare one is to do its client says later.
fn receives(grant: &SocketGrant) -> bool {
    match grant {
        SocketGrant::Bound(options) => options.rx > 0,
        SocketGrant::Bare => true,
    }
}

fn sends(grant: &SocketGrant) -> bool {
    match grant {
        SocketGrant::Bound(options) => options.tx > 0,
        SocketGrant::Bare => true,
    }
}

fn check_queue(site: &Site, queue: u32) -> Result<(), Refused> {
    let interface = &site.interface.name;
    let (count, how) = match queues_of(site)? {
        Some(queues) => (queues.now, "receive queues"),
        None => (
            REDIRECT_QUEUES,
            "receive queues at most, since nobody says how many",
        ),
    };
    if queue < count {
        return Ok(());
    }
    Err(translate::refused(
        RefusalCode::NoSuchQueue,
        format!("interface {interface} has no queue {queue}: it has {count} {how}, from 0"),
    ))
}

fn queues_of(site: &Site) -> Result<Option<Queues>, Refused> {
    queues::of(site.namespace.as_fd(), &site.interface).map_err(|error| {
        let message = format!(
            "interface {}: its queues can't be read: {error}",
            site.interface.name
        );
        translate::refused(RefusalCode::Kernel, message)
    })
}
