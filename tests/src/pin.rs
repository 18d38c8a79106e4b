//! What is pinned, opened: as a test looks at it, and as an accident changes it.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use crate::sys::{self, MapInfo};

/// The kernel's id of a pinned link.
pub fn link_id(path: &Path) -> u32 {
    let link = sys::open_pin(path);
    sys::link_id(
        link.unwrap_or_else(|error| panic!("{}: {error}", path.display()))
            .as_fd(),
    )
}

/// A pinned program.
pub struct PinnedProgram {
    program: OwnedFd,
}

impl PinnedProgram {
    /// Opens it.
    pub fn open(path: &Path) -> Self {
        let program = sys::open_pin(path);
        Self {
            program: program.unwrap_or_else(|error| panic!("{}: {error}", path.display())),
        }
    }

    /// The kernel's id of it.
    pub fn id(&self) -> u32 {
        sys::program_id(self.program.as_fd())
    }

    /// What it says of this packet.
    pub fn run(&self, packet: &[u8]) -> u32 {
        self.run_and_see(packet).0
    }

    /// What it says of this packet, and what it makes of it.
    pub fn run_and_see(&self, packet: &[u8]) -> (u32, Vec<u8>) {
        let run = sys::run(self.program.as_fd(), packet).expect("an XDP program can be tried");
        (run.verdict, run.packet)
    }
}

/// A map, pinned or received.
pub struct PinnedMap {
    map: OwnedFd,
    info: MapInfo,
}

impl PinnedMap {
    /// Opens it.
    pub fn open(path: &Path) -> Self {
        let map = sys::open_pin(path);
        map.unwrap_or_else(|error| panic!("{}: {error}", path.display()))
            .into()
    }

    /// The kernel's id of it.
    pub fn id(&self) -> u32 {
        self.info.id
    }

    /// How long a value is, in bytes.
    pub fn value_size(&self) -> usize {
        self.info.value_size
    }

    /// How many entries it can have.
    pub fn entries(&self) -> u32 {
        self.info.entries
    }

    /// The value at a key.
    pub fn get(&self, key: &[u8]) -> io::Result<Vec<u8>> {
        assert_eq!(key.len(), self.info.key_size);
        let mut value = vec![0; self.info.value_size];
        sys::map_lookup(self.map.as_fd(), key, &mut value)?;
        Ok(value)
    }

    /// The values of a per-CPU map at a key, one for each possible CPU.
    pub fn get_per_cpu(&self, key: &[u8]) -> io::Result<Vec<Vec<u8>>> {
        assert_eq!(key.len(), self.info.key_size);
        let size = self.info.value_size.next_multiple_of(8);
        let mut values = vec![0; size * sys::possible_cpus()];
        sys::map_lookup(self.map.as_fd(), key, &mut values)?;
        Ok(values
            .chunks(size)
            .map(|value| value[..self.info.value_size].to_vec())
            .collect())
    }

    /// The sum over the CPUs of the `u64` at this index of the value at a key.
    pub fn sum(&self, key: u32, index: usize) -> u64 {
        self.get_per_cpu(&key.to_ne_bytes())
            .expect("the map has the key")
            .iter()
            .map(|value| {
                let bytes = value[index * 8..][..8].try_into().expect("they are eight");
                u64::from_ne_bytes(bytes)
            })
            .sum()
    }

    /// Sets the value at a key.
    pub fn set(&self, key: &[u8], value: &[u8]) -> io::Result<()> {
        assert_eq!(
            (key.len(), value.len()),
            (self.info.key_size, self.info.value_size)
        );
        sys::map_update(self.map.as_fd(), key, value)
    }

    /// Takes an entry out.
    pub fn delete(&self, key: &[u8]) -> io::Result<()> {
        assert_eq!(key.len(), self.info.key_size);
        sys::map_delete(self.map.as_fd(), key)
    }
}

impl From<OwnedFd> for PinnedMap {
    fn from(map: OwnedFd) -> Self {
        let info = sys::map_info(map.as_fd());
        Self { map, info }
    }
}
