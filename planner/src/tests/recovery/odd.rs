//! Registries that say what no plan leaves behind: not even a member could be taken out of such a chain.

use dispatcher_abi::Engine;

use super::pins::{chain, left_alone, observe, pins};
use crate::testing::ENGINES;
use crate::{AttachType, Build, Chain, Moment, RegistryFault, Why, reconcile};

type Odd = fn(&mut Chain);

fn by_tail_call(chain: &mut Chain) {
    for member in &mut chain.members {
        member.form.engine = Engine::Tailcall;
    }
}

#[test]
fn a_chain_whose_code_is_loaded_otherwise_than_it_needs_is_left_alone() {
    let odd: [Odd; 7] = [
        |chain| chain.attach = AttachType::Unset,
        |chain| chain.members[1].form.attach = AttachType::Unset,
        |chain| chain.members[0].form.frags = false,
        |chain| chain.members[0].abilities.frags = false,
        |chain| {
            by_tail_call(chain);
            chain.members[0].form.frags = false;
        },
        |chain| {
            by_tail_call(chain);
            chain.members[0].abilities.frags = false;
        },
        |chain| {
            by_tail_call(chain);
            chain.members[0].tail_depth = 32;
        },
    ];
    for (number, spoil) in odd.into_iter().enumerate() {
        let mut chain = chain(2);
        spoil(&mut chain);
        let why = Why::Registry {
            build: Build(1),
            fault: RegistryFault::Impossible,
        };
        assert_eq!(left_alone(pins(&chain)), why, "number {number}");
    }
    let mut full = chain(33);
    by_tail_call(&mut full);
    assert!(matches!(left_alone(pins(&full)), Why::Registry { .. }));
}

#[test]
fn a_chain_that_waits_for_an_upgrade_goes_on() {
    let mut plain = chain(2);
    by_tail_call(&mut plain);
    for member in &mut plain.members {
        member.form.frags = false;
    }
    let recovery = reconcile(&observe(pins(&plain)), ENGINES, Moment(0));
    assert_eq!(recovery.unreadable, []);
    assert_eq!(recovery.state.chains.len(), 1);
}
