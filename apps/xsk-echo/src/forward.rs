//! Sends every packet on.

use crate::action::{Action, Reason, Sent};
use crate::addresses::Mac;
use crate::ethernet::{direct, swap};

/// What packets that are sent on have in their Ethernet header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forward {
    /// Source and destination, exchanged: to whoever sent them.
    Swap,
    /// A source, the interface's that they leave by, and a destination.
    To {
        /// The interface.
        source: Mac,
        /// Who is to get them.
        destination: Mac,
    },
}

impl Forward {
    /// Makes a packet ready to be sent on.
    pub fn forward(self, frame: &mut [u8]) -> Action {
        if frame.len() < 14 {
            return Action::Drop(Reason::Malformed);
        }
        match self {
            Self::Swap => swap::<6>(frame, 0, 6),
            Self::To {
                source,
                destination,
            } => direct(frame, destination, source),
        }
        Action::Send {
            sent: Sent::Forwarded,
            length: frame.len(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRAME: [u8; 14] = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 8, 0];

    #[test]
    fn addresses_are_exchanged_or_set_and_the_rest_is_left() {
        let sent = Action::Send {
            sent: Sent::Forwarded,
            length: 14,
        };
        let mut frame = FRAME;
        assert_eq!(Forward::Swap.forward(&mut frame), sent);
        assert_eq!(frame, [7, 8, 9, 10, 11, 12, 1, 2, 3, 4, 5, 6, 8, 0]);
        let to = Forward::To {
            source: Mac([2; 6]),
            destination: Mac([4; 6]),
        };
        assert_eq!(to.forward(&mut frame), sent);
        assert_eq!(frame, [4, 4, 4, 4, 4, 4, 2, 2, 2, 2, 2, 2, 8, 0]);
    }

    #[test]
    fn what_is_no_frame_goes_nowhere() {
        for length in 0..14 {
            let mut frame = FRAME;
            let action = Forward::Swap.forward(&mut frame[..length]);
            assert_eq!(action, Action::Drop(Reason::Malformed));
            assert_eq!(frame, FRAME);
        }
    }
}
