//! Each refusal, from a request that deserves it, with the text that people read.

use std::collections::BTreeSet;

use dispatcher_abi::{EngineChoice, Lifetime, ModeChoice, SLOTS, VerdictMask};

use super::reclaims;
use crate::testing::{
    ENGINES, change, client, decided, facts, fill, interface, registration, root,
};
use crate::{
    Abilities, Authority, Change, CodeId, Configuration, Engines, Facts, MemberId, ObjectSource,
    Obstacle, Operation, Position, Refusal, Registration, Revision, Settings, Source, State, admit,
};

/// A request that is refused, and the text of the refusal.
struct Case {
    state: State,
    client: Authority,
    change: Change,
    /// Of the objects that are loaded.
    facts: Facts,
    text: &'static str,
}

#[test]
fn every_refusal_names_what_it_is_about_and_comes_before_anything_is_loaded() {
    let mut produced = BTreeSet::new();
    for case in all_cases() {
        let loaded = vec![case.facts; case.change.loads()];
        let refusal = decided(&case.state, &case.client, &case.change, &loaded).unwrap_err();
        assert_eq!(refusal.to_string(), case.text);
        if loaded.iter().all(|loaded| *loaded == facts()) {
            assert_eq!(
                admit(&case.state, &case.client, &case.change),
                Err(refusal.clone()),
            );
        }
        produced.insert(kind(&refusal));
    }
    for refusal in reclaims::refused() {
        produced.insert(kind(&refusal));
    }
    assert_eq!(produced, (0..KINDS).collect());
}

#[test]
fn what_only_an_object_can_tell_is_admitted_until_it_is_loaded() {
    let unnamed = || Operation::Register(registration());
    let by_name = |name: &str| Operation::Unregister { name: name.into() };
    for operations in [
        vec![unnamed(), by_name("xdp_program")],
        vec![unnamed(), by_name("nobody")],
        vec![
            unnamed(),
            Operation::Order {
                names: vec!["m0".into()],
            },
        ],
        vec![unnamed(), unnamed()],
    ] {
        assert_eq!(admit(&filled(1), &root(), &change(operations)), Ok(()));
    }
}

#[test]
fn one_bad_operation_refuses_all() {
    let mut operations = vec![named("a"), named("b"), named("c")];
    for place in 0..=operations.len() {
        operations.insert(place, named("m0"));
        let change = change(operations.clone());
        let loaded = vec![facts(); change.loads()];
        assert!(decided(&filled(1), &root(), &change, &loaded).is_err());
        operations.remove(place);
    }
}

#[test]
fn the_slots_are_counted_after_the_whole_change() {
    let full = filled_with(TAILCALL_ONLY, SLOTS);
    let go = Operation::Unregister { name: "m7".into() };
    for operations in [vec![go.clone(), named("new")], vec![named("new"), go]] {
        assert!(decided(&full, &root(), &change(operations), &[facts()]).is_ok());
    }
}

