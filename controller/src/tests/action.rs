//! What can happen in a random walk, and how often.

use dispatcher_abi::REDIRECT_MEMBER;
use planner::Cleanup;
use planner::testing::{change, facts, fill, request, root};
use proptest::prelude::*;

use super::ask::{attached, unregister};
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
        /// It expects the revision that comes after so many other changes.
        expected: Option<u64>,
    },
    Reclaim {
        client: usize,
        which: usize,
        wrong: Wrong,
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
    /// The time comes at which something ends that waits for its client.
    Deadline,
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
        how: OpenAs,
    },
    Activate {
        which: usize,
        has_frames: bool,
        /// A bare socket has its RX ring by then.
        has_rx_ring: bool,
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
        wrong: Wrong,
    },
}

/// What is wrong with a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wrong {
    Nothing,
    /// The token, or the cookie.
    Proof,
    User,
}

/// What kind of socket is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OpenAs {
    /// In memory of its own.
    Own,
    /// Its client binds it.
    Bare,
    /// In another one's memory, on the same queue and with the same FILL ring; `intrudes`: perhaps
    /// another client's.
    Beside { which: usize, intrudes: bool },
    /// On another one's queue, in memory of its own.
    Apart { which: usize },
    /// In another one's memory, on any queue, with rings of its own.
    Sharing { which: usize },
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
    let site = || prop_oneof![3 => Just(0_usize), 1 => Just(1), 1 => Just(2), 2 => Just(3)];
    let which = || 0..8_usize;
    let filled = (1..8_usize).prop_map(fill);
    let wanted = prop_oneof![
        10 => request().boxed(),
        1 => filled.boxed(),
        9 => any_attached().boxed(),
        1 => Just(without_redirect()).boxed(),
    ];
    let expected = prop::option::weighted(0.2, 0..3_u64);
    let change = (
        client(),
        site(),
        prop::bool::weighted(0.1),
        wanted,
        expected,
    )
        .prop_map(|(client, site, dry_run, change, expected)| Action::Change {
            client,
            site,
            dry_run,
            change: Box::new(change),
            expected,
        });
    let wrong = || {
        prop_oneof![
            18 => Just(Wrong::Nothing),
            1 => Just(Wrong::Proof),
            1 => Just(Wrong::User),
        ]
    };
    let reclaim = (client(), which(), wrong()).prop_map(|(client, which, wrong)| Action::Reclaim {
        client,
        which,
        wrong,
    });
    let how = prop_oneof![
        4 => Just(OpenAs::Own),
        1 => Just(OpenAs::Bare),
        4 => (which(), prop::bool::weighted(0.2))
            .prop_map(|(which, intrudes)| OpenAs::Beside { which, intrudes }),
        1 => which().prop_map(|which| OpenAs::Apart { which }),
        1 => which().prop_map(|which| OpenAs::Sharing { which }),
    ];
    let open = (0..3_u32, prop::bool::weighted(0.9), how);
    let activate = (
        which(),
        prop::bool::weighted(0.9),
        prop::bool::weighted(0.8),
    );
    let act = prop_oneof![
        4 => open.prop_map(|(queue, redirect, how)| SocketAct::Open { queue, redirect, how }),
        4 => activate.prop_map(|(which, has_frames, has_rx_ring)| SocketAct::Activate {
            which,
            has_frames,
            has_rx_ring,
        }),
        1 => which().prop_map(|which| SocketAct::Close { which }),
        1 => which().prop_map(|which| SocketAct::Drop { which }),
        8 => (which(), wrong()).prop_map(|(which, wrong)| SocketAct::Reclaim { which, wrong }),
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
        800 => effect,
        48 => change,
        40 => reclaim,
        64 => socket,
        32 => client().prop_map(|client| Action::Gone { client }),
        44 => time.prop_map(|ms| Action::Time { ms }),
        40 => Just(Action::Deadline),
        20 => (site(), news).prop_map(|(site, news)| Action::News { site, news }),
        8 => prop_oneof![3 => Just(0), 1 => Just(31_000)].prop_map(|ms| Action::Crash { ms }),
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

/// An operator takes the redirect program out of a chain.
fn without_redirect() -> planner::testing::Request {
    planner::testing::Request::Change {
        client: root(),
        facts: Vec::new(),
        change: change(vec![unregister(REDIRECT_MEMBER)]),
    }
}

/// The users of the clients.
pub(super) const UIDS: [u32; 6] = [0, 0, 0, 1000, 1001, 1002];
