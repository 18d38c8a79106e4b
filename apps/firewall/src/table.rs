//! The rules in force, and the changes from one policy to another while packets flow.

use std::collections::BTreeMap;
use std::fmt;

use firewall_abi::{Action, Half, IDS_FIRST, Room};

use crate::half::Writer;
use crate::ids::Ids;
use crate::memory::Memory;
use crate::rules::{Policy, Subject};

/// Entries in a bucket, on average, when the table is built: few enough for nearly all to be in the
/// first bucket that is looked at, many enough for the buckets to stay in the caches.
const ENTRIES_PER_BUCKET: u32 = 3;
/// How many seeds are tried before a table counts as full.
const ATTEMPTS: u64 = 8;
/// Removed rules that packets may be looking for in vain before the table is built anew.
const STALE_MAX: usize = 4096;

/// What packets are judged by.
#[derive(Debug)]
pub struct Table {
    memory: Memory,
    half: Half,
    rules: BTreeMap<Subject, Placed>,
    default: Action,
    /// Rules for a protocol or a port.
    services: usize,
    ids: Ids,
    /// Rules that were removed from this half.
    stale: usize,
    /// Whether packets may still be judged by the other half.
    other_in_use: bool,
    /// Waits until every packet that is being judged is through.
    grace: fn(),
}

/// A rule in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Placed {
    pub(crate) action: Action,
    /// Of its entries; of those with one, twice.
    ids: [u32; 2],
}

/// A change of one rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// Puts a rule; if there is one for the same packets, in its place.
    Put(Subject, Action),
    Remove(Subject),
    Default(Action),
}

/// What a new policy changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Difference {
    /// Rules that were not there before, or with another action.
    pub added: usize,
    /// Rules that are not there any more, or with another action.
    pub removed: usize,
    /// Whether the default is another.
    pub default_changed: bool,
}

/// More entries than there is room for. Nothing was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoRoom {
    needed: usize,
    room: Room,
}

impl Table {
    /// An empty table: everything is allowed. The memory is all zeros.
    pub fn new(memory: Memory, grace: fn()) -> Self {
        let table = Self {
            ids: Ids::new(IDS_FIRST..memory.room.entries),
            memory,
            half: Half::First,
            rules: BTreeMap::new(),
            default: Action::Allow,
            services: 0,
            stale: 0,
            other_in_use: false,
            grace,
        };
        let writer = table.writer();
        writer.clear(buckets(0, table.memory.room), 0);
        table.set_fallbacks(&writer);
        table
    }

    /// Goes over to another policy at once: each packet is judged by the old one or by the new one.
    pub fn adopt(&mut self, policy: &Policy) -> Result<Difference, NoRoom> {
        let rules = self.place(policy)?;
        let before = std::mem::replace(&mut self.rules, rules);
        let default_before = std::mem::replace(&mut self.default, policy.default);
        if let Err(no_room) = self.rebuild() {
            self.default = default_before;
            let failed = std::mem::replace(&mut self.rules, before);
            self.retire(&failed);
            return Err(no_room);
        }
        let removed = self.retire(&before);
        Ok(Difference {
            added: self.rules.len() + removed - before.len(),
            removed,
            default_changed: default_before != self.default,
        })
    }

    /// Changes one rule in place. Says whether that changed anything.
    pub(crate) fn change(&mut self, change: Change) -> Result<bool, NoRoom> {
        match change {
            Change::Put(subject, action) => self.put(subject, action),
            Change::Remove(subject) => Ok(self.remove(subject)),
            Change::Default(action) => {
                let changed = self.default != action;
                self.default = action;
                self.set_fallbacks(&self.writer());
                Ok(changed)
            }
        }
    }

    /// What is in force.
    pub(crate) fn rules(&self) -> &BTreeMap<Subject, Placed> {
        &self.rules
    }

    pub(crate) fn default(&self) -> Action {
        self.default
    }

    /// How many ids rest.
    pub(crate) fn ids_resting(&self) -> usize {
        self.ids.resting()
    }

    /// The ids of rules that are gone, which no packet is judged by any more. They are used again
    /// once they are given back.
    pub(crate) fn take_rested_ids(&mut self) -> Vec<u32> {
        self.wait();
        self.ids.take_rested()
    }

    pub(crate) fn free_ids(&mut self, ids: Vec<u32>) {
        self.ids.free(ids);
    }

    /// Whether so many rules were removed that packets look for them in vain too often.
    pub(crate) fn is_stale(&self) -> bool {
        self.stale > STALE_MAX
    }

    /// Builds the table anew in the other half, and puts that in force.
    pub(crate) fn rebuild(&mut self) -> Result<(), NoRoom> {
        if self.other_in_use {
            self.wait();
        }
        let entries = self.entries();
        let half = self.half.other();
        let writer = Writer::of(&self.memory, half);
        let fits = (0..ATTEMPTS).any(|seed| {
            writer.clear(buckets(entries, self.memory.room), seed);
            self.rules.iter().all(|(subject, placed)| {
                let mut ids = subject.prefixes().zip(placed.ids);
                ids.all(|(prefix, id)| {
                    let inserted = writer.insert(prefix, subject.service, id, placed.action);
                    inserted.is_ok()
                })
            })
        });
        if !fits {
            return Err(self.no_room(entries));
        }
        self.services = self.rules.keys().filter(|it| it.names_service()).count();
        self.set_fallbacks(&writer);
        self.memory.config[0].active.set(half.index() as u64);
        self.half = half;
        self.other_in_use = true;
        self.stale = 0;
        Ok(())
    }

