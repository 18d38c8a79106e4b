//! Whose the queues are, whatever is asked in whatever order.

use std::collections::BTreeMap;

use dispatcher_abi::REDIRECT_MEMBER;
use proptest::collection::vec;
use proptest::prelude::*;

use crate::testing::{
    ENGINES, change, decided, facts, interface, limited, policy, registration, root,
};
use crate::{
    Authority, BuiltIn, Client, ConnectionId, Facts, Lease, LeaseState, Leases, Moment, Opening,
    Operation, PinnedMemory, Policy, QueueKey, Refusal, Registration, Requester, SocketKey,
    SocketLimits, Source, State, without_redirect,
};

pub(super) const LIMITS: SocketLimits = SocketLimits {
    sockets: 3,
    bytes: 100,
};

pub(super) fn opening(place: u32, queue: u32, bytes: u64) -> Opening {
    Opening {
        interface: interface(place),
        queue,
        memory: PinnedMemory {
            of: [u8::try_from(place * 64 + queue).unwrap(); 16],
            bytes,
        },
        beside: false,
        bare: false,
        redirect: true,
        sends: true,
        token: [7; 16],
    }
}

/// The socket with the token that every opening has unless it says otherwise.
pub(super) fn key(place: u32, queue: u32) -> SocketKey {
    keyed(place, queue, 7)
}

pub(super) fn keyed(place: u32, queue: u32, token: u8) -> SocketKey {
    SocketKey {
        place: QueueKey {
            chain: interface(place).key,
            queue,
        },
        token: [token; 16],
    }
}

#[test]
fn a_token_names_one_socket_until_it_is_closed_for_good() {
    let mut leases = Leases::default();
    let owner = limited(1002, 1, LIMITS);
    let first = opening(0, 3, 10);
    let again = opening(1, 0, 10);
    leases.check_token(&first).unwrap();
    leases.open(&owner, &first).unwrap();
    let taken = Err(Refusal::TokenTaken {
        interface: again.interface.name.clone(),
        queue: 0,
    });
    assert_eq!(leases.check_token(&again), taken);
    leases.leave(key(0, 3));
    assert_eq!(leases.check_token(&again), taken, "it may be open still");
    leases.gone(&first.token);
    assert_eq!(leases.check_token(&again), Ok(()));
}

#[test]
fn a_queue_is_one_clients_and_the_next_hears_whose() {
    let mut leases = Leases::default();
    let mut first = limited(1002, 1, LIMITS);
    first.requester = Requester::Client(Client {
        uid: 1002,
        pid: 77,
        name: "xsk-echo".into(),
        connection: ConnectionId(1),
    });
    leases.open(&first, &opening(0, 3, 10)).unwrap();
    for other in [limited(1002, 2, LIMITS), limited(1000, 3, LIMITS), root()] {
        let refusal = leases.open(&other, &opening(0, 3, 10)).unwrap_err();
        assert_eq!(
            refusal.to_string(),
            format!(
                "queue 3 of interface {} belongs to \"xsk-echo\" (uid 1002, pid 77)",
                interface(0).name
            )
        );
    }
    leases.open(&root(), &opening(1, 3, 10)).unwrap();
    leases.open(&root(), &opening(0, 4, 10)).unwrap();
    leases.close(key(0, 3)).unwrap();
    leases.open(&root(), &opening(0, 3, 10)).unwrap();
}

