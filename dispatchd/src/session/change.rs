//! Changes: admit, look at the objects, hand both to the controller.

use std::os::fd::AsFd;
use std::sync::Arc;

use controller::Answer;
use planner::{Interface, Outline};
use protocol::{Change, ObjectSource, Operation, RefusalCode, Refused, ReplyBody, Source};

use super::read::Named;
use super::site::Site;
use super::{Session, read};
use crate::desk::{Bringing, Brought};
use crate::loader::Object;
use crate::published::Published;
use crate::translate;

/// Entries of a program's own program arrays, and bytes of their names and of a share group's: they
/// are kept in the chain's registry.
const TAIL_CALLS_MAX: usize = 256;
const KEPT_BYTES_MAX: usize = 4096;

impl Session<'_> {
    /// Changes the chain of this interface, or of the first member that is named by its id.
    pub(super) fn change(&self, change: Change, site: Option<&Site>) -> Result<ReplyBody, Refused> {
        let dry_run = change.dry_run;
        let published = self.hub.board.read();
        let at = match site {
            Some(site) => site.interface.clone(),
            None => interface_of(&published, &change)?,
        };
        let interface = at.name.clone();
        let loads = change.operations.iter().filter_map(load_of);
        let mut loads = loads.collect::<Result<Vec<LoadOf>, _>>()?;
        let mut expected_members = Vec::new();
        let mut operations = Vec::with_capacity(change.operations.len());
        for operation in change.operations {
            let name = match operation.member().map(read::named).transpose()? {
                None => String::new(),
                Some(Named::Name(name)) => name.to_owned(),
                Some(Named::Id(id)) => {
                    let (_, member) = read::by_id(&published, id)?;
                    expected_members.push((member.name.clone(), id));
                    member.name.clone()
                }
            };
            operations.push(translate::operation(operation, name));
        }
        let change = planner::Change {
            interface: at.clone(),
            expected_revision: change.expected_revision.map(planner::Revision),
            expected_members,
            mode: change.mode,
            operations,
        };
        let authority = self.authority(&at);
        // What was done before is only told again: the controller has the last word on it.
        let is_done =
            !dry_run && planner::done_before(&published.state, &authority, &change).is_some();
        let admitted = if is_done {
            Ok(())
        } else {
            planner::admit(&published.state, &authority, &change)
                .map_err(|refusal| translate::refusal(&refusal))
        };
        // None is found and none goes while the daemon runs. What is wrong with it is not for those who may
        // not change the interface at all.
        if let Some(chain) = published.state.unreadable_at(at.key)
            && !matches!(&admitted, Err(refused) if refused.code == RefusalCode::NotAllowed)
        {
            return Err(translate::unreadable(&interface, chain, &self.hub.pins));
        }
        admitted?;
        for index in 0..loads.len() {
            let (earlier, rest) = loads.split_at_mut(index);
            let load = &mut rest[0];
            load.check_bounds(&interface)?;
            let same = earlier.iter().find(|other| other.is_of_the_same(load));
            load.seen = Some(match same {
                Some(other) => other.seen().clone(),
                None => self.inspect(&at, load)?,
            });
        }
        let outlines = loads
            .iter()
            .map(|load| load.seen().outline.clone())
            .collect();
        let connection = self.connection.as_fd().try_clone_to_owned();
        let brought = Brought {
            connection: connection.ok().map(Arc::new),
            loads: loads.into_iter().map(LoadOf::bringing).collect(),
            ..match site {
                Some(site) => self.brings(site),
                None => self.brings_nothing(&at),
            }
        };
        let request = controller::Request::Change {
            change,
            outlines,
            dry_run,
        };
        let answer = self.submit(&at, request, brought)?;
        let changed = if let Answer::Changed(changed) = &answer {
            translate::outcome(changed, dry_run)
        } else if let Answer::TakenUp(taken) = &answer {
            let published = self.hub.board.read();
            translate::taken_up(&published.state, taken).ok_or_else(|| {
                let message = format!("interface {interface}: what the change made is gone again");
                translate::refused(RefusalCode::NoSuchMember, message)
            })?
        } else {
            unreachable!("the answer to a change");
        };
        Ok(ReplyBody::Changed(changed))
    }

    /// Looks at the object of a load.
    fn inspect(&self, at: &Interface, load: &LoadOf) -> Result<Seen, Refused> {
        let interface = &at.name;
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
                self.caller(at),
                Arc::clone(bytes),
                source.program.clone(),
                source.frags,
            )
            .map_err(|error| translate::load_error(interface, error))?;
        Ok(Seen { object, outline })
    }
}

/// The interface of the first member that a change names by its id.
fn interface_of(published: &Published, change: &Change) -> Result<Interface, Refused> {
    for member in change.operations.iter().filter_map(Operation::member) {
        if let Named::Id(id) = read::named(member)? {
            return Ok(read::by_id(published, id)?.0.interface.clone());
        }
    }
    Err(translate::refused(
        RefusalCode::Malformed,
        "a change names an interface, or a member by its id",
    ))
}

/// A load that an operation asks for.
struct LoadOf {
    source: ObjectSource,
    share_group: Option<String>,
    seen: Option<Seen>,
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

    /// What the controller's loads need of it.
    fn bringing(self) -> Bringing {
        let object = Arc::clone(&self.seen().object);
        Bringing {
            object,
            map_sizes: self.source.map_sizes,
            globals: translate::globals(&self.source.globals),
            tail_calls: translate::tail_calls(&self.source.tail_calls),
        }
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
}

fn load_of(operation: &Operation) -> Option<Result<LoadOf, Refused>> {
    match operation {
        Operation::Register(registration) => {
            Some(object_of(&registration.source).map(|source| LoadOf {
                source,
                share_group: registration.share_group.clone(),
                seen: None,
            }))
        }
        Operation::Replace { source, .. } => Some(object_of(source).map(|source| LoadOf {
            source,
            share_group: None,
            seen: None,
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
