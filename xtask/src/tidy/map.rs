//! ARCHITECTURE.md's tables against the tree.

use super::manifest::members;
use super::names::words;
use super::source::code;
use super::tree::Tree;
use super::violation::Violation;

const PAGE: &str = "ARCHITECTURE.md";

/// A folder of several crates has one row, which names them.
const APPS: &str = "apps/";

pub(super) fn check(tree: &Tree) -> Vec<Violation> {
    let Some(page) = tree.text(PAGE) else {
        return vec![Violation::new(PAGE, 1, "is missing")];
    };
    let mut found = check_crates(tree, page);
    found.extend(check_places(tree, page));
    found
}

fn check_crates(tree: &Tree, page: &str) -> Vec<Violation> {
    let rows = rows(page, "## The map");
    let start = rows.first().map_or(1, |(line, _)| *line);
    let mut found = Vec::new();
    let named = |name: &str| rows.iter().any(|(_, row)| quoted(row).next() == Some(name));
    let apps = rows
        .iter()
        .find(|(_, row)| quoted(row).next() == Some(APPS))
        .map_or(Vec::new(), |(_, row)| quoted(row).collect());
    for folder in members(tree.text("Cargo.toml").unwrap_or_default()) {
        let is_named = match folder.strip_prefix(APPS) {
            Some(folder) => folder.split('/').all(|part| apps.contains(&part)),
            None => named(folder),
        };
        if !is_named {
            let text = format!("the map has no row for the crate {folder}: add it");
            found.push(Violation::new(PAGE, start, text));
        }
    }
    for (line, row) in &rows {
        let Some(name) = quoted(row).next().filter(|name| *name != APPS) else {
            continue;
        };
        if tree.text(&format!("{name}/Cargo.toml")).is_none() {
            let text = format!("there is no crate {name}: take its row out");
            found.push(Violation::new(PAGE, *line, text));
        }
    }
    found
}

fn check_places(tree: &Tree, page: &str) -> Vec<Violation> {
    let mut found = Vec::new();
    for (line, row) in rows(page, "## Where is") {
        for path in quoted(row).filter(|path| path.contains("::")) {
            // `Plan::undo` is a function of what stands before it.
            if path.starts_with(char::is_uppercase) || exists(tree, path) {
                continue;
            }
            let text = format!("there is no {path}: name the crate, and the module as it is now");
            found.push(Violation::new(PAGE, line, text));
        }
    }
    found
}

/// Whether a path's modules have files; what comes last may be a type of its crate.
fn exists(tree: &Tree, path: &str) -> bool {
    let mut parts: Vec<_> = path.split("::").collect();
    let last = parts.pop_if(|part| part.starts_with(char::is_uppercase));
    let Some((root, modules)) = parts.split_first() else {
        return false;
    };
    let folder = format!("{root}/src");
    if tree.text(&format!("{root}/Cargo.toml")).is_none() {
        return false;
    }
    let module = format!("{folder}/{}", modules.join("/"));
    let has_file = |end: &str| tree.text(&format!("{module}{end}")).is_some();
    if !modules.is_empty() && !has_file(".rs") && !has_file("/mod.rs") {
        return false;
    }
    // A type may be declared below the module that shows it.
    last.is_none_or(|name| {
        tree.rust()
            .filter(|(path, _)| path.starts_with(module.trim_end_matches('/')))
            .any(|(_, text)| declares(text, name))
    })
}

fn declares(text: &str, name: &str) -> bool {
    let code = code(text);
    let names: Vec<_> = words(&code).map(|(_, word)| word).collect();
    names
        .windows(2)
        .any(|pair| matches!(pair[0], "struct" | "enum" | "trait" | "type") && pair[1] == name)
}

/// The rows of the table below a heading, with their lines.
fn rows<'a>(page: &'a str, heading: &str) -> Vec<(usize, &'a str)> {
    page.lines()
        .enumerate()
        .map(|(index, line)| (index + 1, line))
        .skip_while(|(_, line)| !line.starts_with(heading))
        .skip(1)
        .take_while(|(_, line)| !line.starts_with("## "))
        .filter(|(_, line)| line.starts_with('|'))
        // The head, and the line under it.
        .skip(2)
        .collect()
}

/// What stands in code font.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

#[cfg(test)]
mod tests {
    use super::*;

    const WORKSPACE: &str =
        "members = [\n    \"a\",\n    \"apps/b\",\n    \"apps/b/abi\",\n    \"c\",\n]\n";

    fn lines(page: &str) -> Vec<(usize, String)> {
        let tree = Tree::of(&[
            (PAGE, page),
            ("Cargo.toml", WORKSPACE),
            ("a/Cargo.toml", ""),
            ("c/Cargo.toml", ""),
            ("a/src/b.rs", "/// struct Doc\npub struct Here;"),
            ("a/src/b/c.rs", "enum Below {}"),
        ]);
        let found = check(&tree).into_iter();
        found.map(|found| (found.line, found.text)).collect()
    }

    #[test]
    fn crates_without_a_row_and_rows_without_a_crate_are_found() {
        let page = "## The map\n\n| crate | |\n| --- | --- |\n| `a` | |\n| `gone` | |\n| `apps/` | `b` |\n## Next\n| `x` |\n";
        let found = lines(page);
        let of: Vec<_> = found.iter().map(|(line, text)| (*line, &**text)).collect();
        let expected = [
            (5, "the map has no row for the crate apps/b/abi: add it"),
            (5, "the map has no row for the crate c: add it"),
            (6, "there is no crate gone: take its row out"),
        ];
        assert_eq!(of, expected);
    }

    #[test]
    fn places_that_moved_are_found() {
        let map = "## The map\n| | |\n| --- | --- |\n| `a` |\n| `c` |\n| `apps/` | `b`, `abi` |\n";
        let places = "## Where is …\n| | |\n| --- | --- |\n\
            | one | `a::b`, `a::b::c`, `a::b::Here`, `a::Below` (`Here::method`) |\n\
            | two | `a::moved` |\n| three | `a::b::Doc` |\n| four | `b::c` |\n";
        let found = lines(&format!("{map}{places}"));
        let of: Vec<_> = found.iter().map(|(line, _)| *line).collect();
        assert_eq!(of, [11, 12, 13]);
    }
}
