//! Opens what is pinned, when the daemon starts.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use planner::{
    Build, ChainDir, CodeId, Held, MemberId, Observed, ObservedBuild, ObservedChain, Registry,
};

use super::linux::{BuildFds, ChainFds, Linux, MemberFds, Staged, failed};
use super::pins::{self, Entry, Pins};
use super::published::MemberMap;
use super::{KernelError, counters, grace, hook, netns, registry};
use crate::bpf;

/// Why the pins' directory can't be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Something else is there.
    #[error(
        "{0} is not on a bpffs; mount one there (mount -t bpf bpf {0}) or name another with --bpffs"
    )]
    NotBpffs(PathBuf),
    /// It goes with the daemon.
    #[error(
        "{0} is a bpffs that only this process's mount namespace has: its pins would be lost with it; mount it on the host"
    )]
    Private(PathBuf),
    /// A second daemon.
    #[error("another dispatchd holds {0}")]
    Locked(PathBuf),
    /// The system said no.
    #[error("{path}")]
    Io {
        /// Where.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
}

impl Linux {
    /// Takes the lock on `<bpffs>/dispatchd`.
    pub fn open(bpffs: &Path) -> Result<Self, OpenError> {
        let at = |source| OpenError::Io {
            path: bpffs.to_owned(),
            source,
        };
        check_mount(bpffs)?;
        let pins = Pins::under(bpffs);
        pins::make_dir(pins.root()).map_err(at)?;
        let lock = OwnedFd::from(File::open(pins.root()).map_err(at)?);
        rustix::fs::flock(&lock, rustix::fs::FlockOperation::NonBlockingLockExclusive)
            .map_err(|_| OpenError::Locked(pins.root().to_owned()))?;
        Ok(Self::new(pins, lock))
    }

    /// Removes the pins of every chain, or of one interface's in the calling thread's network
    /// namespace; returns of how many. What nothing else holds goes with its pins.
    pub fn flush(&self, interface: Option<&str>) -> io::Result<usize> {
        let only = interface
            .map(|name| {
                netns::resolve(netns::own()?.as_fd(), name)?
                    .ok_or_else(|| io::Error::other(format!("no interface {name}")))
            })
            .transpose()?;
        let mut flushed = 0;
        for name in pins::names(self.pins.root())? {
            let Some(dir) = pins::parse_chain(&name) else {
                continue;
            };
            if only.as_ref().is_none_or(|only| only.key == dir.key) {
                self.flush_chain(dir).map_err(|error| {
                    io::Error::new(error.kind(), format!("chain {dir}: {error}"))
                })?;
                flushed += 1;
            }
        }
        Ok(flushed)
    }

    /// The hook first, then, once no packet can be inside, what it ran.
    fn flush_chain(&self, dir: ChainDir) -> io::Result<()> {
        for pin in [self.pins.link(dir), self.pins.next_link(dir)] {
            if let Some(link) = if_there(bpf::obj_get(&pin))? {
                hook::detach(link.as_fd())?;
            }
            pins::remove_pin(&pin)?;
        }
        grace::wait()?;
        pins::remove_dir(&self.pins.chain(dir))
    }

    /// Opens everything that is pinned.
    pub fn observe(&mut self) -> Result<Observed, KernelError> {
        let root = self.pins.root().to_owned();
        let names = pins::names(&root).map_err(failed("readdir", root.display().to_string()))?;
        let mut observed = Observed::default();
        for dir in names.iter().filter_map(|name| pins::parse_chain(name)) {
            let path = self.pins.chain(dir);
            let (chain, fds) = self
                .read_chain(dir)
                .map_err(failed("readdir", path.display().to_string()))?;
            observed.chains.push(chain);
            self.chains.insert(dir, fds);
        }
        Ok(observed)
    }

    fn read_chain(&self, dir: ChainDir) -> io::Result<(ObservedChain, ChainFds)> {
        let mut fds = ChainFds::default();
        let mut observed = ObservedChain {
            dir,
            held: Held::NoLink,
            builds: Vec::new(),
            codes: Vec::new(),
            members: Vec::new(),
        };
        // A link that was attached and not yet put in its place: see `Linux::attach`.
        let next = self.pins.next_link(dir);
        if next.exists() {
            fs::rename(next, self.pins.link(dir))?;
        }
        for entry in pins::names(&self.pins.chain(dir))?
            .iter()
            .filter_map(|name| pins::parse_entry(name))
        {
            match entry {
                Entry::Link => fds.link = Some(bpf::obj_get(&self.pins.link(dir))?),
                Entry::Build(build) => {
                    let (registry, opened) = self.read_build(dir, build)?;
                    observed.builds.push(ObservedBuild { build, registry });
                    if let Some(opened) = opened {
                        fds.builds.insert(build, opened);
                    }
                }
                Entry::Member(member) => {
                    observed.members.push(member);
                    let (codes, opened) = self.read_member(dir, member)?;
                    observed
                        .codes
                        .extend(codes.into_iter().map(|code| (member, code)));
                    if let Some(opened) = opened {
                        fds.members.insert(member, opened);
                    }
                }
            }
        }
        observed.held = held(&fds)?;
        Ok((observed, fds))
    }

