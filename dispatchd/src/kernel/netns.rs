//! Network namespaces: entered on a thread of its own, left with it.

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::thread;

use nix::libc;
use nix::sched::{CloneFlags, setns};
use planner::{ChainKey, Interface};
use rustix::io::Errno;

/// `include/uapi/asm-generic/socket.h`, Linux 5.14.
const SO_NETNS_COOKIE: libc::c_int = 71;

/// Runs `work` in a network namespace, on a thread that ends with it: nothing of the namespace
/// stays with the daemon.
pub(crate) fn within<T: Send>(
    namespace: BorrowedFd<'_>,
    work: impl FnOnce() -> io::Result<T> + Send,
) -> io::Result<T> {
    thread::scope(|scope| {
        let entered = thread::Builder::new()
            .name("netns".to_owned())
            .spawn_scoped(scope, || {
                setns(namespace, CloneFlags::CLONE_NEWNET)?;
                work()
            })?;
        entered
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// The daemon's own network namespace.
pub(crate) fn own() -> io::Result<OwnedFd> {
    File::open("/proc/thread-self/ns/net").map(OwnedFd::from)
}

/// Looks an interface up by name. `None`: there is none.
pub(crate) fn resolve(namespace: BorrowedFd<'_>, name: &str) -> io::Result<Option<Interface>> {
    let found = within(namespace, || {
        let ifindex = match rustix::net::netdevice::name_to_index(&any_socket()?, name) {
            Ok(ifindex) => ifindex,
            Err(Errno::NODEV | Errno::NAMETOOLONG | Errno::INVAL) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        Ok(Some((cookie()?, ifindex)))
    })?;
    let Some((netns, ifindex)) = found else {
        return Ok(None);
    };
    Ok(Some(Interface {
        key: ChainKey { netns, ifindex },
        name: name.to_owned(),
        netns_name: name_of(namespace)?,
    }))
}

/// An interface of the daemon's own namespace, or of another that has a name or a process. Nothing of
/// it stays open.
pub(crate) fn describe(key: ChainKey) -> io::Result<Option<Interface>> {
    let Some(namespace) = find(key, None)? else {
        return Ok(None);
    };
    let name = within(namespace.as_fd(), || Ok(index_to_name(key.ifindex)?))?;
    let netns_name = name_of(namespace.as_fd())?;
    Ok(Some(Interface {
        key,
        name,
        netns_name,
    }))
}

/// Whether a chain's interface is in this namespace; `None` if the namespace is not the chain's.
pub(crate) fn has_interface(
    namespace: BorrowedFd<'_>,
    chain: ChainKey,
) -> io::Result<Option<bool>> {
    within(namespace, || {
        if cookie()? != chain.netns {
            return Ok(None);
        }
        match index_to_name(chain.ifindex) {
            Ok(_) => Ok(Some(true)),
            Err(Errno::NODEV | Errno::NXIO) => Ok(Some(false)),
            Err(error) => Err(error.into()),
        }
    })
}

/// The name of an interface of the calling thread's network namespace.
pub(super) fn index_to_name(ifindex: u32) -> rustix::io::Result<String> {
    rustix::net::netdevice::index_to_name(&any_socket()?, ifindex)
}

/// A socket, only to ask about its namespace.
pub(crate) fn any_socket() -> rustix::io::Result<OwnedFd> {
    use rustix::net::{AddressFamily, SocketType, socket};
    socket(AddressFamily::UNIX, SocketType::DGRAM, None)
}

/// Every namespace that has a name or a process, once each.
pub(crate) fn everywhere() -> impl Iterator<Item = OwnedFd> {
    let entries = |folder: &str| Path::new(folder).read_dir().into_iter().flatten().flatten();
    let named = entries("/run/netns").map(|entry| entry.path());
    let inhabited = entries("/proc").map(|entry| entry.path().join("ns/net"));
    let mut seen = BTreeSet::new();
    named.chain(inhabited).filter_map(move |path| {
        let file = path.metadata().ok()?;
        let namespace = seen
            .insert((file.dev(), file.ino()))
            .then(|| File::open(&path).ok())??;
        Some(namespace.into())
    })
}

/// The namespace of a chain, if it still has the interface: `likely`, the daemon's own, or any other.
/// `None`: the interface is gone, or no process and no name keeps its namespace. An error: it can't be
/// told.
pub(crate) fn find(
    chain: ChainKey,
    likely: Option<&Arc<OwnedFd>>,
) -> io::Result<Option<Arc<OwnedFd>>> {
    let mut unknown = None;
    let own = Arc::new(own()?);
    let all = everywhere().map(Arc::new);
    for namespace in likely.cloned().into_iter().chain([own]).chain(all) {
        match has_interface(namespace.as_fd(), chain) {
            Ok(Some(true)) => return Ok(Some(namespace)),
            Ok(Some(false)) => return Ok(None),
            Ok(None) => {}
            Err(error) => unknown = Some(error),
        }
    }
    unknown.map_or(Ok(None), Err)
}

/// The cookie of the calling thread's network namespace.
fn cookie() -> io::Result<u64> {
    let socket = any_socket()?;
    let mut cookie = 0_u64;
    let mut len = 8;
    // SAFETY: the cookie is writable for `len` bytes, and both outlive the call.
    let returned = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            SO_NETNS_COOKIE,
            (&raw mut cookie).cast(),
            &raw mut len,
        )
    };
    if returned < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(cookie)
}

/// The name that `ip netns` gave a namespace.
fn name_of(namespace: BorrowedFd<'_>) -> io::Result<Option<String>> {
    let wanted = nix::sys::stat::fstat(namespace)?;
    let Ok(names) = Path::new("/run/netns").read_dir() else {
        return Ok(None);
    };
    let found = names.flatten().find(|entry| {
        entry
            .path()
            .metadata()
            .is_ok_and(|found| found.dev() == wanted.st_dev && found.ino() == wanted.st_ino)
    });
    Ok(found.and_then(|entry| entry.file_name().into_string().ok()))
}

/// Whether a descriptor is a network namespace.
pub(crate) fn is_netns(fd: BorrowedFd<'_>) -> bool {
    // SAFETY: NS_GET_NSTYPE takes no argument and touches no memory.
    let kind = unsafe { libc::ioctl(fd.as_fd().as_raw_fd(), NS_GET_NSTYPE) };
    kind == libc::CLONE_NEWNET
}

/// `_IO(0xb7, 3)`, `include/uapi/linux/nsfs.h`, Linux 4.11.
const NS_GET_NSTYPE: libc::c_ulong = 0xb703;
