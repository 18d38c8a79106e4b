//! IPv6 neighbour solicitations (RFC 4861, RFC 4862).

use std::net::Ipv6Addr;

use crate::action::{Reason, Sent};
use crate::addresses::{Addresses, Mac};
use crate::checksum::{Sum, WHOLE};
use crate::ethernet::{Ethernet, array, direct, put_word};
use crate::ipv6::{self, Ipv6};

/// The type of an ICMP message that asks who has an address.
pub(crate) const SOLICITATION: u8 = 135;
/// The type of the answer.
pub(crate) const ADVERTISEMENT: u8 = 136;

const CHECKSUM: usize = 2;
const FLAGS: usize = 4;
const TARGET: usize = 8;
const OPTIONS: usize = 24;
/// An option that holds an Ethernet address.
const OPTION_BYTES: usize = 8;

const SOURCE_MAC: u8 = 1;
const TARGET_MAC: u8 = 2;

/// "You asked", and "what you knew before is void".
const SOLICITED: u8 = 0x40;
const OVERRIDE: u8 = 0x20;

/// Packets from further away are forged.
const HOP_LIMIT: u8 = 255;

const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
const ALL_NODES_MAC: Mac = Mac([0x33, 0x33, 0, 0, 0, 1]);

/// Says that one of our addresses is here.
///
/// The answer names our Ethernet address if the frame has room for it. It has, if the question
/// came with the asker's own, as it must unless the asker has no address yet (which then learns all
/// it wants to know: that the address is taken) or asked us alone (and so knows ours).
pub(crate) fn answer(
    frame: &mut [u8],
    ethernet: &Ethernet,
    ip: &Ipv6,
    own: &Addresses,
) -> Result<(Sent, usize), Reason> {
    let message = &frame[ip.payload..ip.end];
    let target = Ipv6Addr::from(array::<16>(message, TARGET)?);
    if ip.hop_limit != HOP_LIMIT || message[1] != 0 || target.is_multicast() {
        return Err(Reason::Malformed);
    }
    let mac = source_mac(&message[OPTIONS..])?;
    if sum(message, ip.source, ip.destination).folded() != WHOLE {
        return Err(Reason::Checksum);
    }
    let group = solicited_node(target);
    if !own.has6(target) || ![target, group].contains(&ip.destination) {
        return Err(Reason::NotOurs);
    }
    let (asker, asker_mac, flags) = if ip.source.is_unspecified() {
        // Somebody is about to take the address, and listens as everybody does.
        if ip.destination != group || mac.is_some() {
            return Err(Reason::Malformed);
        }
        (ALL_NODES, ALL_NODES_MAC, OVERRIDE)
    } else {
        let mac = mac.unwrap_or(ethernet.source);
        if !own.may_answer6(ip.source) || !mac.is_one() {
            return Err(Reason::Source);
        }
        (ip.source, mac, SOLICITED | OVERRIDE)
    };
    let length = write(frame, ip.header, target, asker, flags, own.mac());
    direct(frame, asker_mac, own.mac());
    Ok((Sent::Neighbour, length))
}

/// Writes the packet; returns how long the frame is now.
fn write(
    frame: &mut [u8],
    header: usize,
    own: Ipv6Addr,
    asker: Ipv6Addr,
    flags: u8,
    mac: Mac,
) -> usize {
    let begin = header + ipv6::BYTES;
    let has_room = frame.len() >= begin + OPTIONS + OPTION_BYTES;
    let bytes = if has_room {
        OPTIONS + OPTION_BYTES
    } else {
        OPTIONS
    };
    let (_, packet) = frame.split_at_mut(header);
    let (ip, message) = packet.split_at_mut(ipv6::BYTES);
    let message = &mut message[..bytes];
    ip.fill(0);
    ip[0] = 0x60;
    #[expect(clippy::cast_possible_truncation, reason = "it is 24 or 32")]
    put_word(ip, 4, bytes as u16);
    ip[6] = headers::ICMPV6;
    ip[7] = HOP_LIMIT;
    ip[8..24].copy_from_slice(&own.octets());
    ip[24..].copy_from_slice(&asker.octets());

    message.fill(0);
    message[0] = ADVERTISEMENT;
    message[FLAGS] = flags;
    message[TARGET..OPTIONS].copy_from_slice(&own.octets());
    if has_room {
        message[OPTIONS..OPTIONS + 2].copy_from_slice(&[TARGET_MAC, 1]);
        message[OPTIONS + 2..].copy_from_slice(&mac.0);
    }
    let checksum = sum(message, own, asker).checksum();
    put_word(message, CHECKSUM, checksum);
    begin + bytes
}

/// The Ethernet address that the asker says it has, if it does.
fn source_mac(mut options: &[u8]) -> Result<Option<Mac>, Reason> {
    let mut found = None;
    loop {
        options = match options {
            [] => return Ok(found),
            [kind, units, ..] if *units > 0 => {
                let bytes = usize::from(*units) * 8;
                if *kind == SOURCE_MAC && bytes == OPTION_BYTES {
                    found = Some(Mac(array(options, 2)?));
                }
                options.get(bytes..).ok_or(Reason::Malformed)?
            }
            _ => return Err(Reason::Malformed),
        }
    }
}

/// The sum that an `ICMPv6` message's checksum is of.
fn sum(message: &[u8], source: Ipv6Addr, destination: Ipv6Addr) -> Sum {
    #[expect(
        clippy::cast_possible_truncation,
        reason = "a packet's length has 16 bits"
    )]
    let bytes = message.len() as u16;
    Sum::default()
        .bytes(&source.octets())
        .bytes(&destination.octets())
        .word(bytes)
        .word(u16::from(headers::ICMPV6))
        .bytes(message)
}

/// The group that everyone listens to who has this address.
fn solicited_node(ip: Ipv6Addr) -> Ipv6Addr {
    let [.., a, b, c] = ip.octets();
    let last = u16::from_be_bytes([b, c]);
    Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00 | u16::from(a), last)
}
