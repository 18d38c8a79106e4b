//! Things to pin where the daemon expects something else.

use std::fs;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use libbpf_sys as bpf;

use crate::strangers::returns;
use crate::sys;
use crate::veth::End;

/// A map, a program or a link that a test made or found.
pub struct Pinnable(OwnedFd);

impl Pinnable {
    /// What is pinned there.
    #[track_caller]
    pub fn at(path: &Path) -> Self {
        let found = sys::open_pin(path);
        Self(found.unwrap_or_else(|error| panic!("{}: {error}", path.display())))
    }

    /// An array whose one element is this.
    pub fn array(value: &[u8]) -> Self {
        Self::map_with(bpf::BPF_MAP_TYPE_ARRAY, value)
    }

    /// A hash map whose one element is this, at key 0.
    pub fn hash(value: &[u8]) -> Self {
        Self::map_with(bpf::BPF_MAP_TYPE_HASH, value)
    }

    /// An array for each CPU, with one element of so many bytes.
    pub fn per_cpu(bytes: u32) -> Self {
        let map = sys::map_create(bpf::BPF_MAP_TYPE_PERCPU_ARRAY, 4, bytes, 1);
        Self(map.expect("root may make a map"))
    }

    /// A program that passes everything.
    pub fn program() -> Self {
        Self(returns(2))
    }

    /// A link that holds this interface's hook with such a program.
    pub fn link(end: &End) -> Self {
        let program = returns(2);
        let link = end.netns.run(|| sys::xdp_link(end.index, program.as_fd()));
        Self(link.expect("the interface takes a program"))
    }

    /// Pins it, in the place of what is pinned there, if anything is.
    pub fn pin(&self, path: &Path) {
        if path.exists() {
            fs::remove_file(path).expect("root may remove a pin");
        }
        self.pin_new(path);
    }

    /// Pins it where nothing is.
    pub fn pin_new(&self, path: &Path) {
        sys::pin(self.0.as_fd(), path)
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }

    fn map_with(kind: u32, value: &[u8]) -> Self {
        let size = u32::try_from(value.len()).expect("it is small");
        let map = sys::map_create(kind, 4, size, 1).expect("root may make a map");
        sys::map_update(map.as_fd(), &0_u32.to_ne_bytes(), value).expect("it has room");
        Self(map)
    }
}