    fn read_build(&self, dir: ChainDir, build: Build) -> io::Result<(Registry, Option<BuildFds>)> {
        let dir = self.pins.build(dir, build);
        let open = |name: &str| if_there(bpf::obj_get(&dir.join(name)));
        let registry = match open("registry")? {
            Some(map) => registry::read(map.as_fd())?,
            None => Registry::Missing,
        };
        let members = match &registry {
            Registry::Chain(chain) => chain.members.iter().map(|member| member.id).collect(),
            Registry::Missing | Registry::Newer { .. } => Vec::new(),
        };
        let mut links = BTreeMap::new();
        for name in pins::names(&dir)? {
            if let Some(slot) = pins::parse_slot(&name)
                && let Some(link) = if_there(bpf::obj_get(&dir.join(name)))?
            {
                links.insert(slot, link);
            }
        }
        let opened = match (open("root")?, open("counters")?) {
            (Some(root), Some(counters)) => Some(BuildFds {
                links,
                root,
                jump: open("jump")?,
                counters: Arc::new(counters),
                members,
            }),
            // It was being built.
            _ => None,
        };
        Ok((registry, opened))
    }

    fn read_member(
        &self,
        dir: ChainDir,
        member: MemberId,
    ) -> io::Result<(Vec<CodeId>, Option<MemberFds>)> {
        let names = pins::names(&self.pins.member(dir, member))?;
        let codes: Vec<CodeId> = names
            .iter()
            .filter_map(|name| pins::parse_code(name))
            .collect();
        let mut opened = BTreeMap::new();
        for code in &codes {
            if let Some(staged) = read_code(&self.pins.code(dir, member, *code))? {
                opened.insert(*code, staged);
            }
        }
        let Some(totals_map) = if_there(bpf::obj_get(&self.pins.totals(dir, member)))? else {
            return Ok((codes, None));
        };
        let fds = MemberFds {
            totals: counters::totals_read(totals_map.as_fd())?,
            totals_map,
            codes: opened,
        };
        Ok((codes, Some(fds)))
    }
}

fn read_code(dir: &Path) -> io::Result<Option<Staged>> {
    let Some(program) = if_there(bpf::obj_get(&dir.join("program")))? else {
        return Ok(None);
    };
    let maps = dir.join("maps");
    let mut opened = Vec::new();
    for file in pins::names(&maps)? {
        let fd = bpf::obj_get(&maps.join(&file))?;
        let info = bpf::map_info(fd.as_fd())?;
        opened.push(MemberMap {
            name: pins::unescape(&file.to_string_lossy()),
            fd: Arc::new(fd),
            info,
        });
    }
    Ok(Some(Staged {
        program: Arc::new(program),
        maps: Arc::new(opened),
    }))
}

/// Only a pin that isn't there is absent: any other error must not be taken for that, or a chain
/// that runs would be taken for one that is gone.
fn if_there<T>(opened: io::Result<T>) -> io::Result<Option<T>> {
    match opened {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        other => other.map(Some),
    }
}

/// What the pinned link holds, even if it was detached: the interface may be there still.
fn held(fds: &ChainFds) -> io::Result<Held> {
    let Some(link) = &fds.link else {
        return Ok(Held::NoLink);
    };
    let program = bpf::link_info(link.as_fd())?.program_id;
    for (build, fds) in &fds.builds {
        if bpf::program_id(fds.root.as_fd())? == program {
            return Ok(Held::Build(*build));
        }
    }
    Ok(Held::Unknown)
}

/// `BPF_FS_MAGIC`, `include/uapi/linux/magic.h`.
const BPF_FS_MAGIC: u32 = 0xcafe_4a11;

fn check_mount(bpffs: &Path) -> Result<(), OpenError> {
    let at = |source: io::Error| OpenError::Io {
        path: bpffs.to_owned(),
        source,
    };
    let statfs = rustix::fs::statfs(bpffs).map_err(|errno| at(errno.into()))?;
    if i64::from(BPF_FS_MAGIC) != statfs.f_type {
        return Err(OpenError::NotBpffs(bpffs.to_owned()));
    }
    let stat = rustix::fs::stat(bpffs).map_err(|errno| at(errno.into()))?;
    let device = format!(
        "{}:{}",
        rustix::fs::major(stat.st_dev),
        rustix::fs::minor(stat.st_dev)
    );
    // What the host's first process sees; where that can't be read, nothing is known against it.
    let Ok(mounts) = fs::read_to_string("/proc/1/mountinfo") else {
        return Ok(());
    };
    if mounts
        .lines()
        .any(|line| line.split(' ').nth(2) == Some(&device))
    {
        return Ok(());
    }
    Err(OpenError::Private(bpffs.to_owned()))
}
