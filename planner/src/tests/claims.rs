//! Whose the queues are, whatever is asked in whatever order.

use std::collections::BTreeMap;

use dispatcher_abi::REDIRECT_MEMBER;
use proptest::collection::vec;
use proptest::prelude::*;

use crate::claims::without_redirect;
use crate::testing::{ENGINES, change, client, decided, facts, interface, registration, root};
use crate::{
    Claim, ClaimState, Claims, Client, ConnectionId, Opening, Operation, PinnedMemory, QueueKey,
    Refusal, Registration, SocketLimits, State,
};

const LIMITS: SocketLimits = SocketLimits {
    sockets: 3,
    bytes: 100,
};

fn opening(place: u32, queue: u32, bytes: u64) -> Opening {
    Opening {
        interface: interface(place),
        queue,
        memory: PinnedMemory {
            of: [u8::try_from(place * 64 + queue).unwrap(); 16],
            bytes,
        },
        bare: false,
        redirect: true,
        token: [7; 16],
    }
}

fn key(place: u32, queue: u32) -> QueueKey {
    QueueKey {
        chain: interface(place).key,
        queue,
    }
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
fn quotas_are_a_users_and_not_roots() {
    let mut claims = Claims::new(LIMITS);
    let user = client(1002, 1);
    let refusal = claims.open(&user, &opening(0, 0, 101), false).unwrap_err();
    assert!(matches!(refusal, Refusal::MemoryQuota { used: 0, .. }));
    claims.open(&user, &opening(0, 0, 60), false).unwrap();
    let refusal = claims.open(&user, &opening(0, 1, 41), false).unwrap_err();
    assert!(matches!(refusal, Refusal::MemoryQuota { used: 60, .. }));
    claims.open(&user, &opening(0, 1, 40), false).unwrap();
    claims.open(&user, &opening(0, 2, 0), false).unwrap();
    let again = client(1002, 9);
    let refusal = claims.open(&again, &opening(0, 3, 0), false).unwrap_err();
    assert!(matches!(refusal, Refusal::SocketQuota { max: 3, .. }));
    claims
        .open(&client(1000, 2), &opening(1, 0, 100), false)
        .unwrap();
    for queue in 10..20 {
        claims
            .open(&root(), &opening(0, queue, 1 << 40), false)
            .unwrap();
    }
    claims.close(key(0, 0)).unwrap();
    claims.open(&user, &opening(0, 3, 60), false).unwrap();
}

#[test]
fn shared_memory_counts_once_and_as_long_as_anybody_has_it() {
    let mut claims = Claims::new(LIMITS);
    let user = client(1002, 1);
    let first = opening(0, 0, 80);
    let second = Opening {
        memory: first.memory,
        ..opening(0, 1, 0)
    };
    claims.open(&user, &first, false).unwrap();
    claims.open(&user, &second, false).unwrap();
    claims.close(key(0, 0)).unwrap();
    let refusal = claims.open(&user, &opening(1, 0, 30), false).unwrap_err();
    assert!(matches!(refusal, Refusal::MemoryQuota { used: 80, .. }));
    claims.close(key(0, 1)).unwrap();
    claims.open(&user, &opening(1, 0, 100), false).unwrap();
}

#[test]
fn a_socket_counts_until_nobody_has_it_open() {
    let mut claims = Claims::new(LIMITS);
    let user = client(1002, 1);
    let first = Opening {
        token: [1; 16],
        ..opening(0, 0, 60)
    };
    let second = Opening {
        token: [2; 16],
        memory: first.memory,
        ..opening(0, 1, 0)
    };
    claims.open(&user, &first, false).unwrap();
    claims.open(&user, &second, false).unwrap();
    claims.leave(key(0, 0)).unwrap();
    // The queue is free, its user's share isn't, on whatever connection.
    claims.open(&root(), &opening(0, 0, 0), false).unwrap();
    let again = client(1002, 2);
    let refusal = claims.open(&again, &opening(1, 0, 41), false).unwrap_err();
    assert!(
        refusal.to_string().ends_with(
            "uid 1002 may pin 100 (see `dispatchd --max-umem`), and has pinned 60; closed sockets \
             count as long as a descriptor or a mapping of them is open: 1"
        ),
        "{refusal}"
    );
    claims.open(&again, &opening(1, 0, 40), false).unwrap();
    let refusal = claims.open(&again, &opening(1, 1, 0), false).unwrap_err();
    assert!(
        matches!(
            refusal,
            Refusal::SocketQuota {
                max: 3,
                still_open: 1,
                ..
            }
        ),
        "{refusal}"
    );
    claims.gone(&[1; 16]);
    let refusal = claims.open(&again, &opening(1, 1, 1), false).unwrap_err();
    assert!(
        matches!(refusal, Refusal::MemoryQuota { used: 100, .. }),
        "the second socket has its frames there too: {refusal}"
    );
    claims.leave(key(0, 1)).unwrap();
    claims.gone(&[2; 16]);
    claims.open(&again, &opening(1, 1, 60), false).unwrap();
    claims.gone(&[9; 16]);
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
    claims.close(key(0, 0));
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
    let ask = |client: &Client, queue, token| {
        claims.may_activate(client, "eth0", key(0, queue), &[token; 16])
    };
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
    claims.recover(key(0, 0), claim);
    for (client, token, cookie) in [
        (client(1000, 5), 7, 99),
        (user.clone(), 8, 99),
        (user.clone(), 7, 98),
    ] {
        let before = claims.clone();
        let refusal = claims
            .reclaim(&client, "eth0", key(0, 0), &[token; 16], cookie)
            .unwrap_err();
        assert!(matches!(refusal, Refusal::SocketMismatch { .. }));
        assert_eq!(claims, before);
    }
    claims
        .reclaim(&user, "eth0", key(0, 0), &[7; 16], 99)
        .unwrap();
    assert_eq!(claims.of_connection(user.connection), [key(0, 0)]);
    let again = claims.reclaim(&user, "eth0", key(0, 0), &[7; 16], 99);
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
    Open(Client, Opening),
    Close(QueueKey),
    Leave(QueueKey),
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
    let open = (who, queue(), 0..80_u64).prop_map(|((uid, connection), (place, queue), bytes)| {
        Asked::Open(client(uid, connection), opening(place, queue, bytes))
    });
    prop_oneof![
        5 => open,
        2 => queue().prop_map(|(place, queue)| Asked::Close(key(place, queue))),
        2 => queue().prop_map(|(place, queue)| Asked::Leave(key(place, queue))),
        1 => any::<prop::sample::Index>().prop_map(Asked::Closed),
        1 => (1..4_u64).prop_map(|connection| Asked::Gone(ConnectionId(connection))),
    ]
}

proptest! {
    /// Nobody has more than their share, no queue is taken from anybody, and a refusal changes
    /// nothing.
    #[test]
    fn claims_are_kept_and_bounded(sequence in vec(asked(), 0..60)) {
        let mut claims = Claims::new(LIMITS);
        let mut left: Vec<Claim> = Vec::new();
        for (number, asked) in sequence.into_iter().enumerate() {
            let before = claims.clone();
            match asked {
                Asked::Open(client, opening) => {
                    let token = [u8::try_from(number).unwrap(); 16];
                    let memory = PinnedMemory { of: token, ..opening.memory };
                    let opening = Opening { memory, token, ..opening };
                    let key = QueueKey { chain: opening.interface.key, queue: opening.queue };
                    if let Ok(opened) = claims.open(&client, &opening, false) {
                        prop_assert_eq!(opened, key);
                        prop_assert_eq!(before.get(key), None);
                        claims.close(key);
                        prop_assert_eq!(&claims, &before);
                        claims.open(&client, &opening, false).unwrap();
                    } else {
                        prop_assert_eq!(&claims, &before);
                    }
                }
                Asked::Close(key) => {
                    let closed = claims.close(key);
                    prop_assert_eq!(closed.as_ref(), before.get(key));
                    prop_assert_eq!(claims.get(key), None);
                }
                Asked::Leave(key) => {
                    left.extend(claims.leave(key));
                    prop_assert_eq!(claims.get(key), None);
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
            let mut used: BTreeMap<u32, (usize, u64)> = BTreeMap::new();
            let all = claims.iter().map(|(_, claim)| claim).chain(&left);
            for claim in all.filter(|claim| claim.owner.uid != 0) {
                let used = used.entry(claim.owner.uid).or_default();
                used.0 += 1;
                used.1 += claim.memory.bytes;
            }
            for (sockets, bytes) in used.into_values() {
                prop_assert!(sockets <= LIMITS.sockets && bytes <= LIMITS.bytes);
            }
        }
    }
}
