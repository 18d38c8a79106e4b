//! Descriptors that take long to close: whoever sent them waits, and nobody else.

mod raw;

use std::io::{ErrorKind, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::AsRawFd as _;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use protocol::{RefusalCode, Request, RequestBody};
use raw::{Raw, Scene};
use rustix::net::sockopt::set_socket_linger;
use tests::{as_user, kernel_is, patience};

/// Nobody's.
const USER: u32 = 54_321;
/// How long each of them takes.
const LINGER: Duration = Duration::from_secs(10);
/// How long what others ask for may take meanwhile.
const PROMPT: Duration = Duration::from_secs(1);

/// A connection that is closed only when its peer has read what is on its way, which it never does, or
/// when the time is over.
struct Lingering {
    sends: TcpStream,
    _reads: TcpStream,
}

impl Lingering {
    fn new() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port is free");
        let address = listener.local_addr().expect("it is bound");
        let mut sends = TcpStream::connect(address).expect("it listens");
        let (reads, _) = listener.accept().expect("it was connected");
        sends.set_nonblocking(true).expect("it is a socket");
        let full = loop {
            match sends.write(&[0; 4096]) {
                Ok(written) => assert!(written > 0),
                Err(error) => break error,
            }
        };
        assert_eq!(full.kind(), ErrorKind::WouldBlock);
        sends.set_nonblocking(false).expect("it is a socket");
        set_socket_linger(&sends, Some(LINGER)).expect("it is a socket");
        Self {
            sends,
            _reads: reads,
        }
    }

    /// Closes it at once.
    fn reset(self) {
        set_socket_linger(&self.sends, Some(Duration::ZERO)).expect("it is a socket");
    }
}

/// Others are served as ever.
#[track_caller]
fn assert_prompt(scene: &Scene) {
    let begin = Instant::now();
    scene.rig.load_verdict("meanwhile", 2, &[]);
    scene.rig.ctl("unload", &["meanwhile"]).done();
    let took = begin.elapsed();
    assert!(took < patience(PROMPT), "others waited for {took:?}");
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn what_comes_before_the_welcome_holds_nobody_up() {
    // A user who is let in, and one who is not.
    let scene = Scene::with(&["--allow-uid", "54321"]);
    for uid in [USER, USER + 1] {
        for bytes in [&b"no greeting"[..], b""] {
            let mut kept_out = 0;
            for _ in 0..4 {
                let client = as_user(uid, || Raw::connect(&scene.rig));
                let lingering = Lingering::new();
                let fd = lingering.sends.as_raw_fd();
                match client.send(bytes, &[fd]) {
                    // Only the daemon has it now.
                    Ok(_) => drop(lingering.sends),
                    // Linux 6.16 and later keep it out.
                    Err(Errno::EPERM) => {
                        kept_out += 1;
                        lingering.reset();
                    }
                    // The user who is not let in may have been hung up on already.
                    Err(error) => {
                        assert_eq!((error, uid), (Errno::EPIPE, USER + 1));
                        lingering.reset();
                    }
                }
            }
            if kernel_is((6, 16)) && uid == USER {
                assert_eq!(kept_out, 4);
            }
            assert_prompt(&scene);
        }
    }
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn a_socket_that_is_none_of_af_xdp_holds_nobody_up() {
    let scene = Scene::with(&["--allow-uid", "54321"]);
    let client = as_user(USER, || Raw::connect(&scene.rig));
    client.greet();
    let lingering = Lingering::new();
    let reclaim = RequestBody::ReclaimSocket {
        interface: "xd0".to_owned(),
        queue: 0,
        token: [7; 16],
    };
    let request = raw::packet(&Request {
        id: 1,
        body: reclaim,
    });
    let namespace = raw::namespace(&scene.rig);
    let descriptors = [lingering.sends.as_raw_fd(), namespace.as_raw_fd()];
    client
        .send(&request, &descriptors)
        .expect("a client may send them");
    assert_eq!(client.refusal().code, RefusalCode::Descriptor);
    let Lingering { sends, _reads } = lingering;
    drop(sends);
    assert_prompt(&scene);
    drop(client);
    assert_prompt(&scene);
}
