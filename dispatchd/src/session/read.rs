//! Questions: answered from what is published, without the controller.

use std::collections::BTreeMap;

use dispatcher_abi::SlotCounters;
use planner::{ChainId, ChainKey, Interface, MemberId, Refusal};
use protocol::{MemberRef, Open, RefusalCode, Refused, Remedy, ReplyBody};

use super::site::Site;
use super::{Response, Session};
use crate::control;
use crate::published::Published;
use crate::translate::{self, Listing};

impl Session<'_> {
    pub(super) fn list(&self, only: Option<&Site>) -> Result<ReplyBody, Refused> {
        if let Some(only) = only {
            self.check_list(&only.interface)?;
        }
        let published = self.hub.board.read();
        let state = &published.state;
        let listing = self.listing(&published);
        let now = control::now();
        let is_meant = |key| only.is_none_or(|only| only.interface.key == key);
        let chains = state.chains.values();
        let mut chains = chains
            .filter(|chain| is_meant(chain.interface.key) && self.may_list(Some(&chain.interface)))
            .map(|chain| {
                let counts = read_counts(&published, chain.id, &chain.interface.name)?;
                let look = self.hub.board.last_look(chain.id);
                let looked_ms_ago = look.map(|at| now.ms_since(at));
                Ok(listing.chain(chain, &counts, looked_ms_ago))
            })
            .collect::<Result<Vec<_>, Refused>>()?;
        let unreadable = state.unreadable.iter().filter(|chain| is_meant(chain.site));
        let unreadable = unreadable.filter(|chain| self.may_list(chain.interface.as_ref()));
        let pins = &self.hub.pins;
        chains.extend(unreadable.map(|chain| translate::unreadable_view(chain, pins)));
        Ok(ReplyBody::Chains(chains))
    }

    fn listing(&self, published: &Published) -> Listing<'_> {
        Listing {
            engines: published.state.engines,
            pins: &self.hub.pins,
        }
    }

    pub(super) fn show(
        &self,
        site: Option<&Site>,
        member: &Open<MemberRef>,
    ) -> Result<ReplyBody, Refused> {
        let published = self.hub.board.read();
        let (chain, slot, member) = match (named(member)?, site) {
            (Named::Name(name), Some(site)) => {
                self.check_list(&site.interface)?;
                find(&published, &site.interface, name)?
            }
            (Named::Name(_), None) => {
                return Err(translate::refused(
                    RefusalCode::Malformed,
                    "a member has a name in a chain only, and no interface is named",
                ));
            }
            (Named::Id(id), site) => {
                let (chain, member) = by_id(&published, id)?;
                let is_there = site.is_none_or(|site| site.interface.key == chain.interface.key);
                let found = chain.member(&member.name).filter(|_| is_there);
                let (slot, member) = found.ok_or_else(|| no_member(id))?;
                (chain, slot, member)
            }
        };
        self.check_list(&chain.interface)?;
        let interface = &chain.interface.name;
        let key = chain.interface.key;
        let counts = read_counts(&published, chain.id, interface)?;
        let maps = published.maps.get(&member.id).cloned().unwrap_or_default();
        Ok(ReplyBody::Member(Box::new(
            self.listing(&published).detail(
                chain,
                (slot, member),
                counts.get(&member.id).copied().unwrap_or_default(),
                &maps,
                sockets(&published, key, member),
            ),
        )))
    }

    pub(super) fn status(&self) -> Result<ReplyBody, Refused> {
        if !self.may_list(None) {
            let message = format!("uid {} may not see chains", self.client.uid);
            return Err(translate::refused(RefusalCode::NotAllowed, message));
        }
        let published = self.hub.board.read();
        let chains = &published.state.chains;
        Ok(ReplyBody::Status(protocol::Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            protocol: protocol::VERSION_HIGHEST,
            uptime_s: self.hub.started.elapsed().as_secs(),
            freplace: translate::probe(&self.hub.probes.freplace),
            tailcall: translate::probe(&self.hub.probes.tailcall),
            chains: count(chains.len()),
            members: count(chains.values().map(|chain| chain.members.len()).sum()),
            warnings: translate::warnings(&published.state, &self.hub.pins),
            options: protocol::Options::new(),
        }))
    }

    pub(super) fn map_descriptor(&self, member: MemberId, map: &str) -> Response {
        let published = self.hub.board.read();
        let (chain, member) = by_id(&published, member)?;
        let (interface, name) = (&chain.interface.name, &member.name);
        self.check_list(&chain.interface)?;
        // One is enough to freeze the map, and to give every queue's packets to another socket.
        if member.source.is_redirect() {
            return Err(translate::refused(
                RefusalCode::NotAllowed,
                format!(
                    "member {name} of interface {interface} is the daemon's own: its maps are shared"
                ),
            ));
        }
        if !self.authority(&chain.interface).may_have(member.owner.uid) {
            return Err(translate::refused(
                RefusalCode::NotOwner,
                format!(
                    "member {name} of interface {interface} belongs to uid {}",
                    member.owner.uid
                ),
            ));
        }
        let maps = published.maps.get(&member.id).cloned().unwrap_or_default();
        let found = maps.iter().find(|known| known.name == map).ok_or_else(|| {
            let known: Vec<&str> = maps.iter().map(|map| map.name.as_str()).collect();
            translate::refused(
                RefusalCode::Map,
                format!(
                    "member {name} of interface {interface} has no map {map}; it has {}",
                    known.join(", ")
                ),
            )
        })?;
        let fd = found.fd.try_clone().map_err(|error| {
            translate::refused(RefusalCode::Daemon, format!("map {map}: {error}"))
        })?;
        Ok((ReplyBody::Map(translate::map_shape(found)), Some(fd)))
    }
}

