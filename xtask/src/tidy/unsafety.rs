//! Which files may hold `unsafe`.

use super::manifest::members;
use super::names::{line_of, words};
use super::source::code;
use super::tree::Tree;
use super::violation::Violation;

/// ARCHITECTURE.md, rule 13. A folder ends in a slash.
const ALLOWED: &[&str] = &[
    // The eBPF programs, and what they share with their applications.
    "apps/firewall/abi/src/word.rs",
    "apps/firewall/ebpf/",
    "apps/headers/src/",
    "apps/stats/ebpf/",
    "dispatcher-ebpf/",
    // The firewall's maps as memory.
    "apps/firewall/src/memory.rs",
    // Calls of the kernel that no crate here wraps.
    "dispatchd/src/bpf.rs",
    "dispatchd/src/kernel/grace.rs",
    "dispatchd/src/kernel/netns.rs",
    "dispatchd/src/kernel/queues.rs",
    "dispatchd/src/kernel/xsk.rs",
    "dispatchd/src/loader/confine.rs",
    "dispatchd/src/loader/parent.rs",
    "dispatchd/src/object/sys.rs",
    "dispatchd/src/server/passing.rs",
    // Memory that is shared with the kernel.
    "libdispatch/src/xsk/memory.rs",
    "libdispatch/src/xsk/setup.rs",
    "libdispatch/src/xsk/umem.rs",
    // The model of memory order.
    "libdispatch/tests/memory_order/atomic.rs",
    // The bench.
    "bench/libxdp/src/main.rs",
    "bench/src/bpf/btf.rs",
    "bench/src/bpf/sys.rs",
    "bench/src/daemon/hook.rs",
    "bench/src/firewall/program.rs",
    "bench/src/xsk/ours.rs",
    // Tests on the kernel, and their harness.
    "dispatchd/tests/objects/kernel.rs",
    "tests/src/intruder.rs",
    "tests/src/raw_rings.rs",
    "tests/src/socket_option.rs",
    "tests/src/sys.rs",
    "tests/tests/app_programs.rs",
    "tests/tests/firewall_program.rs",
    "tests/tests/restart.rs",
    "tests/tests/root/mod.rs",
    "tests/tests/root_semantics.rs",
];

/// Roots of crates that neither forbid nor deny it.
const OPEN: &[&str] = &[
    // To read a packet is to follow a pointer, which is all that it is for.
    "apps/headers/src/lib.rs",
];

pub(super) fn check(tree: &Tree) -> Vec<Violation> {
    let mut found = check_files(tree, ALLOWED);
    found.extend(check_roots(tree, OPEN));
    found
}

fn check_files(tree: &Tree, allowed: &[&str]) -> Vec<Violation> {
    let mut found = Vec::new();
    let mut needed = vec![false; allowed.len()];
    for (path, text) in tree.rust() {
        let code = code(text);
        let Some((at, _)) = words(&code).find(|(_, word)| *word == "unsafe") else {
            continue;
        };
        let covers = |allowed: &&str| {
            path == *allowed || allowed.ends_with('/') && path.starts_with(*allowed)
        };
        if let Some(index) = allowed.iter().position(covers) {
            needed[index] = true;
            continue;
        }
        let text = "unsafe is not for this file: use a module that may hold it (ARCHITECTURE.md, \
                    rule 13), or add the file there and in xtask/src/tidy/unsafety.rs";
        found.push(Violation::new(path, line_of(&code, at), text));
    }
    let stale = allowed.iter().zip(needed).filter(|(_, needed)| !needed);
    found.extend(stale.map(|(path, _)| {
        let text = "holds no unsafe: take it off the list in xtask/src/tidy/unsafety.rs";
        Violation::new(path, 1, text)
    }));
    found
}

fn check_roots(tree: &Tree, open: &[&str]) -> Vec<Violation> {
    let workspace = tree.text("Cargo.toml").unwrap_or_default();
    let folders = members(workspace);
    let closed = |text: &str| {
        let code = code(text);
        code.contains("#![forbid(unsafe_code)]") || code.contains("#![deny(unsafe_code)]")
    };
    tree.rust()
        .filter(|(path, _)| folders.iter().any(|folder| is_root(path, folder)))
        .filter(|(path, text)| !open.contains(path) && !closed(text))
        .map(|(path, _)| {
            let text = "add #![forbid(unsafe_code)], or deny and expect it where it is needed";
            Violation::new(path, 1, text)
        })
        .collect()
}

/// Whether the file is a library's or a program's root in the folder of a crate.
fn is_root(path: &str, folder: &str) -> bool {
    let Some(file) = path
        .strip_prefix(folder)
        .and_then(|path| path.strip_prefix("/src/"))
    else {
        return false;
    };
    let program = file.strip_prefix("bin/");
    matches!(file, "lib.rs" | "main.rs") || program.is_some_and(|file| !file.contains('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unsafe_outside_of_the_list_is_found_and_words_about_it_are_not() {
        let tree = Tree::of(&[
            (
                "a/src/lib.rs",
                "//! No unsafe.\nfn f() { g(\"unsafe\"); }\n",
            ),
            ("a/src/b.rs", "fn f() {\n    unsafe { g() }\n}\n"),
            ("c/src/d.rs", "unsafe impl Send for X {}\n"),
            ("e/src/f.rs", "unsafe impl Send for X {}\n"),
        ]);
        let found = check_files(&tree, &["c/", "e/src/f.rs"]);
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!((&*found[0].path, found[0].line), ("a/src/b.rs", 2));
    }

    #[test]
    fn what_needs_no_unsafe_is_taken_off_the_list() {
        let tree = Tree::of(&[("a/src/b.rs", "fn f() {}\n")]);
        assert_eq!(check_files(&tree, &["a/src/b.rs"]).len(), 1);
    }

    #[test]
    fn every_root_says_that_it_needs_none() {
        let tree = Tree::of(&[
            ("Cargo.toml", "members = [\n    \"a\",\n    \"b\",\n]\n"),
            ("a/src/lib.rs", "#![forbid(unsafe_code)]\n"),
            ("a/src/bin/c.rs", "// #![forbid(unsafe_code)]\n"),
            ("a/src/module.rs", ""),
            ("b/src/main.rs", "#![deny(unsafe_code)]\n"),
            ("b/src/lib.rs", ""),
            ("excluded/src/lib.rs", ""),
        ]);
        let found = check_roots(&tree, &["b/src/lib.rs"]);
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(found[0].path, "a/src/bin/c.rs");
    }
}
