//! How many receive queues an interface has.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use nix::libc;
use planner::Interface;
use rustix::fs::{Dir, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags};

use super::netns;

/// An interface's receive queues.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Queues {
    /// That there are now.
    pub(crate) now: u32,
    /// That there can be.
    pub(crate) most: u32,
}

/// `struct ethtool_channels`, `include/uapi/linux/ethtool.h`.
#[repr(C)]
#[derive(Default)]
struct Channels {
    command: u32,
    max_rx: u32,
    max_tx: u32,
    max_other: u32,
    max_combined: u32,
    rx: u32,
    tx: u32,
    other: u32,
    combined: u32,
}

const ETHTOOL_GCHANNELS: u32 = 0x3c;

/// An interface's receive queues; `None` if neither its driver nor the kernel says.
pub(crate) fn of(namespace: BorrowedFd<'_>, interface: &Interface) -> io::Result<Option<Queues>> {
    netns::within(namespace, || {
        let socket = netns::any_socket()?;
        let mut channels = Channels {
            command: ETHTOOL_GCHANNELS,
            ..Channels::default()
        };
        let mut name: [libc::c_char; libc::IFNAMSIZ] = [0; libc::IFNAMSIZ];
        // One less: a zero has to follow.
        for (to, from) in name[..libc::IFNAMSIZ - 1]
            .iter_mut()
            .zip(interface.name.bytes())
        {
            *to = libc::c_char::from_ne_bytes([from]);
        }
        let mut request = libc::ifreq {
            ifr_name: name,
            ifr_ifru: libc::__c_anonymous_ifr_ifru {
                ifru_data: (&raw mut channels).cast(),
            },
        };
        // SAFETY: the request and the channels, whose size the command says, outlive the call.
        let returned =
            unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCETHTOOL, &raw mut request) };
        if returned < 0 {
            let error = io::Error::last_os_error();
            return match Errno::from_io_error(&error) {
                Some(Errno::OPNOTSUPP) => Ok(listed(interface.key.ifindex)),
                _ => Err(error),
            };
        }
        Ok(Some(Queues {
            now: channels.rx.saturating_add(channels.combined),
            most: channels.max_rx.saturating_add(channels.max_combined),
        }))
    })
}

/// Those that sysfs lists for an interface of the calling thread's network namespace: what the kernel goes
/// by when a socket is bound. `None` if it can't be asked.
///
/// The sysfs that is mounted shows another namespace; a new instance shows this one, and needs no
/// place to be mounted at.
fn listed(ifindex: u32) -> Option<Queues> {
    let name = netns::index_to_name(ifindex).ok()?;
    let context = rustix::mount::fsopen("sysfs", FsOpenFlags::FSOPEN_CLOEXEC).ok()?;
    rustix::mount::fsconfig_create(&context).ok()?;
    let attributes = MountAttrFlags::MOUNT_ATTR_RDONLY;
    let sysfs = rustix::mount::fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes).ok()?;
    let path = format!("class/net/{name}/queues");
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let folder = rustix::fs::openat(&sysfs, path, flags, Mode::empty()).ok()?;
    let entries = Dir::new(folder).ok()?.filter_map(Result::ok);
    let count = entries
        .filter(|entry| entry.file_name().to_bytes().starts_with(b"rx-"))
        .count();
    // Kernels without RPS list none.
    let count = u32::try_from(count).ok().filter(|count| *count > 0)?;
    Some(Queues {
        now: count,
        most: count,
    })
}
