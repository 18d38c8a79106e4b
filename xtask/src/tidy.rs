//! Holds the tree to what ARCHITECTURE.md says of it: `cargo xtask tidy`.
//!
//! Each check is a function of text that returns [`Violation`]s. A check that needs a list of
//! exceptions has it beside its code, with a reason for each.

mod comment;
mod dependency;
mod length;
mod manifest;
mod map;
mod names;
mod purity;
mod source;
mod tree;
mod unsafety;
mod violation;
mod vocabulary;

use crate::command::Failure;
use tree::Tree;
use violation::Violation;

/// Checks the tree, and prints what is against the rules.
pub(crate) fn run() -> Result<(), Failure> {
    let tree = Tree::read()?;
    let violations = check(&tree);
    if violations.is_empty() {
        return Ok(());
    }
    for violation in &violations {
        println!("{violation}");
    }
    Err(Failure::new(format!("tidy: {} to mend", violations.len())))
}

fn check(tree: &Tree) -> Vec<Violation> {
    let mut found = dependency::check(tree);
    found.extend(vocabulary::check(tree));
    found.extend(unsafety::check(tree));
    found.extend(purity::check(tree));
    found.extend(length::check(tree));
    found.extend(comment::check(tree));
    found.extend(map::check(tree));
    found.sort();
    found
}