/// Tells the variants apart. A new one belongs into a case, too.
fn kind(refusal: &Refusal) -> usize {
    match refusal {
        Refusal::NoRights { .. } => 0,
        Refusal::RedirectOnly { .. } => 1,
        Refusal::RootOnly { .. } => 2,
        Refusal::NotOwner { .. } => 3,
        Refusal::NothingToDo { .. } => 4,
        Refusal::NoChain { .. } => 5,
        Refusal::Revision { .. } => 6,
        Refusal::ModeDiffers { .. } => 7,
        Refusal::NoOffload { .. } => 8,
        Refusal::Engine { .. } => 9,
        Refusal::NoSuchMember { .. } => 10,
        Refusal::BadName { .. } => 11,
        Refusal::NameTaken { .. } => 12,
        Refusal::ChainFull { .. } => 13,
        Refusal::TailCallBudget { .. } => 14,
        Refusal::ChainsOnOther { .. } => 15,
        Refusal::BesideItself { .. } => 16,
        Refusal::OrderIncomplete { .. } => 17,
        Refusal::OrderRepeats { .. } => 18,
        Refusal::ReplacesNewCode { .. } => 19,
        Refusal::KeptStays { .. } => 20,
        Refusal::EmptyChain { .. } => 21,
        Refusal::ClaimMismatch { .. } => 22,
        Refusal::NotLingering { .. } => 23,
        Refusal::ChangedMeanwhile { .. } => 24,
        Refusal::NameReserved { .. } => 25,
        Refusal::NoMemberOfId { .. } => 26,
        Refusal::NotGranted { .. }
        | Refusal::BareNotAllowed { .. }
        | Refusal::HookTaken { .. }
        | Refusal::InterfaceGone { .. }
        | Refusal::QueueTaken { .. }
        | Refusal::QueueLeftOpen { .. }
        | Refusal::SocketQuota { .. }
        | Refusal::MemoryQuota { .. }
        | Refusal::NoSuchSocket { .. }
        | Refusal::NotRedirected { .. }
        | Refusal::NoRxRing { .. }
        | Refusal::HasReceiver { .. }
        | Refusal::TokenTaken { .. }
        | Refusal::SocketMismatch { .. }
        | Refusal::NoFrames { .. } => unreachable!("no change is refused so: see leases.rs"),
    }
}

const KINDS: usize = 27;

fn all_cases() -> Vec<Case> {
    let mut cases = Vec::new();
    cases.extend(cases_of_rights());
    cases.extend(cases_of_the_chain());
    cases.extend(cases_of_limits());
    cases.extend(cases_of_members());
    cases.extend(cases_of_engines());
    cases.push(case_of_a_reserved_name());
    cases
}

fn cases_of_rights() -> Vec<Case> {
    let order = Operation::Order {
        names: vec!["m0".into(), "m1".into()],
    };
    let configure = Operation::Configure(Configuration::default());
    let asked = |uid, operation, text| Case {
        client: client(uid, 1),
        ..case(vec![operation], text)
    };
    vec![
        asked(1003, named("new"), "uid 1003 may not change chains"),
        asked(
            1002,
            named("new"),
            "uid 1002 may use the built-in redirect program only",
        ),
        asked(
            1000,
            order,
            "uid 1000 may not give the whole order of interface eth0: that takes root",
        ),
        asked(
            1000,
            configure,
            "uid 1000 may not configure interface eth0: that takes root",
        ),
        asked(
            1000,
            unregister("m0"),
            "member m0 of interface eth0 belongs to uid 0, not to uid 1000",
        ),
    ]
}

fn cases_of_the_chain() -> Vec<Case> {
    let with_mode = |mode, text| {
        let mut case = case(vec![named("new")], text);
        case.change.mode = Some(mode);
        case
    };
    let mut elsewhere = case(vec![unregister("m0")], "interface eth1 has no chain");
    elsewhere.change.interface = interface(1);
    let mut made_empty = case(
        vec![named("new"), unregister("new")],
        "the change would make a chain on interface eth1 without any member",
    );
    made_empty.change.interface = interface(1);
    let mut stale = case(
        vec![named("new")],
        "interface eth0 is at generation 1, not at 4",
    );
    stale.change.expected_revision = Some(Revision(4));
    let mut too_late = case(
        vec![named("new")],
        "interface eth1 is at generation 0, not at 4",
    );
    too_late.change.interface = interface(1);
    too_late.change.expected_revision = Some(Revision(4));
    let mut anothers_name = case(vec![unregister("m0")], "no member has the id 7");
    anothers_name.change.expected_members = vec![("m0".into(), MemberId(7))];
    let offload = Configuration {
        mode: Some(ModeChoice::Offload),
        ..Configuration::default()
    };
    let no_offload = "interface eth0 can't run a chain in offload mode: a device takes one program";
    vec![
        case(vec![], "the change of interface eth0 holds no operation"),
        elsewhere,
        made_empty,
        stale,
        too_late,
        anothers_name,
        with_mode(
            ModeChoice::Generic,
            "interface eth0 runs its chain in native mode, not generic",
        ),
        with_mode(ModeChoice::Offload, no_offload),
        case(vec![Operation::Configure(offload)], no_offload),
    ]
}

