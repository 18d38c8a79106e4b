//! The order of a chain, as simply as it can be said.

use dispatcher_abi::{PRIORITY_DEFAULT, Priority};

use crate::{Change, Facts, Operation, Position};

/// A chain's members from the eldest to the youngest, with their priorities. The run order is this
/// list, sorted by priority and otherwise left as it is.
#[derive(Clone, Debug, Default)]
pub(super) struct Oracle(Vec<(String, Priority)>);

impl Oracle {
    /// The members in run order.
    pub(super) fn run_order(&self) -> Vec<(String, Priority)> {
        let mut members = self.0.clone();
        members.sort_by_key(|(_, priority)| *priority);
        members
    }

    /// Follows a change that was accepted.
    pub(super) fn follow(&mut self, change: &Change, facts: &[Facts]) {
        let mut facts = facts.iter();
        for operation in &change.operations {
            match operation {
                Operation::Register(asked) => {
                    let facts = facts.next().unwrap();
                    let name = asked
                        .name
                        .as_ref()
                        .map_or(facts.source.program(), String::as_str);
                    let priority = asked.priority.or(facts.priority);
                    self.0
                        .push((name.to_owned(), priority.unwrap_or(PRIORITY_DEFAULT)));
                }
                Operation::Unregister { name } => self.0.retain(|(known, _)| known != name),
                Operation::UnregisterAll => self.0.clear(),
                Operation::Move { name, to } => self.place(name, to),
                Operation::Order { names } => self.arrange(names),
                Operation::Replace { .. } => drop(facts.next()),
                Operation::Set { .. } | Operation::Configure(_) => {}
            }
        }
    }

    /// Forgets members that were removed without a change.
    pub(super) fn forget<'a>(&mut self, names: impl Iterator<Item = &'a str>) {
        for name in names {
            self.0.remove(self.at(name));
        }
    }

    fn place(&mut self, name: &str, to: &Position) {
        let order: Vec<_> = self.run_order().into_iter().map(|(name, _)| name).collect();
        let (neighbour, after) = match to {
            Position::Priority(priority) => {
                let at = self.at(name);
                self.0[at].1 = *priority;
                return;
            }
            Position::First => (order.first().unwrap(), 0),
            Position::Last => (order.last().unwrap(), 1),
            Position::Before(neighbour) => (neighbour, 0),
            Position::After(neighbour) => (neighbour, 1),
        };
        let pair = [[name, neighbour], [neighbour, name]][after];
        let is_there = order.windows(2).any(|two| two == pair);
        let priority = self.0[self.at(neighbour)].1;
        if neighbour == name || is_there && self.0[self.at(name)].1 == priority {
            return;
        }
        self.0.remove(self.at(name));
        let at = self.at(neighbour) + after;
        self.0.insert(at, (name.to_owned(), priority));
    }

    fn arrange(&mut self, names: &[String]) {
        let mut floor = 0;
        let raised = names.iter().map(|name| {
            floor = floor.max(self.0[self.at(name)].1);
            (name.clone(), floor)
        });
        self.0 = raised.collect();
    }

    fn at(&self, name: &str) -> usize {
        self.0.iter().position(|(known, _)| known == name).unwrap()
    }
}
