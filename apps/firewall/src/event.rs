//! What happens, told on standard output: one line each, at once.

use std::io::{self, Write as _};
use std::path::Path;

use firewall_abi::Action;
use libdispatch::escape;
use serde_json::{Value, json};
use shell::Failure;

use crate::listing::{Decided, Listing, packets};
use crate::rules::word;
use crate::table::Difference;

/// One line's worth.
#[derive(Debug)]
pub(crate) enum Event<'a> {
    /// `--check` found nothing wrong.
    Checked {
        file: &'a Path,
        rules: usize,
        default: Action,
    },
    /// The rules are in force.
    Started {
        interface: &'a str,
        slot: u16,
        rules: usize,
    },
    /// The file was read again.
    Changed {
        file: &'a Path,
        difference: Difference,
        in_force: usize,
        default: Action,
    },
    /// The file was read again and changed nothing. Why is on standard error.
    Rejected {
        file: &'a Path,
        faults: usize,
        in_force: usize,
    },
    /// Rules came or went by a command.
    Edited {
        interface: &'a str,
        difference: Difference,
        in_force: usize,
        default: Action,
    },
    /// A rule decided so many packets.
    Hit {
        interface: &'a str,
        decided: Decided,
    },
    /// The program is unregistered.
    Removed {
        interface: &'a str,
        listing: &'a Listing,
    },
}

impl Event<'_> {
    /// Prints it.
    pub(crate) fn tell(&self, as_json: bool) -> Result<(), Failure> {
        let line = if as_json {
            self.json().to_string()
        } else {
            escape(&self.text()).into_owned()
        };
        let mut out = io::stdout().lock();
        out.write_all((line + "\n").as_bytes())?;
        out.flush()?;
        Ok(())
    }

    fn text(&self) -> String {
        match self {
            Self::Checked {
                file,
                rules,
                default,
            } => {
                let (file, default) = (file.display(), word(*default));
                format!("{file}: {}, default {default}", count(*rules, "rule"))
            }
            Self::Started {
                interface,
                slot,
                rules,
            } => {
                let rules = count(*rules, "rule");
                format!("firewall on {interface}: slot {slot}, {rules}")
            }
            Self::Changed {
                file,
                difference,
                in_force,
                default,
            } => {
                let file = file.display();
                format!("{file}: {}", changes(*difference, *in_force, *default))
            }
            Self::Edited {
                interface,
                difference,
                in_force,
                default,
            } => {
                let changes = changes(*difference, *in_force, *default);
                format!("firewall on {interface}: {changes}")
            }
            Self::Hit { interface, decided } => {
                let Decided { rule, hits } = decided;
                format!("firewall on {interface}: `{rule}` decided {hits}")
            }
            Self::Rejected {
                file,
                faults,
                in_force,
            } => {
                let (file, faults) = (file.display(), count(*faults, "error"));
                format!("{file}: {faults}, nothing changed, {in_force} in force")
            }
            Self::Removed { interface, listing } => {
                let packets: Vec<String> = listing
                    .packets
                    .iter()
                    .map(|(outcome, packets)| format!("{packets} {}", outcome.name()))
                    .collect();
                format!("firewall on {interface}: removed, {}", packets.join(", "))
            }
        }
    }

    fn json(&self) -> Value {
        match self {
            Self::Checked {
                file,
                rules,
                default,
            } => json!({
                "event": "checked",
                "file": file.to_string_lossy(),
                "rules": rules,
                "default": word(*default),
            }),
            Self::Started {
                interface,
                slot,
                rules,
            } => json!({
                "event": "started",
                "interface": interface,
                "slot": slot,
                "rules": rules,
            }),
            Self::Changed {
                file,
                difference,
                in_force,
                default,
            } => json!({
                "event": "changed",
                "file": file.to_string_lossy(),
                "added": difference.added,
                "removed": difference.removed,
                "in_force": in_force,
                "default": word(*default),
            }),
            Self::Rejected {
                file,
                faults,
                in_force,
            } => json!({
                "event": "rejected",
                "file": file.to_string_lossy(),
                "errors": faults,
                "in_force": in_force,
            }),
            Self::Edited {
                interface,
                difference,
                in_force,
                default,
            } => json!({
                "event": "edited",
                "interface": interface,
                "added": difference.added,
                "removed": difference.removed,
                "in_force": in_force,
                "default": word(*default),
            }),
            Self::Hit { interface, decided } => json!({
                "event": "hit",
                "interface": interface,
                "rule": decided.rule.to_string(),
                "hits": decided.hits,
            }),
            Self::Removed { interface, listing } => json!({
                "event": "removed",
                "interface": interface,
                "packets": packets(&listing.packets),
            }),
        }
    }
}

fn changes(difference: Difference, in_force: usize, default: Action) -> String {
    let Difference { added, removed, .. } = difference;
    let line = format!("{added} added, {removed} removed, {in_force} in force");
    if difference.default_changed {
        format!("{line}, default now {}", word(default))
    } else {
        line
    }
}

fn count(number: usize, noun: &str) -> String {
    if number == 1 {
        format!("1 {noun}")
    } else {
        format!("{number} {noun}s")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_that_others_wait_for_stay_as_they_are() {
        let file = Path::new("rules.txt");
        let started = Event::Started {
            interface: "eth0",
            slot: 1,
            rules: 3,
        };
        assert_eq!(started.text(), "firewall on eth0: slot 1, 3 rules");
        assert_eq!(
            started.json().to_string(),
            r#"{"event":"started","interface":"eth0","rules":3,"slot":1}"#
        );
        let mut difference = Difference {
            added: 1,
            removed: 0,
            default_changed: false,
        };
        let changed = |difference| Event::Changed {
            file,
            difference,
            in_force: 4,
            default: Action::Deny,
        };
        let line = "rules.txt: 1 added, 0 removed, 4 in force";
        assert_eq!(changed(difference).text(), line);
        difference.default_changed = true;
        let line = format!("{line}, default now deny");
        assert_eq!(changed(difference).text(), line);
        let rejected = Event::Rejected {
            file,
            faults: 1,
            in_force: 4,
        };
        assert_eq!(
            rejected.text(),
            "rules.txt: 1 error, nothing changed, 4 in force"
        );
    }
}