fn cases_of_limits() -> Vec<Case> {
    let deep = |name: &str, depth| {
        Operation::Register(Registration {
            name: Some(name.into()),
            tail_depth: Some(depth),
            ..registration()
        })
    };
    let full = "interface eth0 has no slot for 33 members: a chain has at most 32 if it runs a member by \
         tail call, as it would m0 (the kernel allows 33 tail calls a packet)";
    let by_tail_call = Registration {
        name: Some("new".into()),
        engine: EngineChoice::Tailcall,
        ..registration()
    };
    vec![
        Case {
            state: filled(128),
            ..case(
                vec![named("new")],
                "interface eth0 has no slot for 129 members: a chain has at most 128",
            )
        },
        Case {
            state: filled(SLOTS),
            ..case(
                vec![Operation::Register(by_tail_call)],
                "interface eth0 has no slot for 33 members: a chain has at most 32 if it runs a \
                 member by tail call, as it would new (the kernel allows 33 tail calls a packet)",
            )
        },
        Case {
            state: filled_with(TAILCALL_ONLY, SLOTS),
            ..case(vec![named("new")], full)
        },
        Case {
            state: filled_with(TAILCALL_ONLY, SLOTS - 1),
            ..case(
                vec![Operation::Register(registration()), named("new")],
                full,
            )
        },
        Case {
            state: filled_with(TAILCALL_ONLY, 2),
            ..case(
                vec![deep("a", 20), deep("b", 10)],
                "the members of interface eth0 would make 34 tail calls a packet, and the kernel allows \
             33: each takes one for its slot, and more: a (20), b (10)",
            )
        },
        Case {
            state: filled_with(TAILCALL_ONLY, 2),
            ..case(
                vec![deep("a", u32::MAX), deep("b", u32::MAX)],
                "the members of interface eth0 would make 8589934594 tail calls a packet, and the \
             kernel allows 33: each takes one for its slot, and more: a (4294967295), b (4294967295)",
            )
        },
        Case {
            state: filled_with(TAILCALL_ONLY, SLOTS),
            facts: Facts {
                has_program_array: true,
                ..facts()
            },
            ..case(
                vec![replace("m0"), replace("m1")],
                "the members of interface eth0 would make 34 tail calls a packet, and the kernel \
                 allows 33: each takes one for its slot, and more: m0 (1), m1 (1)",
            )
        },
    ]
}

