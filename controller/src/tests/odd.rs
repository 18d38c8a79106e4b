//! A state that no plan leads to.

use dispatcher_abi::EngineChoice;
use planner::testing::registration;
use planner::{Leases, Operation, Registration};

use super::ask::{daemon, is_commit};
use crate::{Act, Notice};

#[test]
fn what_a_chain_can_not_become_is_said_once_a_second_and_nothing_else_stops() {
    let (mut daemon, root) = daemon();
    let by_tail_call = Operation::Register(Registration {
        name: Some("one".to_owned()),
        engine: EngineChoice::Tailcall,
        ..registration()
    });
    daemon.made(root, vec![by_tail_call]);
    let key = daemon.active(root, 0, 1);
    let socket = daemon
        .world
        .sockets
        .get_mut(&key.token)
        .expect("it is open");
    (socket.is_open, socket.is_held) = (false, false);
    daemon.world.close();
    daemon.controller.state.leases = Leases::default();
    let chains = daemon.controller.state.chains.values_mut();
    for member in chains.flat_map(|chain| &mut chain.members) {
        if member.name == "one" {
            member.tail_depth = 40;
        }
    }
    daemon.run_for(3000);
    let refused = |notice: &&Notice<_>| {
        matches!(
            notice,
            Notice::Refused {
                act: Act::DropRedirect,
                ..
            }
        )
    };
    let said = daemon.notices.iter().filter(refused).count();
    assert!((2..=4).contains(&said), "{:?}", daemon.notices);
    daemon.stop(true);
    daemon.run_until(is_commit);
    daemon.run();
    assert!(daemon.is_stopped);
}
