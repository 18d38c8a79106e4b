//! nftables: a set of prefixes at the ingress hook of an interface.

use std::fmt::Write as _;
use std::process::Command;

use tests::End;

use super::rules::Prefix;
use super::{text, timed};
use crate::Result;

/// Loads a set and the rule that drops what comes from it, by one file; returns the seconds that
/// took. Whatever the rule says, nothing gets further than this hook.
pub(super) fn load(end: &End, prefixes: &[Prefix]) -> Result<f64> {
    clear(end)?;
    let mut file = format!(
        "table netdev bench {{\n\
         set denied {{ type ipv4_addr; flags interval; {} }}\n\
         chain in {{ type filter hook ingress device {} priority 0; policy drop;\n{} }}\n}}\n",
        elements(prefixes),
        end.name,
        if prefixes.is_empty() {
            ""
        } else {
            "ip saddr @denied drop;"
        },
    );
    file.push('\n');
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("rules.nft");
    std::fs::write(&path, file)?;
    run(end, &["-f", &text(&path)?])
}

/// Adds or removes one element; returns the seconds that took.
pub(super) fn change(end: &End, verb: &str, address: &str) -> Result<f64> {
    let element = format!("{{ {address} }}");
    run(
        end,
        &[verb, "element", "netdev", "bench", "denied", &element],
    )
}

/// Removes what is there, if something is.
pub(super) fn clear(end: &End) -> Result<()> {
    run(end, &["add", "table", "netdev", "bench"])?;
    run(end, &["delete", "table", "netdev", "bench"])?;
    Ok(())
}

fn elements(prefixes: &[Prefix]) -> String {
    if prefixes.is_empty() {
        return String::new();
    }
    let mut text = String::from("elements = {");
    for prefix in prefixes {
        let _ = write!(text, " {prefix},");
    }
    text + " }"
}

fn run(end: &End, arguments: &[&str]) -> Result<f64> {
    let took = end.netns.run(|| {
        let took = timed(Command::new("nft").args(arguments));
        took.map_err(|error| error.to_string())
    });
    Ok(took?)
}
