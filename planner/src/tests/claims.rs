//! Whose the queues are, whatever is asked in whatever order.

use std::collections::BTreeMap;

use dispatcher_abi::REDIRECT_MEMBER;
use proptest::collection::vec;
use proptest::prelude::*;

use crate::claims::without_redirect;
use crate::testing::{ENGINES, change, client, decided, facts, interface, registration, root};
use crate::{
    Claim, ClaimState, Claims, Client, ConnectionId, Opening, Operation, PinnedMemory, QueueKey,
    Refusal, Registration, SocketKey, SocketLimits, State,
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
    let mut claims = Claims::default();
    let owner = client(1002, 1);
    let first = opening(0, 3, 10);
    let again = opening(1, 0, 10);
    claims.check_token(&first).unwrap();
    claims.open(&owner, &first, false).unwrap();
    let taken = Err(Refusal::TokenTaken {
        interface: again.interface.name.clone(),
        queue: 0,
    });
    assert_eq!(claims.check_token(&again), taken);
    claims.leave(key(0, 3));
    assert_eq!(claims.check_token(&again), taken, "it may be open still");
    claims.gone(&first.token);
    assert_eq!(claims.check_token(&again), Ok(()));
}

#[test]
fn a_queue_is_one_clients_and_the_next_hears_whose() {
    let mut claims = Claims::default();
    let first = Client {
        name: "xsk-echo".into(),
        pid: 77,
        ..client(1002, 1)
    };
    claims.open(&first, &opening(0, 3, 10), false).unwrap();
    for other in [client(1002, 2), client(1000, 3), root()] {
        let refusal = claims.open(&other, &opening(0, 3, 10), false).unwrap_err();
        assert_eq!(
            refusal.to_string(),
            format!(
                "queue 3 of interface {} belongs to \"xsk-echo\" (uid 1002, pid 77)",
                interface(0).name
            )
        );
    }
    claims.open(&root(), &opening(1, 3, 10), false).unwrap();
    claims.open(&root(), &opening(0, 4, 10), false).unwrap();
    claims.close(key(0, 3)).unwrap();
    claims.open(&root(), &opening(0, 3, 10), false).unwrap();
}

#[test]
fn a_client_may_have_several_sockets_on_its_queue() {
    let mut claims = Claims::new(LIMITS);
    let user = client(1002, 1);
    let first = Opening {
        token: [1; 16],
        ..opening(0, 0, 60)
    };
    let beside = |token| Opening {
        beside: true,
        token: [token; 16],
        ..first.clone()
    };
    let refusal = claims.open(&user, &beside(2), false).unwrap_err();
    assert!(matches!(refusal, Refusal::NoSuchSocket { queue: 0, .. }));
    claims.open(&user, &first, false).unwrap();
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
        (client(1002, 2), &beside(2)),
        (client(0, 3), &beside(2)),
        (user.clone(), &other_memory),
        (user.clone(), &plain),
    ] {
        let refusal = claims.open(&client, opening, false).unwrap_err();
        assert!(
            matches!(refusal, Refusal::QueueTaken { uid: 1002, .. }),
            "{refusal}"
        );
    }
    claims.open(&user, &beside(2), false).unwrap();
    claims.open(&user, &beside(3), false).unwrap();
    let refusal = claims.open(&user, &beside(4), false).unwrap_err();
    assert!(matches!(refusal, Refusal::SocketQuota { max: 3, .. }));
    // One of them gets the packets.
    let may = |claims: &Claims, token| claims.may_activate(&user, "eth0", keyed(0, 0, token));
    may(&claims, 2).unwrap();
    claims.activated(keyed(0, 0, 2));
    may(&claims, 2).unwrap();
    let refusal = may(&claims, 3).unwrap_err();
    assert!(
        matches!(refusal, Refusal::HasReceiver { queue: 0, .. }),
        "{refusal}"
    );
    claims.leave(keyed(0, 0, 1)).unwrap();
    assert_eq!(claims.receiver(key(0, 0).place), Some(keyed(0, 0, 2)));
    let refusal = claims.left_open("eth0", key(0, 0).place).unwrap();
    assert!(
        matches!(refusal, Refusal::QueueLeftOpen { uid: 1002, .. }),
        "{refusal}"
    );
    assert_eq!(claims.left_open("eth0", key(0, 1).place), None);
    claims.gone(&[1; 16]);
    assert_eq!(claims.left_open("eth0", key(0, 0).place), None);
    claims.close(keyed(0, 0, 2)).unwrap();
    assert_eq!(claims.receiver(key(0, 0).place), None);
    may(&claims, 3).unwrap();
    // The queue goes with the last.
    claims.open(&root(), &opening(0, 0, 0), false).unwrap_err();
    claims.close(keyed(0, 0, 3)).unwrap();
    claims.open(&root(), &opening(0, 0, 0), false).unwrap();
}

