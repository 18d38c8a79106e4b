//! Who is granted what.

use std::collections::BTreeSet;

use dispatcher_abi::REDIRECT_MEMBER;
use proptest::collection::btree_set;
use proptest::prelude::*;

use crate::testing::{ENGINES, change, client, decided, facts, interface, registration, root};
use crate::{
    Authority, Client, ConnectionId, Grant, Level, Operation, Policy, Refusal, Registration,
    SocketLimits, State, Verb, Verbs, admit,
};

const VERBS: [Verb; 21] = [
    Verb::List,
    Verb::Events,
    Verb::Metrics,
    Verb::Redirect,
    Verb::Send,
    Verb::Bare,
    Verb::Load,
    Verb::LoadTrusted,
    Verb::Loaded,
    Verb::Run,
    Verb::CreateChain,
    Verb::Configure,
    Verb::Mode,
    Verb::ReorderOthers,
    Verb::Park,
    Verb::Adopt,
    Verb::Rollback,
    Verb::Confirm,
    Verb::ObservePackets,
    Verb::Explain,
    Verb::Logs,
];

const LIMITS: SocketLimits = SocketLimits {
    sockets: 3,
    bytes: 100,
};

/// User 1000 may use the redirect program, 1001 may load, 1002 may load trusted objects; 1003 has
/// nothing.
fn policy(bare: &[u32]) -> Policy {
    let levels = [
        (1000, Level::Redirect),
        (1001, Level::Load),
        (1002, Level::LoadTrusted),
    ];
    Policy {
        levels: levels.into(),
        bare: bare.iter().copied().collect(),
        sockets: LIMITS,
    }
}

fn verbs(grant: &Grant) -> BTreeSet<Verb> {
    let verbs = VERBS.into_iter();
    verbs.filter(|verb| grant.verbs.contains(*verb)).collect()
}

#[test]
fn each_level_grants_what_it_says() {
    let redirect = [Verb::List, Verb::Redirect, Verb::Send];
    let load = [&redirect[..], &[Verb::Load, Verb::CreateChain]].concat();
    let load_trusted = [&load[..], &[Verb::LoadTrusted]].concat();
    for (uid, granted) in [
        (0, &VERBS[..]),
        (1000, &redirect),
        (1001, &load),
        (1002, &load_trusted),
        (1003, &[]),
    ] {
        for site in [None, Some(interface(0)), Some(interface(1))] {
            let grant = policy(&[]).grant(uid, site.as_ref());
            assert_eq!(verbs(&grant), granted.iter().copied().collect(), "{uid}");
            assert_eq!(grant.is_empty(), granted.is_empty());
            assert_eq!(grant.everybodys, uid == 0);
            let limits = [1000, 1001, 1002].contains(&uid).then_some(LIMITS);
            assert_eq!(grant.sockets, limits);
        }
    }
}

#[test]
fn who_may_bind_sockets_itself_may_nothing_else_that_it_may_not() {
    for uid in [0, 1000, 1001, 1002] {
        let without = policy(&[]).grant(uid, None);
        let with = policy(&[uid]).grant(uid, None);
        assert!(with.verbs.contains(Verb::Bare));
        let mut more = verbs(&without);
        more.insert(Verb::Bare);
        assert_eq!(verbs(&with), more);
        assert_eq!(
            (with.everybodys, with.sockets),
            (without.everybodys, without.sockets)
        );
        assert_eq!(policy(&[7]).grant(uid, None), without, "another may");
    }
    assert_eq!(policy(&[1003]).grant(1003, None), Grant::default());
}

#[test]
fn a_client_is_asked_for_its_own_rights_and_the_daemon_for_none() {
    let user = Client {
        uid: 1001,
        pid: 5,
        name: "c".into(),
        connection: ConnectionId(4),
    };
    let authority = policy(&[]).authority(&user, &interface(0));
    assert_eq!(authority.uid(), 1001);
    assert_eq!(authority.connection(), Some(ConnectionId(4)));
    assert!(authority.may_have(1001) && !authority.may_have(0) && !authority.may_have(1000));
    let daemon = Authority::daemon(1);
    assert_eq!((daemon.uid(), daemon.connection()), (0, None));
    for verb in VERBS {
        assert!(daemon.may(verb));
        let granted = authority.grant.verbs.contains(verb);
        assert_eq!(authority.may(verb), granted);
    }
    for uid in [0, 1001, 1003] {
        assert!(daemon.may_have(uid) && root().may_have(uid));
    }
}

#[test]
fn the_daemon_alone_registers_its_redirect_program() {
    let register = change(vec![Operation::Register(Registration {
        name: Some(REDIRECT_MEMBER.into()),
        ..registration()
    })]);
    let state = State::new(ENGINES);
    let plan = decided(&state, &Authority::daemon(1), &register, &[facts()]);
    assert!(plan.is_ok());
    for authority in [root(), client(1000, 1), client(1001, 2)] {
        let reserved = Refusal::NameReserved {
            name: REDIRECT_MEMBER.into(),
        };
        assert_eq!(admit(&state, &authority, &register), Err(reserved.clone()));
        let plan = decided(&state, &authority, &register, &[facts()]);
        assert_eq!(plan, Err(reserved));
    }
    for (uid, refusal) in [
        (1002, Refusal::RedirectOnly { uid: 1002 }),
        (1003, Refusal::NoRights { uid: 1003 }),
    ] {
        let plan = decided(&state, &client(uid, 1), &register, &[facts()]);
        assert_eq!(plan, Err(refusal));
    }
}

#[test]
fn an_object_may_not_bring_the_reserved_name_either() {
    let mut brought = facts();
    brought.source = crate::Source::BuiltIn(crate::BuiltIn::Pass);
    let mut redirect = facts();
    redirect.source = crate::Source::Object(crate::ObjectSource {
        program: REDIRECT_MEMBER.into(),
        ..crate::ObjectSource::default()
    });
    let register = change(vec![Operation::Register(registration())]);
    let state = State::new(ENGINES);
    let answer = |facts| decided(&state, &root(), &register, &[facts]).map(drop);
    assert_eq!(answer(brought), Ok(()));
    assert!(matches!(
        answer(redirect),
        Err(Refusal::NameReserved { .. })
    ));
}

fn some_verbs() -> impl Strategy<Value = BTreeSet<Verb>> {
    btree_set(prop::sample::select(&VERBS[..]), 0..8)
}

proptest! {
    #[test]
    fn verbs_are_a_set(some in some_verbs(), others in some_verbs()) {
        let of = |verbs: &BTreeSet<Verb>| {
            let verbs: Vec<_> = verbs.iter().copied().collect();
            Verbs::of(&verbs)
        };
        let both = of(&some) | of(&others);
        for verb in VERBS {
            prop_assert_eq!(of(&some).contains(verb), some.contains(&verb));
            prop_assert_eq!(both.contains(verb), some.contains(&verb) || others.contains(&verb));
            prop_assert!(Verbs::ALL.contains(verb));
            prop_assert!(!Verbs::default().contains(verb));
        }
        prop_assert_eq!(both.is_empty(), some.is_empty() && others.is_empty());
        prop_assert_eq!(both, of(&others) | of(&some));
    }
}
