//! Which files of the daemon may name types of both planner and protocol.

use super::names::{Name, names_of};
use super::source::code;
use super::tree::Tree;
use super::violation::Violation;

/// The files between the two vocabularies, and why each is there.
const BETWEEN: &[(&str, &str)] = &[
    (
        "dispatchd/src/control.rs",
        "the controller's thread answers sessions",
    ),
    (
        "dispatchd/src/daemon.rs",
        "makes all that the other modules are given",
    ),
    (
        "dispatchd/src/load_job.rs",
        "refuses a load as the client reads it",
    ),
    ("dispatchd/src/probe.rs", "what the kernel can do, for both"),
    (
        "dispatchd/src/server.rs",
        "gives each connection its number",
    ),
    (
        "dispatchd/src/server/lobby.rs",
        "gives each connection its number",
    ),
    ("dispatchd/src/session.rs", "serves a client"),
    ("dispatchd/src/session/asking.rs", "serves a client"),
    ("dispatchd/src/session/change.rs", "serves a client"),
    ("dispatchd/src/session/read.rs", "serves a client"),
    ("dispatchd/src/session/site.rs", "serves a client"),
    ("dispatchd/src/session/socket.rs", "serves a client"),
    ("dispatchd/src/translate.rs", "maps one to the other"),
    (
        "dispatchd/src/translate/listing.rs",
        "maps one to the other",
    ),
    ("dispatchd/src/translate/plan.rs", "maps one to the other"),
    ("dispatchd/src/translate/socket.rs", "maps one to the other"),
    (
        "dispatchd/src/translate/unreadable.rs",
        "maps one to the other",
    ),
];

pub(super) fn check(tree: &Tree) -> Vec<Violation> {
    check_list(tree, BETWEEN)
}

fn check_list(tree: &Tree, between: &[(&str, &str)]) -> Vec<Violation> {
    let mut found = Vec::new();
    let mut both = Vec::new();
    for (path, text) in tree.rust() {
        if !path.starts_with("dispatchd/src/") {
            continue;
        }
        let code = code(text);
        let (Some(planner), Some(protocol)) =
            (first_type(&code, "planner"), first_type(&code, "protocol"))
        else {
            continue;
        };
        both.push(path);
        if between.iter().any(|(listed, _)| *listed == path) {
            continue;
        }
        let text = format!(
            "names planner's {} (line {}) and protocol's {}: map one to the other in \
             dispatchd::translate",
            planner.name, planner.line, protocol.name
        );
        found.push(Violation::new(path, protocol.line, text));
    }
    let stale = between.iter().filter(|(path, _)| !both.contains(path));
    found.extend(stale.map(|(path, _)| {
        let text = "no longer names types of both planner and protocol: take it off the list in \
                    xtask/src/tidy/vocabulary.rs";
        Violation::new(path, 1, text)
    }));
    found
}

fn first_type<'a>(code: &'a str, root: &str) -> Option<Name<'a>> {
    names_of(code, root)
        .into_iter()
        .find(|name| is_type(name.name))
}

/// Functions and constants are shared freely; types are words.
fn is_type(name: &str) -> bool {
    name.starts_with(char::is_uppercase) && name.contains(char::is_lowercase)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOTH: &str = "use planner::{\n    Chain,\n};\nfn f(chain: protocol::Chain) {}\n";
    const FUNCTION: &str = "use planner::Chain;\nuse protocol::{LIMIT, with_causes};\n";

    #[test]
    fn a_file_that_names_both_is_found() {
        let tree = Tree::of(&[
            ("dispatchd/src/a.rs", BOTH),
            ("dispatchd/src/b.rs", FUNCTION),
            ("dispatchd/src/c.rs", BOTH),
            ("tests/src/d.rs", BOTH),
        ]);
        let found = check_list(&tree, &[("dispatchd/src/c.rs", "")]);
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!((&*found[0].path, found[0].line), ("dispatchd/src/a.rs", 4));
    }

    #[test]
    fn a_file_that_stopped_is_taken_off_the_list() {
        let tree = Tree::of(&[("dispatchd/src/b.rs", FUNCTION)]);
        let found = check_list(&tree, &[("dispatchd/src/b.rs", "")]);
        assert_eq!(found.len(), 1, "{found:?}");
    }
}
