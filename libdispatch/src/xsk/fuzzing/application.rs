//! An application that does with its frames whatever can be done, and knows which it has.

use std::mem;

use arbitrary::Arbitrary;

use super::Plain;
use super::memory::Hostile;
use crate::xsk::inbound::Inbound;
use crate::xsk::outbound::Outbound;
use crate::xsk::ring::{Completion, Descriptor, Fill, Rx, Tx};
use crate::xsk::{Frame, Incoming, Packet, Umem};

type Ring<'m> = &'m Hostile<'m, 'm>;

/// What happens next. Packets and sockets are taken modulo how many there are.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub(super) enum Step {
    /// The application refills, receives at most so many packets, and does the same with each.
    Receive(u8, u8, Fate),
    /// The same, and recycled are those that it doesn't take.
    Look(u8, u8, Fate),
    /// It receives, and the batch is forgotten.
    Forget(u8, u8),
    /// The application sends a packet whose frames' ends are cut off.
    Send(u8, u8, u16, u16),
    Reap(u8),
    Drop(u8),
    Recycle(u8, u8),
    Allocate(u8),
    /// It makes two packets one.
    Join(u8, u8),
    /// It closes both sockets and opens others over the same rings.
    Reopen,
    /// The kernel receives so many frames from this socket's FILL for that socket.
    Arrive(u8, u8, u8, bool),
    /// The kernel sends so much of this socket's TX.
    Transmit(u8, u8),
}

/// What becomes of a packet that was received.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub(super) enum Fate {
    Keep,
    Drop,
    Recycle,
    Send,
}

/// Two sockets' halves, and the packets that were taken from them.
pub(super) struct Application<'u, 'm> {
    umem: &'u Umem,
    rings: &'m [Hostile<'m, 'm>; 8],
    beside: bool,
    sockets: Vec<Halves<'u, 'm>>,
    held: Vec<Packet<'u>>,
    marks: Marks,
}

struct Halves<'u, 'm> {
    inbound: Inbound<'u, Ring<'m>>,
    outbound: Outbound<'u, Ring<'m>>,
}

/// What each frame is full of, and which are held. Nobody but their holder writes to them.
struct Marks {
    bytes: Vec<u8>,
    held: Vec<bool>,
    next: u8,
}

impl<'u, 'm> Application<'u, 'm> {
    /// Over the rings of two sockets. `beside` says that the second is on the first one's queue.
    pub(super) fn new(umem: &'u Umem, rings: &'m [Hostile<'m, 'm>; 8], beside: bool) -> Self {
        let frames = umem.layout().frames() as usize;
        let mut application = Self {
            umem,
            rings,
            beside,
            sockets: Vec::new(),
            held: Vec::new(),
            marks: Marks {
                bytes: vec![0; frames],
                held: vec![false; frames],
                next: 0,
            },
        };
        application.open();
        application
    }

