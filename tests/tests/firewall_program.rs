//! The firewall's program alone, on the real kernel, packet by packet: what it decides against what
//! docs/firewall.md says. Rules get into its maps as the application puts them there.

mod packet;

use std::cell::RefCell;
use std::fmt::Write as _;
use std::net::IpAddr;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd};

use aya::maps::{Map, PerCpuArray};
use aya::programs::Xdp;
use aya::{Ebpf, EbpfLoader};
use firewall::{Descriptors, Memory, Table};
use firewall_abi::{Outcome, Room};
use libbpf_sys as bpf;
use packet::{
    ARP, AUTHENTICATION, FRAGMENT, HOP_BY_HOP, ICMP, IPV4, IPV6, MOBILITY, OPTIONS, ROUTING, Sent,
    TCP, UDP, frame,
};
use proptest::prelude::*;

const OBJECT: &[u8] = aya::include_bytes_aligned!(env!("FIREWALL_OBJECT"));

const DROP: u32 = 1;
const PASS: u32 = 2;

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn the_longest_prefix_decides_then_the_narrowest_service() {
    let mut firewall = Firewall::new(
        "deny udp port 53\n\
         deny 10.0.0.0/8\n\
         allow 192.0.2.0/24\n\
         allow 10.1.0.0/16 tcp\n\
         deny 10.1.0.0/16 tcp port 22\n\
         deny 2001:db8::/32\n",
    );
    for (source, protocol, port, expected) in [
        ("198.51.100.1", TCP, 80, PASS),
        ("198.51.100.1", TCP, 53, PASS),
        ("198.51.100.1", UDP, 53, DROP),
        ("10.2.0.1", TCP, 80, DROP),
        ("10.2.0.1", UDP, 53, DROP),
        ("192.0.2.9", UDP, 53, PASS),
        ("10.1.0.1", TCP, 22, DROP),
        ("10.1.0.1", TCP, 80, PASS),
        ("10.1.0.1", UDP, 80, DROP),
        ("10.1.0.1", ICMP, 0, DROP),
        ("2001:db8::7", TCP, 80, DROP),
        ("2020::1", TCP, 80, PASS),
        ("2020::1", UDP, 53, DROP),
    ] {
        let packet = Sent::new(source, protocol, port);
        for tags in 0..=2 {
            for option_words in [0, 1, 10] {
                let sent = Sent {
                    tags,
                    option_words,
                    ..packet.clone()
                };
                assert_eq!(firewall.run(&sent.frame()), expected, "{sent:?}");
            }
        }
    }
}

