//! No I/O, clock, threads or randomness in planner and controller.

use super::names::{line_of, names_of, words};
use super::source::code;
use super::tree::Tree;
use super::violation::Violation;

/// The crates that decide and cannot act.
const PURE: &[&str] = &["planner/src/", "controller/src/"];

/// Modules of the standard library that act, or look at the world.
const ACTING: &[&str] = &["env", "fs", "io", "net", "process", "thread", "time"];

/// Words that do so wherever they come from.
const WORDS: &[&str] = &["Instant", "SystemTime", "rand"];

pub(super) fn check(tree: &Tree) -> Vec<Violation> {
    tree.rust()
        .filter(|(path, _)| PURE.iter().any(|folder| path.starts_with(folder)) && !is_test(path))
        .flat_map(|(path, text)| check_file(path, text))
        .collect()
}

fn check_file(path: &str, text: &str) -> Vec<Violation> {
    let code = code(text);
    let modules = names_of(&code, "std")
        .into_iter()
        .filter(|name| ACTING.contains(&name.name))
        .map(|name| (name.line, format!("std::{}", name.name)));
    let words = words(&code)
        .filter(|(_, word)| WORDS.contains(word))
        .map(|(at, word)| (line_of(&code, at), word.to_owned()));
    modules
        .chain(words)
        .map(|(line, name)| {
            let text =
                format!("{name}: what decides cannot act; take what it would say as an argument");
            Violation::new(path, line, text)
        })
        .collect()
}

fn is_test(path: &str) -> bool {
    path.contains("/tests/") || path.ends_with("/tests.rs")
}

#[cfg(test)]
mod tests {
    use super::*;

    const ACTS: &str = "\
use std::collections::BTreeMap;
use std::{fmt, io};
// std::fs
fn f(now: Instant) {
    std::thread::yield_now();
}
";

    #[test]
    fn what_acts_is_found_and_tests_may() {
        let tree = Tree::of(&[
            ("planner/src/a.rs", ACTS),
            ("planner/src/tests.rs", ACTS),
            ("controller/src/tests/a.rs", ACTS),
            ("dispatchd/src/a.rs", ACTS),
        ]);
        let found: Vec<_> = check(&tree)
            .into_iter()
            .map(|found| (found.path, found.line))
            .collect();
        let path = || "planner/src/a.rs".to_owned();
        assert_eq!(found, [(path(), 2), (path(), 5), (path(), 4)]);
    }
}
