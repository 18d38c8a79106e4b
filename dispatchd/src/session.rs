//! One client: its hello, its requests, its objects. Reads are answered from what is published;
//! changes go to the controller.

mod asking;
mod change;
mod read;
mod site;
mod socket;
mod umem;

use std::collections::BTreeMap;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::mpsc::SyncSender;
use std::time::{Duration, Instant};

use controller::Event;
use planner::{Authority, Client, ConnectionId, Grant, Interface, MemberId, Policy, Refusal, Verb};
use protocol::{
    Connection, Digest, Hello, MemfdError, OBJECT_BYTES_MAX, RefusalCode, Refused, Reply,
    ReplyBody, Request, RequestBody, Welcome, with_causes,
};
use sha2::{Digest as _, Sha256};

use self::site::Site;
use crate::control::Message;
use crate::desk::Desk;
use crate::kernel::Pins;
use crate::loader::{Caller, Loader};
use crate::probe::Probes;
use crate::published::Board;
use crate::server::passing;
use crate::sockets::Sockets;
use crate::translate;

/// A client that takes no reply for this long is hung up on, so that its thread ends.
const SEND_TIMEOUT: Duration = Duration::from_secs(10);
/// Objects that one connection may have staged, in bytes altogether.
const STAGED_BYTES_MAX: usize = 4 * OBJECT_BYTES_MAX;
/// Characters of a refusal's reason in the log. The client gets all of it.
const LOGGED_CHARACTERS_MAX: usize = 512;
/// The longest name a client may give itself, in bytes.
const CLIENT_NAME_BYTES_MAX: usize = 64;

/// What every session needs.
#[derive(Clone, Debug)]
pub struct Hub {
    /// To the controller.
    pub told: SyncSender<Message>,
    /// From the controller.
    pub board: Board,
    /// What requests brought.
    pub desk: Desk,
    /// The daemon's copies of sockets.
    pub sockets: Sockets,
    /// The next request's number.
    pub requests: Arc<AtomicU64>,
    /// Loads programs.
    pub loader: Loader,
    /// Who may do what.
    pub policy: Arc<Policy>,
    /// What the kernel can do.
    pub probes: Arc<Probes>,
    /// Where everything is pinned.
    pub(crate) pins: Arc<Pins>,
    /// When the daemon started.
    pub started: Instant,
}

/// A client after its hello.
struct Session<'a> {
    hub: &'a Hub,
    connection: &'a Connection,
    client: Client,
    objects: BTreeMap<Digest, Arc<Vec<u8>>>,
}

/// An answer: its body, and a descriptor to go with it.
type Response = Result<(ReplyBody, Option<OwnedFd>), Refused>;

/// A peer as the kernel names it, and what it may do somewhere: both are known before it says a word.
#[derive(Clone, Debug)]
pub struct Admitted {
    /// Its credentials.
    pub peer: protocol::Peer,
    /// What it may do.
    pub grant: Grant,
}

/// The first message of a connection; `None` if it ended before. One that can't be understood is
/// refused.
pub fn greeting(connection: &Connection) -> Result<Option<Request>, protocol::ReceiveError> {
    understood(connection, connection.receive_greeting())
}

/// Serves a connection from its greeting until it ends; then its members linger.
pub fn serve(
    hub: &Hub,
    connection: &Connection,
    id: ConnectionId,
    admitted: &Admitted,
    greeting: &Request,
) {
    let _gone = Gone { hub, id };
    if let Err(error) = converse(hub, connection, id, admitted, greeting) {
        tracing::debug!(connection = id.0, error = %with_causes(&*error), "the connection failed");
    }
}

/// Tells the controller that a connection ended, however it did.
struct Gone<'a> {
    hub: &'a Hub,
    id: ConnectionId,
}

impl Drop for Gone<'_> {
    fn drop(&mut self) {
        // The controller only goes away with the daemon.
        let gone = Event::ConnectionGone(self.id);
        let _ = self.hub.told.send(Message::Event(gone));
    }
}

