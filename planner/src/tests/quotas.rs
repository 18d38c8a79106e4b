//! What a user may have of sockets and memory.

use super::claims::{LIMITS, key, keyed, opening};
use crate::testing::{client, root};
use crate::{Claims, Opening, Refusal};

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
    claims.leave(keyed(0, 0, 1)).unwrap();
    // The queue is free, its user's share isn't, on whatever connection.
    claims.open(&root(), &opening(0, 0, 0), false).unwrap();
    let again = client(1002, 2);
    let refusal = claims.open(&again, &opening(1, 0, 41), false).unwrap_err();
    assert!(
        refusal.to_string().ends_with(
            "uid 1002 may pin 100, and has pinned 60; closed sockets \
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
    claims.leave(keyed(0, 1, 2)).unwrap();
    claims.gone(&[2; 16]);
    claims.open(&again, &opening(1, 1, 60), false).unwrap();
    claims.gone(&[9; 16]);
}
