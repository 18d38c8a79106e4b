//! Whose a member is when its client goes, and when it comes back.

use planner::testing::{change, facts, interface};
use planner::{Change, MemberId};

use super::ask::{attached, daemon, eth0, is_commit, kept};
use crate::{Answer, Notice, Request};

#[test]
fn a_client_that_is_gone_is_told_of_once_for_each_member() {
    let (mut daemon, root) = daemon();
    let client = daemon.connect(0);
    daemon.made(client, vec![attached("guard", 3000)]);
    let elsewhere = Change {
        interface: interface(1),
        ..change(vec![attached("other", 3000)])
    };
    daemon.ask_change(client, elsewhere, facts());
    daemon.run();
    daemon.ask_for(root, vec![kept("one")]);
    daemon.run_until(is_commit);
    daemon.disconnect(client);
    daemon.run();
    let gone = daemon.notices.iter().filter_map(|notice| {
        if let Notice::ClientGone { member, .. } = notice {
            return Some(member.as_str());
        }
        None
    });
    assert_eq!(gone.collect::<Vec<_>>(), ["other", "guard"]);
    daemon.settle();
}

#[test]
fn a_number_is_not_a_name() {
    let (mut daemon, _) = daemon();
    let client = daemon.connect(0);
    daemon.made(client, vec![attached("99", 3000)]);
    daemon.disconnect(client);
    daemon.run();
    let client = daemon.connect(0);
    let member = MemberId(99);
    let token = daemon.chain().members[0].token;
    let request = Request::Reclaim { member, token };
    let id = daemon.ask(client, eth0(), request, Vec::new());
    let answer = daemon.answer(id);
    assert!(matches!(answer, Answer::Refused(_)), "{answer:?}");
}
