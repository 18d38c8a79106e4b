//! The stats and firewall programs alone, on the real kernel, packet by packet. Needs root; says so
//! and passes without.

use std::collections::BTreeMap;
use std::os::fd::{AsFd as _, AsRawFd as _};

use aya::maps::lpm_trie::Key;
use aya::maps::{Array, HashMap, LpmTrie, PerCpuArray};
use aya::programs::Xdp;
use aya::{Ebpf, EbpfLoader, Pod};
use firewall_abi::{Action, Outcome, Service, Source};
use libbpf_sys as bpf;
use stats_abi::{Protocol, Traffic};

const STATS: &[u8] = aya::include_bytes_aligned!(env!("STATS_OBJECT"));
const FIREWALL: &[u8] = aya::include_bytes_aligned!(env!("FIREWALL_OBJECT"));

const DROP: u32 = 1;
const PASS: u32 = 2;

const IPV4: u16 = 0x0800;
const ARP: u16 = 0x0806;
const IPV6: u16 = 0x86dd;
const ICMP: u8 = 1;
const TCP: u8 = 6;
const UDP: u8 = 17;
const ICMPV6: u8 = 58;

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn stats_tells_protocols_apart_and_counts_their_bytes() {
    if skipped() {
        return;
    }
    let mut object = load(STATS, stats_abi::PROGRAM);
    let mut expected = BTreeMap::new();
    let frames = [
        (Protocol::Arp, frame(0, ARP, &[0; 28])),
        (
            Protocol::Ipv4Icmp,
            frame(0, IPV4, &ipv4([192, 0, 2, 1], ICMP, 0, 0)),
        ),
        (
            Protocol::Ipv4Tcp,
            frame(1, IPV4, &ipv4([192, 0, 2, 1], TCP, 22, 3)),
        ),
        (
            Protocol::Ipv4Udp,
            frame(2, IPV4, &ipv4([192, 0, 2, 1], UDP, 53, 0)),
        ),
        (
            Protocol::Ipv4Other,
            frame(0, IPV4, &ipv4([192, 0, 2, 1], 47, 0, 0)),
        ),
        (Protocol::Ipv4Other, frame(0, IPV4, &[0x45; 10])),
        (
            Protocol::Ipv6Icmp,
            frame(0, IPV6, &ipv6([0x20; 16], ICMPV6, 0)),
        ),
        (
            Protocol::Ipv6Tcp,
            frame(2, IPV6, &ipv6([0x20; 16], TCP, 22)),
        ),
        (
            Protocol::Ipv6Udp,
            frame(0, IPV6, &ipv6([0x20; 16], UDP, 53)),
        ),
        (Protocol::Ipv6Other, frame(0, IPV6, &ipv6([0x20; 16], 0, 0))),
        (Protocol::Other, frame(0, 0x88cc, &[0; 20])),
        (
            Protocol::Other,
            frame(3, IPV4, &ipv4([192, 0, 2, 1], UDP, 53, 0)),
        ),
        (Protocol::Arp, frame(0, ARP, &[])),
    ];
    for (protocol, frame) in frames {
        assert_eq!(run(&mut object, stats_abi::PROGRAM, &frame), PASS);
        let traffic: &mut Traffic = expected.entry(protocol).or_default();
        traffic.packets += 1;
        traffic.bytes += frame.len() as u64;
    }
    let map = object
        .map(stats_abi::PROTOCOLS_MAP)
        .expect("the map exists");
    let protocols: PerCpuArray<_, Plain<Traffic>> = map.try_into().expect("a per-CPU array");
    for protocol in Protocol::ALL {
        let mut sum = Traffic::default();
        for Plain(cpu) in protocols
            .get(&(protocol as u32), 0)
            .expect("an element")
            .iter()
        {
            sum.packets += cpu.packets;
            sum.bytes += cpu.bytes;
        }
        let expected = expected.remove(&protocol).unwrap_or_default();
        assert_eq!(sum, expected, "{}", protocol.name());
    }
}

