//! The connection to the daemon, as an application sees it.

use std::{
    env, fmt,
    os::fd::{AsFd, OwnedFd},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use protocol::{MemberRef, Open as OpenForm, ReplyBody, RequestBody, SocketGrant};

use crate::{
    Chain, Change, Error, MemberDetail, NetNs, Program, Registration, SocketLease, SocketRequest,
    Status, keeper, netns::NetNsFile, request::Answer, session::Session,
};

/// Where the daemon listens if nobody says otherwise.
pub const SOCKET_DEFAULT: &str = "/run/dispatchd/dispatchd.sock";
/// The environment variable that says otherwise.
pub const SOCKET_VARIABLE: &str = "DISPATCHD_SOCKET";

/// How long one answer may take if nobody says otherwise. The verifier needs seconds for a large
/// program, and a change can load many.
const TIMEOUT_DEFAULT: Duration = Duration::from_secs(120);
/// As long as for ever, and no clock's end.
const TIMEOUT_MAX: Duration = Duration::from_secs(365 * 24 * 60 * 60);
/// The longest name of a client, in bytes; the daemon refuses longer ones.
const NAME_BYTES_MAX: usize = 64;

/// A connection to the daemon. Clones share it, and any number of threads may use it at once.
///
/// Requests that load programs or concern sockets are carried out one after the other. All others
/// don't wait for them: lists, counts, or the end of a member.
///
/// When the connection breaks, the next call makes a new one and re-claims what was registered.
/// If members are registered, a thread does the same without a call.
///
/// Attached members go with the last clone (a [`Registration`] holds one).
#[derive(Clone)]
pub struct Client {
    session: Arc<Open>,
}

/// The session, until the last clone is gone: the keeper may still be in the middle of something.
struct Open(Arc<Session>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.close();
    }
}

impl Client {
    /// Connects to the daemon with the defaults of [`ClientBuilder`].
    pub fn connect() -> Result<Self, Error> {
        Self::builder().connect()
    }

    /// Connects with other settings.
    pub fn builder() -> ClientBuilder {
        ClientBuilder::default()
    }

    /// Puts a program on an interface. It runs from the return of this call on, until the
    /// registration is dropped.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`] with the reason; if the verifier refused the program, its whole log is
    /// in [`Refusal::log`](crate::Refusal::log). After [`Error::Disconnected`], a member that was
    /// registered nevertheless goes by itself, after its linger time.
    pub fn register(&self, interface: &str, program: &Program) -> Result<Registration, Error> {
        let change = self.change(interface).register(program);
        let (changed, claims) = change.apply_and_claim()?;
        Registration::first(self.clone(), interface, changed, claims.first().copied())
    }

    /// Puts a program on several interfaces. Its maps are one each for every interface, unless the
    /// program has a [share group](Program::share_group).
    ///
    /// # Errors
    ///
    /// As for [`register`](Self::register), of the first interface that failed; the program is
    /// unregistered from the interfaces before that again.
    pub fn register_all<I>(
        &self,
        interfaces: &[I],
        program: &Program,
    ) -> Result<Vec<Registration>, Error>
    where
        I: AsRef<str>,
    {
        let mut registrations = Vec::with_capacity(interfaces.len());
        for interface in interfaces {
            match self.register(interface.as_ref(), program) {
                Ok(registration) => registrations.push(registration),
                Err(error) => {
                    // The first error is the one to be told; an attached member goes anyway.
                    for registration in registrations {
                        let _ = registration.unregister();
                    }
                    return Err(error);
                }
            }
        }
        Ok(registrations)
    }

