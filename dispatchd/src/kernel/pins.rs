//! Where things are pinned: paths are built purely, operations stand beside them.
//!
//! ```text
//! <bpffs>/dispatchd/<netns cookie>-<ifindex>/     and -<again>, beside a former chain's
//!     link                                  the hook
//!     gen-<n>/{root,jump,counters,registry,slot-<i>}
//!     member-<id>/totals
//!     member-<id>/code-<n>/{program,maps/<name>}
//! ```
//!
//! `link-next`, `registry-next` and `totals-next` wait beside what they take the place of.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use planner::{Build, ChainDir, ChainKey, CodeId, MemberId, Pin, Slot};

use super::registry::NUMBER_MAX;

/// The daemon's directory on a bpffs.
#[derive(Clone, Debug)]
pub(crate) struct Pins {
    root: PathBuf,
}

impl Pins {
    /// Pins under `<bpffs>/dispatchd`.
    pub(crate) fn under(given: &Path) -> Self {
        // Whoever is told of a pin may be in another directory.
        let bpffs = std::path::absolute(given);
        let bpffs = bpffs.as_deref().unwrap_or(given);
        Self {
            root: bpffs.join("dispatchd"),
        }
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    pub(crate) fn chain(&self, chain: ChainDir) -> PathBuf {
        self.root.join(chain.to_string())
    }

    /// Where this is, or would be.
    pub(crate) fn path(&self, chain: ChainDir, pin: &Pin) -> PathBuf {
        let chain = self.chain(chain);
        match pin {
            Pin::Chain => chain,
            // Its name is a file's: it may have anything in it.
            Pin::Map(member, code, file) => {
                chain.join(Pin::Maps(*member, *code).to_string()).join(file)
            }
            Pin::Link
            | Pin::NextLink
            | Pin::Build(_)
            | Pin::Root(_)
            | Pin::Jump(_)
            | Pin::Counters(_)
            | Pin::Registry(_)
            | Pin::NextRegistry(_)
            | Pin::Slot(..)
            | Pin::Member(_)
            | Pin::Totals(_)
            | Pin::NextTotals(_)
            | Pin::Code(..)
            | Pin::Program(..)
            | Pin::Maps(..) => chain.join(pin.to_string()),
        }
    }
}

/// The chain that a directory name stands for.
pub(crate) fn parse_chain(name: &OsStr) -> Option<ChainDir> {
    let (netns, rest) = name.to_str()?.split_once('-')?;
    let (ifindex, again) = rest.split_once('-').unwrap_or((rest, "0"));
    let dir = ChainDir {
        key: ChainKey {
            netns: netns.parse().ok()?,
            ifindex: ifindex.parse().ok()?,
        },
        again: again.parse().ok()?,
    };
    // Numbers can be written in several ways, and only one of them is ours.
    (name.to_str() == Some(&dir.to_string())).then_some(dir)
}

/// The pin or directory that a name in a chain's directory stands for.
pub(crate) fn parse_entry(name: &OsStr) -> Option<Pin> {
    let name = name.to_str()?;
    match name {
        "link" => Some(Pin::Link),
        "link-next" => Some(Pin::NextLink),
        _ => {
            let build = |number| Pin::Build(Build(number));
            let member = |id| Pin::Member(MemberId(id));
            let of_build = numbered(name, "gen-").map(build);
            of_build.or_else(|| numbered(name, "member-").map(member))
        }
    }
}

/// The slot that a name in a build's directory stands for.
pub(crate) fn parse_slot(name: &OsStr) -> Option<Slot> {
    let number = numbered(name.to_str()?, "slot-")?;
    u16::try_from(number).ok().map(Slot)
}

/// The code that a name in a member's directory stands for.
pub(crate) fn parse_code(name: &OsStr) -> Option<CodeId> {
    let number = numbered(name.to_str()?, "code-")?;
    u32::try_from(number).ok().map(CodeId)
}

/// The number after a prefix, written as we write it, and one that can be counted on from.
fn numbered(name: &str, prefix: &str) -> Option<u64> {
    let digits = name.strip_prefix(prefix)?;
    let number: u64 = digits.parse().ok()?;
    (number < NUMBER_MAX && number.to_string() == digits).then_some(number)
}

/// A map's name as a file name: bpffs refuses a dot, so dots (and percent signs and slashes) are
/// written as in a URL.
pub(crate) fn escape(name: &str) -> String {
    name.chars()
        .map(|c| match c {
            '.' => "%2e".to_owned(),
            '/' => "%2f".to_owned(),
            '%' => "%25".to_owned(),
            plain => plain.to_string(),
        })
        .collect()
}

/// The name that [`escape`] wrote.
pub(crate) fn unescape(file: &str) -> String {
    file.replace("%2e", ".")
        .replace("%2f", "/")
        .replace("%25", "%")
}

/// Makes a directory and its parents, mode 0700; one that is there is fine.
pub(crate) fn make_dir(path: &Path) -> io::Result<()> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
}

/// Removes a directory and everything pinned in it; one that is gone is fine.
pub(crate) fn remove_dir(path: &Path) -> io::Result<()> {
    gone_is_fine(fs::remove_dir_all(path))
}

/// Removes a pin; one that is gone is fine.
pub(crate) fn remove_pin(path: &Path) -> io::Result<()> {
    gone_is_fine(fs::remove_file(path))
}

/// The names in a directory, sorted; none if it is gone.
pub(crate) fn names(path: &Path) -> io::Result<Vec<std::ffi::OsString>> {
    let entries = match fs::read_dir(path) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut names = entries
        .map(|entry| entry.map(|entry| entry.file_name()))
        .collect::<io::Result<Vec<_>>>()?;
    names.sort();
    Ok(names)
}

fn gone_is_fine(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_map_name_survives_its_file_name() {
        for name in [".rodata", "a.b.c", "%2e", "plain", "x/y", "%", "%252e"] {
            let file = escape(name);
            assert!(!file.contains(['.', '/']), "{file}");
            assert_eq!(unescape(&file), name);
        }
    }

    #[test]
    fn names_are_read_back() {
        for again in [0, 12] {
            let key = ChainKey {
                netns: 4711,
                ifindex: 3,
            };
            let dir = ChainDir { key, again };
            assert_eq!(parse_chain(OsStr::new(&dir.to_string())), Some(dir));
        }
        for odd in [
            "scratch-1",
            "4711-03",
            "4711-3-0",
            "4711-3-1-2",
            "+1-2",
            "4711-",
        ] {
            assert_eq!(parse_chain(OsStr::new(odd)), None, "{odd}");
        }
        assert_eq!(parse_entry(OsStr::new("link")), Some(Pin::Link));
        assert_eq!(parse_entry(OsStr::new("gen-7")), Some(Pin::Build(Build(7))));
        assert_eq!(
            parse_entry(OsStr::new("member-9")),
            Some(Pin::Member(MemberId(9)))
        );
        for odd in [
            "gen-x",
            "gen-",
            "gen-07",
            "gen-+7",
            "gen-9223372036854775807",
            "member-18446744073709551616",
            "member-",
            "links",
        ] {
            assert_eq!(parse_entry(OsStr::new(odd)), None, "{odd}");
        }
        assert_eq!(parse_code(OsStr::new("code-2")), Some(CodeId(2)));
    }
}
