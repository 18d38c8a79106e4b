//! The network namespace in which interface names are resolved.

use std::{fs::File, os::fd::OwnedFd, path::PathBuf};

use crate::Error;

/// Which network namespace interface names belong to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum NetNs {
    /// The one of the thread that calls [`ClientBuilder::connect`](crate::ClientBuilder::connect).
    #[default]
    Current,
    /// A name under `/run/netns`, as `ip netns` gives them.
    Name(String),
    /// A namespace's file, such as `/proc/1234/ns/net`.
    Path(PathBuf),
}

/// As on a command line: what holds a slash is a path, everything else a name.
impl From<&str> for NetNs {
    fn from(word: &str) -> Self {
        if word.contains('/') {
            Self::Path(word.into())
        } else {
            Self::Name(word.to_owned())
        }
    }
}

/// A chosen namespace, ready to be opened for every request that names an interface.
///
/// The caller's own is held open, since the thread that reconnects may live in another by then.
/// One that was named is opened anew each time: a descriptor would keep a deleted one alive.
#[derive(Debug)]
pub(crate) enum NetNsFile {
    Open(OwnedFd),
    At(PathBuf),
}

impl NetNsFile {
    pub(crate) fn choose(netns: &NetNs) -> Result<Self, Error> {
        match netns {
            NetNs::Current => Ok(Self::Open(open("/proc/thread-self/ns/net".into())?)),
            NetNs::Name(name) => Ok(Self::At(PathBuf::from("/run/netns").join(name))),
            NetNs::Path(path) => Ok(Self::At(path.clone())),
        }
    }

    /// The descriptor that goes with a request.
    pub(crate) fn open(&self) -> Result<OwnedFd, Error> {
        match self {
            Self::Open(namespace) => namespace.try_clone().map_err(|source| Error::Io {
                call: "duplicate the network namespace's descriptor",
                source,
            }),
            Self::At(path) => open(path.clone()),
        }
    }
}

fn open(path: PathBuf) -> Result<OwnedFd, Error> {
    match File::open(&path) {
        Ok(file) => Ok(file.into()),
        Err(source) => Err(Error::Namespace { path, source }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slash_makes_a_path() {
        assert_eq!(NetNs::from("blue"), NetNs::Name("blue".to_owned()));
        assert_eq!(NetNs::from("./blue"), NetNs::Path("./blue".into()));
    }

    #[test]
    fn a_namespace_that_does_not_exist_is_named() {
        let missing = NetNsFile::choose(&"no-such-namespace".into()).unwrap();
        let message = missing.open().unwrap_err().to_string();
        assert_eq!(message, "network namespace /run/netns/no-such-namespace");
    }
}
