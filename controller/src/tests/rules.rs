//! Single rules: what is tried instead, what is put back, what waits.

use dispatcher_abi::{Engine, EngineChoice, Lifetime, Mode, ModeChoice};
use planner::testing::{change, facts, interface, registration};
use planner::{
    Abilities, Build, Change, Cleanup, Configuration, Facts, HookProgram, Note, Obstacle,
    Operation, Refusal, Registration, Revision, Settings, Slot, Standing, Waiting,
};

use super::ask::{attached, daemon, eth0, is_commit, is_load, is_prepare, kept, unregister};
use super::daemon::Load;
use super::world::{Fate, Hook};
use crate::{Answer, Notice};

fn at(number: u32, operations: Vec<Operation>) -> Change {
    Change {
        interface: interface(number),
        ..change(operations)
    }
}

/// A program that takes no packets of several buffers.
fn plain() -> Facts {
    Facts {
        abilities: Abilities {
            obstacle: None,
            frags: false,
        },
        ..facts()
    }
}

fn to_generic() -> Vec<Operation> {
    vec![Operation::Configure(Configuration {
        mode: Some(ModeChoice::Generic),
        ..Configuration::default()
    })]
}

fn rival(id: u32) -> HookProgram {
    let name = "rival".to_owned();
    HookProgram { id, name }
}

fn expecting(revision: u64, operations: Vec<Operation>) -> Change {
    Change {
        expected_revision: Some(Revision(revision)),
        expected_members: Vec::new(),
        ..change(operations)
    }
}

#[test]
fn a_chain_runs_in_generic_mode_where_the_interface_has_no_native_one() {
    let (mut daemon, root) = daemon();
    let id = daemon.ask_change(root, at(1, vec![kept("one")]), facts());
    daemon.run();
    let changed = daemon.changed(id);
    assert_eq!(changed.plan.next.as_ref().unwrap().mode, Mode::Generic);
    let [Note::Generic { in_the_way, .. }] = &changed.notes[..] else {
        panic!("{:?}", changed.notes);
    };
    assert!(in_the_way.is_empty());
    daemon.settle();
}

#[test]
fn a_chain_that_was_asked_for_in_native_mode_is_not_made_in_another() {
    let (mut daemon, root) = daemon();
    let native = Change {
        mode: Some(ModeChoice::Native),
        ..at(1, vec![kept("one")])
    };
    let id = daemon.ask_change(root, native, facts());
    daemon.run();
    let answer = daemon.answer(id);
    assert!(
        matches!(
            answer,
            Answer::Failed {
                error: "EOPNOTSUPP",
                ..
            }
        ),
        "{answer:?}"
    );
    daemon.settle();
}

#[test]
fn members_that_take_no_large_packets_are_named_as_what_is_in_the_way() {
    let (mut daemon, root) = daemon();
    let id = daemon.ask_change(root, at(2, vec![kept("one")]), plain());
    daemon.run();
    let changed = daemon.changed(id);
    let [Note::Generic { in_the_way, .. }] = &changed.notes[..] else {
        panic!("{:?}", changed.notes);
    };
    assert_eq!(*in_the_way, ["one"]);
    daemon.settle();
}

#[test]
fn what_the_kernel_refuses_as_an_extension_runs_by_tail_call() {
    let (mut daemon, root) = daemon();
    let id = daemon.ask_for(root, vec![kept("one")]);
    daemon.run_until(is_load);
    daemon.step(0, Fate::Works, Load::Refused);
    daemon.run();
    let changed = daemon.changed(id);
    let next = changed.plan.next.as_ref().unwrap();
    assert_eq!(next.members[0].form.engine, Engine::Tailcall);
    let member = "one".to_owned();
    let obstacle = Obstacle::Refused;
    assert_eq!(changed.notes, [Note::ByTailCall { member, obstacle }]);
    daemon.settle();
}

#[test]
fn a_program_that_is_refused_both_ways_fails_as_it_did_first() {
    let (mut daemon, root) = daemon();
    let id = daemon.ask_for(root, vec![kept("one")]);
    daemon.run_until(is_load);
    daemon.step(0, Fate::Works, Load::Refused);
    daemon.step(0, Fate::Works, Load::Fails);
    let answer = daemon.answer(id);
    assert!(
        matches!(
            answer,
            Answer::Failed {
                error: "the verifier",
                ..
            }
        ),
        "{answer:?}"
    );
    daemon.settle();
}

#[test]
fn a_change_does_without_an_upgrade_that_cannot_be_loaded() {
    let (mut daemon, root) = daemon();
    let by_tail_call = Operation::Register(Registration {
        name: Some("one".to_owned()),
        engine: EngineChoice::Tailcall,
        ..registration()
    });
    daemon.made(root, vec![by_tail_call]);
    let id = daemon.ask_change(root, change(vec![kept("two")]), plain());
    daemon.run();
    // The first is loaded again, since the chain takes no packets of several buffers now.
    assert_eq!(daemon.changed(id).plan.reloads, ["one"]);
    let id = daemon.ask_for(root, vec![unregister("two")]);
    daemon.run_until(is_load);
    daemon.step(0, Fate::Works, Load::Fails);
    daemon.run();
    let changed = daemon.changed(id);
    assert_eq!(changed.plan.reloads.len(), 0);
    assert!(!daemon.chain().members[0].form.frags);
    daemon.settle();
}