fn converse(
    hub: &Hub,
    connection: &Connection,
    id: ConnectionId,
    admitted: &Admitted,
    greeting: &Request,
) -> Result<(), Box<dyn std::error::Error>> {
    let peer = admitted.peer;
    connection.set_send_timeout(Some(SEND_TIMEOUT))?;
    let (mut session, welcome) = match Session::open(hub, connection, admitted, id, &greeting.body)
    {
        Ok(opened) => opened,
        Err(refused) => {
            tracing::info!(
                uid = peer.uid,
                pid = peer.pid,
                reason = logged(&refused.message),
                "refused a client"
            );
            let body = Err(refused);
            let id = greeting.id;
            connection.send(&Reply { id, body }, &[])?;
            return Ok(());
        }
    };
    connection.set_receive_timeout(None)?;
    passing::let_descriptors_in(connection, true)?;
    let body = Ok(ReplyBody::Welcome(welcome));
    let id = greeting.id;
    connection.send(&Reply { id, body }, &[])?;
    let may_load = may_load(&admitted.grant);
    loop {
        let received = if may_load {
            connection.receive::<Request>()
        } else {
            connection.receive_inline()
        };
        let Some((request, fds)) = understood(connection, received)? else {
            return Ok(());
        };
        let (body, fd) = match session.answer(request.body, fds) {
            Ok((body, fd)) => (Ok(body), fd),
            Err(refused) => {
                tracing::info!(
                    uid = peer.uid,
                    pid = peer.pid,
                    client = %protocol::escape(&session.client.name),
                    reason = logged(&refused.message),
                    "refused a request",
                );
                (Err(refused), None)
            }
        };
        let fds: Vec<_> = fd.iter().map(AsFd::as_fd).collect();
        connection.send(
            &Reply {
                id: request.id,
                body,
            },
            &fds,
        )?;
    }
}

/// A refusal's reason for the log: one line of a bounded length, whatever a client put into it.
fn logged(reason: &str) -> String {
    let short: String = reason.chars().take(LOGGED_CHARACTERS_MAX).collect();
    protocol::escape(&short).into_owned()
}

/// Whether this client stages objects, and so may have something large to say.
fn may_load(grant: &Grant) -> bool {
    grant.verbs.contains(Verb::Load)
}

/// A request that can't be understood is answered with id 0, and ends the connection.
fn understood<T>(
    connection: &Connection,
    received: Result<T, protocol::ReceiveError>,
) -> Result<T, protocol::ReceiveError> {
    received.inspect_err(|error| {
        if let Some(refused) = error.refusal() {
            let body = Err(refused);
            let _ = connection.send(&Reply { id: 0, body }, &[]);
        }
    })
}

impl<'a> Session<'a> {
    fn open(
        hub: &'a Hub,
        connection: &'a Connection,
        admitted: &Admitted,
        id: ConnectionId,
        request: &RequestBody,
    ) -> Result<(Self, Welcome), Refused> {
        let peer = admitted.peer;
        let RequestBody::Hello(hello) = request else {
            return Err(translate::refused(
                RefusalCode::Malformed,
                "the first request must be Hello",
            ));
        };
        let version = common_version(hello)?;
        check_options(request)?;
        if hello.client.len() > CLIENT_NAME_BYTES_MAX {
            return Err(translate::refused(
                RefusalCode::Malformed,
                format!("a client's name has at most {CLIENT_NAME_BYTES_MAX} bytes"),
            ));
        }
        let session = Self {
            hub,
            connection,
            client: Client {
                uid: peer.uid,
                pid: peer.pid,
                name: hello.client.clone(),
                connection: id,
            },
            objects: BTreeMap::new(),
        };
        let welcome = Welcome {
            version,
            daemon: env!("CARGO_PKG_VERSION").to_owned(),
            features: Vec::new(),
            options: protocol::Options::new(),
        };
        Ok((session, welcome))
    }

    fn answer(&mut self, request: RequestBody, mut fds: Vec<OwnedFd>) -> Response {
        check_options(&request)?;
        // The namespace is behind what the request has to bring.
        let own = request.descriptors();
        let site = match request.interface() {
            Some(name) => {
                let namespace = if fds.len() > own { fds.pop() } else { None };
                Some(Site::find(name, namespace)?)
            }
            None => None,
        };
        let brought = if own > 0 { fds.pop() } else { None };
        if !fds.is_empty() {
            return Err(translate::refused(
                RefusalCode::Descriptor,
                "more descriptors came than the request takes",
            ));
        }
        match (request, site) {
            (RequestBody::PutObject, _) => self.put_object(brought).map(plain),
            (RequestBody::Status, _) => self.status().map(plain),
            (RequestBody::List { .. }, site) => self.list(site.as_ref()).map(plain),
            (RequestBody::Change(change), site) => self.change(change, site.as_ref()).map(plain),
            (RequestBody::Show { member, .. }, site) => {
                self.show(site.as_ref(), &member).map(plain)
            }
            (RequestBody::MapDescriptor { member, map }, _) => {
                self.map_descriptor(MemberId(member), &map)
            }
            (RequestBody::Reclaim { member, token }, _) => {
                self.reclaim(MemberId(member), token).map(plain)
            }
            (RequestBody::Subscribe { .. } | RequestBody::Unsubscribe, _) => {
                Err(translate::refused(
                    RefusalCode::Unsupported,
                    "this daemon tells nobody of events",
                ))
            }
            (RequestBody::OpenSocket(open), Some(site)) => self.open_socket(&open, &site, brought),
            (RequestBody::ActivateSocket { queue, token, .. }, Some(site)) => {
                self.activate_socket(&site, queue, token).map(plain)
            }
            (RequestBody::CloseSocket { queue, token, .. }, Some(site)) => {
                self.close_socket(&site, queue, token).map(plain)
            }
            (RequestBody::ReclaimSocket { queue, token, .. }, Some(site)) => {
                self.reclaim_socket(&site, queue, token, brought).map(plain)
            }
            // What names an interface has its site by now: this is for a second Hello.
            (
                RequestBody::Hello(_)
                | RequestBody::OpenSocket(_)
                | RequestBody::ActivateSocket { .. }
                | RequestBody::CloseSocket { .. }
                | RequestBody::ReclaimSocket { .. },
                _,
            ) => Err(translate::refused(
                RefusalCode::Malformed,
                "this connection has had its Hello",
            )),
        }
    }

