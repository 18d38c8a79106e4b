//! What could not be mended: when it is tried again, and what of it.

use super::recovery::pins::{chain, dir};
use crate::testing::ENGINES;
use crate::{Build, CodeId, MEND_AGAIN_MS, MemberId, Mend, Moment, Slot, State};

/// A chain of one member, whose build is 1, and what could not be mended of it at this moment.
fn unmended(steps: &[Mend], now: Moment) -> State {
    let mut state = State::new(ENGINES);
    let mut chain = chain(1);
    chain.dir = dir();
    state.insert(chain);
    for step in steps {
        state.not_mended(dir(), *step, now);
    }
    state
}

fn fill(build: u64, slot: u16, member: u64, code: u32) -> Mend {
    Mend::FillSlot {
        build: Build(build),
        slot: Slot(slot),
        member: MemberId(member),
        code: CodeId(code),
    }
}

#[test]
fn it_is_due_half_a_minute_after_its_last_failure_and_a_deadline_until_then() {
    let steps = [Mend::Repin, fill(1, 0, 1, 1)];
    let mut state = unmended(&steps, Moment(100));
    let again = Moment(100).after_ms(MEND_AGAIN_MS);
    assert_eq!(state.deadlines().collect::<Vec<_>>(), [again]);
    assert_eq!(state.mends_due(Moment(again.0 - 1)), []);
    assert_eq!(state.mends_due(again), [dir()]);
    assert_eq!(state.take_mends(dir()), steps);
    assert_eq!(state.mends_due(Moment(u64::MAX)), []);
    state.not_mended(dir(), Mend::Repin, again);
    assert_eq!(state.mends_due(again), []);
    assert_eq!(state.take_mends(dir()), [Mend::Repin]);
}

#[test]
fn what_the_chain_does_without_is_forgotten() {
    let wanted = [
        Mend::PlaceLink,
        Mend::DropNextLink,
        Mend::DropNextRegistry { build: Build(1) },
        Mend::DropNextTotals {
            member: MemberId(1),
        },
        Mend::NewTotals {
            member: MemberId(1),
        },
        fill(1, 0, 1, 1),
    ];
    let unwanted = [
        Mend::DropNextRegistry { build: Build(2) },
        Mend::DropNextTotals {
            member: MemberId(2),
        },
        Mend::NewTotals {
            member: MemberId(2),
        },
        fill(2, 0, 1, 1),
        fill(1, 1, 1, 1),
        fill(1, 0, 2, 1),
        fill(1, 0, 1, 2),
    ];
    let mut state = unmended(&[&wanted[..], &unwanted[..]].concat(), Moment(0));
    assert_eq!(state.take_mends(dir()), wanted);
    let mut gone = unmended(&wanted, Moment(0));
    gone.chains.clear();
    assert_eq!(gone.take_mends(dir()), []);
}
