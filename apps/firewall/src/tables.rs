//! What the program's maps hold, and the steps from there to another policy.

use std::collections::{BTreeMap, BTreeSet};

use firewall_abi::{Action, Service as ServiceKey, Source};

use crate::rules::{Entries, Policy, Prefix, Service};
use crate::waves::{Wave, waves};

/// The maps' contents, but for packet counts. Of the two tries one: a [`Prefix`] has its family.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tables {
    sources: BTreeMap<Prefix, Source>,
    services: BTreeMap<ServiceKey, Action>,
    default: Action,
    /// The next prefix's. None is used twice: a packet may still be judged by an old one.
    next_id: u32,
}

/// A change of one map's entries, which packets see one by one, or a wait.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    PutServices(Vec<(ServiceKey, Action)>),
    RemoveServices(Vec<ServiceKey>),
    /// Sorted, so that IPv4 comes first.
    PutSources(Vec<(Prefix, Source)>),
    /// Sorted likewise.
    RemoveSources(Vec<Prefix>),
    SetDefault(Action),
    /// Until every packet that began to be judged before is through.
    Wait,
}

/// More entries than a map has room for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Size {
    /// The larger of the two tries'.
    pub(crate) sources: usize,
    pub(crate) services: usize,
}

impl Tables {
    /// The steps to what a policy says, in an order in which every packet is decided as by the
    /// policy of before or as by the new one, at every moment.
    pub(crate) fn plan(&self, policy: &Policy) -> Vec<Step> {
        let present = self.entries();
        let wanted = policy.entries();
        let differing = |(entry, action): (&(Prefix, Service), &Action)| {
            (present.get(entry) != Some(action)).then_some(*entry)
        };
        let put = waves(wanted.iter().filter_map(differing));
        let unwanted = present.into_keys().filter(|it| !wanted.contains_key(it));
        let remove = waves(unwanted);

        let mut draft = Draft {
            tables: self.clone(),
            steps: Vec::new(),
        };
        // What a plan that failed left behind must not come alive.
        draft.sweep();
        for wave in put {
            draft.wait();
            draft.put(&wave, &wanted);
        }
        draft.set_default(policy.default);
        for wave in remove.into_iter().rev() {
            draft.wait();
            draft.remove(&wave);
        }
        draft.sweep();
        draft.steps
    }

    /// Takes over a step that was done.
    pub(crate) fn apply(&mut self, step: &Step) {
        match step {
            Step::PutServices(services) => self.services.extend(services.iter().copied()),
            Step::RemoveServices(keys) => {
                for key in keys {
                    self.services.remove(key);
                }
            }
            Step::PutSources(sources) => {
                for (prefix, source) in sources {
                    self.next_id = self.next_id.max(source.id.wrapping_add(1));
                    self.sources.insert(*prefix, *source);
                }
            }
            Step::RemoveSources(prefixes) => {
                for prefix in prefixes {
                    self.sources.remove(prefix);
                }
            }
            Step::SetDefault(action) => self.default = *action,
            Step::Wait => {}
        }
    }

    /// The room that these steps need, all that is there now included.
    pub(crate) fn size_with(&self, steps: &[Step]) -> Size {
        let mut sources: BTreeSet<Prefix> = self.sources.keys().copied().collect();
        let mut services: BTreeSet<ServiceKey> = self.services.keys().copied().collect();
        for step in steps {
            match step {
                Step::PutServices(put) => services.extend(put.iter().map(|(key, _)| *key)),
                Step::PutSources(put) => sources.extend(put.iter().map(|(prefix, _)| *prefix)),
                Step::RemoveServices(_)
                | Step::RemoveSources(_)
                | Step::SetDefault(_)
                | Step::Wait => {}
            }
        }
        let [first, second] = Prefix::ANY.map(|any| sources.range(any..=any.last()).count());
        Size {
            sources: first.max(second),
            services: services.len(),
        }
    }

    /// What packets are judged by: services that no prefix claims are none.
    fn entries(&self) -> Entries {
        let mut entries = Entries::new();
        for (prefix, source) in &self.sources {
            if let Some(action) = decided(source.action) {
                entries.insert((*prefix, Service::Everything), action);
            }
            if source.has_services != 0 {
                for (key, action) in self.services_of(source.id) {
                    entries.insert((*prefix, service(*key)), *action);
                }
            }
        }
        entries
    }

    fn services_of(&self, source: u32) -> impl Iterator<Item = (&ServiceKey, &Action)> {
        let first = ServiceKey {
            source,
            ..ServiceKey::default()
        };
        let last = ServiceKey {
            source,
            port: u16::MAX,
            protocol: u8::MAX,
            any_port: u8::MAX,
        };
        self.services.range(first..=last)
    }
}

/// A plan, and what the maps will hold after its steps so far.
struct Draft {
    tables: Tables,
    steps: Vec<Step>,
}

impl Draft {
    /// Puts a wave's entries: services first, for a prefix is looked at before its services.
    fn put(&mut self, wave: &Wave, actions: &Entries) {
        let mut services = Vec::new();
        let mut sources = BTreeMap::new();
        for (prefix, service) in wave {
            let Some(&action) = actions.get(&(*prefix, *service)) else {
                continue;
            };
            let source = self.edit(&mut sources, *prefix);
            if let Some(key) = key(source.id, *service) {
                services.push((key, action));
                source.has_services = 1;
            } else {
                source.action = action.value();
            }
        }
        self.step(Step::PutServices(services));
        self.put_sources(sources);
    }

