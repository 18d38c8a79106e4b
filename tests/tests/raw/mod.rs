//! A daemon that must still stand afterwards, and a socket on which anything can be said to it.

#![allow(dead_code, reason = "each test binary uses its part")]

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use nix::sys::socket::{
    AddressFamily, ControlMessage, MsgFlags, SockFlag, SockType, UnixAddr, connect, recv, sendmsg,
    socket,
};
use protocol::{
    Hello, ObjectSource, Operation, Options, Reply, ReplyBody, Request, RequestBody, Source, encode,
};
use tests::{Chain, DEADLINE, PairOptions, Rig, wait_until};

const PASS: u32 = 2;

/// A daemon with a chain of one member, which must still be there afterwards.
pub(crate) struct Scene {
    pub(crate) rig: Rig,
    before: Chain,
    descriptors: usize,
}

impl Scene {
    pub(crate) fn new() -> Self {
        Self::with(&[])
    }

    pub(crate) fn with(arguments: &[&str]) -> Self {
        let rig = Rig::with(arguments, &PairOptions::default());
        rig.load_verdict("kept", PASS, &[]);
        Self {
            before: rig.chain(),
            descriptors: rig.daemon.descriptors(),
            rig,
        }
    }

    /// The daemon goes on, has the same member, and no more descriptors than before: whatever was
    /// asked of it is done and over.
    pub(crate) fn still_stands(&self) {
        wait_until("every descriptor is closed again", DEADLINE * 2, || {
            self.rig.daemon.descriptors() <= self.descriptors
        });
        wait_until("every member that came goes", DEADLINE, || {
            self.rig.chain().order() == ["kept"]
        });
        assert_eq!(self.rig.chain().members, self.before.members);
        self.rig.load_verdict("new", PASS, &[]);
        self.rig.ctl("unload", &["new"]).done();
    }
}

/// A socket on which anything can be said.
pub(crate) struct Raw {
    socket: OwnedFd,
    /// Goes with each request that names an interface.
    namespace: File,
}

impl Raw {
    pub(crate) fn connect(rig: &Rig) -> Self {
        let flags = SockFlag::SOCK_CLOEXEC;
        let socket = socket(AddressFamily::Unix, SockType::SeqPacket, flags, None);
        let socket = socket.expect("a socket can be made");
        let address = UnixAddr::new(&rig.daemon.socket()).expect("the path is short");
        connect(socket.as_raw_fd(), &address).expect("the daemon listens");
        Self {
            socket,
            namespace: namespace(rig),
        }
    }

    pub(crate) fn greet(&self) {
        let hello = Hello {
            lowest: protocol::VERSION_LOWEST,
            highest: protocol::VERSION_HIGHEST,
            client: "raw".to_owned(),
            ..Hello::default()
        };
        self.ask(RequestBody::Hello(hello), &[]);
        assert!(matches!(self.reply().body, Ok(ReplyBody::Welcome(_))));
    }

    pub(crate) fn stage(&self, object: &[u8]) -> [u8; 32] {
        let memfd = protocol::memfd::sealed("object", object).expect("a memfd can be made");
        self.ask(RequestBody::PutObject, &[memfd.as_fd()]);
        match self.reply().body {
            Ok(ReplyBody::Object { digest }) => digest,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn ask(&self, body: RequestBody, descriptors: &[BorrowedFd<'_>]) {
        let mut descriptors: Vec<RawFd> = descriptors.iter().map(AsRawFd::as_raw_fd).collect();
        if body.interface().is_some() && descriptors.is_empty() {
            descriptors.push(self.namespace.as_raw_fd());
        }
        let request = packet(&Request { id: 1, body });
        self.send(&request, &descriptors)
            .expect("the daemon takes it");
    }

    pub(crate) fn send(&self, bytes: &[u8], descriptors: &[RawFd]) -> nix::Result<usize> {
        let rights = [ControlMessage::ScmRights(descriptors)];
        let control = if descriptors.is_empty() {
            &rights[..0]
        } else {
            &rights[..]
        };
        let parts = [io::IoSlice::new(bytes)];
        let flags = MsgFlags::MSG_NOSIGNAL;
        sendmsg::<()>(self.socket.as_raw_fd(), &parts, control, flags, None)
    }

    pub(crate) fn send_now(&self, bytes: &[u8]) -> nix::Result<usize> {
        let flags = MsgFlags::MSG_NOSIGNAL | MsgFlags::MSG_DONTWAIT;
        nix::sys::socket::send(self.socket.as_raw_fd(), bytes, flags)
    }

    /// Waits until there is an answer to be read.
    pub(crate) fn wait_for_answer(&self) {
        let mut byte = [0];
        let peeked = recv(self.socket.as_raw_fd(), &mut byte, MsgFlags::MSG_PEEK);
        // Said once, if the daemon hung up without reading everything; the answer is there.
        if peeked != Err(nix::errno::Errno::ECONNRESET) {
            peeked.expect("the daemon answers");
        }
    }

    /// The next packet, whole.
    pub(crate) fn packet(&self) -> Vec<u8> {
        let mut bytes = vec![0; 70_000];
        let received = loop {
            match recv(self.socket.as_raw_fd(), &mut bytes, MsgFlags::empty()) {
                Err(nix::errno::Errno::ECONNRESET) => {}
                received => break received,
            }
        };
        bytes.truncate(received.expect("the daemon answers"));
        assert!(!bytes.is_empty(), "the daemon hung up without an answer");
        bytes
    }

    /// The next reply that is inline.
    pub(crate) fn reply(&self) -> Reply {
        let packet = self.packet();
        assert_eq!(packet[0], 0, "a small reply is inline");
        protocol::decode(&packet[1..]).expect("the daemon talks sense")
    }

    pub(crate) fn refusal(&self) -> protocol::Refused {
        self.reply().body.expect_err("that makes no sense")
    }
}

/// The namespace of the interface under test.
pub(crate) fn namespace(rig: &Rig) -> File {
    File::open(rig.pair.near.netns.path()).expect("it is there")
}

/// A request as it travels: in the packet itself.
pub(crate) fn packet(request: &Request) -> Vec<u8> {
    [&[0][..], &encode(request).expect("it is small")].concat()
}

pub(crate) fn change(interface: &str, operations: Vec<Operation>) -> RequestBody {
    RequestBody::Change(protocol::Change {
        interface: Some(interface.to_owned()),
        operations,
        ..protocol::Change::default()
    })
}

/// A member that goes with its client at once, or stays.
pub(crate) fn register(name: &str, object: [u8; 32], priority: u32, attached: bool) -> Operation {
    let lifetime = if attached {
        libdispatch::Lifetime::Attached
    } else {
        libdispatch::Lifetime::Kept
    };
    Operation::Register(Box::new(protocol::Registration {
        name: Some(name.to_owned()),
        source: Source::Object(ObjectSource {
            object,
            ..ObjectSource::default()
        }),
        priority: Some(priority),
        chain_call: None,
        allowed: None,
        on_miss: libdispatch::OnMiss::Abort,
        lifetime,
        linger_ms: 0,
        engine: libdispatch::EngineChoice::Auto,
        tail_depth: None,
        share_group: None,
        token: [9; 16],
        options: Options::new(),
    }))
}