#[test]
fn bare_sockets_are_roots_and_of_whom_may() {
    let bare = Opening {
        bare: true,
        ..opening(0, 0, 0)
    };
    let mut claims = Claims::default();
    let user = client(1002, 1);
    let refusal = claims.open(&user, &bare, false).unwrap_err();
    assert!(matches!(refusal, Refusal::BareNotAllowed { uid: 1002, .. }));
    claims.open(&user, &bare, true).unwrap();
    // Whether it ever was bound to the queue nobody knows, so it isn't said to be.
    claims.leave(key(0, 0)).unwrap();
    assert_eq!(claims.left_open("eth0", key(0, 0).place), None);
    claims.open(&root(), &bare, false).unwrap();
    let nobody = client(1003, 1);
    let refusal = claims.open(&nobody, &opening(0, 1, 0), true).unwrap_err();
    assert_eq!(refusal, Refusal::NoRights { uid: 1003 });
}

#[test]
fn a_socket_is_activated_by_its_connection_and_token() {
    let mut claims = Claims::default();
    let user = client(1002, 1);
    claims.open(&user, &opening(0, 0, 0), false).unwrap();
    let own = Opening {
        redirect: false,
        ..opening(0, 1, 0)
    };
    claims.open(&user, &own, false).unwrap();
    let ask =
        |client: &Client, queue, token| claims.may_activate(client, "eth0", keyed(0, queue, token));
    assert_eq!(ask(&user, 0, 7), Ok(()));
    for (client, queue, token) in [(&user, 0, 8), (&user, 2, 7), (&client(1002, 2), 0, 7)] {
        let refusal = ask(client, queue, token).unwrap_err();
        assert!(matches!(refusal, Refusal::NoSuchSocket { .. }), "{refusal}");
    }
    let refusal = ask(&user, 1, 7).unwrap_err();
    assert!(matches!(refusal, Refusal::NotRedirected { queue: 1, .. }));
}

#[test]
fn a_lingering_socket_is_reclaimed_with_user_token_and_the_socket_itself() {
    let user = client(1002, 5);
    let mut claims = Claims::default();
    claims.open(&user, &opening(0, 0, 10), false).unwrap();
    let mut claim = claims.close(key(0, 0)).unwrap();
    claim.state = ClaimState::Lingering { cookie: 99 };
    claim.owner.connection = ConnectionId(0);
    claims.recover(key(0, 0).place, claim);
    for (client, token, cookie) in [
        (client(1000, 5), 7, 99),
        (user.clone(), 8, 99),
        (user.clone(), 7, 98),
    ] {
        let before = claims.clone();
        let refusal = claims
            .reclaim(&client, "eth0", keyed(0, 0, token), cookie)
            .unwrap_err();
        assert!(matches!(refusal, Refusal::SocketMismatch { .. }));
        assert_eq!(claims, before);
    }
    claims.reclaim(&user, "eth0", key(0, 0), 99).unwrap();
    assert_eq!(claims.of_connection(user.connection), [key(0, 0)]);
    let again = claims.reclaim(&user, "eth0", key(0, 0), 99);
    assert!(again.is_err(), "it doesn't linger any more");
}

#[test]
fn the_redirect_program_stays_as_long_as_a_socket_needs_it() {
    let mut state = State::new(ENGINES);
    let registration = Registration {
        name: Some(REDIRECT_MEMBER.into()),
        ..registration()
    };
    let daemon = Client {
        connection: ConnectionId(0),
        ..root()
    };
    let register = change(vec![Operation::Register(registration)]);
    let refusal = decided(&state, &root(), &register, &[facts()]).unwrap_err();
    assert!(matches!(refusal, Refusal::NameReserved { .. }));
    let plan = decided(&state, &daemon, &register, &[facts()]).unwrap();
    state.commit(&plan);
    let chain = &state.chains[&interface(0).key];
    let mut claims = Claims::default();
    assert!(without_redirect(chain, &claims).is_some());
    claims.open(&root(), &opening(0, 0, 0), false).unwrap();
    claims.open(&root(), &opening(1, 0, 0), false).unwrap();
    assert_eq!(without_redirect(chain, &claims), None);
    claims.close(key(0, 0));
    let change = without_redirect(chain, &claims).unwrap();
    let plan = decided(&state, &daemon, &change, &[]).unwrap();
    assert_eq!(plan.next, None);
}

