//! Which things happened shortly after which others, at the same chain.

use std::collections::{BTreeMap, BTreeSet};

use planner::{ChainKey, ConnectionId, Owner, State};

use super::daemon::Daemon;

/// Something that happens to an interface's chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Request,
    Reply,
    Gone,
    Reclaim,
    Expiry,
    News,
    Look,
    Drained,
    Crash,
}

impl Kind {
    const ALL: [Self; 9] = [
        Self::Request,
        Self::Reply,
        Self::Gone,
        Self::Reclaim,
        Self::Expiry,
        Self::News,
        Self::Look,
        Self::Drained,
        Self::Crash,
    ];
}

/// What a chain is to the pairs that are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Chain {
    /// Nobody has a socket at its interface.
    Plain,
    /// Packets go to a socket.
    Receives,
}

/// How many of the last things at an interface count as shortly before.
const SHORTLY: usize = 4;

/// See the module.
#[derive(Clone, Debug, Default)]
pub(super) struct Orders {
    last: BTreeMap<ChainKey, Vec<Kind>>,
    /// How often the first was shortly before the second, at which kind of chain.
    counts: BTreeMap<(Chain, Kind, Kind), u64>,
}

impl Orders {
    /// Something happens to the chain of an interface, which is in this state.
    pub(super) fn saw(&mut self, state: &State, site: ChainKey, kind: Kind) {
        let last = self.last.entry(site).or_default();
        let chain = state.at(site).and_then(|chain| {
            let sockets = state.leases.of_chain(site);
            let receives = sockets
                .iter()
                .any(|key| state.leases.receiver(key.place).is_some());
            if receives && chain.redirect().is_some() {
                return Some(Chain::Receives);
            }
            sockets.is_empty().then_some(Chain::Plain)
        });
        if let Some(chain) = chain {
            for before in &*last {
                *self.counts.entry((chain, *before, kind)).or_default() += 1;
            }
        }
        if last.len() == SHORTLY {
            last.remove(0);
        }
        last.push(kind);
    }

    /// Something happens to every chain.
    pub(super) fn saw_everywhere(&mut self, state: &State, kind: Kind) {
        for chain in state.chains.values() {
            self.saw(state, chain.interface.key, kind);
        }
    }

    /// Adds what another daemon saw.
    pub(super) fn add(&mut self, other: &Self) {
        for (pair, count) in &other.counts {
            *self.counts.entry(*pair).or_default() += count;
        }
    }

    /// Each pair came in both orders, at chains with and without sockets.
    pub(super) fn assert_all(&self) {
        let of = |pair| self.counts.get(&pair).copied().unwrap_or(0);
        let pairs = [Chain::Plain, Chain::Receives]
            .into_iter()
            .flat_map(|chain| {
                let firsts = Kind::ALL.into_iter();
                firsts.flat_map(move |first| Kind::ALL.map(|second| (chain, first, second)))
            });
        let never: Vec<_> = pairs.filter(|pair| of(*pair) == 0).collect();
        assert!(never.is_empty(), "never: {never:?}, of {:?}", self.counts);
    }
}

impl Daemon {
    /// A connection ends: where it had a member or a socket, or waited for an answer.
    pub(super) fn saw_gone(&mut self, connection: ConnectionId) {
        let state = self.controller.state();
        let is_its = |owner: &Owner| owner.connection == Some(connection);
        let chains = state.chains.values();
        let chains = chains.filter(|chain| chain.members.iter().any(|it| is_its(&it.owner)));
        let sites = chains.map(|chain| chain.interface.key);
        let sockets = state.leases.of_connection(connection).into_iter();
        let sites = sites.chain(sockets.map(|key| key.place.chain));
        let asked = self
            .pending
            .values()
            .filter(|it| it.connection == connection);
        let sites: BTreeSet<ChainKey> = sites.chain(asked.map(|it| it.site)).collect();
        for site in sites {
            self.orders.saw(state, site, Kind::Gone);
        }
    }
}