#[test]
fn a_mode_change_that_fails_half_way_leaves_the_chain_as_it_was() {
    let (mut daemon, root) = daemon();
    daemon.made(root, vec![kept("one")]);
    for effects in 0..4 {
        let id = daemon.ask_for(root, to_generic());
        daemon.run_until(is_commit);
        daemon.fail_after(effects);
        daemon.run();
        let answer = daemon.answer(id);
        assert!(matches!(answer, Answer::Failed { .. }), "{answer:?}");
        assert_eq!(daemon.chain().mode, Mode::Native);
        assert_eq!(daemon.chain().build, Build(1));
        daemon.run_for(1000);
        daemon.assert_at_rest();
    }
    daemon.made(root, to_generic());
    assert_eq!(daemon.chain().mode, Mode::Generic);
}

#[test]
fn a_way_back_that_fails_too_is_taken_by_the_next_look() {
    let (mut daemon, root) = daemon();
    daemon.made(root, vec![kept("one")]);
    let id = daemon.ask_for(root, to_generic());
    daemon.run_until(is_commit);
    daemon.fail_after(1);
    daemon.step(0, Fate::Works, Load::Works);
    daemon.fail_after(0);
    daemon.run();
    assert!(matches!(daemon.answer(id), Answer::Failed { .. }));
    assert_eq!(
        daemon.chain().standing,
        Standing::Waiting(Waiting::Detached)
    );
    daemon.run_for(1000);
    daemon.assert_at_rest();
    assert_eq!(daemon.chain().mode, Mode::Native);
}

#[test]
fn a_detached_chain_is_attached_again_as_it_was() {
    let (mut daemon, root) = daemon();
    daemon.made(root, vec![kept("one")]);
    let before = daemon.chain().clone();
    daemon.detach();
    daemon.run_for(1000);
    daemon.assert_at_rest();
    assert_eq!(*daemon.chain(), before);
    assert!(matches!(daemon.notices[..], [Notice::Detached { .. }]));
}

#[test]
fn a_change_of_a_detached_chain_attaches_it_first() {
    let (mut daemon, root) = daemon();
    daemon.made(root, vec![kept("one")]);
    daemon.detach();
    daemon.made(root, vec![kept("two")]);
    daemon.assert_at_rest();
    assert_eq!(daemon.names(), ["one", "two"]);
}

#[test]
fn a_detach_during_a_commit_leaves_what_was_before_and_one_attachment() {
    let (mut daemon, root) = daemon();
    daemon.made(root, vec![kept("one")]);
    let id = daemon.ask_for(root, vec![kept("two")]);
    daemon.run_until(is_commit);
    daemon.detach();
    daemon.run();
    assert!(matches!(
        daemon.answer(id),
        Answer::Failed {
            error: "ENOLINK",
            ..
        }
    ));
    daemon.run_for(1000);
    daemon.assert_at_rest();
    assert_eq!(daemon.names(), ["one"]);
    let attached = |notice: &&Notice<_>| matches!(notice, Notice::Detached { .. });
    assert_eq!(daemon.notices.iter().filter(attached).count(), 1);
}

#[test]
fn a_chain_whose_hook_is_somebody_elses_waits_and_comes_back() {
    let (mut daemon, root) = daemon();
    daemon.made(root, vec![kept("one")]);
    daemon.detach();
    daemon.world.foreign_attach(eth0().key, 77);
    daemon.history.clear();
    daemon.run_for(10_000);
    let taken = Waiting::Taken(rival(77));
    assert_eq!(daemon.chain().standing, Standing::Waiting(taken));
    assert_eq!(daemon.world.nics[&eth0().key].hook, Hook::Other(77));
    // It is said once, nobody tries to attach, and a change is refused for that reason.
    assert!(matches!(daemon.notices[..], [Notice::Taken { .. }]));
    let mut jobs = daemon.history.iter();
    assert!(
        !jobs.any(|job| job.contains("Commit {")),
        "it is only looked at"
    );
    let id = daemon.ask_for(root, vec![kept("two")]);
    daemon.run();
    let Answer::Refused(refused) = daemon.answer(id) else {
        panic!("its hook is somebody else's");
    };
    assert_eq!(
        refused.to_string(),
        "interface eth0 runs somebody else's program rival (id 77)"
    );
    daemon.world.foreign_leave(eth0().key);
    daemon.run_for(1000);
    daemon.assert_at_rest();
}

#[test]
fn a_chain_that_waits_for_its_hook_can_be_taken_away() {
    let (mut daemon, root) = daemon();
    daemon.made(root, vec![kept("one")]);
    daemon.detach();
    daemon.world.foreign_attach(eth0().key, 77);
    daemon.run_for(2000);
    daemon.made(root, vec![Operation::UnregisterAll]);
    assert_eq!(daemon.names().len(), 0);
    assert_eq!(daemon.world.nics[&eth0().key].hook, Hook::Other(77));
    daemon.settle();
}

