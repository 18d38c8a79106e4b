//! The redirect program: its object, and its two maps, which nobody else gets to hold.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Arc, LazyLock};

use dispatcher_abi::{CLAIMS_MAP, SOCKETS_MAP, SocketClaim};
use rustix::io::Errno;

use super::MemberMap;
use crate::bpf;

static OBJECT: LazyLock<Arc<Vec<u8>>> =
    LazyLock::new(|| Arc::new(include_bytes!(env!("XSK_REDIRECT_OBJECT")).to_vec()));

/// The redirect program's object.
pub(crate) fn object() -> Arc<Vec<u8>> {
    Arc::clone(&OBJECT)
}

/// A redirect program's maps.
#[derive(Debug)]
pub(crate) struct RedirectMaps(Arc<Vec<MemberMap>>);

impl RedirectMaps {
    /// Those among a member's maps.
    pub(crate) fn of(member: Arc<Vec<MemberMap>>) -> Self {
        Self(member)
    }

    fn find(&self, name: &str) -> io::Result<&MemberMap> {
        let found = self.0.iter().find(|map| map.name == name);
        found.ok_or_else(|| io::Error::other(format!("the redirect program has no map {name}")))
    }

    /// Writes down whose the queue is, and gives its packets to the socket.
    pub(crate) fn put(
        &self,
        queue: u32,
        socket: BorrowedFd<'_>,
        claim: &SocketClaim,
    ) -> io::Result<()> {
        let claims = self.find(CLAIMS_MAP)?;
        let mut element = claim.to_bytes().to_vec();
        let room = claims.info.shape.value_size as usize;
        if room < element.len() {
            return Err(io::Error::other("CLAIMS has too little room for a claim"));
        }
        element.resize(room, 0);
        bpf::map_update(claims.fd.as_fd(), queue, &element)?;
        bpf::map_update_fd(self.find(SOCKETS_MAP)?.fd.as_fd(), queue, socket).inspect_err(|_| {
            // Or the next daemon would keep a queue for somebody who has no packets of it.
            let _ = bpf::map_delete(claims.fd.as_fd(), queue);
        })
    }

    /// Takes the queue's packets from its socket.
    pub(crate) fn remove(&self, queue: u32) -> io::Result<()> {
        // A closed socket has left its map by itself.
        for map in [SOCKETS_MAP, CLAIMS_MAP] {
            gone_is_fine(bpf::map_delete(self.find(map)?.fd.as_fd(), queue))?;
        }
        Ok(())
    }

    /// What is written down, by queue; `None` of what another version wrote and this one can't read.
    pub(crate) fn claims(&self) -> io::Result<Vec<(u32, Option<SocketClaim>)>> {
        let map = self.find(CLAIMS_MAP)?;
        let mut element = vec![0; map.info.shape.value_size as usize];
        let mut claims = Vec::new();
        for queue in 0..self.find(SOCKETS_MAP)?.info.shape.max_entries {
            match bpf::map_lookup(map.fd.as_fd(), queue, &mut element) {
                Ok(()) => claims.push((queue, SocketClaim::from_bytes(&element))),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(claims)
    }
}

fn gone_is_fine(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if Errno::from_io_error(&error) == Some(Errno::NOENT) => Ok(()),
        Err(error) if Errno::from_io_error(&error) == Some(Errno::INVAL) => Ok(()),
        other => other,
    }
}
