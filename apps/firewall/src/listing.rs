//! Which rules are in force, and how many packets each decided.

use std::cmp::Reverse;

use firewall_abi::{Action, Outcome};
use serde_json::{Map, Value, json};

use crate::rules::{Rule, word};

/// The counts of one moment.
#[derive(Debug)]
pub(crate) struct Listing {
    /// In the order of their sources.
    pub(crate) rules: Vec<Decided>,
    pub(crate) default: Action,
    pub(crate) default_hits: u64,
    /// Packets that could not be read as far as the rules need.
    pub(crate) unreadable_hits: u64,
    pub(crate) packets: [(Outcome, u64); Outcome::ALL.len()],
}

/// A rule and what it decided.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Decided {
    pub(crate) rule: Rule,
    pub(crate) hits: u64,
}

impl Listing {
    /// Only the rules that decided most, so many of them, and none that decided nothing.
    pub(crate) fn keep_top(&mut self, count: usize) {
        self.rules.retain(|rule| rule.hits > 0);
        self.rules.sort_by_key(|rule| Reverse(rule.hits));
        self.rules.truncate(count);
    }

    pub(crate) fn json(&self) -> Value {
        let rules = self.rules.iter().map(|Decided { rule, hits }| {
            json!({"rule": rule.to_string(), "action": word(rule.1), "hits": hits})
        });
        json!({
            "rules": rules.collect::<Vec<_>>(),
            "default": {"action": word(self.default), "hits": self.default_hits},
            "unreadable": {"hits": self.unreadable_hits},
            "packets": packets(&self.packets),
        })
    }
}

/// What became of packets, by name.
pub(crate) fn packets(outcomes: &[(Outcome, u64)]) -> Map<String, Value> {
    outcomes
        .iter()
        .map(|(outcome, packets)| (outcome.name().to_owned(), json!(packets)))
        .collect()
}
