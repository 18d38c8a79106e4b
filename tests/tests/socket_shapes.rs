//! Sockets of every shape that the daemon lends, in native and in generic mode: each packet comes to an
//! application without privileges with its bytes, and goes back with them.

mod lent;
mod xsk;

use lent::{NOBODY, bind, client, open_as, request};
use libdispatch::xsk::{Error, Options, Umem, UmemBuilder};
use libdispatch::{Client, RefusalCode};
use tests::{HugePages, PairOptions, Rig, Tap, as_user, kernel_is, volume};
use xsk::assert_echo_by;

const ORDINARY: u32 = 1500;
const JUMBO: u32 = 9000;
const ETHERNET: u32 = 14;

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn sockets_of_every_shape_echo_in_native_mode() {
    try_all("native");
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn sockets_of_every_shape_echo_in_generic_mode() {
    try_all("generic");
}

/// How a socket and its memory are divided.
struct Shape {
    name: &'static str,
    /// The interface's.
    mtu: u32,
    umem: UmemBuilder,
    options: Options,
}

impl Shape {
    fn ordinary(name: &'static str, umem: UmemBuilder) -> Self {
        Self {
            name,
            mtu: ORDINARY,
            umem,
            options: Options::default().rings(64),
        }
    }

    /// Packets have several frames.
    fn jumbo(name: &'static str, umem: UmemBuilder) -> Self {
        Self {
            name,
            mtu: JUMBO,
            umem,
            options: Options {
                multi_buffer: true,
                ..Options::default().rings(256)
            },
        }
    }

    fn with(self, change: impl FnOnce(&mut Options)) -> Self {
        let mut options = self.options;
        change(&mut options);
        Self { options, ..self }
    }
}

fn shapes() -> Vec<Shape> {
    let frames = |size| Umem::builder().frames(160).frame_size(size);
    // As many as the FILL ring holds and a burst of jumbo packets needs.
    let many = |size| Umem::builder().frames(512).frame_size(size);
    let unequal = |options: &mut Options| {
        (options.fill, options.completion) = (128, 64);
        (options.rx, options.tx) = (64, 32);
    };
    let no_wakeup = |options: &mut Options| options.need_wakeup = false;
    vec![
        Shape::ordinary("frames of 2048 bytes", frames(2048)),
        Shape::ordinary("frames of 4096 bytes", frames(4096)),
        Shape::ordinary("headroom", frames(2048).headroom(192)),
        Shape::ordinary("rings of unequal sizes", frames(2048)).with(unequal),
        Shape::ordinary("no wakeup", frames(2048)).with(no_wakeup),
        Shape::ordinary("unaligned frames", frames(3000).unaligned(true)),
        Shape::ordinary(
            "unaligned frames with headroom",
            frames(2500).unaligned(true).headroom(64),
        ),
        Shape::ordinary("huge pages", Umem::builder().frames(1024).huge_pages(true)),
        Shape::ordinary(
            "unaligned frames in huge pages",
            Umem::builder()
                .frames(600)
                .frame_size(3000)
                .unaligned(true)
                .huge_pages(true),
        ),
        Shape::jumbo("jumbo packets in frames of 2048 bytes", many(2048)),
        Shape::jumbo("jumbo packets in frames of 4096 bytes", many(4096)),
        Shape::jumbo(
            "jumbo packets in frames with headroom",
            many(4096).headroom(256),
        ),
        Shape::jumbo(
            "jumbo packets in unaligned frames",
            many(3000).unaligned(true),
        ),
        Shape::jumbo(
            "jumbo packets in huge pages",
            Umem::builder()
                .frames(512)
                .frame_size(4096)
                .huge_pages(true),
        ),
    ]
}

/// Tries all shapes, one after the other on the same queue.
fn try_all(mode: &str) {
    let _set_aside = HugePages::set_aside(2);
    for mtu in [ORDINARY, JUMBO] {
        let options = PairOptions {
            mtu,
            ..PairOptions::default()
        };
        let rig = lent::rig(&options);
        rig.load("frags", "ahead", &["--mode", mode, "--priority", "10"]);
        let client = client(&rig, "shapes");
        for shape in shapes().iter().filter(|shape| shape.mtu == mtu) {
            println!("{mode}: {}", shape.name);
            let umem = shape.umem.build().expect("there is memory");
            if shape.options.multi_buffer && !kernel_is((6, 6)) {
                assert_invalid(&client, &umem, &shape.options);
            } else {
                try_one(&rig, &client, &umem, shape);
            }
            let chain = rig.chain();
            assert_eq!((chain.order(), &*chain.mode), (vec!["ahead"], mode));
        }
    }
}

fn try_one(rig: &Rig, client: &Client, umem: &Umem, shape: &Shape) {
    let packets = volume(1000);
    let largest = usize::try_from(shape.mtu + ETHERNET).expect("it is small");
    let (lease, mut socket) = open_as(client, umem, 0, &shape.options);
    let chain = rig.chain();
    assert_eq!(chain.order(), ["ahead", "xsk-redirect"]);
    let tap = Tap::on(&rig.pair.far);
    as_user(NOBODY, || {
        assert_echo_by(&tap, umem, &mut socket, packets, largest);
    });
    let counted = rig.chain().member("xsk-redirect").packets;
    assert_eq!((counted.redirect, counted.total()), (packets, packets));
    drop((socket, lease));
}

/// Before Linux 6.6 packets have one frame, as is said to who binds a socket itself; one that is
/// bound already is nobody's there.
fn assert_invalid(client: &Client, umem: &Umem, options: &Options) {
    as_user(NOBODY, || {
        let request = request(umem, 0, options);
        let refused = client.open_socket(&request, umem);
        let refused = refused.expect_err("it came later");
        let code = refused.refusal().map(|refusal| refusal.code);
        let expected = [RefusalCode::Unsupported, RefusalCode::NoSuchQueue];
        assert!(
            code.is_some_and(|code| expected.contains(&code)),
            "{refused}"
        );
        let lease = client.open_bare_socket(&request).expect("it is allowed");
        let error = bind(&lease, umem, options).expect_err("it came later");
        let Error::System { source, .. } = &error else {
            panic!("{error:?}");
        };
        let invalid = rustix::io::Errno::INVAL.raw_os_error();
        assert_eq!(source.raw_os_error(), Some(invalid), "{error:?}");
    });
}
