//! What can happen in a random walk, and how often.

use planner::Cleanup;
use planner::testing::{change, facts, fill, request, root};
use proptest::prelude::*;

use super::ask::attached;
use super::daemon::Load;
use super::world::{Fate, Stuck};

/// Something that happens. Numbers choose among what there is when it does.
#[derive(Clone, Debug)]
pub(super) enum Action {
    /// The next effect of a job.
    Effect {
        which: usize,
        fate: Fate,
        load: Load,
    },
    Change {
        client: usize,
        site: usize,
        dry_run: bool,
        change: Box<planner::testing::Request>,
    },
    Reclaim {
        client: usize,
        which: usize,
        wrong: bool,
    },
    Socket {
        client: usize,
        site: usize,
        act: SocketAct,
    },
    Gone {
        client: usize,
    },
    Time {
        ms: u64,
    },
    News {
        site: usize,
        news: News,
    },
    /// The daemon dies. So much time passes before anything is done by the next one.
    Crash {
        ms: u64,
    },
    Stop {
        detach: bool,
    },
    /// From now on such things can't be freed, or everything can again.
    Stuck {
        what: usize,
    },
}

/// Things that can't be freed.
pub(super) const STUCK: [Option<Stuck>; 6] = [
    None,
    None,
    Some(|_| true),
    Some(|step| matches!(step, Cleanup::Grace)),
    Some(|step| matches!(step, Cleanup::FoldCounters { .. })),
    Some(|step| {
        matches!(
            step,
            Cleanup::RemoveCode { .. } | Cleanup::RemoveMember { .. }
        )
    }),
];

#[derive(Clone, Copy, Debug)]
pub(super) enum SocketAct {
    Open {
        queue: u32,
        redirect: bool,
    },
    Activate {
        which: usize,
        has_frames: bool,
    },
    Close {
        which: usize,
    },
    /// The client closes it by itself, or gives it to another process before it ends.
    Drop {
        which: usize,
    },
    Reclaim {
        which: usize,
        wrong: bool,
    },
}

#[derive(Clone, Copy, Debug)]
pub(super) enum News {
    Detached,
    Taken,
    Left,
    /// The interface is removed, and there is another one.
    Removed,
}

pub(super) fn action() -> impl Strategy<Value = Action> {
    let fate = prop_oneof![12 => Just(Fate::Works), 1 => Just(Fate::Fails)];
    let load =
        prop_oneof![8 => Just(Load::Works), 1 => Just(Load::Refused), 1 => Just(Load::Fails)];
    let effect = (any::<u8>(), fate, load).prop_map(|(which, fate, load)| Action::Effect {
        which: usize::from(which),
        fate,
        load,
    });
    let client = || 0..UIDS.len();
    let site = || prop_oneof![3 => Just(0_usize), 1 => Just(1), 1 => Just(2)];
    let which = || 0..8_usize;
    let filled = (1..8_usize).prop_map(fill);
    let wanted = prop_oneof![
        10 => request().boxed(),
        1 => filled.boxed(),
        9 => any_attached().boxed(),
    ];
    let change = (client(), site(), prop::bool::weighted(0.1), wanted).prop_map(
        |(client, site, dry_run, change)| Action::Change {
            client,
            site,
            dry_run,
            change: Box::new(change),
        },
    );
    let wrong = || prop::bool::weighted(0.1);
    let reclaim = (client(), which(), wrong()).prop_map(|(client, which, wrong)| Action::Reclaim {
        client,
        which,
        wrong,
    });
    let act = prop_oneof![
        3 => (0..3_u32, prop::bool::weighted(0.9))
            .prop_map(|(queue, redirect)| SocketAct::Open { queue, redirect }),
        4 => (which(), prop::bool::weighted(0.9))
            .prop_map(|(which, has_frames)| SocketAct::Activate { which, has_frames }),
        1 => which().prop_map(|which| SocketAct::Close { which }),
        1 => which().prop_map(|which| SocketAct::Drop { which }),
        2 => (which(), wrong()).prop_map(|(which, wrong)| SocketAct::Reclaim { which, wrong }),
    ];
    let socket = (client(), site(), act).prop_map(|(client, site, act)| Action::Socket {
        client,
        site,
        act,
    });
    let time = prop_oneof![8 => 0..300_u64, 2 => 500..2000_u64, 1 => 20_000..40_000_u64];
    let news = prop::sample::select(vec![
        News::Detached,
        News::Detached,
        News::Taken,
        News::Left,
        News::Left,
        News::Removed,
    ]);
    prop_oneof![
        1000 => effect,
        48 => change,
        40 => reclaim,
        32 => socket,
        24 => client().prop_map(|client| Action::Gone { client }),
        44 => time.prop_map(|ms| Action::Time { ms }),
        16 => (site(), news).prop_map(|(site, news)| Action::News { site, news }),
        4 => prop_oneof![Just(0), Just(31_000)].prop_map(|ms| Action::Crash { ms }),
        1 => prop::bool::weighted(0.3).prop_map(|detach| Action::Stop { detach }),
        4 => (0..STUCK.len()).prop_map(|what| Action::Stuck { what }),
    ]
}

/// One or two members that go with their connection.
fn any_attached() -> impl Strategy<Value = planner::testing::Request> {
    let name = (0..8_u32).prop_map(|number| format!("a{number}"));
    let member = (name, 0..3_u32).prop_map(|(name, linger)| attached(&name, linger * 300));
    prop::collection::vec(member, 1..=2).prop_map(|members| planner::testing::Request::Change {
        client: root(),
        facts: vec![facts(); members.len()],
        change: change(members),
    })
}

/// The users of the clients.
pub(super) const UIDS: [u32; 6] = [0, 0, 0, 1000, 1001, 1002];
