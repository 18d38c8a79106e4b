//! Headers of every shape, whole and cut short.

extern crate std;
use std::{vec, vec::Vec};

use super::*;

fn packet(bytes: &[u8]) -> Packet<&[u8]> {
    let range = bytes.as_ptr_range();
    // SAFETY: each test keeps its bytes until it is done with the packet.
    unsafe { Packet::new(range.start as usize, range.end as usize, bytes) }
}

fn frame(tags: usize, ethertype: u16, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![0; 12];
    for _ in 0..tags {
        frame.extend([0x81, 0x00, 0, 7]);
    }
    frame.extend(ethertype.to_be_bytes());
    frame.extend(payload);
    frame
}

/// UDP to port 53 from 192.0.2.1, behind so many words of options.
fn ipv4(option_words: u8, fragment_offset: u16) -> Vec<u8> {
    let mut header = vec![0; 20 + 4 * usize::from(option_words)];
    header[0] = 0x45 + option_words;
    header[6..8].copy_from_slice(&fragment_offset.to_be_bytes());
    header[9] = UDP;
    header[12..16].copy_from_slice(&[192, 0, 2, 1]);
    header.extend([0x30, 0x39, 0, 53, 0, 8, 0, 0]);
    header
}

/// TCP to port 22 from 2020:..., behind these extension headers: each is its number and its
/// bytes but for the first, which is the next one's number.
fn ipv6(extensions: &[(u8, Vec<u8>)], payload: &[u8]) -> Vec<u8> {
    let numbers = extensions.iter().map(|(number, _)| *number);
    let mut numbers = numbers.chain([TCP]);
    let mut header = vec![0; 40];
    header[0] = 0x60;
    header[6] = numbers.next().unwrap();
    header[8..24].copy_from_slice(&[0x20; 16]);
    for (_, bytes) in extensions {
        header.push(numbers.next().unwrap());
        header.extend(bytes);
    }
    header.extend(payload);
    header
}

/// An extension header's bytes behind the first.
fn options(words: u8) -> Vec<u8> {
    let mut bytes = vec![words];
    bytes.resize(8 * (usize::from(words) + 1) - 1, 0);
    bytes
}

fn fragment(offset: u16) -> Vec<u8> {
    let [high, low] = (offset << 3 | 1).to_be_bytes();
    vec![0, high, low, 0, 0, 0, 1]
}

fn port_of(frame: &[u8]) -> (u8, Port) {
    match packet(frame).network() {
        Network::Ipv4(Some(ip)) => (ip.protocol, packet(frame).destination_port(&ip)),
        Network::Ipv6(Some(ip)) => {
            assert_eq!(ip.source, [0x2020_2020_2020_2020; 2]);
            (ip.protocol, packet(frame).destination_port(&ip))
        }
        _ => panic!("an IP packet"),
    }
}

const PORTS: [u8; 4] = [0, 1, 0, 22];

#[test]
fn ports_are_found_behind_tags_and_options() {
    for tags in 0..=2 {
        for option_words in 0..=10 {
            let frame = frame(tags, 0x0800, &ipv4(option_words, 0x4000));
            let Network::Ipv4(Some(ip)) = packet(&frame).network() else {
                panic!("{tags} tags, {option_words} words of options");
            };
            assert_eq!(ip.source, 0xc000_0201);
            assert_eq!(port_of(&frame), (UDP, Port::Is(53)));
        }
    }
}

#[test]
fn a_third_tag_is_not_read() {
    let frame = frame(3, 0x0800, &ipv4(0, 0));
    assert!(matches!(packet(&frame).network(), Network::Deeper));
}

#[test]
fn later_fragments_have_no_ports() {
    for offset in [1, 185, 0x1fff] {
        let v4 = frame(0, 0x0800, &ipv4(0, offset));
        assert_eq!(port_of(&v4), (UDP, Port::None));
        let v6 = ipv6(&[(0, options(0)), (44, fragment(offset))], &PORTS);
        assert_eq!(port_of(&frame(0, 0x86dd, &v6)), (TCP, Port::None));
    }
}

#[test]
fn every_truncation_is_noticed() {
    let whole = frame(2, 0x0800, &ipv4(3, 0));
    for length in 0..whole.len() {
        let cut = &whole[..length];
        match packet(cut).network() {
            Network::Other => assert!(length < 22),
            Network::Ipv4(None) => assert!((22..54).contains(&length)),
            Network::Ipv4(Some(ip)) => {
                let port = packet(cut).destination_port(&ip);
                let expected = if length >= 58 {
                    Port::Is(53)
                } else {
                    Port::Unread
                };
                assert_eq!(port, expected, "{length} bytes");
            }
            Network::Arp | Network::Ipv6(_) | Network::Deeper => panic!("{length} bytes"),
        }
    }
}

