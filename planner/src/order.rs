//! The total order in which packets meet members.
//!
//! Members run in the order of (priority, tie). A tie is a member's place in the chain's order of
//! age: registrations are younger than everything before them, and a member that is moved beside
//! another takes its priority and an age just before or after it. No two members of a chain have
//! the same tie, so a member's priority can change and the order is still total.

use dispatcher_abi::Priority;

use crate::Member;

/// On which side of its neighbour a member goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Before,
    After,
}

/// Brings members into run order.
pub(crate) fn sort(members: &mut [Member]) {
    members.sort_by_key(|member| (member.priority, member.tie));
}

/// The tie of a member that is registered now.
pub(crate) fn youngest(members: &[Member]) -> i64 {
    members.iter().map(|member| member.tie).max().unwrap_or(0) + 1
}

/// Gives a member a new priority; among equals it keeps its age.
pub(crate) fn set_priority(members: &mut [Member], mover: usize, priority: Priority) {
    members[mover].priority = priority;
    sort(members);
}

/// Gives a member its neighbour's priority and a tie beside it. A member that is already there
/// keeps its numbers.
pub(crate) fn put_beside(members: &mut [Member], mover: usize, neighbour: usize, side: Side) {
    let (first, second) = match side {
        Side::Before => (mover, neighbour),
        Side::After => (neighbour, mover),
    };
    let priority = members[neighbour].priority;
    if first + 1 == second && members[mover].priority == priority {
        return;
    }
    let tie = tie_beside(members, mover, neighbour, side);
    members[mover].priority = priority;
    members[mover].tie = tie;
    sort(members);
}

/// A tie that no other member has, next to the neighbour's. Where there is no room, the younger
/// members' ties make it, as few as possible; their order stays.
fn tie_beside(members: &mut [Member], mover: usize, neighbour: usize, side: Side) -> i64 {
    let mut by_age: Vec<usize> = (0..members.len()).filter(|index| *index != mover).collect();
    by_age.sort_by_key(|index| members[*index].tie);
    let place = by_age.partition_point(|index| members[*index].tie < members[neighbour].tie);
    let (tie, younger) = match side {
        Side::After => (members[neighbour].tie + 1, &by_age[place + 1..]),
        Side::Before => {
            let below = members[neighbour].tie - 1;
            let is_free = place == 0 || members[by_age[place - 1]].tie < below;
            let tie = if is_free { below } else { below + 1 };
            (tie, &by_age[place..])
        }
    };
    let mut taken = tie;
    for index in younger {
        let member = &mut members[*index];
        if member.tie > taken {
            break;
        }
        taken += 1;
        member.tie = taken;
    }
    tie
}

/// Gives the whole order: `order` holds every index once. A priority is raised only where the
/// sequence would fall; the ties stay the same numbers, dealt out in order.
pub(crate) fn arrange(members: &mut [Member], order: &[usize]) {
    let mut ties: Vec<i64> = members.iter().map(|member| member.tie).collect();
    ties.sort_unstable();
    let mut floor = 0;
    for (index, tie) in order.iter().zip(ties) {
        let member = &mut members[*index];
        floor = floor.max(member.priority);
        member.priority = floor;
        member.tie = tie;
    }
    sort(members);
}
