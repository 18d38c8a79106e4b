//! Changes: resolve, admit, look at the objects, load them, hand the change to the engine.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::mpsc::sync_channel;

use dispatcher_abi::{Engine, EngineChoice};
use planner::{Obstacle, Outline, Refusal, Reload, Rights};
use protocol::{Change, ObjectSource, Operation, RefusalCode, Refused, ReplyBody, Source};

use super::site::Site;
use super::{Session, stopping};
use crate::engine::{ChangeError, ChangeRequest, Event, Outcome};
use crate::kernel::{MemberMap, Staged};
use crate::loader::{LoadError, Order, Ready, Reuse};
use crate::object::Object;
use crate::published::Published;
use crate::translate;

/// How often a change is prepared: more than once if another one was faster.
const TRIES: usize = 4;
/// Entries of a program's own program arrays, and bytes of their names and of a share group's: they
/// are kept in the chain's registry.
const TAIL_CALLS_MAX: usize = 256;
const KEPT_BYTES_MAX: usize = 4096;

impl Session<'_> {
    pub(super) fn change(&self, change: Change, site: Site) -> Result<ReplyBody, Refused> {
        let Site {
            interface,
            namespace,
        } = site;
        let dry_run = change.dry_run;
        let loads = change.operations.iter().filter_map(load_of);
        let mut loads = loads.collect::<Result<Vec<LoadOf>, _>>()?;
        let asked = Asked {
            interface: interface.name.clone(),
            change: planner::Change {
                interface,
                expected_generation: change.expected_revision.map(planner::Generation),
                mode: change.mode,
                operations: change
                    .operations
                    .into_iter()
                    .map(translate::operation)
                    .collect(),
            },
            namespace,
            dry_run,
        };
        if let Some(changed) = self.take_up(&asked.change, dry_run)? {
            return Ok(ReplyBody::Changed(changed));
        }
        let published = self.hub.board.read();
        planner::admit(&published.state, &self.client, &asked.change)
            .map_err(|refusal| translate::refusal(&refusal))?;
        for index in 0..loads.len() {
            let (earlier, rest) = loads.split_at_mut(index);
            let load = &mut rest[0];
            load.check_bounds(&asked.interface)?;
            let same = earlier.iter().find(|other| other.is_of_the_same(load));
            load.seen = Some(match same {
                Some(other) => other.seen().clone(),
                None => self.inspect(&asked.interface, load)?,
            });
        }
        let mut tries = TRIES;
        loop {
            tries -= 1;
            let published = self.hub.board.read();
            let ready = self.prepare(&asked, &published, &mut loads)?;
            let (outcome, facts) = self.submit(&asked, ready, &loads)?;
            match outcome {
                Err(ChangeError::Refused(Refusal::ChangedMeanwhile { .. })) if tries > 0 => {}
                Ok(outcome) => {
                    let changed = translate::outcome(outcome, &facts, dry_run);
                    return Ok(ReplyBody::Changed(changed));
                }
                Err(error) => {
                    // Perhaps this client's own change, sent before, was done meanwhile.
                    if let Some(changed) = self.take_up(&asked.change, dry_run)? {
                        return Ok(ReplyBody::Changed(changed));
                    }
                    return Err(translate::change_error(&asked.interface, &error));
                }
            }
        }
    }

    /// Looks at the object of a load.
    fn inspect(&self, interface: &str, load: &LoadOf) -> Result<Seen, Refused> {
        let source = &load.source;
        let bytes = self.objects.get(&source.object).ok_or_else(|| {
            translate::refused(
                RefusalCode::NoSuchObject,
                format!("interface {interface}: the object was not staged on this connection"),
            )
        })?;
        let (object, outline) = self
            .hub
            .loader
            .inspect(
                self.client.uid,
                Arc::clone(bytes),
                source.program.clone(),
                source.frags,
            )
            .map_err(|error| translate::load_error(interface, error))?;
        Ok(Seen { object, outline })
    }

    /// Loads what the change needs, as it needs it.
    fn prepare(
        &self,
        asked: &Asked,
        published: &Published,
        loads: &mut [LoadOf],
    ) -> Result<Prepared, Refused> {
        // A change is never refused because of an upgrade that it doesn't need.
        let mut upgrade = true;
        'again: loop {
            let outlines: Vec<_> = loads
                .iter()
                .map(|load| load.seen().outline.clone())
                .collect();
            let needs = planner::needs(
                &published.state,
                &self.client,
                &asked.change,
                &outlines,
                upgrade,
            )
            .map_err(|refusal| {
                let first = loads.iter_mut().find_map(|load| load.refused.take());
                first.unwrap_or_else(|| translate::refusal(&refusal))
            })?;
            let mut prepared = Prepared::default();
            for reload in &needs.reloads {
                match self.reload(&asked.interface, published, reload) {
                    Ok(ready) => prepared.reloaded.push(ready),
                    Err(refused) if upgrade => {
                        tracing::debug!(reason = %refused.message, "not upgraded");
                        upgrade = false;
                        continue 'again;
                    }
                    Err(refused) => return Err(refused),
                }
            }
            for index in 0..loads.len() {
                let form = needs.forms[index];
                match self.load(asked, published, loads, index, form, &prepared.fresh) {
                    Ok(ready) => prepared.fresh.push(ready),
                    Err(error) if form.engine == Engine::Freplace && error.is_the_kernels() => {
                        let load = &mut loads[index];
                        let refused = translate::load_error(&asked.interface, error);
                        if !load.may_tail_call() {
                            return Err(refused);
                        }
                        // Perhaps it is fit for a tail call. If not, this is what was wrong.
                        load.refused = Some(refused);
                        load.seen_mut().outline.abilities.obstacle = Some(Obstacle::Refused);
                        continue 'again;
                    }
                    Err(error) => {
                        let first = loads[index].refused.take();
                        return Err(
                            first.unwrap_or_else(|| translate::load_error(&asked.interface, error))
                        );
                    }
                }
            }
            return Ok(prepared);
        }
    }

    fn load(
        &self,
        asked: &Asked,
        published: &Published,
        loads: &[LoadOf],
        index: usize,
        form: planner::Form,
        fresh: &[Ready],
    ) -> Result<Ready, LoadError> {
        let load = &loads[index];
        let replaced = load.replaces.as_ref().and_then(|name| {
            let chain = published.state.chains.get(&asked.change.interface.key)?;
            let (_, member) = chain.member(name)?;
            self.may_use(member).then_some(member)
        });
        let existing = match replaced {
            Some(member) => maps_of(published, member),
            None => self.shared_maps(published, load, loads, fresh),
        };
        let (source, seen) = (&load.source, load.seen());
        let order = Order {
            object: Arc::clone(&seen.object),
            outline: seen.outline.clone(),
            form,
            map_sizes: source.map_sizes.clone(),
            globals: translate::globals(&source.globals),
            tail_calls: translate::tail_calls(&source.tail_calls),
            trusted: self.client.rights == Rights::All,
            existing: Reuse::Shared(existing),
        };
        let mut ready = self.hub.loader.load(self.client.uid, order)?;
        ready.facts.replaces = replaced.map(|member| (member.id, member.code));
        Ok(ready)
    }

    /// Loads a member's code again, from the object that was kept of it, with the maps it has.
    fn reload(
        &self,
        interface: &str,
        published: &Published,
        reload: &Reload,
    ) -> Result<Ready, Refused> {
        let again = |refused: Refused| Refused {
            message: format!(
                "{}; member {} has to be loaded again for this change",
                refused.message, reload.name
            ),
            ..refused
        };
        let bytes = self
            .hub
            .objects
            .get(&reload.source.sha256)
            .map_err(|error| {
                again(translate::refused(
                    RefusalCode::Daemon,
                    format!(
                        "interface {interface}: the object of {} is not kept: {error}",
                        reload.name
                    ),
                ))
            })?;
        let uid = self.client.uid;
        let loader = &self.hub.loader;
        let maps = published.maps.get(&reload.member);
        loader
            .inspect(
                uid,
                Arc::new(bytes),
                Some(reload.outline.program.clone()),
                false,
            )
            .and_then(|(object, _)| {
                let order = Order {
                    object,
                    outline: reload.outline.clone(),
                    form: reload.form,
                    map_sizes: Vec::new(),
                    globals: Vec::new(),
                    tail_calls: reload.source.tail_calls.clone(),
                    trusted: reload.source.trusted,
                    existing: Reuse::Own(maps.map(|maps| maps.to_vec()).unwrap_or_default()),
                };
                loader.load(uid, order)
            })
            .map(|mut ready| {
                ready.facts.replaces = Some((reload.member, reload.code));
                ready
            })
            .map_err(|error| again(translate::load_error(interface, error)))
    }

    /// Hands a change to the engine, and waits for what becomes of it.
    fn submit(
        &self,
        asked: &Asked,
        prepared: Prepared,
        loads: &[LoadOf],
    ) -> Result<(Result<Outcome, ChangeError>, Vec<planner::Facts>), Refused> {
        let (facts, mut staged) = parted(prepared.fresh);
        let (reloaded, staged_again) = parted(prepared.reloaded);
        staged.extend(staged_again);
        let (reply, answer) = sync_channel(1);
        let request = ChangeRequest {
            client: self.client.clone(),
            change: asked.change.clone(),
            facts: facts.clone(),
            reloaded,
            staged,
            objects: loads
                .iter()
                .map(|load| Arc::clone(&load.seen().object))
                .collect(),
            namespace: Arc::clone(&asked.namespace),
            dry_run: asked.dry_run,
            reply,
        };
        self.tell(Event::Change(Box::new(request)))?;
        Ok((answer.recv().map_err(|_| stopping())?, facts))
    }

    /// The maps of a load's share group, in this change or running.
    fn shared_maps(
        &self,
        published: &Published,
        load: &LoadOf,
        loads: &[LoadOf],
        loaded: &[Ready],
    ) -> Vec<MemberMap> {
        let Some(group) = &load.share_group else {
            return Vec::new();
        };
        let here = loads
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

/// A change that a client asks for.
struct Asked {
    interface: String,
    change: planner::Change,
    namespace: Arc<OwnedFd>,
    dry_run: bool,
}

/// What was loaded for a change.
#[derive(Default)]
struct Prepared {
    /// For its operations, in their order.
    fresh: Vec<Ready>,
    /// Members' code that was loaded again.
    reloaded: Vec<Ready>,
}

/// What the planner learns, and what the engine gets.
fn parted(ready: Vec<Ready>) -> (Vec<planner::Facts>, BTreeMap<planner::LoadId, Staged>) {
    let staged = |ready: Ready| (ready.facts.clone(), (ready.facts.load, ready.staged));
    ready.into_iter().map(staged).unzip()
}

/// A load that an operation asks for.
struct LoadOf {
    source: ObjectSource,
    share_group: Option<String>,
    replaces: Option<String>,
    engine: EngineChoice,
    seen: Option<Seen>,
    /// Why it could not be loaded as an extension.
    refused: Option<Refused>,
}

/// What is known of a load's object once it was looked at.
#[derive(Clone)]
struct Seen {
    object: Arc<Object>,
    outline: Outline,
}

impl LoadOf {
    fn seen(&self) -> &Seen {
        self.seen.as_ref().expect("objects are looked at first")
    }

    fn seen_mut(&mut self) -> &mut Seen {
        self.seen.as_mut().expect("objects are looked at first")
    }

    /// Whether what is known of one is known of the other.
    fn is_of_the_same(&self, other: &Self) -> bool {
        let key = |source: &ObjectSource| (source.object, source.program.clone(), source.frags);
        key(&self.source) == key(&other.source)
    }

    /// Turns down what would not fit into a registry.
    fn check_bounds(&self, interface: &str) -> Result<(), Refused> {
        let calls = &self.source.tail_calls;
        let named = calls.iter().map(|call| call.map.len() + call.program.len());
        let bytes = named.sum::<usize>() + self.share_group.as_ref().map_or(0, String::len);
        if calls.len() <= TAIL_CALLS_MAX && bytes <= KEPT_BYTES_MAX {
            return Ok(());
        }
        Err(translate::refused(
            RefusalCode::Quota,
            format!(
                "interface {interface}: a member may have {TAIL_CALLS_MAX} tail calls, and their and \
                 its share group's names together {KEPT_BYTES_MAX} bytes"
            ),
        ))
    }

    /// Whether a tail-call slot would do where freplace is refused for this program.
    fn may_tail_call(&self) -> bool {
        self.engine == EngineChoice::Auto && self.seen().outline.abilities.obstacle.is_none()
    }
}

fn load_of(operation: &Operation) -> Option<Result<LoadOf, Refused>> {
    match operation {
        Operation::Register(registration) => {
            Some(object_of(&registration.source).map(|source| LoadOf {
                source,
                share_group: registration.share_group.clone(),
                replaces: None,
                engine: registration.engine,
                seen: None,
                refused: None,
            }))
        }
        Operation::Replace { name, source } => Some(object_of(source).map(|source| LoadOf {
            source,
            share_group: None,
            replaces: Some(name.clone()),
            engine: EngineChoice::Auto,
            seen: None,
            refused: None,
        })),
        Operation::Unregister { .. }
        | Operation::UnregisterAll
        | Operation::Move { .. }
        | Operation::Order { .. }
        | Operation::Set { .. }
        | Operation::Configure(_) => None,
    }
}

/// The object that code comes from: this daemon knows no other source that a client may name.
fn object_of(source: &Source) -> Result<ObjectSource, Refused> {
    match source {
        Source::Object(object) => Ok(object.clone()),
        Source::Loaded(_) | Source::BuiltIn(_) => Err(translate::refused(
            RefusalCode::Unsupported,
            "this daemon runs programs from objects only",
        )),
    }
}

/// Random bytes that nobody guesses.
pub(super) fn token() -> [u8; 16] {
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