#[test]
fn ports_are_found_behind_every_extension_header() {
    let authentication = |words: u8| {
        let mut bytes = vec![words];
        bytes.resize(4 * (usize::from(words) + 2) - 1, 0);
        bytes
    };
    let kinds: Vec<(u8, Vec<u8>)> = vec![
        (0, options(0)),
        (60, options(3)),
        (43, options(255)),
        (44, fragment(0)),
        (51, authentication(4)),
        (135, options(1)),
        (139, options(2)),
        (140, options(0)),
    ];
    for kind in &kinds {
        let v6 = ipv6(std::slice::from_ref(kind), &PORTS);
        assert_eq!(
            port_of(&frame(2, 0x86dd, &v6)),
            (TCP, Port::Is(22)),
            "{}",
            kind.0
        );
    }
    let all = frame(2, 0x86dd, &ipv6(&kinds, &PORTS));
    assert_eq!(kinds.len(), EXTENSIONS_MAX);
    assert_eq!(port_of(&all), (TCP, Port::Is(22)));
    for length in 22 + 40..all.len() {
        let (_, port) = port_of(&all[..length]);
        assert_eq!(port, Port::Unread, "{length} bytes");
    }
    let mut more = kinds;
    more.push((60, options(0)));
    let (_, port) = port_of(&frame(0, 0x86dd, &ipv6(&more, &PORTS)));
    assert_eq!(port, Port::Unread);
}

#[test]
fn what_ends_the_headers_is_the_protocol() {
    for protocol in [50, 59, 41, 253, ICMPV6] {
        let mut v6 = ipv6(&[(60, options(0))], &PORTS);
        v6[40] = protocol;
        assert_eq!(port_of(&frame(0, 0x86dd, &v6)), (protocol, Port::None));
    }
}

#[test]
fn no_bytes_are_read_beyond_the_end() {
    // The bytes behind would make another packet of each of these.
    let whole = frame(
        0,
        0x86dd,
        &ipv6(&[(0, options(1)), (60, options(2))], &PORTS),
    );
    for length in 0..whole.len() {
        let mut apart = whole[..length].to_vec();
        apart.shrink_to_fit();
        if let Network::Ipv6(Some(ip)) = packet(&apart).network() {
            assert_eq!(packet(&apart).destination_port(&ip), Port::Unread);
        }
    }
}

#[test]
fn what_is_read_where_it_lies_is_what_a_copy_says() {
    const KINDS: [u8; 5] = [0, 43, 44, 51, TCP];
    const LENGTHS: [u8; 4] = [0, 1, 3, 4];
    let sorts: Vec<(u8, u8)> = KINDS
        .iter()
        .flat_map(|kind| LENGTHS.map(|length| (*kind, length)))
        .collect();
    let mut near = 0;
    for first in &sorts {
        for second in &sorts {
            for third in &sorts {
                let headers = [first, second, third];
                let mut bytes = Vec::new();
                for (index, (kind, length)) in headers.iter().enumerate() {
                    let next = headers.get(index + 1).map_or(UDP, |(kind, _)| *kind);
                    let words = match kind {
                        44 => 0,
                        51 => *length,
                        _ => 2 * length,
                    };
                    bytes.extend([next, *length, 0, 0, 0, 0, 0, 0]);
                    bytes.resize(bytes.len() + 4 * usize::from(words), 0);
                }
                bytes.extend([0, 1, 0, 53]);
                for cut in [0, 1, 5, 9] {
                    let bytes = &bytes[..bytes.len() - cut];
                    let packet = packet(bytes);
                    let copied = extensions::upper(&bytes, first.0, 0).word();
                    if let Some(upper) = packet.upper(first.0, packet.start) {
                        assert_eq!(upper.word(), copied, "{headers:?}, without {cut}");
                        near += 1;
                    }
                }
            }
        }
    }
    assert!(near > sorts.len().pow(3), "{near} were read where they lie");
}

#[test]
fn eight_headers_of_eight_bytes_are_read_where_they_lie() {
    let kinds = [0, 60, 43, 44, 135, 139, 140, 60].map(|kind| (kind, vec![0; 7]));
    let frame = frame(0, 0x86dd, &ipv6(&kinds, &PORTS));
    let packet = packet(&frame);
    let upper = packet.upper(kinds[0].0, packet.start + 54);
    assert!(upper.is_some_and(|upper| upper.destination_port.port() == Port::Is(22)));
}

#[test]
fn an_only_header_of_up_to_32_bytes_is_read_where_it_lies() {
    for words in 0..=4 {
        let frame = frame(0, 0x86dd, &ipv6(&[(43, options(words))], &PORTS));
        let packet = packet(&frame);
        let upper = packet.upper(43, packet.start + 54);
        let port = upper.map(|upper| upper.destination_port.port());
        assert_eq!(port, (words <= 3).then_some(Port::Is(22)));
    }
}
