//! What a user may have of sockets and memory.

use super::leases::{LIMITS, key, keyed, opening};
use crate::testing::{limited, root};
use crate::{Leases, Opening, Refusal};

#[test]
fn quotas_are_a_users_and_not_roots() {
    let mut leases = Leases::default();
    let user = limited(1002, 1, LIMITS);
    let refusal = leases.open(&user, &opening(0, 0, 101)).unwrap_err();
    assert!(matches!(refusal, Refusal::MemoryQuota { used: 0, .. }));
    leases.open(&user, &opening(0, 0, 60)).unwrap();
    let refusal = leases.open(&user, &opening(0, 1, 41)).unwrap_err();
    assert!(matches!(refusal, Refusal::MemoryQuota { used: 60, .. }));
    leases.open(&user, &opening(0, 1, 40)).unwrap();
    leases.open(&user, &opening(0, 2, 0)).unwrap();
    let again = limited(1002, 9, LIMITS);
    let refusal = leases.open(&again, &opening(0, 3, 0)).unwrap_err();
    assert!(matches!(refusal, Refusal::SocketQuota { max: 3, .. }));
    leases
        .open(&limited(1000, 2, LIMITS), &opening(1, 0, 100))
        .unwrap();
    for queue in 10..20 {
        leases.open(&root(), &opening(0, queue, 1 << 40)).unwrap();
    }
    leases.close(key(0, 0)).unwrap();
    leases.open(&user, &opening(0, 3, 60)).unwrap();
}

#[test]
fn shared_memory_counts_once_and_as_long_as_anybody_has_it() {
    let mut leases = Leases::default();
    let user = limited(1002, 1, LIMITS);
    let first = opening(0, 0, 80);
    let second = Opening {
        memory: first.memory,
        ..opening(0, 1, 0)
    };
    leases.open(&user, &first).unwrap();
    leases.open(&user, &second).unwrap();
    leases.close(key(0, 0)).unwrap();
    let refusal = leases.open(&user, &opening(1, 0, 30)).unwrap_err();
    assert!(matches!(refusal, Refusal::MemoryQuota { used: 80, .. }));
    leases.close(key(0, 1)).unwrap();
    leases.open(&user, &opening(1, 0, 100)).unwrap();
}

#[test]
fn a_socket_counts_until_nobody_has_it_open() {
    let mut leases = Leases::default();
    let user = limited(1002, 1, LIMITS);
    let first = Opening {
        token: [1; 16],
        ..opening(0, 0, 60)
    };
    let second = Opening {
        token: [2; 16],
        memory: first.memory,
        ..opening(0, 1, 0)
    };
    leases.open(&user, &first).unwrap();
    leases.open(&user, &second).unwrap();
    leases.leave(keyed(0, 0, 1));
    // The queue is free, its user's share isn't, on whatever connection.
    leases.open(&root(), &opening(0, 0, 0)).unwrap();
    let again = limited(1002, 2, LIMITS);
    let refusal = leases.open(&again, &opening(1, 0, 41)).unwrap_err();
    assert!(
        refusal.to_string().ends_with(
            "uid 1002 may pin 100, and has pinned 60; closed sockets \
             count as long as a descriptor or a mapping of them is open: 1"
        ),
        "{refusal}"
    );
    leases.open(&again, &opening(1, 0, 40)).unwrap();
    let refusal = leases.open(&again, &opening(1, 1, 0)).unwrap_err();
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
    leases.gone(&[1; 16]);
    let refusal = leases.open(&again, &opening(1, 1, 1)).unwrap_err();
    assert!(
        matches!(refusal, Refusal::MemoryQuota { used: 100, .. }),
        "the second socket has its frames there too: {refusal}"
    );
    leases.leave(keyed(0, 1, 2));
    leases.gone(&[2; 16]);
    leases.open(&again, &opening(1, 1, 60)).unwrap();
    leases.gone(&[9; 16]);
}

#[test]
fn more_than_can_be_counted_is_all_that_there_is() {
    let mut leases = Leases::default();
    let user = limited(1002, 1, LIMITS);
    for queue in [0, 1] {
        let lease = leases.open(&user, &opening(0, queue, 0)).unwrap();
        let mut lease = leases.close(lease).unwrap();
        // As an earlier daemon's map may say.
        lease.memory.bytes = u64::MAX;
        leases.recover(key(0, queue).place, lease);
    }
    let refusal = leases.open(&user, &opening(0, 2, 1)).unwrap_err();
    assert!(matches!(
        refusal,
        Refusal::MemoryQuota { used: u64::MAX, .. }
    ));
}
