//! Sockets and who holds them.

#![allow(dead_code, reason = "each test binary uses its part")]

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Child, Command};

use libdispatch::{Client, Error, RefusalCode, Remedy, SocketLease, SocketRequest};
use protocol::{
    Connection, Hello, OpenSocket, Options, Reply, ReplyBody, Request, RequestBody, SocketGrant,
    SocketOptions, Umem, UmemLayout,
};
use rustix::fs::{FallocateFlags, MemfdFlags, SealFlags};
use rustix::net::sockopt;
use tests::{PairOptions, RawRings, Rig, is_refused_for_age, is_too_old};

/// What a socket has of its own unless a test is about it.
pub(crate) const MEMORY: u64 = 64 * 2048;

/// A daemon and an interface with so many queues.
pub(crate) fn queues(queues: u32) -> Rig {
    let options = PairOptions {
        queues,
        ..PairOptions::default()
    };
    Rig::with(&[], &options)
}

/// Small rings.
pub(crate) fn request(queue: u32) -> SocketRequest {
    SocketRequest::new("xd0", queue).rings(64)
}

/// A bound socket; where the kernel lets nobody map its rings, a bare one, whose queue is claimed all
/// the same, with no more than it has to have.
pub(crate) fn try_open(client: &Client, queue: u32, bytes: u64) -> Result<SocketLease, Error> {
    let opened = client.open_socket(&request(queue), memory(bytes));
    if is_too_old(&opened) {
        let socket = client.open_bare_socket(&request(queue))?;
        make_rx_ring(&socket);
        return Ok(socket);
    }
    opened
}

/// Without one a socket gets no packets.
pub(crate) fn make_rx_ring(socket: impl AsFd) {
    sockopt::set_xdp_rx_ring_size(socket, 64).expect("it has none yet");
}

/// Whether this kernel lets a bound socket's rings be mapped.
pub(crate) fn lends_bound_sockets(client: &Client) -> bool {
    let opened = client.open_socket(&request(0), memory(MEMORY));
    let lends = !is_too_old(&opened);
    if lends {
        let socket = opened.expect("the queue is free");
        socket.close().expect("it is ours");
    }
    lends
}

#[track_caller]
pub(crate) fn open(client: &Client, queue: u32) -> SocketLease {
    try_open(client, queue, MEMORY).expect("the queue is free")
}

#[track_caller]
pub(crate) fn active(client: &Client, queue: u32) -> SocketLease {
    let socket = open(client, queue);
    put_frame(&socket);
    socket.activate().expect("it is bound");
    socket
}

/// Puts a frame into a socket's FILL ring, where the kernel lets a bound one's be mapped: without any
/// it gets no packets.
pub(crate) fn put_frame(socket: impl AsFd) {
    if let Ok(rings) = RawRings::of(socket.as_fd(), [64, 0, 0, 0]) {
        rings.put_first_frame();
    }
}

/// A process that has a socket and the connection that it was opened on.
pub(crate) struct Victim(Child);

