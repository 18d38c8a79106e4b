//! How much a chain may hold.

use dispatcher_abi::{SLOTS, TAIL_CALLS_MAX};

use crate::{Chain, Refusal};

/// Checks that a packet can run the chain: its root has a slot for each member, and all tail calls
/// fit together, those of the slots and the members' own.
pub(crate) fn check(chain: &Chain) -> Result<(), Refusal> {
    let interface = || chain.interface.name.clone();
    if chain.members.len() > SLOTS {
        return Err(Refusal::ChainFull {
            interface: interface(),
        });
    }
    let members = chain.members.iter();
    let sum = members.map(|member| 1 + u64::from(member.tail_depth)).sum();
    if sum > u64::from(TAIL_CALLS_MAX) {
        let heavy = chain.members.iter().filter(|member| member.tail_depth > 0);
        return Err(Refusal::TailCallBudget {
            interface: interface(),
            sum,
            heavy: heavy.map(|m| (m.name.clone(), m.tail_depth)).collect(),
        });
    }
    Ok(())
}