    fn put(&mut self, subject: Subject, action: Action) -> Result<bool, NoRoom> {
        let before = self.rules.get(&subject).copied();
        if before.is_some_and(|placed| placed.action == action) {
            return Ok(false);
        }
        let placed = self.take_ids(subject, action)?;
        self.rules.insert(subject, placed);
        self.services += usize::from(before.is_none() && subject.names_service());
        let writer = self.writer();
        let mut crowded = false;
        for (at, prefix) in subject.prefixes().enumerate() {
            let entry = (placed.ids[at], action);
            if let Some(before) = before {
                writer.replace(prefix, subject.service, before.ids[at], Some(entry));
            } else {
                crowded |= writer
                    .insert(prefix, subject.service, entry.0, entry.1)
                    .is_err();
            }
        }
        self.set_fallbacks(&writer);
        if let Some(before) = before {
            self.rest(subject, before);
        }
        if crowded && let Err(no_room) = self.rebuild() {
            self.remove(subject);
            return Err(no_room);
        }
        Ok(true)
    }

    fn remove(&mut self, subject: Subject) -> bool {
        let Some(placed) = self.rules.remove(&subject) else {
            return false;
        };
        let writer = self.writer();
        for (prefix, id) in subject.prefixes().zip(placed.ids) {
            writer.replace(prefix, subject.service, id, None);
        }
        self.services -= usize::from(subject.names_service());
        self.set_fallbacks(&self.writer());
        self.rest(subject, placed);
        self.stale += 1;
        true
    }

    /// A policy's rules with their ids: those that they have, or others.
    fn place(&mut self, policy: &Policy) -> Result<BTreeMap<Subject, Placed>, NoRoom> {
        let mut placed = BTreeMap::new();
        for (subject, action) in &policy.rules {
            let present = self.rules.get(subject);
            let kept = present.filter(|placed| placed.action == *action).copied();
            let Ok(rule) = kept.map_or_else(|| self.take_ids(*subject, *action), Ok) else {
                self.retire(&placed);
                return Err(self.no_room(policy.entries()));
            };
            placed.insert(*subject, rule);
        }
        Ok(placed)
    }

    /// Lets the ids rest that these rules have and those in force have not. Says how many rules
    /// that are.
    fn retire(&mut self, rules: &BTreeMap<Subject, Placed>) -> usize {
        let mut retired = 0;
        for (subject, placed) in rules {
            if self.rules.get(subject) != Some(placed) {
                self.rest(*subject, *placed);
                retired += 1;
            }
        }
        retired
    }

    fn take_ids(&mut self, subject: Subject, action: Action) -> Result<Placed, NoRoom> {
        let entries = subject.entries();
        if self.ids.left() < entries {
            return Err(self.no_room(self.entries() + entries));
        }
        let mut ids = [0; 2];
        for (prefix, id) in subject.prefixes().zip(&mut ids) {
            *id = self.ids.take().unwrap_or_default();
            self.memory.keys[*id as usize].set(prefix.key(subject.service));
        }
        Ok(Placed { action, ids })
    }

    fn rest(&mut self, subject: Subject, placed: Placed) {
        for (_, id) in subject.prefixes().zip(placed.ids) {
            self.ids.rest(id);
        }
    }

    fn set_fallbacks(&self, writer: &Writer<'_>) {
        writer.set_fallbacks(self.default, !self.rules.is_empty(), self.services > 0);
    }

    fn entries(&self) -> usize {
        self.rules.keys().map(Subject::entries).sum()
    }

    fn wait(&mut self) {
        (self.grace)();
        self.other_in_use = false;
    }

    fn writer(&self) -> Writer<'_> {
        Writer::of(&self.memory, self.half)
    }

    fn no_room(&self, needed: usize) -> NoRoom {
        NoRoom {
            needed,
            room: self.memory.room,
        }
    }
}

impl Placed {
    /// The ids that the rule's packets are counted under.
    pub(crate) fn ids(&self, subject: &Subject) -> impl Iterator<Item = u32> + use<> {
        self.ids.into_iter().take(subject.entries())
    }
}

/// How many buckets there should be for so many entries.
fn buckets(entries: usize, room: Room) -> u32 {
    const MIN: u32 = 16;
    let entries = u32::try_from(entries).unwrap_or(u32::MAX);
    entries
        .div_ceil(ENTRIES_PER_BUCKET)
        .max(MIN)
        .min(room.buckets())
}

impl fmt::Display for NoRoom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { needed, room } = self;
        let room = room.entries;
        write!(
            f,
            "no room for {needed} entries, only for {room}: start again, or with more --room"
        )
    }
}

impl std::error::Error for NoRoom {}

#[cfg(test)]
mod tests;