/// As deep as prefixes nest: every length has a rule for another service, the shortest decides.
#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn prefixes_fall_back_through_every_length() {
    let mut rules = String::from("deny any tcp port 80\n");
    for length in 1..=32_u16 {
        let _ = writeln!(rules, "allow 0.0.0.0/{length} tcp port {}", 1000 + length);
        let _ = writeln!(rules, "deny 0.0.0.0/{length} protocol {}", 100 + length);
    }
    for length in 1..=128_u16 {
        let _ = writeln!(rules, "allow ::/{length} tcp port {}", 1000 + length);
        let _ = writeln!(rules, "deny ::/{length} protocol {}", 100 + length);
    }
    let mut firewall = Firewall::new(&rules);
    for source in ["0.0.0.0", "::"] {
        for (port, expected) in [(80, DROP), (81, PASS), (1001, PASS)] {
            let sent = Sent::new(source, TCP, port);
            assert_eq!(firewall.run(&sent.frame()), expected, "{sent:?}");
        }
        let sent = Sent::new(source, 101, 0);
        assert_eq!(firewall.run(&sent.frame()), DROP, "{sent:?}");
    }
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn no_extension_header_hides_a_port() {
    let mut firewall = Firewall::new("deny udp port 53\nallow 2001:db8::/32 tcp port 22\n");
    let kinds = [
        HOP_BY_HOP,
        ROUTING,
        OPTIONS,
        AUTHENTICATION,
        MOBILITY,
        FRAGMENT,
    ];
    for first in kinds {
        for second in kinds {
            for (protocol, port, expected) in [(UDP, 53, DROP), (UDP, 54, PASS), (TCP, 53, PASS)] {
                let sent = Sent {
                    extensions: vec![(first, 0), (second, 3)],
                    ..Sent::new("2001:db8::7", protocol, port)
                };
                assert_eq!(firewall.run(&sent.frame()), expected, "{sent:?}");
            }
        }
    }
    // Eight are read over; a packet with more is denied, since a rule asks for ports.
    for (count, expected) in [(8, PASS), (9, DROP), (20, DROP)] {
        let sent = Sent {
            extensions: vec![(OPTIONS, 0); count],
            ..Sent::new("2001:db8::7", UDP, 54)
        };
        assert_eq!(firewall.run(&sent.frame()), expected, "{count} headers");
    }
    // A first fragment that ends before the ports is denied, and so is any cut.
    let whole = Sent {
        extensions: vec![(OPTIONS, 0), (FRAGMENT, 0)],
        ..Sent::new("2001:db8::7", UDP, 54)
    };
    let frame = whole.frame();
    for length in 14..frame.len() - 16 {
        assert_eq!(firewall.run(&frame[..length]), DROP, "{length} bytes");
    }
    assert_eq!(firewall.run(&frame), PASS);
    // With rules for sources alone nothing of that is asked for.
    let mut firewall = Firewall::new("deny 2001:db8:1::/48\n");
    for length in 14 + 40..frame.len() {
        assert_eq!(firewall.run(&frame[..length]), PASS, "{length} bytes");
    }
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn what_cant_be_read_is_denied_where_rules_are() {
    for (rules, expected) in [
        ("", PASS),
        ("default deny\n", DROP),
        ("deny 10.0.0.0/8\n", DROP),
        ("default deny\nallow 10.0.0.0/8\n", DROP),
    ] {
        let mut firewall = Firewall::new(rules);
        let third_tag = Sent {
            tags: 3,
            ..Sent::new("192.0.2.1", UDP, 53)
        };
        let cut_options = [[0x46].as_slice(), &[0; 19]].concat();
        let unreadable = [
            frame(0, IPV4, &[0x45; 19]),
            frame(1, IPV4, &[0x44; 40]),
            frame(2, IPV4, &[0x65; 40]),
            frame(0, IPV4, &cut_options),
            frame(0, IPV6, &[0x60; 39]),
            frame(0, IPV6, &[0x45; 60]),
            third_tag.frame(),
        ];
        for frame in &unreadable {
            assert_eq!(firewall.run(frame), expected, "{rules}: {frame:x?}");
        }
        assert_eq!(
            firewall.outcome(Outcome::Malformed),
            unreadable.len() as u64
        );
        assert_eq!(firewall.run(&frame(0, ARP, &[0; 28])), PASS);
        assert_eq!(firewall.run(&frame(0, 0x88cc, &[0; 28])), PASS);
        assert_eq!(firewall.outcome(Outcome::NotIp), 2);
    }
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn every_packet_is_judged_as_documented() {
    let config = ProptestConfig {
        cases: u32::try_from(tests::volume(64)).expect("it is less"),
        ..ProptestConfig::default()
    };
    let rules = prop::collection::vec(rule(), 0..20);
    let packets = prop::collection::vec(sent(), 64);
    let firewall = RefCell::new(Firewall::new(""));
    proptest!(config, |(rules in rules, default_denies in any::<bool>(), packets in packets)| {
        // Of two rules for the same packets the first counts: a file can't hold the opposite.
        let mut text = String::from(if default_denies { "default deny\n" } else { "" });
        let mut kept: Vec<Rule> = Vec::new();
        for rule in rules {
            if !kept.iter().any(|it| it.is_like(&rule)) {
                let _ = writeln!(text, "{}", rule.text());
                kept.push(rule);
            }
        }
        let mut firewall = firewall.borrow_mut();
        firewall.adopt(&text);
        for sent in &packets {
            let verdict = firewall.run(&sent.frame());
            let denied = denies(&kept, default_denies, sent);
            prop_assert_eq!(verdict, if denied { DROP } else { PASS }, "{}{:?}", text, sent);
        }
    });
}

/// docs/firewall.md, word for word: every rule is looked at.
fn denies(rules: &[Rule], default: bool, sent: &Sent) -> bool {
    let names_service = rules.iter().any(|rule| rule.protocol.is_some());
    if sent.is_unreadable() && names_service {
        return true;
    }
    let matching = rules.iter().filter(|rule| rule.matches(sent));
    let narrowness = |rule: &&Rule| {
        let length = rule.source.map_or(0, |(_, length)| length);
        (length, rule.protocol.is_some(), rule.port.is_some())
    };
    matching
        .max_by_key(narrowness)
        .map_or(default, |rule| rule.denies)
}

#[derive(Clone, Debug)]
struct Rule {
    denies: bool,
    source: Option<(IpAddr, u8)>,
    protocol: Option<u8>,
    port: Option<u16>,
}

impl Rule {
    fn text(&self) -> String {
        let mut text = String::from(if self.denies { "deny" } else { "allow" });
        match self.source {
            Some((address, length)) => {
                let _ = write!(text, " {address}/{length}");
            }
            None => text += " any",
        }
        if let Some(protocol) = self.protocol {
            let _ = write!(text, " protocol {protocol}");
        }
        if let Some(port) = self.port {
            let _ = write!(text, " port {port}");
        }
        text
    }

    fn matches(&self, sent: &Sent) -> bool {
        self.source
            .is_none_or(|source| contains(source, sent.source))
            && self
                .protocol
                .is_none_or(|it| !sent.is_unreadable() && it == sent.protocol)
            && self
                .port
                .is_none_or(|it| !sent.is_later_fragment() && it == sent.port)
    }

    /// Whether both are about the same packets. `any` is like a prefix without bits.
    fn is_like(&self, other: &Self) -> bool {
        let bare = |it: &Self| it.source.is_none_or(|(_, length)| length == 0);
        (self.source == other.source || bare(self) && bare(other))
            && (self.protocol, self.port) == (other.protocol, other.port)
    }
}

fn contains((prefix, length): (IpAddr, u8), address: IpAddr) -> bool {
    let bits = |it: IpAddr| match it {
        IpAddr::V4(it) => u128::from(it.to_bits()) << 96,
        IpAddr::V6(it) => it.to_bits(),
    };
    let differing = bits(prefix) ^ bits(address);
    prefix.is_ipv4() == address.is_ipv4() && differing.leading_zeros() >= u32::from(length)
}

/// Few different bits, so that prefixes often contain one another.
fn address() -> impl Strategy<Value = IpAddr> {
    prop_oneof![
        prop::array::uniform4(0_u8..2).prop_map(IpAddr::from),
        prop::array::uniform16(0_u8..2).prop_map(IpAddr::from),
    ]
}

fn rule() -> impl Strategy<Value = Rule> {
    let length = prop_oneof![Just(0), Just(8), Just(16), Just(24), Just(32), 0_u8..=128];
    let source = prop::option::weighted(
        0.8,
        (address(), length).prop_map(|(address, length)| {
            let (bits, ones) = match address {
                IpAddr::V4(it) => (u128::from(it.to_bits()) << 96, length.min(32)),
                IpAddr::V6(it) => (it.to_bits(), length),
            };
            let bits = bits & !u128::MAX.checked_shr(ones.into()).unwrap_or(0);
            let cut = match address {
                IpAddr::V4(_) => {
                    IpAddr::from(u32::try_from(bits >> 96).expect("32 bits").to_be_bytes())
                }
                IpAddr::V6(_) => IpAddr::from(bits.to_be_bytes()),
            };
            (cut, ones)
        }),
    );
    let protocol = prop_oneof![Just(TCP), Just(UDP), Just(ICMP), Just(50)];
    let service = prop::option::of((protocol, prop::option::of(0_u16..3)));
    (any::<bool>(), source, service).prop_map(|(denies, source, service)| Rule {
        denies,
        source,
        protocol: service.map(|(protocol, _)| protocol),
        port: service
            .and_then(|(protocol, port)| port.filter(|_| protocol == TCP || protocol == UDP)),
    })
}

fn sent() -> impl Strategy<Value = Sent> {
    let kind = prop::sample::select(vec![
        HOP_BY_HOP,
        ROUTING,
        OPTIONS,
        AUTHENTICATION,
        MOBILITY,
        FRAGMENT,
    ]);
    let extensions = prop_oneof![
        2 => Just(Vec::new()),
        2 => prop::collection::vec((kind.clone(), 0_u8..5), 1..4),
        1 => prop::collection::vec((kind, 0_u8..2), 5..11),
    ];
    let protocol = prop_oneof![Just(TCP), Just(UDP), Just(ICMP), Just(50), Just(59)];
    let offset = prop_oneof![3 => Just(0), 1 => 1_u16..0x1fff];
    let parts = (
        0_usize..3,
        address(),
        0_u8..=10,
        extensions,
        offset,
        protocol,
        0_u16..3,
        prop::bool::weighted(0.1),
    );
    parts.prop_map(
        |(tags, source, option_words, extensions, fragment_offset, protocol, port, cut)| Sent {
            tags,
            source,
            option_words,
            extensions,
            fragment_offset,
            protocol,
            port,
            cut,
        },
    )
}

/// The firewall's program and its rules.
struct Firewall {
    object: Ebpf,
    table: Table,
}

impl Firewall {
    fn new(rules: &str) -> Self {
        let mut object = EbpfLoader::new()
            .btf(None)
            .load(OBJECT)
            .expect("the object loads");
        program(&mut object)
            .load()
            .expect("the program passes the verifier");
        let descriptors = Descriptors {
            config: descriptor(&object, firewall_abi::CONFIG_MAP),
            buckets: descriptor(&object, firewall_abi::BUCKETS_MAP),
            keys: descriptor(&object, firewall_abi::KEYS_MAP),
            lengths4: descriptor(&object, firewall_abi::LENGTHS4_MAP),
            lengths6: descriptor(&object, firewall_abi::LENGTHS6_MAP),
        };
        let memory = Memory::map(descriptors, Room::OBJECT).expect("maps are memory");
        let mut firewall = Self {
            object,
            table: Table::new(memory, || {}),
        };
        firewall.adopt(rules);
        firewall
    }

    /// Goes over to other rules. No packet is on its way meanwhile.
    fn adopt(&mut self, rules: &str) {
        let policy = firewall::parse(rules).expect("these are rules");
        self.table.adopt(&policy).expect("there is room");
    }

    fn run(&mut self, frame: &[u8]) -> u32 {
        let mut options = bpf::bpf_test_run_opts {
            sz: size_of::<bpf::bpf_test_run_opts>() as u64,
            data_in: frame.as_ptr().cast(),
            data_size_in: u32::try_from(frame.len()).expect("a frame is short"),
            repeat: 1,
            ..Default::default()
        };
        let program = program(&mut self.object).fd().expect("loaded");
        let program = program.as_fd().as_raw_fd();
        // SAFETY: `options` and `frame` live until the call returns.
        let result = unsafe { bpf::bpf_prog_test_run_opts(program, &raw mut options) };
        assert_eq!(result, 0, "the test run failed");
        options.retval
    }

    fn outcome(&self, outcome: Outcome) -> u64 {
        let map = self.object.map(firewall_abi::OUTCOMES_MAP);
        let outcomes: PerCpuArray<_, u64> = map
            .expect("the map exists")
            .try_into()
            .expect("a per-CPU array");
        let shares = outcomes.get(&(outcome as u32), 0).expect("an element");
        shares.iter().sum()
    }
}

fn program(object: &mut Ebpf) -> &mut Xdp {
    let program = object
        .program_mut(firewall_abi::PROGRAM)
        .expect("the object has the program");
    program.try_into().expect("an XDP program")
}

fn descriptor<'a>(object: &'a Ebpf, map: &str) -> BorrowedFd<'a> {
    match object.map(map) {
        Some(Map::Array(map)) => map.fd().as_fd(),
        _ => panic!("{map} is an array"),
    }
}
