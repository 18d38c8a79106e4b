//! The commands that are for another, running firewall.

use std::io::{self, Read as _, Write as _};
use std::path::PathBuf;
use std::time::Instant;

use libdispatch::escape;
use serde_json::{Value, json};
use shell::Failure;

use crate::args::{Change, Command, Target};
use crate::commands::micros;
use crate::control;

/// Does what one command says, and prints what came of it.
pub(crate) fn run(command: &Command) -> Result<(), Failure> {
    match command {
        Command::Add(change) => change_rules("add", change),
        Command::Remove(change) => change_rules("remove", change),
        Command::List { target, top } => {
            let mut listing = ask(target, "list")?;
            if let Some(top) = top {
                keep_top(&mut listing, *top);
            }
            let text = if target.json {
                listing.to_string() + "\n"
            } else {
                listing_text(&listing)
            };
            print(&text)
        }
    }
}

fn change_rules(name: &str, change: &Change) -> Result<(), Failure> {
    let mut rules = change.rule.join(" ");
    if rules == "-" {
        rules.clear();
        io::stdin().read_to_string(&mut rules)?;
    }
    let start = Instant::now();
    let mut answer = ask(&change.target, &format!("{name}\n{rules}"))?;
    let total = micros(start.elapsed());
    if change.target.json {
        answer["total_us"] = json!(total);
        return print(&format!("{answer}\n"));
    }
    let interface = &change.target.interface;
    let number = |field: &str| answer[field].as_u64().unwrap_or_default();
    let (added, removed) = (number("added"), number("removed"));
    let in_force = number("in_force");
    let us = answer["us"].as_f64().unwrap_or_default();
    print(&format!(
        "firewall on {}: {added} added, {removed} removed, {in_force} in force; {us} µs, {total} µs in all\n",
        escape(interface),
    ))
}

/// A firewall's answer. What it refused is a failure.
fn ask(target: &Target, command: &str) -> Result<Value, Failure> {
    let path: PathBuf = match &target.control {
        Some(path) => path.clone(),
        None => control::default_path(&target.interface)?,
    };
    let answer = control::call(&path, command)?;
    match answer["errors"].as_array() {
        None => Ok(answer),
        Some(errors) => Err(Failure::Input {
            faults: errors
                .iter()
                .map(|error| error.as_str().unwrap_or_default().to_owned())
                .collect(),
        }),
    }
}

/// Only the rules that decided most packets.
fn keep_top(listing: &mut Value, top: usize) {
    let hits = |rule: &Value| rule["hits"].as_u64().unwrap_or_default();
    if let Some(rules) = listing["rules"].as_array_mut() {
        rules.retain(|rule| hits(rule) > 0);
        rules.sort_by_key(|rule| std::cmp::Reverse(hits(rule)));
        rules.truncate(top);
    }
}

/// A rules file, with the packets that each line decided in a comment.
fn listing_text(listing: &Value) -> String {
    let line = |statement: &str, hits: &Value| format!("{statement:<40} # {hits}\n");
    let text = |value: &Value| escape(value.as_str().unwrap_or_default()).into_owned();
    let rules = listing["rules"].as_array().into_iter().flatten();
    let mut lines: Vec<String> = rules
        .map(|rule| line(&text(&rule["rule"]), &rule["hits"]))
        .collect();
    let default = format!("default {}", text(&listing["default"]["action"]));
    lines.push(line(&default, &listing["default"]["hits"]));
    lines.push(line("# not readable", &listing["unreadable"]["hits"]));
    lines.concat()
}

fn print(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()?;
    Ok(())
}
