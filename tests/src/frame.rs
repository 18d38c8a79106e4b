//! Single packets, byte by byte.

use std::fs::File;
use std::io::{ErrorKind, Read, Write};

use crate::deadline::{DEADLINE, wait_until};
use crate::sys;
use crate::veth::{End, FAR_MAC, NEAR_MAC};

/// A packet socket on one end of a cable.
pub struct Tap {
    socket: File,
}

impl Tap {
    /// Sees what this end's stack sees from now on, and sends out of it.
    pub fn on(end: &End) -> Self {
        let socket = end.netns.run(|| sys::packet_socket(end.index));
        Self {
            socket: socket.expect("root may open a packet socket").into(),
        }
    }

    /// Sends one frame out of this end, to the other.
    pub fn send(&self, frame: &[u8]) {
        assert!(self.try_send(frame), "the cable has no room");
    }

    /// The same, unless the cable has no room for it, which is returned.
    pub fn try_send(&self, frame: &[u8]) -> bool {
        const NO_ROOM: i32 = rustix::io::Errno::NOBUFS.raw_os_error();
        match (&self.socket).write(frame) {
            Ok(sent) => {
                assert_eq!(sent, frame.len());
                true
            }
            Err(error) if error.raw_os_error() == Some(NO_ROOM) => false,
            Err(error) => panic!("the interface is not up: {error}"),
        }
    }

    /// The next frame that this end's stack saw (what this end sends, it also sees), if there is
    /// one now.
    pub fn try_next(&self) -> Option<Vec<u8>> {
        let mut frame = vec![0; 16 << 10];
        match (&self.socket).read(&mut frame) {
            Ok(length) => {
                frame.truncate(length);
                Some(frame)
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => None,
            Err(error) => panic!("packet socket: {error}"),
        }
    }

    /// Waits for the next frame that this end's stack sees.
    pub fn next_frame(&self) -> Vec<u8> {
        let mut frame = None;
        wait_until("a packet arrives", DEADLINE, || {
            frame = self.try_next();
            frame.is_some()
        });
        frame.expect("it was waited for")
    }
}

/// An Ethernet frame from the far end to the near one, of this many bytes in all, with a protocol
/// number that no stack answers (`0x88b5`, for experiments) and zeros.
pub fn frame(length: usize) -> Vec<u8> {
    let mut frame = vec![0; length];
    frame[..6].copy_from_slice(&NEAR_MAC);
    frame[6..12].copy_from_slice(&FAR_MAC);
    frame[12..14].copy_from_slice(&[0x88, 0xb5]);
    frame
}

/// A UDP packet in IPv4 from the far end to the near one, of 64 bytes.
pub fn ipv4_udp(source: [u8; 4], destination: [u8; 4], port: u16) -> Vec<u8> {
    let mut packet = frame(64);
    packet[12..14].copy_from_slice(&[0x08, 0x00]);
    let header = &mut packet[14..34];
    header[0] = 0x45;
    header[2..4].copy_from_slice(&50_u16.to_be_bytes());
    header[8] = 64;
    header[9] = 17;
    header[12..16].copy_from_slice(&source);
    header[16..20].copy_from_slice(&destination);
    let sum: u32 = header
        .chunks(2)
        .map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]])))
        .sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    let sum = u16::try_from(folded & 0xffff).expect("it was masked") + u16::from(folded > 0xffff);
    header[10..12].copy_from_slice(&(!sum).to_be_bytes());
    let udp = &mut packet[34..42];
    udp[0..2].copy_from_slice(&port.to_be_bytes());
    udp[2..4].copy_from_slice(&port.to_be_bytes());
    udp[4..6].copy_from_slice(&30_u16.to_be_bytes());
    packet
}
