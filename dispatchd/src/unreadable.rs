//! What is said of a chain's pins, in the log and to whoever wants the chain changed. Why it can't be
//! read is said in the wire's words.

use planner::{Mend, Unreadable};

use crate::kernel::Pins;
use crate::translate;

/// Why a change of an interface is refused that runs such a chain.
pub(crate) fn refusal(interface: &str, chain: &Unreadable, pins: &Pins) -> String {
    format!(
        "interface {interface} runs a chain that can't be read: {}, below {}; it runs on and is not \
         changed",
        translate::why(&chain.why),
        pins.chain(chain.dir).display(),
    )
}

/// What is mended.
pub(crate) fn mend(mend: &Mend) -> String {
    match mend {
        Mend::PlaceLink => "its link was not in its place yet".to_owned(),
        Mend::DropNextLink => "a link that holds no hook was left beside its own".to_owned(),
        Mend::DropNextRegistry { .. } => {
            "a registry was left that never came into force".to_owned()
        }
        Mend::DropNextTotals { member } => {
            format!("totals of member {member} were left that never came into force")
        }
        Mend::NewTotals { member } => format!(
            "the totals of member {member} are gone: what it counted before the running build is \
             lost, and its counts begin anew"
        ),
        Mend::Repin => "pins of its root are gone; the kernel still has what they held".to_owned(),
        Mend::FillSlot { slot, .. } => format!("slot {slot} of its program array was emptied"),
    }
}
