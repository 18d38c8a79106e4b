//! The stats program alone, on the real kernel, packet by packet. Needs root; says so
//! and passes without.

use std::collections::BTreeMap;
use std::os::fd::{AsFd as _, AsRawFd as _};

use aya::maps::PerCpuArray;
use aya::programs::Xdp;
use aya::{Ebpf, EbpfLoader, Pod};
use libbpf_sys as bpf;
use stats_abi::{Protocol, Traffic};

const STATS: &[u8] = aya::include_bytes_aligned!(env!("STATS_OBJECT"));

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

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn stats_counts_the_bytes_of_every_length() {
    let mut object = load(STATS, stats_abi::PROGRAM);
    let mut before = 0;
    for length in (14..=300).chain(1490..=1540).chain([2000, 3000]) {
        let frame = frame(0, 0x88cc, &vec![0; length - 14]);
        assert_eq!(run(&mut object, stats_abi::PROGRAM, &frame), PASS);
        let map = object
            .map(stats_abi::PROTOCOLS_MAP)
            .expect("the map exists");
        let protocols: PerCpuArray<_, Plain<Traffic>> = map.try_into().expect("a per-CPU array");
        let other = protocols
            .get(&(Protocol::Other as u32), 0)
            .expect("an element");
        let bytes = other.iter().map(|Plain(cpu)| cpu.bytes).sum::<u64>();
        assert_eq!(bytes - before, length as u64);
        before = bytes;
    }
}

#[derive(Clone, Copy)]
#[repr(transparent)]
struct Plain<T>(T);
// SAFETY: integers without padding between them.
unsafe impl Pod for Plain<Traffic> {}

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
