//! The rules file: reading it, and noticing when it changes.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use crate::parse::{Fault, parse};
use crate::rules::Policy;

/// A rules file that is looked at again and again. That works on every file system and whatever
/// an editor does; a notification doesn't come for a symbolic link whose target is exchanged.
pub(crate) struct RulesFile {
    path: PathBuf,
    /// When it was read.
    read: Option<Stamp>,
    /// When it was looked at.
    seen: Option<Stamp>,
}

/// Why a file says nothing.
#[derive(Debug)]
pub(crate) enum Unusable {
    Unreadable(io::Error),
    Faulty(Vec<Fault>),
}

/// Differs when a file was changed or exchanged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl RulesFile {
    pub(crate) fn at(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            read: None,
            seen: None,
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// What it says now. What is no UTF-8 is no rule either.
    pub(crate) fn read(&mut self) -> Result<Policy, Unusable> {
        self.read = Stamp::of(&self.path);
        self.seen = self.read;
        let bytes = fs::read(&self.path).map_err(Unusable::Unreadable)?;
        parse(&String::from_utf8_lossy(&bytes)).map_err(Unusable::Faulty)
    }

    /// Whether it is another one than was read, and the same as when this was asked before: an
    /// editor may be in the middle of writing it.
    pub(crate) fn has_changed(&mut self) -> bool {
        let now = Stamp::of(&self.path);
        let before = std::mem::replace(&mut self.seen, now);
        now != self.read && now == before
    }
}

impl Unusable {
    /// One line for each reason.
    pub(crate) fn lines(&self, path: &Path) -> Vec<String> {
        let path = path.display();
        match self {
            Self::Unreadable(error) => vec![format!("{path}: {error}")],
            Self::Faulty(faults) => faults.iter().map(|it| format!("{path}:{it}")).collect(),
        }
    }
}

impl Stamp {
    /// `None` for a file that isn't there.
    fn of(path: &Path) -> Option<Self> {
        let metadata = fs::metadata(path).ok()?;
        Some(Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_counts_once_it_has_settled_and_once_only() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("rules");
        fs::write(&path, "deny 10.0.0.0/8\n").unwrap();
        let mut file = RulesFile::at(&path);
        assert_eq!(file.read().unwrap().rules.len(), 1);
        assert!(!file.has_changed() && !file.has_changed());

        fs::write(&path, "").unwrap();
        assert!(!file.has_changed(), "it may not be whole");
        fs::write(&path, "deny 10.0.0.0/8\nallow any tcp\n").unwrap();
        assert!(!file.has_changed(), "it may not be whole");
        assert!(file.has_changed());
        assert_eq!(file.read().unwrap().rules.len(), 2);
        assert!(!file.has_changed() && !file.has_changed());

        fs::remove_file(&path).unwrap();
        assert!(!file.has_changed());
        assert!(file.has_changed());
        assert!(matches!(file.read(), Err(Unusable::Unreadable(_))));
        assert!(!file.has_changed() && !file.has_changed());
    }
}
