//! What a manifest says, line by line.

/// A dependency's kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Of the crate itself, or of its build script.
    Normal,
    /// Of its tests.
    Dev,
}

/// A line that names another crate.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Dependency<'a> {
    pub(super) line: usize,
    pub(super) kind: Kind,
    pub(super) name: &'a str,
}

/// The package's name; a workspace alone has none.
pub(super) fn package(manifest: &str) -> Option<&str> {
    let start = manifest.lines().skip_while(|line| *line != "[package]");
    let name = start
        .skip(1)
        .find_map(|line| line.strip_prefix("name = "))?;
    Some(name.trim_matches('"'))
}

/// The crates that it depends on.
pub(super) fn dependencies(manifest: &str) -> Vec<Dependency<'_>> {
    let mut kind = None;
    let mut found = Vec::new();
    for (index, line) in manifest.lines().enumerate() {
        let line_number = index + 1;
        if let Some(section) = line.strip_prefix('[') {
            let section = section.trim_end_matches(']');
            kind = kind_of(section);
            // `[dependencies.name]`
            if kind.is_none()
                && let Some((table, name)) = section.rsplit_once('.')
                && let Some(kind) = kind_of(table)
            {
                found.push(Dependency {
                    line: line_number,
                    kind,
                    name,
                });
            }
            continue;
        }
        let Some(kind) = kind else { continue };
        let end = line.find(|c: char| !c.is_alphanumeric() && c != '_' && c != '-');
        let key = &line[..end.unwrap_or(0)];
        if key.is_empty() {
            continue;
        }
        // Renamed: the crate's own name counts.
        let renamed = line.split_once("package = \"");
        let name = renamed.and_then(|(_, behind)| behind.split('"').next());
        found.push(Dependency {
            line: line_number,
            kind,
            name: name.unwrap_or(key),
        });
    }
    found
}

/// The folders of the workspace's members.
pub(super) fn members(workspace: &str) -> Vec<&str> {
    let start = workspace.lines().skip_while(|line| *line != "members = [");
    start
        .skip(1)
        .take_while(|line| *line != "]")
        .map(|line| line.trim_matches([' ', ',', '"']))
        .collect()
}

fn kind_of(section: &str) -> Option<Kind> {
    // The workspace's own table says versions; nothing depends on it.
    if section.starts_with("workspace") {
        return None;
    }
    match section.rsplit('.').next() {
        Some("dependencies" | "build-dependencies") => Some(Kind::Normal),
        Some("dev-dependencies") => Some(Kind::Dev),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MANIFEST: &str = "\
[package]
name = \"one\"

[dependencies]
# A comment.
two.workspace = true
three = { path = \"../four\", package = \"four\" }

[target.'cfg(fuzzing)'.dependencies]
five = \"1\"

[dependencies.six]
path = \"../six\"

[dev-dependencies]
seven = { workspace = true }

[lib]
path = \"a.rs\"
";

    #[test]
    fn every_kind_of_table_is_read() {
        let found: Vec<_> = dependencies(MANIFEST)
            .into_iter()
            .map(|dependency| (dependency.line, dependency.kind, dependency.name))
            .collect();
        let expected = [
            (6, Kind::Normal, "two"),
            (7, Kind::Normal, "four"),
            (10, Kind::Normal, "five"),
            (12, Kind::Normal, "six"),
            (16, Kind::Dev, "seven"),
        ];
        assert_eq!(found, expected);
        assert_eq!(package(MANIFEST), Some("one"));
    }

    #[test]
    fn members_are_those_of_the_list() {
        let workspace =
            "[workspace]\nmembers = [\n    \"a\",\n    \"b/c\",\n]\nexclude = [\"d\"]\n";
        assert_eq!(members(workspace), ["a", "b/c"]);
        assert_eq!(package(workspace), None);
    }
}