    fn put_object(&mut self, fd: Option<OwnedFd>) -> Result<ReplyBody, Refused> {
        let uid = self.client.uid;
        if !may_load(&self.hub.policy.grant(uid, None)) {
            return Err(translate::refusal(&Refusal::RedirectOnly { uid }));
        }
        let fd = fd.ok_or_else(|| {
            translate::refused(
                RefusalCode::Descriptor,
                "the object's descriptor is missing",
            )
        })?;
        let bytes =
            protocol::memfd::read_sealed(fd.as_fd(), OBJECT_BYTES_MAX).map_err(|error| {
                let code = match error {
                    MemfdError::TooLarge { .. } => RefusalCode::TooLarge,
                    MemfdError::Missing
                    | MemfdError::NotMemfd { .. }
                    | MemfdError::NotSealed { .. }
                    | MemfdError::ReadOnly
                    | MemfdError::Sparse { .. }
                    | MemfdError::Unreadable(_) => RefusalCode::Descriptor,
                };
                translate::refused(code, format!("object: {}", with_causes(&error)))
            })?;
        let staged: usize = self.objects.values().map(|object| object.len()).sum();
        if staged + bytes.len() > STAGED_BYTES_MAX {
            return Err(translate::refused(
                RefusalCode::Quota,
                format!("a connection may stage objects of {STAGED_BYTES_MAX} bytes altogether"),
            ));
        }
        let digest: Digest = Sha256::digest(&bytes).into();
        self.objects.insert(digest, Arc::new(bytes));
        Ok(ReplyBody::Object { digest })
    }

    fn reclaim(&self, member: MemberId, token: [u8; 16]) -> Result<ReplyBody, Refused> {
        let published = self.hub.board.read();
        let (chain, _) = read::by_id(&published, member)?;
        self.ask_at(
            &chain.interface,
            controller::Request::Reclaim { member, token },
        )?;
        Ok(ReplyBody::Reclaimed)
    }

    /// What decides this client's requests at an interface.
    fn authority(&self, site: &Interface) -> Authority {
        self.hub.policy.authority(&self.client, site)
    }

    /// Whether this client may see what is at an interface; `None`: anything anywhere.
    fn may_list(&self, site: Option<&Interface>) -> bool {
        let grant = self.hub.policy.grant(self.client.uid, site);
        grant.verbs.contains(Verb::List)
    }

    /// Turns down who may not see what is at an interface.
    fn check_list(&self, site: &Interface) -> Result<(), Refused> {
        let checked = self.authority(site).check(Verb::List, &site.name);
        checked.map_err(|refusal| translate::refusal(&refusal))
    }

    /// The client as the loader knows it.
    fn caller(&self, site: &Interface) -> Caller<'_> {
        Caller {
            uid: self.client.uid,
            trusted: self.authority(site).may(Verb::LoadTrusted),
            connection: Some(self.connection.as_fd()),
        }
    }
}

fn plain(body: ReplyBody) -> (ReplyBody, Option<OwnedFd>) {
    (body, None)
}

fn stopping() -> Refused {
    translate::refused(RefusalCode::Daemon, "the daemon is stopping")
}

/// Turns down a request with an option that has to be understood and isn't.
fn check_options(request: &RequestBody) -> Result<(), Refused> {
    match request.not_understood() {
        None => Ok(()),
        Some((of, number)) => Err(translate::refused(
            RefusalCode::Unsupported,
            format!("{of} has option {number}, which this daemon doesn't know and has to"),
        )),
    }
}

fn common_version(hello: &Hello) -> Result<u16, Refused> {
    protocol::common_version(hello.lowest, hello.highest).ok_or_else(|| {
        translate::refused(
            RefusalCode::Version,
            format!(
                "the client speaks protocol versions {} to {}, this daemon {} to {}",
                hello.lowest,
                hello.highest,
                protocol::VERSION_LOWEST,
                protocol::VERSION_HIGHEST
            ),
        )
    })
}