    fn open(&mut self) {
        let (umem, beside) = (self.umem, self.beside);
        let first = umem.ring().expect("there are few");
        let second = if beside {
            first
        } else {
            umem.ring().expect("there are few")
        };
        let halves = |rings: &'m [Hostile<'m, 'm>], number, queue: bool| Halves {
            inbound: Inbound::new(
                umem,
                number,
                queue.then(|| Fill::new(&rings[0])),
                Some(Rx::new(&rings[2])),
                beside,
            ),
            outbound: Outbound::new(
                umem,
                number,
                Some(Tx::new(&rings[3])),
                queue.then(|| Completion::new(&rings[1])),
                true,
            ),
        };
        self.sockets = vec![
            halves(&self.rings[..4], first, true),
            halves(&self.rings[4..], second, !beside),
        ];
    }

    /// One step.
    pub(super) fn step(&mut self, step: Step) {
        match step {
            Step::Receive(socket, packets, fate) => self.receive(socket, packets, fate),
            Step::Look(socket, packets, fate) => self.look(socket, packets, fate),
            Step::Forget(socket, packets) => self.forget(socket, packets),
            Step::Send(socket, packet, front, length) => {
                if let Some(packet) = self.remove(packet) {
                    let packet = cut(packet, front, length);
                    let halves = pick(&mut self.sockets, socket);
                    self.held.extend(send(halves, &mut self.marks, packet));
                    halves.outbound.publish();
                }
            }
            Step::Reap(socket) => {
                pick(&mut self.sockets, socket).outbound.reap();
            }
            Step::Drop(packet) => {
                if let Some(packet) = self.remove(packet) {
                    drop(self.marks.give(packet));
                }
            }
            Step::Recycle(socket, packet) => {
                if let Some(packet) = self.remove(packet) {
                    let packet = self.marks.give(packet);
                    pick(&mut self.sockets, socket).inbound.recycle(packet);
                }
            }
            Step::Allocate(count) => {
                for frame in (0..count % 8).map_while(|_| self.umem.allocate()) {
                    self.held.push(self.marks.take(frame.into()));
                }
            }
            Step::Join(packet, other) => {
                if let Some(mut packet) = self.remove(packet) {
                    for frame in self.remove(other).into_iter().flat_map(Packet::into_frames) {
                        packet.append(frame);
                    }
                    self.held.push(packet);
                }
            }
            Step::Reopen => {
                self.sockets.clear();
                self.open();
            }
            Step::Arrive(from, to, count, continued) => self.arrive(from, to, count, continued),
            Step::Transmit(from, count) => self.transmit(from, count),
        }
    }

    fn receive(&mut self, socket: u8, packets: u8, fate: Fate) {
        let Halves { inbound, outbound } = pick(&mut self.sockets, socket);
        inbound.refill();
        let mut batch = inbound.receive(packets.into());
        while let Some(packet) = batch.next() {
            let packet = self.marks.take(packet);
            match fate {
                Fate::Keep => self.held.push(packet),
                Fate::Drop => drop(self.marks.give(packet)),
                Fate::Recycle => batch.recycle(self.marks.give(packet)),
                Fate::Send => {
                    let unsent = outbound.send(self.marks.give(packet)).err();
                    let packet = unsent.map(|unsent| self.marks.take(unsent.packet));
                    self.held.extend(packet);
                }
            }
        }
        assert!(batch.remaining() <= usize::from(packets));
        drop(batch);
        outbound.publish();
    }

    fn look(&mut self, socket: u8, packets: u8, fate: Fate) {
        let Halves { inbound, outbound } = pick(&mut self.sockets, socket);
        inbound.refill_if_low();
        let (marks, held) = (&mut self.marks, &mut self.held);
        let treated = inbound.receive_each(packets.into(), |mut packet| {
            if let Fate::Recycle | Fate::Send = fate {
                marks.look(&mut packet);
            }
            match fate {
                Fate::Keep => held.push(marks.take(packet.take())),
                Fate::Drop => {
                    let packet = marks.take(packet.take());
                    drop(marks.give(packet));
                }
                Fate::Recycle => (),
                // Whatever becomes of it, the application doesn't have it.
                Fate::Send => drop(outbound.forward(packet)),
            }
        });
        assert!(treated <= packets.into());
        outbound.publish();
    }

    fn forget(&mut self, socket: u8, packets: u8) {
        let inbound = &mut pick(&mut self.sockets, socket).inbound;
        inbound.refill();
        let mut batch = inbound.receive(u32::MAX);
        for packet in batch.by_ref().take(packets.into()) {
            self.held.push(self.marks.take(packet));
        }
        mem::forget(batch);
    }

    fn remove(&mut self, packet: u8) -> Option<Packet<'u>> {
        let count = self.held.len();
        (count > 0).then(|| self.held.swap_remove(usize::from(packet) % count))
    }

    /// A kernel that believes its ring.
    fn arrive(&self, from: u8, to: u8, count: u8, continued: bool) {
        let [fill, rx] = [(from, 0), (to, 2)].map(|(socket, ring)| self.ring(socket, ring));
        let layout = self.umem.layout();
        let headroom = u64::from(layout.headroom()) + 256;
        for _ in 0..count % 32 {
            let Some(chunk) = fill.get::<u64>() else {
                break;
            };
            let address = if layout.unaligned() {
                chunk | headroom << 48
            } else {
                chunk.wrapping_add(headroom)
            };
            rx.put(Descriptor {
                address,
                length: u32::from(count),
                options: continued.into(),
            });
        }
    }

    fn transmit(&self, from: u8, count: u8) {
        let completion = self.ring(if self.beside { 0 } else { from }, 1);
        for _ in 0..count % 32 {
            let Some(descriptor) = self.ring(from, 3).get::<Descriptor>() else {
                break;
            };
            completion.put(descriptor.address);
        }
    }

    fn ring(&self, socket: u8, ring: usize) -> &'m Plain {
        self.rings[usize::from(socket % 2) * 4 + ring].ring()
    }

    /// What is true at any time.
    pub(super) fn check(&mut self) {
        let frames = self.umem.layout().frames();
        let tally = self.umem.tally();
        assert_eq!(tally.ours + tally.fill + tally.transmit, frames);
        let held: usize = self.held.iter().map(Packet::frame_count).sum();
        assert_eq!(held, self.marks.held.iter().filter(|held| **held).count());
        assert!(held + self.umem.free() <= tally.ours as usize);
        for (socket, halves) in self.sockets.iter_mut().enumerate() {
            let size = self.rings[socket * 4 + 3].ring().entries::<Descriptor>();
            assert!(halves.outbound.room() <= size);
            assert!(halves.outbound.unread() <= size);
            let _ = halves.inbound.needs_wakeup() || halves.inbound.is_empty();
            let _ = halves.outbound.needs_wakeup();
        }
    }

    /// Closes all: what is the application's is in the pool at last, once.
    pub(super) fn end(mut self) {
        self.sockets.clear();
        for packet in mem::take(&mut self.held) {
            drop(self.marks.give(packet));
        }
        assert_eq!(self.umem.free(), self.umem.tally().ours as usize);
        while let Some(frame) = self.umem.allocate() {
            self.held.push(self.marks.take(frame.into()));
        }
        assert_eq!(self.held.len(), self.umem.tally().ours as usize);
    }
}