#[test]
fn a_chain_goes_with_its_interface() {
    let (mut daemon, root) = daemon();
    daemon.made(root, vec![kept("one")]);
    daemon.world.remove_nic(eth0().key);
    daemon.run_for(1000);
    daemon.assert_at_rest();
    assert_eq!(daemon.names().len(), 0);
}

#[test]
fn what_a_failed_change_left_is_freed_sometime() {
    let (mut daemon, root) = daemon();
    daemon.made(root, vec![kept("one")]);
    let id = daemon.ask_for(root, vec![kept("two")]);
    daemon.run_until(is_prepare);
    daemon.fail_after(4);
    daemon.world.stuck = Some(|_| true);
    daemon.run();
    // The answer doesn't wait for that.
    assert!(matches!(daemon.answer(id), Answer::Failed { .. }));
    for _ in 0..10 {
        daemon.run_for(1000);
        assert_eq!(daemon.obsolete().len(), 1);
    }
    daemon.world.stuck = None;
    daemon.run_for(1000);
    daemon.assert_at_rest();
}

#[test]
fn a_build_whose_counts_cannot_be_saved_holds_up_the_newer_ones() {
    let (mut daemon, root) = daemon();
    daemon.made(root, vec![kept("one")]);
    daemon.world.stuck = Some(|step| matches!(step, Cleanup::FoldCounters { .. }));
    for name in ["two", "three", "four"] {
        daemon.made(root, vec![kept(name)]);
    }
    daemon.run_for(3000);
    let due = daemon.obsolete()[0].due();
    let members = vec![(Slot(0), daemon.chain().members[0].id)];
    let build = Build(1);
    assert_eq!(due, [Cleanup::FoldCounters { build, members }]);
    daemon.world.stuck = None;
    daemon.settle();
}

#[test]
fn a_change_that_expects_a_revision_is_compared_with_what_comes_before_it() {
    let (mut daemon, root) = daemon();
    let (first, second) = (daemon.connect(0), daemon.connect(0));
    daemon.made(root, vec![kept("one")]);
    let ahead = daemon.ask_for(root, vec![kept("two")]);
    daemon.run_until(is_commit);
    let late = daemon.ask_change(first, expecting(1, vec![kept("three")]), facts());
    let right = daemon.ask_change(second, expecting(2, vec![kept("four")]), facts());
    daemon.run();
    daemon.changed(ahead);
    daemon.changed(right);
    let answer = daemon.answer(late);
    let expected = Revision(1);
    assert!(
        matches!(&answer, Answer::Refused(Refusal::Revision { expected: it, actual, .. })
            if *it == expected && *actual > expected),
        "{answer:?}"
    );
    assert_eq!(daemon.names(), ["one", "two", "four"]);
}

#[test]
fn a_change_that_expects_a_revision_that_nobody_makes_is_refused() {
    let (mut daemon, root) = daemon();
    let other = daemon.connect(0);
    daemon.made(root, vec![kept("one")]);
    daemon.ask_for(root, vec![kept("two")]);
    daemon.run_until(is_commit);
    let id = daemon.ask_change(other, expecting(7, vec![kept("three")]), facts());
    daemon.run();
    assert!(matches!(
        daemon.answer(id),
        Answer::Refused(Refusal::Revision { .. })
    ));
    daemon.settle();
}

#[test]
fn a_daemon_that_is_stopped_at_any_step_ends_what_it_began_and_answers_everybody() {
    for detach in [false, true] {
        for steps in 0.. {
            let (mut daemon, root) = daemon();
            daemon.made(root, vec![kept("one")]);
            let other = daemon.connect(0);
            let asked = [
                daemon.ask_for(root, vec![kept("two")]),
                daemon.ask_for(other, vec![attached("three", 0)]),
            ];
            for _ in 0..steps {
                daemon.step(0, Fate::Works, Load::Works);
            }
            if daemon.running.is_empty() {
                break;
            }
            daemon.stop(detach);
            daemon.run();
            assert!(daemon.is_stopped);
            assert!(asked.iter().all(|id| daemon.answers.contains_key(id)));
            let is_empty = daemon.world.nics[&eth0().key].hook == Hook::Empty;
            assert_eq!(is_empty, detach, "after {steps} steps");
            daemon.settle();
        }
    }
}

#[test]
fn a_registry_that_is_not_put_in_its_place_is_freed() {
    let (mut daemon, root) = daemon();
    daemon.made(root, vec![attached("one", 0)]);
    let name = "one".to_owned();
    let settings = Settings {
        lifetime: Some(Lifetime::Kept),
        ..Settings::default()
    };
    let id = daemon.ask_for(root, vec![Operation::Set { name, settings }]);
    daemon.run_until(is_commit);
    daemon.fail_after(0);
    daemon.run();
    assert!(matches!(daemon.answer(id), Answer::Failed { .. }));
    daemon.assert_at_rest();
    daemon.disconnect(root);
    daemon.settle();
    assert_eq!(daemon.names().len(), 0);
}
