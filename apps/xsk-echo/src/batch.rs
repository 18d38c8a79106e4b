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
    receiver.receive_each(BATCH, |mut packet| {
        let bytes = packet.len();
        let mut action = treat(&mut packet);
        if let Action::Send { length, .. } = action {
            packet.set_len(length);
            if sender.forward(packet).is_err() {
                action = Action::Drop(Reason::NoRoom);
            }
        }
        counts.add(bytes, action);
    })
}

/// All have the same fate, so they are counted together.
#[inline]
fn drop_batch(receiver: &mut Receiver<'_>, counts: &mut Counts) -> usize {
    let mut bytes = 0;
    let packets = receiver.receive_each(BATCH, |packet| bytes += packet.len());
    counts.add_all(packets, bytes, Action::Drop(Reason::All));
    packets
}