/// The rules of the abi's documentation, and one more prefix in between.
fn documented_rules() -> Firewall {
    let mut firewall = Firewall::new(Action::Allow);
    let any = Source {
        id: 1,
        ..Source::default()
    };
    firewall.source4(
        [0; 4],
        Source {
            has_services: 1,
            ..any
        },
    );
    firewall.source6(
        [0; 16],
        Source {
            has_services: 1,
            ..any
        },
    );
    firewall.service(1, UDP, Some(53), Action::Deny);
    firewall.source4([10, 0, 0, 0], deny(2, 8));
    firewall.source4(
        [192, 0, 2, 0],
        Source {
            action: Action::Allow.value(),
            ..deny(3, 24)
        },
    );
    let only_services = Source {
        action: 0,
        has_services: 1,
        ..deny(4, 16)
    };
    firewall.source4([10, 1, 0, 0], only_services);
    firewall.service(4, TCP, None, Action::Allow);
    firewall.service(4, TCP, Some(22), Action::Deny);
    let mut prefix = [0; 16];
    prefix[..4].copy_from_slice(&[0x20, 0x01, 0x0d, 0xb8]);
    firewall.source6(prefix, deny(5, 32));
    firewall
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn the_longest_prefix_decides_then_the_narrowest_service() {
    if skipped() {
        return;
    }
    let mut firewall = documented_rules();
    for (source, protocol, port, expected) in [
        ([198, 51, 100, 1], TCP, 80, PASS),
        ([198, 51, 100, 1], TCP, 53, PASS),
        ([198, 51, 100, 1], UDP, 53, DROP),
        ([10, 2, 0, 1], TCP, 80, DROP),
        ([10, 2, 0, 1], UDP, 53, DROP),
        ([192, 0, 2, 9], UDP, 53, PASS),
        ([10, 1, 0, 1], TCP, 22, DROP),
        ([10, 1, 0, 1], TCP, 80, PASS),
        ([10, 1, 0, 1], UDP, 80, DROP),
        ([10, 1, 0, 1], ICMP, 0, DROP),
    ] {
        for tags in 0..=2 {
            for option_words in [0, 1, 10] {
                let packet = frame(tags, IPV4, &ipv4(source, protocol, port, option_words));
                let verdict = firewall.run(&packet);
                assert_eq!(verdict, expected, "{source:?} {protocol} {port}");
            }
        }
    }
    let mut documentation = [1; 16];
    documentation[..4].copy_from_slice(&[0x20, 0x01, 0x0d, 0xb8]);
    for (source, protocol, port, expected) in [
        (documentation, TCP, 80, DROP),
        ([0x20; 16], TCP, 80, PASS),
        ([0x20; 16], UDP, 53, DROP),
        ([0x20; 16], ICMPV6, 0, PASS),
    ] {
        let packet = frame(0, IPV6, &ipv6(source, protocol, port));
        assert_eq!(
            firewall.run(&packet),
            expected,
            "{source:x?} {protocol} {port}"
        );
    }
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn what_has_no_ports_is_judged_without_and_what_is_cut_short_gets_the_default() {
    if skipped() {
        return;
    }
    for (default, verdict, decided) in [
        (Action::Allow, PASS, Outcome::Allowed),
        (Action::Deny, DROP, Outcome::Denied),
    ] {
        let mut firewall = Firewall::new(default);
        firewall.source4(
            [0; 4],
            Source {
                id: 1,
                has_services: 1,
                ..Source::default()
            },
        );
        let opposite = if default == Action::Allow {
            Action::Deny
        } else {
            Action::Allow
        };
        firewall.service(1, UDP, Some(53), opposite);

        let mut later_fragment = ipv4([192, 0, 2, 1], UDP, 53, 0);
        later_fragment[7] = 1;
        assert_eq!(firewall.run(&frame(0, IPV4, &later_fragment)), verdict);
        assert_eq!(firewall.run(&frame(0, IPV4, &[0x45; 19])), verdict);
        assert_eq!(firewall.run(&frame(0, IPV6, &[0x60; 39])), verdict);
        assert_eq!(firewall.run(&frame(0, ARP, &[0; 28])), PASS);
        assert_eq!(firewall.outcome(decided), 1);
        assert_eq!(firewall.outcome(Outcome::Malformed), 2);
        assert_eq!(firewall.outcome(Outcome::NotIp), 1);
    }
}

/// As deep as prefixes nest: every length has a rule for another service, the shortest decides.
#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn prefixes_fall_back_through_every_length() {
    if skipped() {
        return;
    }
    let mut firewall = Firewall::new(Action::Allow);
    for length in 0..=32 {
        firewall.source4(
            [0; 4],
            Source {
                has_services: 1,
                action: 0,
                ..deny(length + 1, length)
            },
        );
    }
    for length in 0..=128 {
        let id = length + 100;
        firewall.source6(
            [0; 16],
            Source {
                has_services: 1,
                action: 0,
                ..deny(id, length)
            },
        );
    }
    firewall.service(1, TCP, Some(80), Action::Deny);
    firewall.service(100, TCP, Some(80), Action::Deny);
    assert_eq!(
        firewall.run(&frame(0, IPV4, &ipv4([0; 4], TCP, 80, 0))),
        DROP
    );
    assert_eq!(
        firewall.run(&frame(0, IPV4, &ipv4([0; 4], TCP, 81, 0))),
        PASS
    );
    assert_eq!(firewall.run(&frame(0, IPV6, &ipv6([0; 16], TCP, 80))), DROP);
    assert_eq!(firewall.run(&frame(0, IPV6, &ipv6([0; 16], TCP, 81))), PASS);
}

/// The firewall program and its maps.
struct Firewall(Ebpf);

impl Firewall {
    fn new(default: Action) -> Self {
        let mut object = load(FIREWALL, firewall_abi::PROGRAM);
        let map = object
            .map_mut(firewall_abi::DEFAULT_MAP)
            .expect("the map exists");
        let mut array = Array::try_from(map).expect("an array");
        array
            .set(0, default.value(), 0)
            .expect("the default is set");
        Self(object)
    }

    fn source4(&mut self, address: [u8; 4], source: Source) {
        self.insert_source(firewall_abi::SOURCES4_MAP, address, source);
    }

    fn source6(&mut self, address: [u8; 16], source: Source) {
        self.insert_source(firewall_abi::SOURCES6_MAP, address, source);
    }

    fn insert_source<const N: usize>(&mut self, map: &str, address: [u8; N], source: Source)
    where
        [u8; N]: Pod,
    {
        let map = self.0.map_mut(map).expect("the map exists");
        let mut trie: LpmTrie<_, [u8; N], Plain<Source>> = map.try_into().expect("a trie");
        let key = Key::new(source.prefix_length, address);
        trie.insert(&key, Plain(source), 0)
            .expect("a prefix is added");
    }

    fn service(&mut self, source: u32, protocol: u8, port: Option<u16>, action: Action) {
        let map = self
            .0
            .map_mut(firewall_abi::SERVICES_MAP)
            .expect("the map exists");
        let mut services: HashMap<_, Plain<Service>, u32> = map.try_into().expect("a hash");
        let service = Service {
            source,
            port: port.unwrap_or(0),
            protocol,
            any_port: u8::from(port.is_none()),
        };
        services
            .insert(Plain(service), action.value(), 0)
            .expect("a service is added");
    }

    fn run(&mut self, frame: &[u8]) -> u32 {
        run(&mut self.0, firewall_abi::PROGRAM, frame)
    }

    fn outcome(&self, outcome: Outcome) -> u64 {
        let map = self
            .0
            .map(firewall_abi::OUTCOMES_MAP)
            .expect("the map exists");
        let outcomes: PerCpuArray<_, u64> = map.try_into().expect("a per-CPU array");
        outcomes
            .get(&(outcome as u32), 0)
            .expect("an element")
            .iter()
            .sum()
    }
}

fn deny(id: u32, prefix_length: u32) -> Source {
    Source {
        id,
        prefix_length,
        action: Action::Deny.value(),
        has_services: 0,
    }
}

#[derive(Clone, Copy)]
#[repr(transparent)]
struct Plain<T>(T);
// SAFETY: integers without padding between them.
unsafe impl Pod for Plain<Traffic> {}
// SAFETY: as above.
unsafe impl Pod for Plain<Source> {}
// SAFETY: as above.
unsafe impl Pod for Plain<Service> {}

fn frame(tags: usize, ethertype: u16, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![0; 12];
    for _ in 0..tags {
        frame.extend([0x81, 0x00, 0, 7]);
    }
    frame.extend(ethertype.to_be_bytes());
    frame.extend(payload);
    frame
}

fn ipv4(source: [u8; 4], protocol: u8, port: u16, option_words: u8) -> Vec<u8> {
    let mut packet = vec![0; 20 + 4 * usize::from(option_words)];
    packet[0] = 0x45 + option_words;
    packet[9] = protocol;
    packet[12..16].copy_from_slice(&source);
    packet.extend(transport(port));
    packet
}

fn ipv6(source: [u8; 16], protocol: u8, port: u16) -> Vec<u8> {
    let mut packet = vec![0; 40];
    packet[0] = 0x60;
    packet[6] = protocol;
    packet[8..24].copy_from_slice(&source);
    packet.extend(transport(port));
    packet
}

fn transport(destination_port: u16) -> [u8; 20] {
    let mut header = [0; 20];
    header[2..4].copy_from_slice(&destination_port.to_be_bytes());
    header
}

/// Whether this process can't load programs, which is noted.
fn skipped() -> bool {
    let is_root = rustix::process::geteuid().is_root();
    if !is_root {
        assert!(std::env::var_os("REQUIRE_KERNEL").is_none(), "needs root");
        eprintln!("skipped: needs root");
    }
    !is_root
}

fn load(bytes: &[u8], name: &str) -> Ebpf {
    let mut object = EbpfLoader::new()
        .btf(None)
        .load(bytes)
        .expect("the object loads");
    program(&mut object, name)
        .load()
        .expect("the program passes the verifier");
    object
}

fn program<'a>(object: &'a mut Ebpf, name: &str) -> &'a mut Xdp {
    let program = object
        .program_mut(name)
        .expect("the object has the program");
    program.try_into().expect("an XDP program")
}

fn run(object: &mut Ebpf, name: &str, frame: &[u8]) -> u32 {
    let mut options = bpf::bpf_test_run_opts {
        sz: size_of::<bpf::bpf_test_run_opts>() as u64,
        data_in: frame.as_ptr().cast(),
        data_size_in: u32::try_from(frame.len()).expect("a frame is short"),
        repeat: 1,
        ..Default::default()
    };
    let program = program(object, name)
        .fd()
        .expect("loaded")
        .as_fd()
        .as_raw_fd();
    // SAFETY: `options` and `frame` live until the call returns.
    let result = unsafe { bpf::bpf_prog_test_run_opts(program, &raw mut options) };
    assert_eq!(result, 0, "the test run failed");
    options.retval
}
