//! ARP requests (RFC 826).

use std::net::Ipv4Addr;

use crate::action::{Reason, Sent};
use crate::addresses::{Addresses, Mac};
use crate::ethernet::{Ethernet, array, direct, put_word, word};

/// Ethernet, IPv4, and the lengths of their addresses.
const ETHERNET_IPV4: [u8; 6] = [0, 1, 8, 0, 6, 4];
const REQUEST: u16 = 1;
const REPLY: u16 = 2;

const OPERATION: usize = 6;
const SENDER_MAC: usize = 8;
const SENDER_IP: usize = 14;
const TARGET_MAC: usize = 18;
const TARGET_IP: usize = 24;
const BYTES: usize = 28;

/// Says that one of our addresses is here.
pub(crate) fn answer(
    frame: &mut [u8],
    ethernet: &Ethernet,
    own: &Addresses,
) -> Result<(Sent, usize), Reason> {
    let message = frame
        .get_mut(ethernet.payload..)
        .and_then(|rest| rest.first_chunk_mut::<BYTES>())
        .ok_or(Reason::Malformed)?;
    if array(message, 0)? != ETHERNET_IPV4 {
        return Err(Reason::Other);
    }
    match word(message, OPERATION)? {
        REQUEST => {}
        REPLY => return Err(Reason::Answer),
        _ => return Err(Reason::Other),
    }
    let target = Ipv4Addr::from(array(message, TARGET_IP)?);
    let is_for_all = ethernet.destination == Mac([0xff; 6]);
    if !own.has4(target) || !(is_for_all || ethernet.destination == own.mac()) {
        return Err(Reason::NotOurs);
    }
    let asker = Mac(array(message, SENDER_MAC)?);
    let asker_ip = Ipv4Addr::from(array(message, SENDER_IP)?);
    // A host that is about to take an address asks for it before it has one (RFC 5227).
    let is_probe = asker_ip.is_unspecified();
    if !asker.is_one() || !(is_probe || own.may_answer4(asker_ip)) {
        return Err(Reason::Source);
    }
    put_word(message, OPERATION, REPLY);
    message[SENDER_MAC..SENDER_IP].copy_from_slice(&own.mac().0);
    message[SENDER_IP..TARGET_MAC].copy_from_slice(&target.octets());
    message[TARGET_MAC..TARGET_IP].copy_from_slice(&asker.0);
    message[TARGET_IP..].copy_from_slice(&asker_ip.octets());
    direct(frame, asker, own.mac());
    Ok((Sent::Arp, frame.len()))
}
