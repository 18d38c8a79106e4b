//! What a running firewall is told to do: rules come and go while packets flow.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use shell::Failure;

use crate::member::Filter;
use crate::parse::{Fault, Statement, names, statements};
use crate::rules::{Policy, Subject, word};
use crate::table::{Change, Difference, Table};

/// What a command did.
pub(crate) enum Done {
    Changed {
        difference: Difference,
        /// From when the command was there until packets were judged by it.
        took: Duration,
    },
    Listed(Value),
}

/// Does what a command says.
pub(crate) fn perform(filter: &mut Filter, command: &str) -> Result<Done, Failure> {
    let start = Instant::now();
    let (name, rules) = command.split_once('\n').unwrap_or((command, ""));
    let difference = match name {
        "add" => add(filter, rules)?,
        "remove" => remove(filter, rules)?,
        "list" => return Ok(Done::Listed(filter.listing()?.json())),
        _ => return Err(unusable(vec![format!("no such command: {name}")])),
    };
    let took = start.elapsed();
    Ok(Done::Changed { difference, took })
}

fn add(filter: &mut Filter, text: &str) -> Result<Difference, Failure> {
    let statements = statements(text).map_err(|faults| faulty(&faults))?;
    if let [statement] = statements.as_slice()
        && let Some(change) = in_place(filter.table(), *statement)
    {
        return changed(filter, change);
    }
    let mut policy = filter.table().policy();
    for statement in statements {
        match statement {
            Statement::Default(action) => policy.default = action,
            Statement::Rule(subject, action) => {
                let put = policy.put(subject, action);
                put.map_err(|opposite| unusable(vec![format!("`{opposite}` says the opposite")]))?;
            }
        }
    }
    filter.adopt(&policy)
}

fn remove(filter: &mut Filter, text: &str) -> Result<Difference, Failure> {
    let named = names(text).map_err(|faults| faulty(&faults))?;
    let rules = filter.table().rules();
    let missing: Vec<String> = named
        .iter()
        .filter(|named| {
            let placed = rules.get(&named.subject);
            placed.is_none_or(|it| named.action.is_some_and(|action| it.action != action))
        })
        .map(|named| {
            let action = named.action.map_or("", word);
            let rule = format!("{action} {}", named.subject);
            format!("{}:1: there is no rule `{}`", named.line, rule.trim_start())
        })
        .collect();
    if !missing.is_empty() {
        return Err(unusable(missing));
    }
    if let [named] = named.as_slice() {
        return changed(filter, Change::Remove(named.subject));
    }
    let mut policy = filter.table().policy();
    for named in named {
        policy.rules.remove(&named.subject);
    }
    filter.adopt(&policy)
}

/// The change that a statement is, unless other rules have to go with it or are against it.
fn in_place(table: &Table, statement: Statement) -> Option<Change> {
    match statement {
        Statement::Default(action) => Some(Change::Default(action)),
        Statement::Rule(subject, action) => {
            let alone = |it: &Subject| it.likes().all(|other| !table.rules().contains_key(&other));
            alone(&subject).then_some(Change::Put(subject, action))
        }
    }
}

fn changed(filter: &mut Filter, change: Change) -> Result<Difference, Failure> {
    let before = filter.table().rules().len();
    let changed = filter.change(change)?;
    let grown = filter.table().rules().len() > before;
    Ok(match change {
        Change::Default(_) => Difference {
            default_changed: changed,
            ..Difference::default()
        },
        Change::Remove(_) => Difference {
            removed: usize::from(changed),
            ..Difference::default()
        },
        Change::Put(..) => Difference {
            added: usize::from(changed),
            removed: usize::from(changed && !grown),
            default_changed: false,
        },
    })
}

/// What a client is told.
pub(crate) fn answer(done: &Result<Done, Failure>, filter: &Filter) -> Value {
    match done {
        Ok(Done::Changed { difference, took }) => json!({
            "added": difference.added,
            "removed": difference.removed,
            "in_force": filter.table().rules().len(),
            "default": word(filter.table().default()),
            "us": micros(*took),
        }),
        Ok(Done::Listed(listing)) => listing.clone(),
        Err(failure) => json!({"errors": failure.lines()}),
    }
}

/// Microseconds, to a tenth.
pub(crate) fn micros(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e7).round() / 10.0
}

fn faulty(faults: &[Fault]) -> Failure {
    unusable(faults.iter().map(Fault::to_string).collect())
}

fn unusable(faults: Vec<String>) -> Failure {
    Failure::Input { faults }
}

impl Table {
    fn policy(&self) -> Policy {
        let rules = self.rules().iter();
        Policy {
            rules: rules
                .map(|(subject, placed)| (*subject, placed.action))
                .collect(),
            default: self.default(),
        }
    }
}