/// The member with this id, and its chain.
pub(super) fn by_id(
    published: &Published,
    id: MemberId,
) -> Result<(&planner::Chain, &planner::Member), Refused> {
    published.state.member(id).ok_or_else(|| {
        if published.state.unreadable.is_empty() {
            return no_member(id);
        }
        // The next daemon may be able to read it, and then the member is there.
        translate::refused(
            RefusalCode::Daemon,
            format!("no member has the id {id}, unless it is in a chain that can't be read"),
        )
        .with_remedy(Remedy::SeeStatus)
    })
}

fn no_member(id: MemberId) -> Refused {
    translate::refusal(&Refusal::NoMemberOfId { id })
}

/// How a request names a member, in this daemon's words.
pub(super) enum Named<'a> {
    Name(&'a str),
    Id(MemberId),
}

pub(super) fn named(member: &Open<MemberRef>) -> Result<Named<'_>, Refused> {
    match member {
        Open::Known(MemberRef::Name(name)) => Ok(Named::Name(name)),
        Open::Known(MemberRef::Id(id)) => Ok(Named::Id(MemberId(*id))),
        Open::Unknown(_) => Err(translate::refused(
            RefusalCode::Unsupported,
            "this daemon knows members by their name or their id only",
        )),
    }
}

/// The sockets of an interface, if this is the member that gives them packets.
fn sockets(
    published: &Published,
    key: ChainKey,
    member: &planner::Member,
) -> Vec<protocol::SocketDetail> {
    if !member.source.is_redirect() {
        return Vec::new();
    }
    let sockets = published.sockets.iter();
    sockets
        .filter(|socket| socket.key.place.chain == key)
        .map(translate::socket_view)
        .collect()
}

/// A number of things that are bounded far below this.
fn count(things: usize) -> u32 {
    u32::try_from(things).unwrap_or(u32::MAX)
}

fn find<'a>(
    published: &'a Published,
    interface: &Interface,
    name: &str,
) -> Result<(&'a planner::Chain, planner::Slot, &'a planner::Member), Refused> {
    published
        .state
        .at(interface.key)
        .and_then(|chain| {
            chain
                .member(name)
                .map(|(slot, member)| (chain, slot, member))
        })
        .ok_or_else(|| {
            translate::refused(
                RefusalCode::NoSuchMember,
                format!("interface {} has no member {name:?}", interface.name),
            )
        })
}

fn read_counts(
    published: &Published,
    key: ChainId,
    interface: &str,
) -> Result<BTreeMap<MemberId, SlotCounters>, Refused> {
    let Some(counters) = published.counters.get(&key) else {
        return Ok(BTreeMap::new());
    };
    counters.read().map_err(|error| {
        translate::refused(
            RefusalCode::Kernel,
            format!("interface {interface}: the counters can't be read: {error}"),
        )
    })
}

#[cfg(test)]
mod tests {
    use planner::{ChainDir, Engines, Pin, State, Unreadable, Why};

    use super::*;

    #[test]
    fn a_member_may_be_in_a_chain_that_cannot_be_read() {
        let engines = Engines {
            freplace: true,
            tailcall: true,
        };
        let mut published = Published {
            state: State::new(engines),
            counters: BTreeMap::new(),
            maps: BTreeMap::new(),
            sockets: Vec::new(),
        };
        let code = |published: &Published| by_id(published, MemberId(7)).unwrap_err().code;
        assert_eq!(code(&published), RefusalCode::NoSuchMember);
        let site = ChainKey {
            netns: 1,
            ifindex: 2,
        };
        let dir = ChainDir {
            key: site,
            again: 0,
        };
        published.state.unreadable.push(Unreadable {
            id: None,
            is_attached: true,
            dir,
            site,
            interface: None,
            why: Why::Missing { pin: Pin::Link },
        });
        assert_eq!(code(&published), RefusalCode::Daemon);
    }
}
