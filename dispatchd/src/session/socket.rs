//! `AF_XDP` sockets: checked, claimed, made, given away; and the redirect program that comes with the
//! first that becomes active.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};

use dispatcher_abi::{
    CLAIMS_MAP, EngineChoice, Lifetime, OnMiss, REDIRECT_MEMBER, REDIRECT_PRIORITY,
    REDIRECT_PROGRAM, REDIRECT_QUEUES, SOCKETS_MAP, VerdictMask,
};
use planner::{Opening, PinnedMemory, QueueKey, SocketKey};
use protocol::{
    Note, ObjectSource, Open, OpenSocket, Operation, Options, RefusalCode, Refused, Registration,
    ReplyBody, Socket, SocketGrant, SocketMode, SocketOptions, Source, Umem,
};
use sha2::{Digest as _, Sha256};

use super::site::Site;
use super::umem::{self, Room};
use super::{Answer, Session, stopping};
use crate::engine::{self, Activation, Event, SocketError, SocketEvent, SocketRequest};
use crate::kernel::queues::{self, Queues};
use crate::kernel::redirect_object;
use crate::kernel::xsk::{self, Bound, CopyMode, Made, Memory};
use crate::translate;

/// How often an activation registers the redirect program: more than once if the last other socket
/// goes in between, and the program with it.
const TRIES: usize = 4;

impl Session<'_> {
    /// Opens a socket. The queue is the client's before anything is made, so that of two who want it
    /// one hears of the other.
    pub(super) fn open_socket(
        &self,
        open: &OpenSocket,
        site: &Site,
        memfd: Option<OwnedFd>,
    ) -> Answer {
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
            token: key.token,
        };
        self.claim(opening)?;
        let made = make(open, site, &room, first.as_ref());
        let made = made.map_err(|refused| self.failed(key, refused))?;
        let socket = Arc::new(made.socket);
        // Before it is the engine's: without a descriptor the client could not close it.
        let given = socket.try_clone().map_err(|error| {
            let message = format!("interface {interface}: the socket: {error}");
            self.failed(key, translate::refused(RefusalCode::Daemon, message))
        })?;
        let is_ours = self.ask_engine(|reply| SocketEvent::Opened {
            key,
            socket: Arc::clone(&socket),
            zero_copy: made.zero_copy,
            reply,
        })?;
        if !is_ours {
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

    /// Gives a queue back whose socket could not be made. If that was because it is bound, the engine may
    /// know by whom.
    fn failed(&self, key: SocketKey, refused: Refused) -> Refused {
        let left_open = self.ask_engine(|reply| SocketEvent::Failed { key, reply });
        match left_open {
            Ok(Some(refusal)) if refused.code == RefusalCode::QueueTaken => {
                translate::refusal(&refusal)
            }
            _ => refused,
        }
    }

    fn claim(&self, opening: Opening) -> Result<(), Refused> {
        let claimed = self.ask_engine(|reply| SocketEvent::Claim {
            client: self.client.clone(),
            opening,
            may_bare: self.hub.policy.may_bare(self.client.uid),
            reply,
        })?;
        claimed.map_err(|refusal| translate::refusal(&refusal))
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
            socket.claim.token == *token && socket.claim.owner.connection == self.client.connection
        });
        let first = found.and_then(|found| {
            Some(First {
                place: found.key.place,
                socket: found.socket.upgrade()?,
                memory: found.claim.memory,
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
        let mut notes = Vec::new();
        for _ in 0..TRIES {
            let activated = self.ask_of_socket(site, queue, token, SocketEvent::Activate)?;
            match activated {
                Activation::Done => return Ok(ReplyBody::SocketActivated { notes }),
                Activation::NeedsRedirect => notes.extend(self.register_redirect(site)?),
            }
        }
        Err(translate::refused(
            RefusalCode::Conflict,
            format!(
                "interface {}: the redirect program was removed each time that it was registered",
                site.interface.name
            ),
        ))
    }

    pub(super) fn close_socket(
        &self,
        site: &Site,
        queue: u32,
        token: [u8; 16],
    ) -> Result<ReplyBody, Refused> {
        self.ask_of_socket(site, queue, token, SocketEvent::Close)?;
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
        self.ask_of_socket(site, queue, token, |request| SocketEvent::Reclaim {
            request,
            socket,
        })?;
        Ok(ReplyBody::SocketReclaimed)
    }

    /// Asks the engine something about one socket.
    fn ask_of_socket<T>(
        &self,
        site: &Site,
        queue: u32,
        token: [u8; 16],
        event: impl FnOnce(SocketRequest<T>) -> SocketEvent,
    ) -> Result<T, Refused> {
        let answer: Result<T, SocketError> = self.ask_engine(|reply| {
            event(SocketRequest {
                client: self.client.clone(),
                interface: site.interface.name.clone(),
                key: SocketKey {
                    place: QueueKey {
                        chain: site.interface.key,
                        queue,
                    },
                    token,
                },
                reply,
            })
        })?;
        answer.map_err(|error| translate::socket_error(&error))
    }

    fn ask_engine<T>(
        &self,
        event: impl FnOnce(SyncSender<T>) -> SocketEvent,
    ) -> Result<T, Refused> {
        let (reply, answer) = sync_channel(1);
        self.tell(Event::Socket(Box::new(event(reply))))?;
        answer.recv().map_err(|_| stopping())
    }

    /// Registers the redirect program as the daemon's own member, by the way of every other.
    fn register_redirect(&self, site: &Site) -> Result<Vec<Open<Note>>, Refused> {
        let object = redirect_object();
        let digest = Sha256::digest(&*object).into();
        let daemon = Session {
            hub: self.hub,
            client: engine::daemon(),
            objects: BTreeMap::from([(digest, object)]),
        };
        let queues = queues_of(site)?.map_or(REDIRECT_QUEUES, |queues| queues.most);
        let change = protocol::Change {
            interface: site.interface.name.clone(),
            operations: vec![Operation::Register(Box::new(redirect(digest, queues)))],
            ..protocol::Change::default()
        };
        let site = Site {
            interface: site.interface.clone(),
            namespace: Arc::clone(&site.namespace),
        };
        match daemon.change(change, site) {
            Ok(ReplyBody::Changed(changed)) => Ok(changed.notes),
            Ok(_) => Ok(Vec::new()),
            // Another activation was faster.
            Err(refused) if refused.code == RefusalCode::NameTaken => Ok(Vec::new()),
            Err(refused) => Err(refused),
        }
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

/// The redirect program, as a member of an interface with so many queues.
fn redirect(object: protocol::Digest, queues: u32) -> Registration {
    let entries = queues.max(REDIRECT_QUEUES);
    Registration {
        name: Some(REDIRECT_MEMBER.to_owned()),
        source: Source::Object(ObjectSource {
            object,
            program: Some(REDIRECT_PROGRAM.to_owned()),
            map_sizes: [SOCKETS_MAP, CLAIMS_MAP]
                .map(|map| (map.to_owned(), entries))
                .to_vec(),
            ..ObjectSource::default()
        }),
        priority: Some(REDIRECT_PRIORITY),
        chain_call: Some(VerdictMask::PASS),
        allowed: None,
        on_miss: OnMiss::Abort,
        lifetime: Lifetime::Kept,
        linger_ms: 0,
        engine: EngineChoice::Auto,
        tail_depth: None,
        share_group: None,
        token: super::change::token(),
        options: Options::new(),
    }
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
                let message = format!("interface {}: {}", interface.name, translate::chain(&error));
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
