//! The files of the repository that tidy reads.

use std::path::Path;
use std::process::Command;

use crate::command::{self, Failure};

/// The text of every Rust file and manifest, and of ARCHITECTURE.md, by path from the root.
#[derive(Debug, Default)]
pub(super) struct Tree {
    files: Vec<(String, String)>,
}

impl Tree {
    /// Reads what git knows, and what it would add.
    pub(super) fn read() -> Result<Self, Failure> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let listing = ["ls-files", "--cached", "--others", "--exclude-standard"];
        let list = command::output(Command::new("git").args(listing).current_dir(&root))?;
        let mut files = Vec::new();
        for path in list.lines().filter(|path| is_read(path)) {
            let file = root.join(path);
            // A file that is deleted and not yet staged.
            if !file.exists() {
                continue;
            }
            let text = std::fs::read_to_string(&file)
                .map_err(|error| Failure::new(format!("can't read {path}: {error}")))?;
            files.push((path.to_owned(), text));
        }
        Ok(Self { files })
    }

    #[cfg(test)]
    pub(super) fn of(files: &[(&str, &str)]) -> Self {
        let owned = |(path, text): &(&str, &str)| ((*path).to_owned(), (*text).to_owned());
        Self {
            files: files.iter().map(owned).collect(),
        }
    }

    /// The Rust files.
    pub(super) fn rust(&self) -> impl Iterator<Item = (&str, &str)> {
        self.with_end(".rs")
    }

    /// The manifests, of crates and of the workspace.
    pub(super) fn manifests(&self) -> impl Iterator<Item = (&str, &str)> {
        self.with_end("Cargo.toml")
    }

    /// The text of a file.
    pub(super) fn text(&self, path: &str) -> Option<&str> {
        let file = self.files.iter().find(|(name, _)| name == path)?;
        Some(&file.1)
    }

    fn with_end(&self, end: &'static str) -> impl Iterator<Item = (&str, &str)> {
        self.files
            .iter()
            .map(|(path, text)| (path.as_str(), text.as_str()))
            .filter(move |(path, _)| path.ends_with(end))
    }
}

fn is_read(path: &str) -> bool {
    let is_rust = Path::new(path).extension().is_some_and(|end| end == "rs");
    is_rust || path.ends_with("Cargo.toml") || path == "ARCHITECTURE.md"
}
