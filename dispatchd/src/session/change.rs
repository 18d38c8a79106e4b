//! Changes: resolve, admit, load, hand to the engine.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::sync_channel;

use planner::Rights;
use protocol::{Change, Operation, RefusalCode, Refused, ReplyBody, Source};

use super::site::Site;
use super::{Session, stopping};
use crate::engine::{ChangeRequest, Event};
use crate::kernel::MemberMap;
use crate::loader::{Order, Ready};
use crate::published::Published;
use crate::translate;

impl Session<'_> {
    pub(super) fn change(&self, change: Change, site: Site) -> Result<ReplyBody, Refused> {
        let Site {
            interface,
            namespace,
        } = site;
        let name = interface.name.clone();
        let sources: Vec<LoadOf> = change.operations.iter().filter_map(load_of).collect();
        let planned = planner::Change {
            interface,
            expected_generation: change.expected_generation.map(planner::Generation),
            mode: change.mode,
            operations: change
                .operations
                .into_iter()
                .map(|operation| translate::operation(operation, token))
                .collect(),
        };
        let published = self.hub.board.read();
        planner::admit(&published.state, &self.client, &planned)
            .map_err(|refusal| translate::refusal(&refusal))?;
        let mut loaded: Vec<Ready> = Vec::new();
        for load in &sources {
            let replaced = load.replaces.as_ref().and_then(|name| {
                let chain = published.state.chains.get(&planned.interface.key)?;
                let (_, member) = chain.member(name)?;
                self.may_use(member).then_some(member)
            });
            let existing = match replaced {
                Some(member) => maps_of(&published, member),
                None => self.shared_maps(&published, load, &sources, &loaded),
            };
            let mut ready = self.load(&name, load, existing)?;
            ready.facts.replaces = replaced.map(|member| (member.id, member.code));
            loaded.push(ready);
        }
        let (facts, staged): (Vec<_>, BTreeMap<_, _>) = loaded
            .into_iter()
            .map(|ready| (ready.facts.clone(), (ready.facts.load, ready.staged)))
            .unzip();
        let (reply, answer) = sync_channel(1);
        let request = ChangeRequest {
            client: self.client.clone(),
            change: planned,
            facts: facts.clone(),
            staged,
            namespace,
            dry_run: change.dry_run,
            reply,
        };
        self.tell(Event::Change(Box::new(request)))?;
        let outcome = answer
            .recv()
            .map_err(|_| stopping())?
            .map_err(|error| translate::change_error(&name, &error))?;
        Ok(ReplyBody::Changed(translate::outcome(
            outcome,
            &facts,
            change.dry_run,
        )))
    }

    fn load(
        &self,
        interface: &str,
        load: &LoadOf,
        existing: Vec<MemberMap>,
    ) -> Result<Ready, Refused> {
        let source = &load.source;
        let bytes = self.objects.get(&source.object).ok_or_else(|| {
            translate::refused(
                RefusalCode::NoSuchObject,
                format!("interface {interface}: the object was not staged on this connection"),
            )
        })?;
        let order = Order {
            bytes: Arc::clone(bytes),
            program: source.program.clone(),
            map_sizes: source.map_sizes.clone(),
            globals: translate::globals(&source.globals),
            tail_calls: translate::tail_calls(&source.tail_calls),
            trusted: self.client.rights == Rights::All,
            existing,
        };
        self.hub
            .loader
            .load(self.client.uid, order)
            .map_err(|error| translate::load_error(interface, error))
    }

    /// The maps of a load's share group, in this change or running.
    fn shared_maps(
        &self,
        published: &Published,
        load: &LoadOf,
        sources: &[LoadOf],
        loaded: &[Ready],
    ) -> Vec<MemberMap> {
        let Some(group) = &load.share_group else {
            return Vec::new();
        };
        let here = sources
            .iter()
            .zip(loaded)
            .filter(|(other, _)| other.share_group.as_ref() == Some(group))
            .flat_map(|(_, ready)| ready.staged.maps.to_vec());
        let running = published
            .state
            .chains
            .values()
            .flat_map(|chain| &chain.members)
            .filter(|member| {
                member.owner.uid == self.client.uid && member.share_group.as_ref() == Some(group)
            })
            .flat_map(|member| maps_of(published, member));
        here.chain(running).collect()
    }

    /// Whether the client may have what is the member's: the planner decides about a state that
    /// may be newer than the one that maps are taken from.
    pub(super) fn may_use(&self, member: &planner::Member) -> bool {
        self.client.rights == Rights::All || member.owner.uid == self.client.uid
    }
}

fn maps_of(published: &Published, member: &planner::Member) -> Vec<MemberMap> {
    published
        .maps
        .get(&member.id)
        .map(|maps| maps.to_vec())
        .unwrap_or_default()
}

/// A load that an operation asks for.
struct LoadOf {
    source: Source,
    share_group: Option<String>,
    replaces: Option<String>,
}

fn load_of(operation: &Operation) -> Option<LoadOf> {
    match operation {
        Operation::Register(registration) => Some(LoadOf {
            source: registration.source.clone(),
            share_group: registration.share_group.clone(),
            replaces: None,
        }),
        Operation::Replace { name, source } => Some(LoadOf {
            source: source.clone(),
            share_group: None,
            replaces: Some(name.clone()),
        }),
        Operation::Unregister { .. }
        | Operation::UnregisterAll
        | Operation::Move { .. }
        | Operation::Order { .. }
        | Operation::Set { .. }
        | Operation::Configure(_) => None,
    }
}

fn token() -> [u8; 16] {
    let mut token = [0; 16];
    let mut filled = 0;
    while filled < token.len() {
        // Fails only before the kernel's random numbers are ready, and then waits for them.
        filled +=
            rustix::rand::getrandom(&mut token[filled..], rustix::rand::GetRandomFlags::empty())
                .unwrap_or(0);
    }
    token
}
