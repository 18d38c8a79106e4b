//! The packets that are there, treated.

use libdispatch::xsk::{Receiver, Sender};

use crate::{Action, Counts, Reason, Task};

/// Packets that are treated at a time: enough to share the cost of a look at the rings, and
/// few enough to stay in the processor's cache.
pub const BATCH: usize = 64;

/// Treats up to [`BATCH`] packets that are there, and counts them; returns how many. What is to be
/// sent waits for the sender's flush.
///
/// Both halves have the same UMEM; they may be of two sockets.
#[inline]
pub fn treat_batch<'u>(
    task: &Task,
    receiver: &mut Receiver<'u>,
    sender: &mut Sender<'u>,
    counts: &mut Counts,
) -> usize {
    match task {
        Task::Respond(responder) => {
            let treat = |frame: &mut [u8]| responder.respond(frame);
            send_batch(treat, receiver, sender, counts)
        }
        Task::Forward(forward) => {
            let treat = |frame: &mut [u8]| forward.forward(frame);
            send_batch(treat, receiver, sender, counts)
        }
        Task::Drop => drop_batch(receiver, counts),
    }
}

#[inline]
fn send_batch<'u>(
    treat: impl Fn(&mut [u8]) -> Action,
    receiver: &mut Receiver<'u>,
    sender: &mut Sender<'u>,
    counts: &mut Counts,
) -> usize {
    let mut treated = 0;
    let mut batch = receiver.receive(BATCH);
    while let Some(mut packet) = batch.next() {
        let bytes = packet.len();
        let mut action = treat(&mut packet);
        if let Action::Send { length, .. } = action {
            packet.set_len(length);
            if let Err(unsent) = sender.send(packet) {
                batch.recycle(unsent.packet);
                action = Action::Drop(Reason::NoRoom);
            }
        } else {
            batch.recycle(packet);
        }
        counts.add(bytes, action);
        treated += 1;
    }
    treated
}

/// All have the same fate, so they are counted together.
#[inline]
fn drop_batch(receiver: &mut Receiver<'_>, counts: &mut Counts) -> usize {
    let (mut packets, mut bytes) = (0, 0);
    let mut batch = receiver.receive(BATCH);
    while let Some(packet) = batch.next() {
        packets += 1;
        bytes += packet.len();
        batch.recycle(packet);
    }
    counts.add_all(packets, bytes, Action::Drop(Reason::All));
    packets
}
