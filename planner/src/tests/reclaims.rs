//! Each refusal of a member that somebody wants back.

use dispatcher_abi::Lifetime;

use crate::testing::{ENGINES, change, client, decided, facts, interface, registration, root};
use crate::{Authority, ConnectionId, MemberId, Moment, Operation, Refusal, Registration, State};

/// Wants a member back in every way that is refused, checks the text that people read, and that
/// nothing changes.
pub(super) fn refused() -> Vec<Refusal> {
    let mut state = State::new(ENGINES);
    let attached = Operation::Register(Registration {
        lifetime: Lifetime::Attached,
        token: [7; 16],
        ..registration()
    });
    let owner = client(1000, 3);
    let plan = decided(&state, &owner, &change(vec![attached]), &[facts()]).unwrap();
    state.commit(&plan);
    let (key, id) = (plan.site, plan.next.unwrap().members[0].id);
    let mut claim = |client: &Authority, key, id, token, text: &str| {
        let before = state.clone();
        let refusal = state.reclaim(client, key, id, token).unwrap_err();
        assert_eq!(refusal.to_string(), text);
        assert_eq!(state, before);
        state.connection_gone(plan.site, ConnectionId(3), Moment(0));
        refusal
    };
    let mismatch = "member xdp_program of interface eth0 can't be claimed with this uid and token";
    vec![
        claim(
            &owner,
            key,
            id,
            &[7; 16],
            "member xdp_program of interface eth0 can't be claimed: it doesn't linger",
        ),
        claim(&owner, key, id, &[8; 16], mismatch),
        claim(&client(1001, 3), key, id, &[7; 16], mismatch),
        claim(&root(), key, id, &[7; 16], mismatch),
        claim(
            &owner,
            key,
            MemberId(99),
            &[7; 16],
            "interface eth0 has no member \"99\"",
        ),
        claim(
            &owner,
            interface(1).key,
            id,
            &[7; 16],
            "interface 1-3 has no chain",
        ),
    ]
}