#[test]
fn a_client_may_have_several_sockets_on_its_queue() {
    let mut leases = Leases::default();
    let user = limited(1002, 1, LIMITS);
    let first = Opening {
        token: [1; 16],
        ..opening(0, 0, 60)
    };
    let beside = |token| Opening {
        beside: true,
        token: [token; 16],
        ..first.clone()
    };
    let refusal = leases.open(&user, &beside(2)).unwrap_err();
    assert!(matches!(refusal, Refusal::NoSuchSocket { queue: 0, .. }));
    leases.open(&user, &first).unwrap();
    // Not another's, not in other memory, and not without being meant to.
    let other_memory = Opening {
        memory: opening(0, 1, 60).memory,
        ..beside(2)
    };
    let plain = Opening {
        token: [2; 16],
        ..first.clone()
    };
    for (client, opening) in [
        (limited(1002, 2, LIMITS), &beside(2)),
        (limited(0, 3, LIMITS), &beside(2)),
        (user.clone(), &other_memory),
        (user.clone(), &plain),
    ] {
        let refusal = leases.open(&client, opening).unwrap_err();
        assert!(
            matches!(refusal, Refusal::QueueTaken { uid: 1002, .. }),
            "{refusal}"
        );
    }
    leases.open(&user, &beside(2)).unwrap();
    leases.open(&user, &beside(3)).unwrap();
    let refusal = leases.open(&user, &beside(4)).unwrap_err();
    assert!(matches!(refusal, Refusal::SocketQuota { max: 3, .. }));
    // One of them gets the packets.
    let may = |leases: &Leases, token| leases.may_activate(&user, "eth0", keyed(0, 0, token));
    let refusal = may(&leases, 2).unwrap_err();
    assert!(
        matches!(refusal, Refusal::NoSuchSocket { queue: 0, .. }),
        "it is being made"
    );
    for token in [2, 3] {
        assert!(leases.opened(keyed(0, 0, token)));
    }
    may(&leases, 2).unwrap();
    leases.activated(keyed(0, 0, 2));
    may(&leases, 2).unwrap();
    let refusal = may(&leases, 3).unwrap_err();
    assert!(
        matches!(refusal, Refusal::HasReceiver { queue: 0, .. }),
        "{refusal}"
    );
    leases.leave(keyed(0, 0, 1));
    assert_eq!(leases.receiver(key(0, 0).place), Some(keyed(0, 0, 2)));
    let refusal = leases.left_open("eth0", key(0, 0).place).unwrap();
    assert!(
        matches!(refusal, Refusal::QueueLeftOpen { uid: 1002, .. }),
        "{refusal}"
    );
    assert_eq!(leases.left_open("eth0", key(0, 1).place), None);
    leases.gone(&[1; 16]);
    assert_eq!(leases.left_open("eth0", key(0, 0).place), None);
    leases.close(keyed(0, 0, 2)).unwrap();
    assert_eq!(leases.receiver(key(0, 0).place), None);
    may(&leases, 3).unwrap();
    // The queue goes with the last.
    leases.open(&root(), &opening(0, 0, 0)).unwrap_err();
    leases.close(keyed(0, 0, 3)).unwrap();
    leases.open(&root(), &opening(0, 0, 0)).unwrap();
}

#[test]
fn bare_sockets_are_roots_and_of_whom_may() {
    let bare = Opening {
        bare: true,
        ..opening(0, 0, 0)
    };
    let mut leases = Leases::default();
    let user = limited(1002, 1, LIMITS);
    let refusal = leases.open(&user, &bare).unwrap_err();
    assert!(matches!(refusal, Refusal::BareNotAllowed { uid: 1002, .. }));
    let allowed = bare_too(1002);
    leases.open(&allowed, &bare).unwrap();
    // Whether it ever was bound to the queue nobody knows, so it isn't said to be.
    leases.leave(key(0, 0));
    assert_eq!(leases.left_open("eth0", key(0, 0).place), None);
    leases.open(&root(), &bare).unwrap();
    for bare in [false, true] {
        let opening = Opening {
            bare,
            ..opening(0, 1, 0)
        };
        let refusal = leases.open(&bare_too(1003), &opening).unwrap_err();
        assert_eq!(refusal, Refusal::NoRights { uid: 1003 });
    }
}

/// A client that may bind sockets itself, if it may do anything.
fn bare_too(uid: u32) -> Authority {
    let Requester::Client(client) = limited(uid, 1, LIMITS).requester else {
        panic!("a client")
    };
    let policy = Policy {
        bare: [uid].into(),
        ..policy(LIMITS)
    };
    policy.authority(&client, &interface(0))
}

#[test]
fn a_socket_is_activated_by_its_connection_and_token() {
    let mut leases = Leases::default();
    let user = limited(1002, 1, LIMITS);
    leases.open(&user, &opening(0, 0, 0)).unwrap();
    let own = Opening {
        redirect: false,
        ..opening(0, 1, 0)
    };
    leases.open(&user, &own).unwrap();
    for queue in [0, 1] {
        assert!(leases.opened(key(0, queue)));
    }
    let ask = |client: &Authority, queue, token| {
        leases.may_activate(client, "eth0", keyed(0, queue, token))
    };
    assert_eq!(ask(&user, 0, 7), Ok(()));
    for (client, queue, token) in [
        (&user, 0, 8),
        (&user, 2, 7),
        (&limited(1002, 2, LIMITS), 0, 7),
    ] {
        let refusal = ask(client, queue, token).unwrap_err();
        assert!(matches!(refusal, Refusal::NoSuchSocket { .. }), "{refusal}");
    }
    let refusal = ask(&user, 1, 7).unwrap_err();
    assert!(matches!(refusal, Refusal::NotRedirected { queue: 1, .. }));
}

