//! `AF_XDP` sockets and the redirect program's maps.

use std::collections::BTreeMap;

use planner::{ChainKey, Lease, LeaseState, MemberId, QueueKey, SocketKey, Start, State};

use super::{Error, World};
use crate::{GiveFailure, RedirectCode};

/// A socket.
#[derive(Clone, Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "they have nothing to do with each other"
)]
pub(in crate::tests) struct Socket {
    pub(in crate::tests) cookie: u64,
    /// Its user.
    pub(in crate::tests) uid: u32,
    /// Its queue.
    pub(in crate::tests) place: QueueKey,
    /// Its client binds it, or has bound it.
    pub(in crate::tests) is_bare: bool,
    /// It has a FILL ring that can be looked at: one beside another, or a bare one, has none.
    pub(in crate::tests) has_fill_ring: bool,
    pub(in crate::tests) has_rx_ring: bool,
    pub(in crate::tests) has_frames: bool,
    /// Its client has it open.
    pub(in crate::tests) is_open: bool,
    /// The daemon has it open.
    pub(in crate::tests) is_held: bool,
}

/// What a redirect program's maps hold, by queue.
#[derive(Clone, Debug, Default)]
pub(super) struct RedirectMaps {
    /// By token.
    sockets: BTreeMap<u32, [u8; 16]>,
    claims: BTreeMap<u32, (Lease, u64)>,
}

impl World {
    /// Whether a socket may be given packets.
    pub(super) fn may_give(&self, key: SocketKey) -> Result<(), GiveFailure<Error>> {
        let socket = &self.sockets[&key.token];
        if !socket.has_rx_ring {
            return Err(GiveFailure::NoRxRing);
        }
        if socket.has_fill_ring && !socket.has_frames {
            return Err(GiveFailure::NoFrames);
        }
        Ok(())
    }

    /// One effect of giving a queue's packets to its socket: first it is written down whose it is.
    pub(super) fn give(
        &mut self,
        to: RedirectCode,
        key: SocketKey,
        lease: &Lease,
        effect: usize,
    ) -> bool {
        let queue = key.place.queue;
        let socket = self.sockets[&key.token].clone();
        assert!(socket.is_open || socket.is_held, "nobody has the socket");
        assert!(
            socket.has_rx_ring,
            "the kernel crashes with the first packet"
        );
        assert!(
            socket.has_frames || !socket.has_fill_ring,
            "each packet would be dropped"
        );
        assert!(self.is_committed(to), "the redirect program doesn't run");
        let maps = self.maps(to);
        if effect == 0 {
            maps.claims.insert(queue, (lease.clone(), socket.cookie));
        } else {
            maps.sockets.insert(queue, key.token);
        }
        effect == 1
    }

    /// One effect of taking queues' packets from their sockets.
    pub(super) fn take(&mut self, from: RedirectCode, queue: u32, effect: usize) -> bool {
        let maps = self.maps(from);
        if effect == 0 {
            maps.sockets.remove(&queue);
        } else {
            maps.claims.remove(&queue);
        }
        effect == 1
    }

    /// Whether a chain that packets run, or would if it were on its hook, has this code.
    fn is_committed(&self, code: RedirectCode) -> bool {
        let pins = &self.chains[&code.dir];
        let live = pins.link.and_then(|build| pins.builds.get(&build));
        let mut slots = live.into_iter().flat_map(|built| built.slots.values());
        slots.any(|slot| *slot == (code.member, code.code))
    }

    /// Whether the kernel gives a queue to this socket: nobody else has one bound to it, or those are
    /// in the same memory.
    pub(in crate::tests) fn may_bind(&self, place: QueueKey, is_beside: bool) -> bool {
        let mut on = self.sockets.values();
        let is_busy = |socket: &Socket| {
            socket.place == place && !socket.is_bare && (socket.is_open || socket.is_held)
        };
        is_beside || !on.any(is_busy)
    }

    fn maps(&mut self, code: RedirectCode) -> &mut RedirectMaps {
        let member = self.pins(code.dir).members.get_mut(&code.member);
        let pinned = member.expect("the redirect program is there");
        assert!(pinned.codes.contains(&code.code));
        &mut pinned.redirect
    }

    /// A socket that nobody has open leaves the maps by itself.
    pub(in crate::tests) fn close(&mut self) {
        let sockets = &self.sockets;
        let is_there = |token: &[u8; 16]| sockets[token].is_open || sockets[token].is_held;
        let members = self
            .chains
            .values_mut()
            .flat_map(|pins| pins.members.values_mut());
        for member in members {
            member.redirect.sockets.retain(|_, token| is_there(token));
        }
    }

    /// The sockets in the maps of this member, by queue.
    pub(in crate::tests) fn redirected(&self, state: &State, id: MemberId) -> Vec<(u32, [u8; 16])> {
        let Some((chain, _)) = state.member(id) else {
            return Vec::new();
        };
        let pinned = &self.chains[&chain.dir].members[&id];
        let sockets = pinned.redirect.sockets.iter();
        sockets.map(|(queue, token)| (*queue, *token)).collect()
    }

    /// The sockets that an earlier daemon wrote down, for one that starts.
    pub(in crate::tests) fn claims(&self, state: &State, start: Start) -> Vec<(QueueKey, Lease)> {
        let chains = state.chains.values().filter_map(|chain| {
            let redirect = chain.redirect()?;
            let pinned = &self.chains[&chain.dir].members[&redirect.id];
            Some((chain.interface.key, &pinned.redirect))
        });
        let claimed = |(chain, maps): (ChainKey, &RedirectMaps)| -> Vec<(QueueKey, Lease)> {
            let claims = maps.claims.iter();
            let found = claims.map(|(queue, (lease, cookie))| {
                let mut lease = lease.clone();
                lease.owner.connection = None;
                lease.state = LeaseState::Lingering {
                    cookie: *cookie,
                    until: start.until(0),
                };
                let queue = *queue;
                (QueueKey { chain, queue }, lease)
            });
            found.collect()
        };
        chains.flat_map(claimed).collect()
    }
}