impl Victim {
    pub(crate) fn holding(rig: &Rig, queue: u32) -> Self {
        let connection = Connection::connect(&rig.daemon.socket()).expect("it listens");
        let ask = |body: RequestBody, memory: Option<&OwnedFd>| {
            let namespace = File::open(rig.pair.near.netns.path()).expect("it is there");
            let named = body.interface().map(|_| namespace.as_fd());
            let fds: Vec<_> = memory.map(AsFd::as_fd).into_iter().chain(named).collect();
            let request = Request { id: 1, body };
            connection
                .send(&request, &fds)
                .expect("the daemon is there");
            let answer = connection.receive::<Reply>().expect("it answers");
            let (reply, mut fds) = answer.expect("it doesn't hang up");
            reply.body.map(|body| (body, fds.pop()))
        };
        let hello = Hello {
            lowest: protocol::VERSION_LOWEST,
            highest: protocol::VERSION_HIGHEST,
            client: "victim".to_owned(),
            ..Hello::default()
        };
        ask(RequestBody::Hello(hello), None).expect("it is root");
        let layout = UmemLayout {
            frame_size: 2048,
            headroom: 0,
            unaligned: false,
            tx_metadata_len: 0,
            software_checksum: false,
        };
        let interface = "xd0".to_owned();
        // Of each queue another one.
        let token = [u8::try_from(queue).expect("few queues"); 16];
        let open = |grant| OpenSocket {
            interface: interface.clone(),
            queue,
            grant,
            redirect: true,
            token,
            options: Options::new(),
        };
        let bound = SocketGrant::Bound(SocketOptions {
            umem: Umem::Own(layout),
            fill: 64,
            completion: 64,
            rx: 64,
            tx: 64,
            mode: protocol::SocketMode::Auto,
            need_wakeup: true,
            multi_buffer: false,
            busy_poll: None,
        });
        let memory = memory(MEMORY);
        let mut opened = ask(RequestBody::OpenSocket(open(bound)), Some(&memory));
        let refused = opened.as_ref().err();
        // As for `try_open`.
        if is_refused_for_age(refused.map(|refused| (refused.code.into(), &*refused.message))) {
            opened = ask(RequestBody::OpenSocket(open(SocketGrant::Bare)), None);
            if let Ok((_, Some(socket))) = &opened {
                make_rx_ring(socket);
            }
        }
        let opened = opened.expect("the queue is free");
        let (ReplyBody::Socket(_), Some(socket)) = opened else {
            panic!("{opened:?}");
        };
        put_frame(&socket);
        let activate = RequestBody::ActivateSocket {
            interface,
            queue,
            token,
        };
        ask(activate, None).expect("it is ours");
        let connection = connection
            .as_fd()
            .try_clone_to_owned()
            .expect("it can be copied");
        let child = Command::new("sleep")
            .arg("1000")
            .stdin(connection)
            .stdout(socket)
            .spawn();
        Self(child.expect("sleep can be started"))
    }

    /// A descriptor of its socket.
    pub(crate) fn socket(&self) -> OwnedFd {
        use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};
        let process = pidfd_open(Pid::from_child(&self.0), PidfdFlags::empty());
        let process = process.expect("a child can be opened");
        let socket = pidfd_getfd(&process, 1, PidfdGetfdFlags::empty());
        socket.expect("root may take it")
    }

    pub(crate) fn kill(&mut self) {
        self.0.kill().expect("a child can be killed");
        self.0.wait().expect("a child can be waited for");
    }
}

impl Drop for Victim {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

pub(crate) fn detail(client: &Client) -> libdispatch::MemberDetail {
    client
        .show("xd0", "xsk-redirect")
        .expect("the program is there")
}

pub(crate) fn states(rig: &Rig) -> Vec<(u32, String)> {
    let sockets = detail(&rig.client("observer")).sockets;
    let states = sockets.iter();
    states
        .map(|socket| (socket.queue, socket.state.name().to_owned()))
        .collect()
}

#[track_caller]
pub(crate) fn code(error: &Error) -> RefusalCode {
    let refusal = error.refusal();
    refusal.unwrap_or_else(|| panic!("{error}")).code
}

/// What would mend it.
pub(crate) fn remedy(error: &Error) -> Option<&Remedy> {
    error.refusal()?.remedy.as_ref()
}

pub(crate) fn memory(bytes: u64) -> OwnedFd {
    memfd(bytes, SealFlags::SHRINK | SealFlags::GROW, true)
}

pub(crate) fn memfd(bytes: u64, seals: SealFlags, allocated: bool) -> OwnedFd {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let memfd = rustix::fs::memfd_create("umem", flags).expect("memory can be made");
    rustix::fs::ftruncate(&memfd, bytes).expect("it is ours");
    if allocated {
        rustix::fs::fallocate(memfd.as_fd(), FallocateFlags::empty(), 0, bytes)
            .expect("there is memory");
    }
    rustix::fs::fcntl_add_seals(&memfd, seals).expect("it can be sealed");
    memfd
}