#[test]
fn a_socket_that_is_made_after_its_queue_was_given_back_has_no_lease() {
    let mut leases = Leases::default();
    let user = limited(1002, 1, LIMITS);
    let state = |leases: &Leases| leases.get(key(0, 0)).map(|lease| lease.state);
    leases.open(&user, &opening(0, 0, 0)).unwrap();
    assert_eq!(state(&leases), Some(LeaseState::Opening));
    assert!(leases.opened(key(0, 0)));
    assert_eq!(state(&leases), Some(LeaseState::Opened));
    assert_eq!(leases.receiver(key(0, 0).place), None);
    leases.close(key(0, 0)).unwrap();
    assert!(!leases.opened(key(0, 0)));
    assert_eq!(state(&leases), None);
}

#[test]
fn a_lingering_socket_is_reclaimed_with_user_token_and_the_socket_itself() {
    let user = limited(1002, 5, LIMITS);
    let mut leases = Leases::default();
    leases.open(&user, &opening(0, 0, 10)).unwrap();
    let mut lease = leases.close(key(0, 0)).unwrap();
    lease.state = LeaseState::Lingering {
        cookie: 99,
        until: Moment(5),
    };
    lease.owner.connection = None;
    leases.recover(key(0, 0).place, lease);
    for (client, token, cookie) in [
        (limited(1000, 5, LIMITS), 7, 99),
        (user.clone(), 8, 99),
        (user.clone(), 7, 98),
    ] {
        let before = leases.clone();
        let refusal = leases
            .reclaim(&client, "eth0", keyed(0, 0, token), cookie)
            .unwrap_err();
        assert!(matches!(refusal, Refusal::SocketMismatch { .. }));
        assert_eq!(leases, before);
    }
    leases.reclaim(&user, "eth0", key(0, 0), 99).unwrap();
    assert_eq!(leases.of_connection(ConnectionId(5)), [key(0, 0)]);
    let again = leases.reclaim(&user, "eth0", key(0, 0), 99);
    assert!(again.is_err(), "it doesn't linger any more");
}

#[test]
fn the_redirect_program_stays_as_long_as_a_socket_needs_it() {
    let mut state = State::new(ENGINES);
    let registration = Registration {
        name: Some(REDIRECT_MEMBER.into()),
        ..registration()
    };
    let daemon = Authority::daemon(1);
    let redirect = Facts {
        source: Source::BuiltIn(BuiltIn::XskRedirect),
        ..facts()
    };
    let register = change(vec![Operation::Register(registration)]);
    let refusal = decided(&state, &root(), &register, std::slice::from_ref(&redirect)).unwrap_err();
    assert!(matches!(refusal, Refusal::NameReserved { .. }));
    let plan = decided(&state, &daemon, &register, &[redirect]).unwrap();
    state.commit(&plan);
    let chain = state.at(interface(0).key).unwrap();
    let mut leases = Leases::default();
    assert!(without_redirect(chain, &leases).is_some());
    leases.open(&root(), &opening(0, 0, 0)).unwrap();
    leases.open(&root(), &opening(1, 0, 0)).unwrap();
    assert_eq!(without_redirect(chain, &leases), None);
    leases.close(key(0, 0));
    let change = without_redirect(chain, &leases).unwrap();
    let plan = decided(&state, &daemon, &change, &[]).unwrap();
    assert_eq!(plan.next, None);
}

/// Something that is asked about sockets.
#[derive(Clone, Debug)]
enum Asked {
    /// Beside the socket of this number, if there is one.
    Open(Authority, Opening, usize),
    /// One of the sockets.
    Close(prop::sample::Index),
    Leave(prop::sample::Index),
    /// Of the sockets that may be open without a lease, which is closed.
    Closed(prop::sample::Index),
    Gone(ConnectionId),
}

fn asked() -> impl Strategy<Value = Asked> {
    let queue = || (0..2_u32, 0..4_u32);
    let who = (
        prop_oneof![Just(0), Just(1000), Just(1002), Just(1003)],
        1..4_u64,
    );
    let first = 0..8_usize;
    let open = (who, queue(), 0..80_u64, first).prop_map(|(who, (place, queue), bytes, first)| {
        Asked::Open(
            limited(who.0, who.1, LIMITS),
            opening(place, queue, bytes),
            first,
        )
    });
    prop_oneof![
        5 => open,
        2 => any::<prop::sample::Index>().prop_map(Asked::Close),
        2 => any::<prop::sample::Index>().prop_map(Asked::Leave),
        1 => any::<prop::sample::Index>().prop_map(Asked::Closed),
        1 => (1..4_u64).prop_map(|connection| Asked::Gone(ConnectionId(connection))),
    ]
}

