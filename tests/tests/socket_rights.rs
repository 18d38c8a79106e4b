//! What a lent socket gives an application without privileges beyond the packets of its queue: nothing.

mod echo;
mod lent;
mod socket;

use std::collections::BTreeSet;
use std::fs::{self, Permissions};
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use echo::Echo;
use lent::{NOBODY, client, open, umem};
use libdispatch::RefusalCode;
use nix::sys::signal::Signal;
use rustix::io::Errno;
use rustix::net::xdp::{SocketAddrXdp, SocketAddrXdpFlags, SocketAddrXdpWithSharedUmem};
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use socket::{code, states};
use tests::{PairOptions, Rig, as_user, frame, intruder};

const PASS: u32 = 2;

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn a_process_with_a_lent_socket_has_the_descriptors_that_it_was_given_and_no_other() {
    let rig = lent::rig(&PairOptions::default());
    let echo = Echo::start(&rig, &["xd0", "--drop"]);
    let directory = format!("/proc/{}/fd", echo.pid());
    let held: BTreeSet<String> = fs::read_dir(directory)
        .expect("root may look")
        .filter_map(|entry| entry.expect("root may look").file_name().into_string().ok())
        // Those it inherited.
        .filter(|number| !["0", "1", "2"].contains(&number.as_str()))
        .map(|number| {
            let target = fs::read_link(format!("/proc/{}/fd/{number}", echo.pid()));
            let target = target.expect("it keeps what it has");
            target.to_string_lossy().into_owned()
        })
        .collect();
    let of_kind = |kind: &str| held.iter().filter(|held| held.starts_with(kind)).count();
    assert_eq!(of_kind("socket:"), 2, "the daemon's and the lent: {held:?}");
    assert_eq!(of_kind("/memfd:umem"), 1, "{held:?}");
    assert_eq!(of_kind("anon_inode:bpf"), 0, "{held:?}");
    assert!(echo.end(Signal::SIGTERM).success());
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn with_a_lent_socket_nobody_reaches_the_chains_programs_links_or_maps() {
    let rig = lent::rig(&PairOptions::default());
    // As on a system where everybody may look into bpffs.
    let bpffs = rig.daemon.bpffs();
    fs::set_permissions(bpffs.path(), Permissions::from_mode(0o755)).expect("it is ours");
    rig.load_verdict("ahead", PASS, &["--priority", "10"]);
    let client = client(&rig, "application");
    let umem = umem();
    let (lease, socket) = open(&client, &umem, 0);
    let before = rig.chain();
    let root = rig.pair.near.xdp_program().expect("it is attached");
    let ways = Ways::of(&rig, root);
    // Each is there, for who may have it.
    for (way, found) in ways.try_all().into_iter().enumerate() {
        found.unwrap_or_else(|error| panic!("way {way}: {error}"));
    }
    for (way, found) in as_user(NOBODY, || ways.try_all()).into_iter().enumerate() {
        let error = found.expect_err("it is not nobody's");
        assert_eq!(
            error.kind(),
            io::ErrorKind::PermissionDenied,
            "way {way}: {error}"
        );
    }
    for map in ["XSKS", "CLAIMS"] {
        let map = as_user(NOBODY, || client.map("xd0", "xsk-redirect", map));
        assert_eq!(
            code(&map.expect_err("it is the daemon's")),
            RefusalCode::NotAllowed
        );
    }
    // What it has is neither a program nor a map.
    let index = rig.pair.near.index;
    let own: [BorrowedFd<'_>; 2] = [socket.as_fd(), umem.as_fd()];
    rig.pair.near.netns.run(|| {
        as_user(NOBODY, || {
            for own in own {
                intruder::attach(own, index).expect_err("it is no program");
                intruder::freeze(own).expect_err("it is no map");
                intruder::insert(own, 0, socket.as_fd()).expect_err("it is no map");
            }
        });
    });
    assert_eq!(rig.chain(), before);
    assert_eq!(rig.pair.near.xdp_program(), Some(root));
    rig.send(&frame(64), 10);
    assert_eq!(rig.chain().member("xsk-redirect").packets.redirect, 10);
    // The daemon still writes to the map.
    drop((socket, lease));
    assert_eq!(rig.chain().order(), ["ahead"]);
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn a_lent_socket_can_be_bound_to_no_other_device_or_queue() {
    let options = PairOptions {
        queues: 2,
        ..PairOptions::default()
    };
    let rig = lent::rig(&options);
    rig.pair
        .near
        .netns
        .ip("link add other0 type veth peer name other1");
    let index = rig
        .pair
        .near
        .netns
        .run(|| nix::net::if_::if_nametoindex("other0"));
    let (other, this) = (index.expect("it was just made"), rig.pair.near.index);
    let umem = umem();
    let (lease, socket) = open(&client(&rig, "application"), &umem, 0);
    let bind = |flags, index, queue| {
        let address = SocketAddrXdp::new(flags, index, queue);
        rustix::net::bind(&socket, &address)
    };
    let share = |index, queue| {
        let flags = SocketAddrXdpFlags::XDP_SHARED_UMEM;
        let address = SocketAddrXdpWithSharedUmem {
            addr: SocketAddrXdp::new(flags, index, queue),
            shared_umem_fd: socket.as_fd(),
        };
        rustix::net::bind(&socket, &address)
    };
    rig.pair.near.netns.run(|| {
        as_user(NOBODY, || {
            for (index, queue) in [(other, 0), (1, 0), (this, 1), (this, 0)] {
                let copy = SocketAddrXdpFlags::XDP_COPY;
                let bound = [bind(copy, index, queue), share(index, queue)];
                assert!(
                    bound.iter().all(Result::is_err),
                    "{index} {queue}: {bound:?}"
                );
            }
            let device = nix::sys::socket::setsockopt(
                &socket,
                nix::sys::socket::sockopt::BindToDevice,
                &"other0".into(),
            );
            assert_eq!(device, Err(nix::errno::Errno::EPERM));
            // Nor is there another one to be had.
            let flags = SocketFlags::CLOEXEC;
            let own = rustix::net::socket_with(AddressFamily::XDP, SocketType::RAW, flags, None);
            assert_eq!(own.map(drop), Err(Errno::PERM));
        });
    });
    assert_eq!(states(&rig), [(0, "active".to_owned())]);
    drop((socket, lease));
    assert_eq!(rig.try_chain(), None);
}

/// All that could lead to the chain.
struct Ways {
    programs: [u32; 2],
    link: u32,
    maps: [u32; 2],
    pins: Vec<PathBuf>,
}

impl Ways {
    fn of(rig: &Rig, root: u32) -> Self {
        let program = rig.chain().member("xsk-redirect").program_id;
        let bpffs = rig.daemon.bpffs();
        let pins: Vec<_> = bpffs.pins();
        assert!(pins.len() > 4, "{pins:?}");
        Self {
            programs: [root, program.expect("it is loaded")],
            link: rig.port().link(),
            maps: ["XSKS", "CLAIMS"].map(|map| rig.map("xsk-redirect", map).id()),
            pins: pins.iter().map(|pin| bpffs.path().join(pin)).collect(),
        }
    }

    fn try_all(&self) -> Vec<io::Result<()>> {
        let programs = self.programs.iter().map(|id| intruder::program_by_id(*id));
        let maps = self.maps.iter().map(|id| intruder::map_by_id(*id));
        let pins = self.pins.iter().map(|pin| intruder::pinned(pin));
        let found = programs.chain(maps).chain(pins);
        let found = found.chain([intruder::link_by_id(self.link)]);
        found.map(|found| found.map(drop)).collect()
    }
}
