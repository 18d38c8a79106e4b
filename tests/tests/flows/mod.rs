//! UDP flows that a cable of several queues spreads over them.

#![allow(dead_code, reason = "each test binary uses its part")]

use std::net::UdpSocket;

use tests::{DEADLINE, PairOptions, Rig, wait_until};

/// So many that each of four queues gets some, but for once in ten million boots.
pub(crate) const FLOWS: u64 = 64;
/// Ethernet, IPv4 and UDP.
const HEADERS: usize = 14 + 20 + 8;

/// Sources of UDP datagrams at the far end, each with a port of its own.
pub(crate) struct Flows {
    sources: Vec<UdpSocket>,
    sent: u64,
}

/// A pair with addresses and so many queues.
pub(crate) fn queues(queues: u32) -> PairOptions {
    PairOptions {
        queues,
        addresses: true,
        ..PairOptions::default()
    }
}

impl Flows {
    pub(crate) fn into(rig: &Rig) -> Self {
        let source = |_| {
            let socket = UdpSocket::bind("10.1.0.2:0").expect("the address is this end's");
            socket.connect("10.1.0.1:7").expect("there is a route");
            socket
        };
        Self {
            sources: rig.pair.far.netns.run(|| (0..FLOWS).map(source).collect()),
            sent: 0,
        }
    }

    /// One datagram of each flow; returns when all have been at the hook.
    pub(crate) fn send_round(&mut self, rig: &Rig) {
        for source in &self.sources {
            let datagram = datagram(self.sent);
            let sent = source.send(&datagram).expect("the cable has room");
            assert_eq!(sent, datagram.len());
            self.sent += 1;
        }
        wait_until("all datagrams have been at the hook", DEADLINE, || {
            rig.pair.near.driver_count("_xdp_packets") == self.sent
        });
    }

    /// How many datagrams were sent: their numbers are below this one.
    pub(crate) fn sent(&self) -> u64 {
        self.sent
    }
}

/// How many packets came to the hook by this queue, as the driver counts.
pub(crate) fn arrived(rig: &Rig, queue: u32) -> u64 {
    let counter = format!("rx_queue_{queue}_xdp_packets");
    rig.pair.near.driver_count(&counter)
}

/// The number of a datagram that came, all of which must be as it was sent.
#[track_caller]
pub(crate) fn number_of(packet: &[u8]) -> u64 {
    let payload = &packet[HEADERS..];
    let number = u64::from_be_bytes(payload[..8].try_into().expect("they are eight"));
    assert_eq!(payload, datagram(number), "datagram {number}");
    number
}

/// Up to 1400 bytes that no other datagram has.
fn datagram(number: u64) -> Vec<u8> {
    let length = usize::try_from(number * 7 % 1392).expect("it is small");
    let mut bytes = number.to_be_bytes().to_vec();
    bytes.extend((0..length).map(|place| (place as u64 ^ number).to_le_bytes()[0]));
    bytes
}