    /// Removes a wave's entries. A prefix's last services stay for those packets that found the
    /// prefix before it stopped claiming them.
    fn remove(&mut self, wave: &Wave) {
        let mut services: BTreeMap<u32, Vec<ServiceKey>> = BTreeMap::new();
        let mut sources = BTreeMap::new();
        for (prefix, service) in wave {
            let source = self.edit(&mut sources, *prefix);
            if let Some(key) = key(source.id, *service) {
                services.entry(source.id).or_default().push(key);
            } else {
                source.action = Action::Undecided.value();
            }
        }
        let mut gone = Vec::new();
        for (prefix, source) in &mut sources {
            if let Some(keys) = services.get(&source.id)
                && keys.len() == self.tables.services_of(source.id).count()
            {
                source.has_services = 0;
                services.remove(&source.id);
            }
            if source.has_services == 0 && decided(source.action).is_none() {
                gone.push(*prefix);
            }
        }
        for prefix in &gone {
            sources.remove(prefix);
        }
        self.put_sources(sources);
        self.step(Step::RemoveSources(gone));
        self.step(Step::RemoveServices(
            services.into_values().flatten().collect(),
        ));
    }

    /// Removes the services that no prefix claims.
    fn sweep(&mut self) {
        let claimed: BTreeSet<u32> = self
            .tables
            .sources
            .values()
            .filter(|source| source.has_services != 0)
            .map(|source| source.id)
            .collect();
        let unclaimed: Vec<ServiceKey> = self
            .tables
            .services
            .keys()
            .filter(|key| !claimed.contains(&key.source))
            .copied()
            .collect();
        if !unclaimed.is_empty() {
            self.wait();
            self.step(Step::RemoveServices(unclaimed));
        }
    }

    fn set_default(&mut self, default: Action) {
        if self.tables.default != default {
            self.wait();
            self.step(Step::SetDefault(default));
        }
    }

    /// A prefix as this wave has made it so far.
    fn edit<'a>(
        &mut self,
        sources: &'a mut BTreeMap<Prefix, Source>,
        prefix: Prefix,
    ) -> &'a mut Source {
        sources.entry(prefix).or_insert_with(|| {
            self.tables
                .sources
                .get(&prefix)
                .copied()
                .unwrap_or_else(|| {
                    let id = self.tables.next_id;
                    self.tables.next_id = id.wrapping_add(1);
                    Source {
                        id,
                        prefix_length: prefix.length().into(),
                        ..Source::default()
                    }
                })
        })
    }

    fn put_sources(&mut self, sources: BTreeMap<Prefix, Source>) {
        let changed = sources
            .into_iter()
            .filter(|(prefix, source)| self.tables.sources.get(prefix) != Some(source))
            .collect();
        self.step(Step::PutSources(changed));
    }

    /// Waits, if there is something to wait for.
    fn wait(&mut self) {
        if self.steps.last().is_some_and(|step| *step != Step::Wait) {
            self.steps.push(Step::Wait);
        }
    }

    fn step(&mut self, step: Step) {
        if step.entries() > 0 {
            self.tables.apply(&step);
            self.steps.push(step);
        }
    }
}

impl Step {
    /// How many entries it changes.
    pub(crate) fn entries(&self) -> usize {
        match self {
            Self::PutServices(services) => services.len(),
            Self::RemoveServices(keys) => keys.len(),
            Self::PutSources(sources) => sources.len(),
            Self::RemoveSources(prefixes) => prefixes.len(),
            Self::SetDefault(_) => 1,
            Self::Wait => 0,
        }
    }

    /// Of the step's entries only so many, for one that failed there.
    pub(crate) fn truncate(&mut self, entries: usize) {
        match self {
            Self::PutServices(services) => services.truncate(entries),
            Self::RemoveServices(keys) => keys.truncate(entries),
            Self::PutSources(sources) => sources.truncate(entries),
            Self::RemoveSources(prefixes) => prefixes.truncate(entries),
            Self::SetDefault(_) if entries == 0 => *self = Self::Wait,
            Self::SetDefault(_) | Self::Wait => {}
        }
    }
}

fn decided(action: u32) -> Option<Action> {
    [Action::Allow, Action::Deny]
        .into_iter()
        .find(|it| it.value() == action)
}

/// Where a service is; `None` for everything, which is in the prefix itself.
fn key(source: u32, service: Service) -> Option<ServiceKey> {
    match service {
        Service::Everything => None,
        Service::Protocol(protocol) => Some(ServiceKey {
            source,
            port: 0,
            protocol,
            any_port: 1,
        }),
        Service::Port { protocol, port } => Some(ServiceKey {
            source,
            port,
            protocol,
            any_port: 0,
        }),
    }
}

fn service(key: ServiceKey) -> Service {
    let ServiceKey { protocol, port, .. } = key;
    if key.any_port == 0 {
        Service::Port { protocol, port }
    } else {
        Service::Protocol(protocol)
    }
}

#[cfg(test)]
mod tests;
