//! Answers packets in place.

use crate::action::{Action, Reason, Sent};
use crate::addresses::Addresses;
use crate::checksum::Sum;
use crate::ethernet::{self, Ethernet, direct};
use crate::ipv4::Ipv4;
use crate::ipv6::Ipv6;
use crate::udp::{Checksum, Udp};
use crate::{arp, neighbour, ping};

/// The port that returns what it is sent (RFC 862).
pub const PORT_DEFAULT: u16 = 7;

/// Answers for an interface: ICMP echo of both versions and UDP echo, and who asks for the
/// interface's address. No answer has more bytes than its request.
///
/// Whoever may not be answered is not: senders that are no single other host, answers, and
/// packets for other addresses.
#[derive(Clone, Debug)]
pub struct Responder {
    own: Addresses,
    port: u16,
}

impl Responder {
    /// A responder for these addresses, that returns UDP datagrams to this port.
    pub fn new(own: Addresses, port: u16) -> Self {
        Self { own, port }
    }

    /// Makes the answer of a packet, if it is to be answered. A packet that isn't stays as it is.
    pub fn respond(&self, frame: &mut [u8]) -> Action {
        match self.answer(frame) {
            Ok((sent, length)) => Action::Send { sent, length },
            Err(reason) => Action::Drop(reason),
        }
    }

    fn answer(&self, frame: &mut [u8]) -> Result<(Sent, usize), Reason> {
        let ethernet = Ethernet::read(frame)?;
        if !ethernet.source.is_one() || ethernet.source == self.own.mac() {
            return Err(Reason::Source);
        }
        match ethernet.ethertype {
            ethernet::IPV4 => self.answer4(frame, &ethernet),
            ethernet::IPV6 => self.answer6(frame, &ethernet),
            ethernet::ARP => arp::answer(frame, &ethernet, &self.own),
            _ => Err(Reason::Other),
        }
    }

    fn answer4(&self, frame: &mut [u8], ethernet: &Ethernet) -> Result<(Sent, usize), Reason> {
        if ethernet.destination != self.own.mac() {
            return Err(Reason::NotOurs);
        }
        let ip = Ipv4::read(frame, ethernet.payload)?;
        if !self.own.has4(ip.destination) {
            return Err(Reason::NotOurs);
        }
        if !self.own.may_answer4(ip.source) {
            return Err(Reason::Source);
        }
        let payload = &mut frame[ip.payload..ip.end];
        let sent = match ip.protocol {
            headers::ICMP => {
                ping::V4.check(payload)?;
                ping::V4.turn(payload);
                Sent::Ping4
            }
            headers::UDP => {
                let addresses = Sum::default()
                    .bytes(&ip.source.octets())
                    .bytes(&ip.destination.octets());
                let udp = Udp::check(payload, addresses, self.port, Checksum::Optional)?;
                udp.turn(payload);
                Sent::Udp4
            }
            _ => return Err(Reason::Other),
        };
        ip.turn(frame);
        direct(frame, ethernet.source, self.own.mac());
        Ok((sent, frame.len()))
    }

    fn answer6(&self, frame: &mut [u8], ethernet: &Ethernet) -> Result<(Sent, usize), Reason> {
        let ours = ethernet.destination == self.own.mac();
        if !ours && ethernet.destination.is_one() {
            return Err(Reason::NotOurs);
        }
        let ip = Ipv6::read(frame, ethernet.payload)?;
        let payload = &mut frame[ip.payload..ip.end];
        // The one question that may be put to a group, and come from nobody.
        if ip.protocol == headers::ICMPV6 {
            match payload.first() {
                Some(&neighbour::SOLICITATION) => {
                    return neighbour::answer(frame, ethernet, &ip, &self.own);
                }
                Some(&neighbour::ADVERTISEMENT) => return Err(Reason::Answer),
                _ => {}
            }
        }
        if !ours || !self.own.has6(ip.destination) {
            return Err(Reason::NotOurs);
        }
        if !self.own.may_answer6(ip.source) {
            return Err(Reason::Source);
        }
        let sent = match ip.protocol {
            headers::ICMPV6 => {
                ping::V6.check(payload)?;
                ping::V6.turn(payload);
                Sent::Ping6
            }
            headers::UDP => {
                let addresses = Sum::default()
                    .bytes(&ip.source.octets())
                    .bytes(&ip.destination.octets());
                let udp = Udp::check(payload, addresses, self.port, Checksum::Required)?;
                udp.turn(payload);
                Sent::Udp6
            }
            _ => return Err(Reason::Other),
        };
        let length = ip.turn(frame);
        direct(frame, ethernet.source, self.own.mac());
        Ok((sent, length))
    }
}
