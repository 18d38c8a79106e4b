//! How much a chain may hold.

use dispatcher_abi::{Engine, TAIL_CALLS_MAX};

use crate::{Chain, Form, Refusal, RootProgram};

/// Checks that a packet can run the chain with members of these forms: its root has a slot for
/// each, and all tail calls fit together, those of the slots and the members' own.
///
/// A freplaced member shares nothing: entering it starts a new count of tail calls.
pub(crate) fn check(chain: &Chain, forms: &[Form]) -> Result<(), Refusal> {
    let interface = || chain.interface.name.clone();
    let by_tail_call = || {
        let members = chain.members.iter().zip(forms);
        members.filter_map(|(member, form)| (form.engine == Engine::Tailcall).then_some(member))
    };
    let engines = forms.iter().map(|form| form.engine);
    let slots = usize::from(RootProgram::largest(engines).slots);
    if chain.members.len() > slots {
        return Err(Refusal::ChainFull {
            interface: interface(),
            members: chain.members.len(),
            slots,
            tail_called: by_tail_call().next().map(|member| member.name.clone()),
        });
    }
    let sum = by_tail_call()
        .map(|member| 1 + u64::from(member.tail_depth))
        .sum();
    if sum > u64::from(TAIL_CALLS_MAX) {
        let heavy = by_tail_call().filter(|member| member.tail_depth > 0);
        return Err(Refusal::TailCallBudget {
            interface: interface(),
            sum,
            heavy: heavy.map(|m| (m.name.clone(), m.tail_depth)).collect(),
        });
    }
    Ok(())
}
