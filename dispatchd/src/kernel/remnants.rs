//! Sockets that were given back: whether anybody has them open still.
//!
//! An epoll instance doesn't keep open what is registered with it, and forgets a file when the last
//! descriptor and the last mapping of it are gone, whoever had them. Its fdinfo lists the others.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use rustix::event::epoll;

/// The sockets that are watched.
#[derive(Debug)]
pub(crate) struct Remnants {
    epoll: OwnedFd,
    /// Their tokens, by the number that each is registered with.
    tokens: BTreeMap<u64, [u8; 16]>,
    last: u64,
}

impl Remnants {
    /// None yet.
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self {
            epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?,
            tokens: BTreeMap::new(),
            last: 0,
        })
    }

    /// Watches a socket, which may then be closed here.
    pub(crate) fn watch(&mut self, socket: BorrowedFd<'_>, token: [u8; 16]) -> io::Result<()> {
        self.last += 1;
        let number = epoll::EventData::new_u64(self.last);
        // Nobody waits for anything that happens to it.
        epoll::add(&self.epoll, socket, number, epoll::EventFlags::empty())?;
        self.tokens.insert(self.last, token);
        Ok(())
    }

    /// Those that nobody has open any more.
    pub(crate) fn take_gone(&mut self) -> io::Result<Vec<[u8; 16]>> {
        if self.tokens.is_empty() {
            return Ok(Vec::new());
        }
        let path = format!("/proc/self/fdinfo/{}", self.epoll.as_raw_fd());
        let open = registered(&fs::read_to_string(path)?)?;
        let mut gone = Vec::new();
        self.tokens.retain(|number, token| {
            let is_open = open.contains(number);
            if !is_open {
                gone.push(*token);
            }
            is_open
        });
        Ok(gone)
    }
}

/// The numbers in an epoll instance's fdinfo:
/// `tfd:        4 events:       18 data:               77  pos:0 ino:475cc1 sdev:9`.
fn registered(fdinfo: &str) -> io::Result<BTreeSet<u64>> {
    let lines = fdinfo.lines().filter(|line| line.starts_with("tfd:"));
    lines
        .map(|line| {
            let mut words = line.split_ascii_whitespace();
            words.find(|word| *word == "data:");
            let number = words.next().unwrap_or_default();
            u64::from_str_radix(number, 16)
                .map_err(|error| io::Error::other(format!("fdinfo: {line:?}: {error}")))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn a_file_is_gone_with_its_last_descriptor() {
        let mut remnants = Remnants::new().unwrap();
        let (kept, closed) = (file(), file());
        let copy = kept.try_clone().unwrap();
        remnants.watch(kept.as_fd(), [1; 16]).unwrap();
        remnants.watch(closed.as_fd(), [2; 16]).unwrap();
        assert!(remnants.take_gone().unwrap().is_empty());
        drop((kept, closed));
        assert_eq!(remnants.take_gone().unwrap(), [[2; 16]]);
        // Another file has the number that the first one had here.
        let next = file();
        remnants.watch(next.as_fd(), [3; 16]).unwrap();
        assert!(remnants.take_gone().unwrap().is_empty());
        drop(copy);
        assert_eq!(remnants.take_gone().unwrap(), [[1; 16]]);
        drop(next);
        assert_eq!(remnants.take_gone().unwrap(), [[3; 16]]);
        assert!(remnants.take_gone().unwrap().is_empty());
    }

    #[test]
    fn what_is_not_understood_is_not_taken_for_gone() {
        let line = "tfd:        4 events:       18 data:               7f  pos:0 ino:1 sdev:9\n";
        let several = format!("pos:\t0\nflags:\t02\nmnt_id:\t15\n{line}{line}");
        assert_eq!(registered(&several).unwrap(), BTreeSet::from([0x7f]));
        registered("tfd: 4 events: 18\n").unwrap_err();
        registered("tfd: 4 events: 18 data: x\n").unwrap_err();
    }

    fn file() -> OwnedFd {
        io::pipe().unwrap().0.into()
    }
}