/// A random one of the sockets.
fn pick(leases: &Leases, which: prop::sample::Index) -> Option<SocketKey> {
    let keys: Vec<_> = leases.iter().map(|(key, _)| key).collect();
    (!keys.is_empty()).then(|| *which.get(&keys))
}

proptest! {
    /// Nobody has more than their share, no queue is taken from anybody or shared with others, one
    /// socket on it gets its packets at most, and a refusal changes nothing.
    #[test]
    fn leases_are_kept_and_bounded(sequence in vec(asked(), 0..60)) {
        let mut leases = Leases::default();
        let mut left: Vec<Lease> = Vec::new();
        for (number, asked) in sequence.into_iter().enumerate() {
            let before = leases.clone();
            match asked {
                Asked::Open(client, opening, first) => {
                    let token = [u8::try_from(number).unwrap(); 16];
                    let memory = PinnedMemory { of: token, ..opening.memory };
                    let mut opening = Opening { memory, token, ..opening };
                    if let Some((_, first)) = before.iter().nth(first) {
                        opening.beside = true;
                        opening.memory = first.memory;
                    }
                    if let Ok(key) = leases.open(&client, &opening) {
                        prop_assert_eq!(before.get(key), None);
                        leases.close(key);
                        prop_assert_eq!(&leases, &before);
                        leases.open(&client, &opening).unwrap();
                        if leases.may_activate(&client, "eth0", key).is_ok() {
                            leases.activated(key);
                            prop_assert_eq!(leases.receiver(key.place), Some(key));
                        }
                    } else {
                        prop_assert_eq!(&leases, &before);
                    }
                }
                Asked::Close(which) => {
                    if let Some(key) = pick(&before, which) {
                        let closed = leases.close(key);
                        prop_assert_eq!(closed.as_ref(), before.get(key));
                        prop_assert_eq!(leases.get(key), None);
                    }
                }
                Asked::Leave(which) => {
                    if let Some(key) = pick(&before, which) {
                        left.extend(leases.get(key).cloned());
                        leases.leave(key);
                        prop_assert_eq!(leases.get(key), None);
                    }
                }
                Asked::Closed(which) => {
                    if !left.is_empty() {
                        let closed = left.remove(which.index(left.len()));
                        leases.gone(&closed.token);
                    }
                }
                Asked::Gone(connection) => {
                    for key in leases.of_connection(connection) {
                        leases.close(key).unwrap();
                    }
                    let stays = |lease: &Lease| lease.owner.connection != Some(connection);
                    let rest = before.iter().filter(|(_, lease)| stays(lease));
                    prop_assert!(rest.eq(leases.iter()));
                }
            }
            assert_shares(&leases, &left);
            assert_queues(&leases);
        }
    }
}

/// Every user has what they may have.
fn assert_shares(leases: &Leases, left: &[Lease]) {
    let mut used: BTreeMap<u32, (usize, BTreeMap<[u8; 16], u64>)> = BTreeMap::new();
    let all = leases.iter().map(|(_, lease)| lease).chain(left);
    for lease in all.filter(|lease| lease.owner.uid != 0) {
        let (sockets, pinned) = used.entry(lease.owner.uid).or_default();
        *sockets += 1;
        pinned.insert(lease.memory.of, lease.memory.bytes);
    }
    for (sockets, pinned) in used.into_values() {
        assert!(sockets <= LIMITS.sockets);
        assert!(pinned.values().sum::<u64>() <= LIMITS.bytes);
    }
}

/// Whether a socket gets no packets, yet or ever.
fn waits(lease: &Lease) -> bool {
    matches!(lease.state, LeaseState::Opening | LeaseState::Opened)
}

/// All that is on a queue is one connection's, in one memory, and one of it gets the packets at most.
fn assert_queues(leases: &Leases) {
    for (key, lease) in leases.iter() {
        let beside = leases
            .iter()
            .filter(|(other, _)| other.place == key.place && other.token != key.token);
        for (_, other) in beside {
            assert_eq!(other.owner.connection, lease.owner.connection);
            assert_eq!(other.memory, lease.memory);
            assert!(waits(lease) || waits(other));
        }
    }
}
