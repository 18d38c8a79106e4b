//! Which crate may depend on which.

use super::manifest::{Dependency, Kind, dependencies, package};
use super::tree::Tree;
use super::violation::Violation;

/// A crate, and the project's crates that it and that its tests may use.
struct Rule {
    name: &'static str,
    normal: &'static [&'static str],
    dev: &'static [&'static str],
}

const fn rule(
    name: &'static str,
    normal: &'static [&'static str],
    dev: &'static [&'static str],
) -> Rule {
    Rule { name, normal, dev }
}

/// ARCHITECTURE.md, *The map*.
const RULES: &[Rule] = &[
    rule("dispatcher-abi", &[], &[]),
    rule("dispatcher-ebpf", &["dispatcher-abi"], &[]),
    rule("planner", &["dispatcher-abi"], &[]),
    rule("controller", &["dispatcher-abi", "planner"], &["planner"]),
    rule("protocol", &["dispatcher-abi"], &[]),
    rule(
        "dispatchd",
        &["controller", "dispatcher-abi", "planner", "protocol"],
        &["planner"],
    ),
    rule("libdispatch", &["dispatcher-abi", "protocol"], &[]),
    // Its tests have a daemon that answers as they like.
    rule("dispatchctl", &["libdispatch"], &["protocol"]),
    rule("headers", &[], &[]),
    rule("shell", &["libdispatch"], &[]),
    rule("stats-abi", &[], &[]),
    rule("stats-ebpf", &["headers", "stats-abi"], &[]),
    rule("stats", &["libdispatch", "shell", "stats-abi"], &[]),
    rule("firewall-abi", &[], &[]),
    rule("firewall-ebpf", &["firewall-abi", "headers"], &[]),
    rule("firewall", &["firewall-abi", "libdispatch", "shell"], &[]),
    rule("xsk-echo", &["headers", "libdispatch", "shell"], &[]),
    // The end-to-end tests run programs; of the daemon's crates they know the messages alone.
    rule(
        "tests",
        &["dispatcher-abi", "libdispatch"],
        &["firewall", "firewall-abi", "protocol", "stats-abi"],
    ),
    rule(
        "bench",
        &[
            "dispatcher-abi",
            "firewall",
            "firewall-abi",
            "libdispatch",
            "shell",
            "tests",
            "vm",
            "xsk-echo",
        ],
        &[],
    ),
    rule("libxdp-dispatcher", &[], &[]),
    rule("fuzz", &["libdispatch", "protocol"], &[]),
    rule("vm", &[], &[]),
    rule("xtask", &["vm"], &[]),
];

/// Other people's crates that crates without I/O may use: each is pure too.
const PURE: &[(&str, &[&str])] = &[
    ("planner", &["proptest", "thiserror"]),
    ("controller", &["proptest"]),
];

pub(super) fn check(tree: &Tree) -> Vec<Violation> {
    let mut found = Vec::new();
    for (path, text) in tree.manifests() {
        if let Some(name) = package(text) {
            found.extend(check_manifest(path, name, &dependencies(text)));
        }
    }
    found
}

fn check_manifest(path: &str, name: &str, dependencies: &[Dependency<'_>]) -> Vec<Violation> {
    let Some(rule) = RULES.iter().find(|rule| rule.name == name) else {
        let text = format!("the crate {name} has no rule: add one to xtask/src/tidy/dependency.rs");
        return vec![Violation::new(path, 1, text)];
    };
    let pure = PURE.iter().find(|(pure, _)| *pure == name);
    let refused = dependencies.iter().filter_map(|dependency| {
        let other = dependency.name;
        let allowed = match dependency.kind {
            Kind::Normal => rule.normal,
            Kind::Dev => rule.dev,
        };
        let ours = RULES.iter().any(|rule| rule.name == other);
        if ours && !allowed.contains(&other) {
            let (user, table) = match dependency.kind {
                Kind::Normal => (name.to_owned(), "dependencies"),
                Kind::Dev => (format!("{name}'s tests"), "dev-dependencies"),
            };
            return Some(Violation::new(
                path,
                dependency.line,
                format!(
                    "{user} may not depend on {other}: dependencies point one way (ARCHITECTURE.md); \
                     take it out of {table}"
                ),
            ));
        }
        let (_, others) = pure?;
        (!ours && !others.contains(&other)).then(|| {
            let text = format!("{name} has no I/O: take {other} out, or show in dependency.rs that it is pure");
            Violation::new(path, dependency.line, text)
        })
    });
    refused.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines_of(manifest: &str) -> Vec<usize> {
        let tree = Tree::of(&[("a/Cargo.toml", manifest)]);
        check(&tree).iter().map(|found| found.line).collect()
    }

    #[test]
    fn a_dependency_against_the_direction_is_found() {
        let manifest = "[package]\nname = \"protocol\"\n[dependencies]\nserde = \"1\"\nplanner.workspace = true\n";
        assert_eq!(lines_of(manifest), [5]);
    }

    #[test]
    fn tests_may_use_what_the_crate_may_not() {
        let manifest =
            "[package]\nname = \"dispatchctl\"\n[dev-dependencies]\nprotocol.workspace = true\n";
        assert!(lines_of(manifest).is_empty());
        let manifest = manifest.replace("dev-dependencies", "dependencies");
        assert_eq!(lines_of(&manifest), [4]);
    }

    #[test]
    fn a_crate_without_io_may_not_use_any_other_crate() {
        let manifest =
            "[package]\nname = \"planner\"\n[dependencies]\nthiserror = \"2\"\nrustix = \"1\"\n";
        assert_eq!(lines_of(manifest), [5]);
    }

    #[test]
    fn a_new_crate_needs_a_rule() {
        assert_eq!(lines_of("[package]\nname = \"new\"\n"), [1]);
    }
}