    /// Begins a change of one interface's chain: any number of operations, one swap.
    pub fn change(&self, interface: &str) -> Change<'_> {
        Change::new(self, interface)
    }

    /// The chains with their members, in run order: one interface's (none, if it has no chain), or
    /// those of all interfaces of all namespaces.
    pub fn list(&self, interface: Option<&str>) -> Result<Vec<Chain>, Error> {
        let body = RequestBody::List {
            interface: interface.map(str::to_owned),
        };
        self.ask(&body, |answer| match answer {
            (ReplyBody::Chains(chains), _) => Ok(chains.into_iter().map(Chain::from).collect()),
            (other, _) => Err(other.into()),
        })
    }

    /// Everything about one member.
    pub fn show(&self, interface: &str, name: &str) -> Result<MemberDetail, Error> {
        self.show_member(Some(interface), name.into())
    }

    /// The same of the member that is named like this.
    pub(crate) fn show_member(
        &self,
        interface: Option<&str>,
        member: OpenForm<MemberRef>,
    ) -> Result<MemberDetail, Error> {
        let body = RequestBody::Show {
            interface: interface.map(str::to_owned),
            member,
        };
        self.ask(&body, |answer| match answer {
            (ReplyBody::Member(detail), _) => Ok((*detail).into()),
            (other, _) => Err(other.into()),
        })
    }

    /// The daemon's own state.
    pub fn status(&self) -> Result<Status, Error> {
        self.ask(&RequestBody::Status, |answer| match answer {
            (ReplyBody::Status(status), _) => Ok(status.into()),
            (other, _) => Err(other.into()),
        })
    }

    /// A descriptor of one of a member's own maps, by its name in the object. The daemon gives it
    /// to the member's owner.
    ///
    /// # Minimum kernel version
    ///
    /// A process without `CAP_BPF` can use the descriptor from kernel 5.19 on.
    pub fn map(&self, interface: &str, name: &str, map: &str) -> Result<OwnedFd, Error> {
        let member = self.show(interface, name)?.member.id;
        self.map_of(member, map)
    }

    /// The same of the member with this id.
    pub(crate) fn map_of(&self, member: u64, map: &str) -> Result<OwnedFd, Error> {
        let body = RequestBody::MapDescriptor {
            member,
            map: map.to_owned(),
        };
        self.ask(&body, |(answer, mut fds)| match (&answer, fds.pop()) {
            (ReplyBody::Map(_), Some(descriptor)) => Ok(descriptor),
            _ => Err(answer.into()),
        })
    }

    /// Has the daemon open an `AF_XDP` socket on a receive queue, which is then this client's alone:
    /// with this memory registered, its rings sized, and bound. The application maps the rings from the
    /// socket, puts frames into the FILL ring, and [activates](SocketLease::activate) it. None of that
    /// takes a privilege.
    ///
    /// `memory` is a memfd, sealed against SHRINK and GROW (and not against WRITE), all of it allocated
    /// (`fallocate`), and a multiple of the frame size. The daemon pins it.
    ///
    /// # Errors
    ///
    /// [`RefusalCode::Unsupported`](crate::RefusalCode) before Linux 6.4, where nobody can map the rings
    /// of a bound socket: see [`open_bare_socket`](Self::open_bare_socket).
    /// [`Error::Refused`] too: the queue is another's ([`RefusalCode::QueueTaken`](crate::RefusalCode),
    /// with the owner's name) or doesn't exist, the memory is more than this user may pin or not as it
    /// should be, or the driver can't do what is asked for.
    ///
    /// # Minimum kernel version
    ///
    /// 6.4.
    pub fn open_socket(
        &self,
        request: &SocketRequest,
        memory: impl AsFd,
    ) -> Result<SocketLease, Error> {
        let memory = memory.as_fd();
        SocketLease::open(self.clone(), request, request.bound(None), Some(memory))
    }

    /// The same, with the frames of a socket that this client has open on another queue or interface.
    pub fn open_shared_socket(
        &self,
        request: &SocketRequest,
        first: &SocketLease,
    ) -> Result<SocketLease, Error> {
        let grant = request.bound(Some(first.token()));
        SocketLease::open(self.clone(), request, grant, None)
    }

    /// Has the daemon open another socket on the queue of one that this client has open: a second
    /// thread may send with it, or an XDP program of the application's own gives each some of the
    /// packets. It has the first one's frames, FILL ring and COMPLETION ring
    /// ([`Socket::take_beside`](crate::xsk::Socket::take_beside)), whatever the request says of
    /// these, of the interface and of the queue.
    ///
    /// The built-in redirect program gives a queue's packets to one socket:
    /// [`activate`](SocketLease::activate) refuses another. The queue stays this client's until the last of
    /// them is closed. After a restart of the daemon only an active socket can be claimed again: the
    /// others go on working, and the daemon doesn't know of them.
    pub fn open_socket_beside(
        &self,
        request: &SocketRequest,
        first: &SocketLease,
    ) -> Result<SocketLease, Error> {
        let request = request.beside(first.interface(), first.queue());
        let grant = request.bound(Some(first.token()));
        SocketLease::open(self.clone(), &request, grant, None)
    }

    /// Has the daemon open a socket that is tied to the interface, and nothing else: memory, rings and
    /// `bind` are the application's, so of the request only interface, queue and
    /// [`without_redirect`](SocketRequest::without_redirect) count. Since it could bind any queue, this
    /// takes root, or `dispatchd --allow-bare UID`.
    pub fn open_bare_socket(&self, request: &SocketRequest) -> Result<SocketLease, Error> {
        SocketLease::open(self.clone(), request, SocketGrant::Bare, None)
    }

    pub(crate) fn session(&self) -> &Session {
        &self.session.0
    }

    /// Starts the keeper if there is something to keep.
    pub(crate) fn start_keeper(&self) {
        keeper::start(&self.session.0);
    }

    fn ask<T>(
        &self,
        body: &RequestBody,
        take: impl FnOnce(Answer) -> Result<T, Box<ReplyBody>>,
    ) -> Result<T, Error> {
        let session = self.session();
        let (taken, _) = session.ask(body, &[], &session.patience(), take)?;
        Ok(taken)
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").finish_non_exhaustive()
    }
}