/// Something that is asked about sockets.
#[derive(Clone, Debug)]
enum Asked {
    /// Beside the socket of this number, if there is one.
    Open(Client, Opening, usize),
    /// One of the sockets.
    Close(prop::sample::Index),
    Leave(prop::sample::Index),
    /// Of the sockets that may be open without a claim, which is closed.
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
        Asked::Open(client(who.0, who.1), opening(place, queue, bytes), first)
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
fn pick(claims: &Claims, which: prop::sample::Index) -> Option<SocketKey> {
    let keys: Vec<_> = claims.iter().map(|(key, _)| key).collect();
    (!keys.is_empty()).then(|| *which.get(&keys))
}

proptest! {
    /// Nobody has more than their share, no queue is taken from anybody or shared with others, one
    /// socket on it gets its packets at most, and a refusal changes nothing.
    #[test]
    fn claims_are_kept_and_bounded(sequence in vec(asked(), 0..60)) {
        let mut claims = Claims::new(LIMITS);
        let mut left: Vec<Claim> = Vec::new();
        for (number, asked) in sequence.into_iter().enumerate() {
            let before = claims.clone();
            match asked {
                Asked::Open(client, opening, first) => {
                    let token = [u8::try_from(number).unwrap(); 16];
                    let memory = PinnedMemory { of: token, ..opening.memory };
                    let mut opening = Opening { memory, token, ..opening };
                    if let Some((_, first)) = before.iter().nth(first) {
                        opening.beside = true;
                        opening.memory = first.memory;
                    }
                    if let Ok(key) = claims.open(&client, &opening, false) {
                        prop_assert_eq!(before.get(key), None);
                        claims.close(key);
                        prop_assert_eq!(&claims, &before);
                        claims.open(&client, &opening, false).unwrap();
                        if claims.may_activate(&client, "eth0", key).is_ok() {
                            claims.activated(key);
                            prop_assert_eq!(claims.receiver(key.place), Some(key));
                        }
                    } else {
                        prop_assert_eq!(&claims, &before);
                    }
                }
                Asked::Close(which) => {
                    if let Some(key) = pick(&before, which) {
                        let closed = claims.close(key);
                        prop_assert_eq!(closed.as_ref(), before.get(key));
                        prop_assert_eq!(claims.get(key), None);
                    }
                }
                Asked::Leave(which) => {
                    if let Some(key) = pick(&before, which) {
                        left.extend(claims.leave(key));
                        prop_assert_eq!(claims.get(key), None);
                    }
                }
                Asked::Closed(which) => {
                    if !left.is_empty() {
                        let closed = left.remove(which.index(left.len()));
                        claims.gone(&closed.token);
                    }
                }
                Asked::Gone(connection) => {
                    for key in claims.of_connection(connection) {
                        claims.close(key).unwrap();
                    }
                    let stays = |claim: &Claim| claim.owner.connection != connection;
                    let rest = before.iter().filter(|(_, claim)| stays(claim));
                    prop_assert!(rest.eq(claims.iter()));
                }
            }
            assert_shares(&claims, &left);
            assert_queues(&claims);
        }
    }
}

/// Every user has what they may have.
fn assert_shares(claims: &Claims, left: &[Claim]) {
    let mut used: BTreeMap<u32, (usize, BTreeMap<[u8; 16], u64>)> = BTreeMap::new();
    let all = claims.iter().map(|(_, claim)| claim).chain(left);
    for claim in all.filter(|claim| claim.owner.uid != 0) {
        let (sockets, pinned) = used.entry(claim.owner.uid).or_default();
        *sockets += 1;
        pinned.insert(claim.memory.of, claim.memory.bytes);
    }
    for (sockets, pinned) in used.into_values() {
        assert!(sockets <= LIMITS.sockets);
        assert!(pinned.values().sum::<u64>() <= LIMITS.bytes);
    }
}

/// All that is on a queue is one connection's, in one memory, and one of it gets the packets at most.
fn assert_queues(claims: &Claims) {
    for (key, claim) in claims.iter() {
        let beside = claims
            .iter()
            .filter(|(other, _)| other.place == key.place && other.token != key.token);
        for (_, other) in beside {
            assert_eq!(other.owner.connection, claim.owner.connection);
            assert_eq!(other.memory, claim.memory);
            assert!(claim.state == ClaimState::Opened || other.state == ClaimState::Opened);
        }
    }
}