fn cases_of_members() -> Vec<Case> {
    let order = |names: &[&str]| Operation::Order {
        names: names.iter().map(|name| (*name).into()).collect(),
    };
    let beside = |to| Operation::Move {
        name: "m0".into(),
        to,
    };
    let set = |settings| Operation::Set {
        name: "m0".into(),
        settings,
    };
    let all = Settings {
        chain_call: Some(VerdictMask::ALL),
        ..Settings::default()
    };
    let attached = Settings {
        lifetime: Some(Lifetime::Attached),
        ..Settings::default()
    };
    let bad_name = "\"\\u{1b}[2J\" can't be a member's name: 1 to 63 of A-Z, a-z, 0-9, '.', '_' \
                    and '-', a letter or digit first";
    let replaced = "member m0 can't be replaced in the change that gives it its code";
    vec![
        case(
            vec![unregister("x\n")],
            "interface eth0 has no member \"x\\n\"",
        ),
        case(
            vec![beside(Position::After("x".into()))],
            "interface eth0 has no member \"x\"",
        ),
        case(vec![named("\u{1b}[2J")], bad_name),
        Case {
            facts: Facts {
                source: Source::Object(ObjectSource {
                    program: "\u{1b}[2J".into(),
                    ..ObjectSource::default()
                }),
                ..facts()
            },
            ..case(vec![Operation::Register(registration())], bad_name)
        },
        case(vec![named("m0")], "interface eth0 already has a member m0"),
        case(
            vec![set(all)],
            "member m0 can't chain on after `other`: such a value always ends the chain",
        ),
        Case {
            facts: Facts {
                chain_call: Some(VerdictMask::ALL),
                ..facts()
            },
            ..case(
                vec![named("new")],
                "member new can't chain on after `other`: such a value always ends the chain",
            )
        },
        case(
            vec![beside(Position::Before("m0".into()))],
            "member m0 can't move before or after itself",
        ),
        case(
            vec![order(&["m1"])],
            "the order of interface eth0 doesn't name m0",
        ),
        case(
            vec![order(&["m1", "m0", "m1"])],
            "the order of interface eth0 names m1 twice",
        ),
        case(vec![replace("m0"), replace("m0")], replaced),
        Case {
            facts: Facts {
                replaces: Some((MemberId(41), CodeId(1))),
                ..facts()
            },
            ..case(
                vec![replace("m0")],
                "member m0 was changed while its new code was being loaded",
            )
        },
        case(vec![unregister("m0"), named("m0"), replace("m0")], replaced),
        case(
            vec![set(attached)],
            "member m0 is kept until it is removed; it can't be attached to a connection",
        ),
    ]
}

fn case_of_a_reserved_name() -> Case {
    let text = "no member can be called xsk-redirect: that is the daemon's own redirect program";
    case(vec![named("xsk-redirect")], text)
}

fn cases_of_engines() -> Vec<Case> {
    let register = Operation::Register(Registration {
        name: Some("new".into()),
        engine: EngineChoice::Freplace,
        ..registration()
    });
    let configure = Operation::Configure(Configuration {
        engine: Some(EngineChoice::Freplace),
        ..Configuration::default()
    });
    let on = |engines, operation, text| Case {
        state: State {
            engines,
            ..filled(2)
        },
        ..case(vec![operation], text)
    };
    let none = Engines {
        freplace: false,
        tailcall: false,
    };
    let refuses = "interface eth0 can't run members by freplace: the daemon can't use it";
    vec![
        on(
            TAILCALL_ONLY,
            register.clone(),
            "interface eth0 can't run new by freplace: the daemon can't use it",
        ),
        on(TAILCALL_ONLY, configure, refuses),
        Case {
            facts: Facts {
                abilities: Abilities {
                    obstacle: Some(Obstacle::Prototype),
                    frags: true,
                },
                ..facts()
            },
            ..case(
                vec![register],
                "interface eth0 can't run new by freplace: its prototype is not \
                 `int f(struct xdp_md *)`",
            )
        },
        on(
            none,
            named("new"),
            "interface eth0 can't run new by tailcall: the daemon can't use it",
        ),
    ]
}

/// Root asks for this on a chain of kept members `m0` and `m1`.
fn case(operations: Vec<Operation>, text: &'static str) -> Case {
    Case {
        state: filled(2),
        client: root(),
        change: change(operations),
        facts: facts(),
        text,
    }
}

fn filled(members: usize) -> State {
    filled_with(ENGINES, members)
}

/// A kernel that refuses extension programs.
const TAILCALL_ONLY: Engines = Engines {
    freplace: false,
    tailcall: true,
};

fn filled_with(engines: Engines, members: usize) -> State {
    let mut state = State::new(engines);
    let plan = fill(members).play(&mut state).unwrap().unwrap();
    state.commit(&plan);
    state
}

fn named(name: &str) -> Operation {
    Operation::Register(Registration {
        name: Some(name.into()),
        ..registration()
    })
}

fn unregister(name: &str) -> Operation {
    Operation::Unregister { name: name.into() }
}

fn replace(name: &str) -> Operation {
    Operation::Replace { name: name.into() }
}