impl Marks {
    /// Packets that come must be nobody's, and as they were left. Each is marked anew.
    fn take<'u>(&mut self, mut packet: Packet<'u>) -> Packet<'u> {
        for frame in packet.frames_mut() {
            let index = frame.index() as usize;
            assert!(!mem::replace(&mut self.held[index], true), "held twice");
            assert_all(frame, self.bytes[index]);
            self.next = self.next.wrapping_add(1);
            self.bytes[index] = self.next;
            frame.fill(self.next);
        }
        packet
    }

    /// A packet that is only looked at must be nobody's, and as it was left.
    fn look(&mut self, packet: &mut Incoming<'_, '_>) {
        let index = packet.first().index() as usize;
        assert!(!self.held[index], "held, and received again");
        let mark = self.bytes[index];
        assert!(packet.iter().all(|byte| *byte == mark), "it was changed");
        packet.fill(mark);
    }

    /// Packets that go must be as they were marked.
    fn give<'u>(&mut self, mut packet: Packet<'u>) -> Packet<'u> {
        for frame in packet.frames_mut() {
            let (start, length) = (frame.headroom(), frame.len());
            let index = frame.index() as usize;
            assert!(mem::replace(&mut self.held[index], false), "not held");
            assert_all(frame, self.bytes[index]);
            assert!(frame.shrink_front(start) && frame.set_len(length));
        }
        packet
    }
}

/// Makes all of the frame the packet, which must be this byte throughout.
fn assert_all(frame: &mut Frame<'_>, byte: u8) {
    let headroom = frame.headroom();
    assert!(frame.grow_front(headroom));
    let length = frame.len() + frame.tailroom();
    assert_eq!(length, frame.umem().layout().frame_size() as usize);
    assert!(frame.set_len(length));
    assert!(frame[..] == [byte; 4096][..length], "it was changed");
}

/// Sends a packet; it comes back if it can't be sent.
fn send<'u>(
    halves: &mut Halves<'u, '_>,
    marks: &mut Marks,
    packet: Packet<'u>,
) -> Option<Packet<'u>> {
    let unsent = halves.outbound.send(marks.give(packet)).err()?;
    Some(marks.take(unsent.packet))
}

fn cut(mut packet: Packet<'_>, front: u16, length: u16) -> Packet<'_> {
    for frame in packet.frames_mut() {
        frame.shrink_front(usize::from(front) % (frame.len() + 1));
        frame.set_len(usize::from(length) % (frame.len() + 1));
    }
    packet
}

fn pick<'a, 'u, 'm>(sockets: &'a mut [Halves<'u, 'm>], socket: u8) -> &'a mut Halves<'u, 'm> {
    &mut sockets[usize::from(socket % 2)]
}