/// How to connect.
#[derive(Clone, Debug, Default)]
pub struct ClientBuilder {
    socket: Option<PathBuf>,
    netns: NetNs,
    name: Option<String>,
    timeout: Option<Duration>,
}

impl ClientBuilder {
    /// Where the daemon listens. Default: what `DISPATCHD_SOCKET` says, else
    /// `/run/dispatchd/dispatchd.sock`.
    #[must_use]
    pub fn socket(mut self, path: impl Into<PathBuf>) -> Self {
        self.socket = Some(path.into());
        self
    }

    /// The network namespace in which interface names are resolved. Default: the caller's own.
    #[must_use]
    pub fn netns(mut self, netns: impl Into<NetNs>) -> Self {
        self.netns = netns.into();
        self
    }

    /// What this client calls itself in listings, in at most 64 bytes. Default: the name of the
    /// executable.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// How long one answer may take before the call fails with [`Error::TimedOut`]; at least 1 ms, and
    /// at most a year.
    /// Where the daemon carries out what other threads asked first, the time begins after that.
    /// Default: 120 s.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Connects.
    ///
    /// # Errors
    ///
    /// [`Error::NotReachable`] if no daemon listens there, [`Error::Namespace`] if the namespace
    /// can't be opened, [`Error::VersionMismatch`] if the daemon is too old or too new.
    pub fn connect(self) -> Result<Client, Error> {
        let socket = self.socket.unwrap_or_else(default_socket);
        let netns = NetNsFile::choose(&self.netns)?;
        // One that can't be opened is an error now, not with the first request.
        drop(netns.open()?);
        let name = self.name.unwrap_or_else(default_name);
        // The kernel takes a timeout of 0 for none.
        let timeout = self
            .timeout
            .unwrap_or(TIMEOUT_DEFAULT)
            .clamp(Duration::from_millis(1), TIMEOUT_MAX);
        let session = Session::new(socket, netns, name, timeout);
        session.home(&session.patience())?;
        Ok(Client {
            session: Arc::new(Open(Arc::new(session))),
        })
    }
}

fn default_socket() -> PathBuf {
    match env::var_os(SOCKET_VARIABLE) {
        Some(path) if !path.is_empty() => path.into(),
        _ => SOCKET_DEFAULT.into(),
    }
}

fn default_name() -> String {
    let executable = env::args_os().next().unwrap_or_default();
    let file = Path::new(&executable).file_name().unwrap_or_default();
    let mut name = file.to_string_lossy().into_owned();
    while name.len() > NAME_BYTES_MAX {
        name.pop();
    }
    name
}
