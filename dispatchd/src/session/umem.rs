//! What a client asks of a socket and the memory it brings, checked before anything is made of them.

use std::os::fd::{AsFd, OwnedFd};

use protocol::{BusyPoll, RefusalCode, Refused, SocketOptions, Umem, UmemLayout, with_causes};

use crate::translate;

/// Most entries of a ring: 512 KiB of addresses, and 16 times what drivers use.
const RING_ENTRIES_MAX: u32 = 32_768;
/// The kernel's own bounds of a frame (`XDP_UMEM_MIN_CHUNK_SIZE`, a page).
const FRAME_BYTES_MIN: u32 = 2048;
const FRAME_BYTES_MAX: u32 = 4096;
/// What the kernel keeps free before a packet for programs (`XDP_PACKET_HEADROOM`).
const XDP_HEADROOM: u32 = 256;
/// The kernel's bound of the metadata before a packet to be sent, and what it is a multiple of.
const TX_METADATA_BYTES: u32 = 256;
const TX_METADATA_UNIT: u32 = 8;

/// Most packets that a system call may process (`SO_BUSY_POLL_BUDGET`): four times what the kernel's
/// own polling does.
const BUDGET_MAX: u16 = 256;

/// Where a socket's frames are to be.
#[derive(Debug)]
pub(super) enum Room {
    /// In the client's memfd.
    Memfd {
        /// It has the seals that it needs.
        memfd: OwnedFd,
        /// Its size, which can't change.
        bytes: usize,
    },
    /// In another socket's memory, or in what the client registers.
    Elsewhere,
}

impl Room {
    /// Bytes that are pinned for it.
    pub(super) fn bytes(&self) -> u64 {
        match self {
            Self::Memfd { bytes, .. } => *bytes as u64,
            Self::Elsewhere => 0,
        }
    }

    /// Asked once the quota has allowed the size.
    pub(super) fn check_allocated(&self, interface: &str) -> Result<(), Refused> {
        match self {
            Self::Memfd { memfd, .. } => protocol::memfd::check_allocated(memfd.as_fd())
                .map_err(|error| refused(interface, RefusalCode::Descriptor, &error.to_string())),
            Self::Elsewhere => Ok(()),
        }
    }
}

/// Checks everything but whether the memory is there and may be pinned. `beside`: it is to have
/// another socket's FILL and COMPLETION ring.
pub(super) fn check(
    interface: &str,
    options: &SocketOptions,
    beside: bool,
    memfd: Option<OwnedFd>,
) -> Result<Room, Refused> {
    check_rings(interface, options, beside)?;
    check_busy_poll(interface, options.busy_poll.as_ref())?;
    let Umem::Own(layout) = &options.umem else {
        return Ok(Room::Elsewhere);
    };
    check_layout(interface, layout)?;
    let memfd = memfd.ok_or_else(|| missing(interface))?;
    let bytes = protocol::memfd::check_memory(memfd.as_fd())
        .map_err(|error| refused(interface, RefusalCode::Descriptor, &with_causes(&error)))?;
    let frame = u64::from(layout.frame_size);
    if bytes < frame || (!layout.unaligned && !bytes.is_multiple_of(frame)) {
        let why = format!("memory of {bytes} bytes is no whole number of frames of {frame} bytes");
        return Err(refused(interface, RefusalCode::Descriptor, &why));
    }
    let bytes = usize::try_from(bytes)
        .map_err(|_| refused(interface, RefusalCode::TooLarge, "the memory is too large"))?;
    Ok(Room::Memfd { memfd, bytes })
}

pub(super) fn missing(interface: &str) -> Refused {
    let why = "the memory's descriptor is missing: a sealed memfd is needed";
    refused(interface, RefusalCode::Descriptor, why)
}

fn check_rings(interface: &str, options: &SocketOptions, beside: bool) -> Result<(), Refused> {
    let rings = [
        ("FILL", options.fill, beside),
        ("COMPLETION", options.completion, beside),
        ("RX", options.rx, true),
        ("TX", options.tx, true),
    ];
    for (name, entries, may_lack) in rings {
        let is_size = entries.is_power_of_two() && entries <= RING_ENTRIES_MAX;
        let is_lacking = may_lack && entries == 0;
        if !is_size && !is_lacking {
            let why = format!(
                "the {name} ring can't have {entries} entries: a power of two, {RING_ENTRIES_MAX} at most"
            );
            return Err(refused(interface, RefusalCode::Malformed, &why));
        }
    }
    if options.rx == 0 && options.tx == 0 {
        let why = "a socket needs an RX ring or a TX ring";
        return Err(refused(interface, RefusalCode::Malformed, why));
    }
    Ok(())
}

/// Only root may raise the kernel's budget, so the daemon bounds what it sets for others.
fn check_busy_poll(interface: &str, wanted: Option<&BusyPoll>) -> Result<(), Refused> {
    let budget = wanted.map_or(1, |wanted| wanted.budget);
    if budget == 0 || budget > BUDGET_MAX {
        let why = format!("busy polling can't process {budget} packets: 1 to {BUDGET_MAX}");
        return Err(refused(interface, RefusalCode::Malformed, &why));
    }
    Ok(())
}

fn check_layout(interface: &str, layout: &UmemLayout) -> Result<(), Refused> {
    let frame = layout.frame_size;
    let is_size = (FRAME_BYTES_MIN..=FRAME_BYTES_MAX).contains(&frame)
        && (layout.unaligned || frame.is_power_of_two());
    let why = if !is_size {
        format!(
            "a frame can't have {frame} bytes: {FRAME_BYTES_MIN} to {FRAME_BYTES_MAX}, a power of \
             two unless frames are unaligned"
        )
    } else if layout.headroom >= frame - XDP_HEADROOM {
        let headroom = layout.headroom;
        format!("a frame of {frame} bytes has no room for a headroom of {headroom} and a packet")
    } else if layout.tx_metadata_len >= TX_METADATA_BYTES
        || !layout.tx_metadata_len.is_multiple_of(TX_METADATA_UNIT)
    {
        let length = layout.tx_metadata_len;
        format!(
            "a packet's metadata can't have {length} bytes: a multiple of {TX_METADATA_UNIT} below \
             {TX_METADATA_BYTES}"
        )
    } else if layout.software_checksum && layout.tx_metadata_len == 0 {
        "checksums in software are asked for in a packet's metadata, which has no bytes".to_owned()
    } else {
        return Ok(());
    };
    Err(refused(interface, RefusalCode::Malformed, &why))
}

fn refused(interface: &str, code: RefusalCode, why: &str) -> Refused {
    translate::refused(code, format!("interface {interface}: {why}"))
}

#[cfg(test)]
mod tests {
    use protocol::SocketMode;
    use rustix::fs::{FallocateFlags, MemfdFlags, SealFlags};

    use super::*;

    #[test]
    fn what_is_asked_is_checked_before_anything_is_made() {
        type Change = fn(&mut SocketOptions, &mut UmemLayout);
        let cases: [(Change, &str); 9] = [
            (|o, _| o.fill = 100, "the FILL ring can't have 100 entries"),
            (|o, _| o.completion = 0, "the COMPLETION ring can't have 0"),
            (|o, _| o.rx = 3, "the RX ring can't have 3 entries"),
            (|o, _| o.tx = 65_536, "the TX ring can't have 65536"),
            (|o, _| (o.rx, o.tx) = (0, 0), "needs an RX ring or a TX"),
            (|_, l| l.frame_size = 1024, "a frame can't have 1024 bytes"),
            (|_, l| l.frame_size = 3000, "a frame can't have 3000 bytes"),
            (|_, l| l.headroom = 1792, "a headroom of 1792"),
            (|_, l| l.tx_metadata_len = 12, "can't have 12 bytes"),
        ];
        for (change, text) in cases {
            let mut layout = layout();
            let mut options = options();
            change(&mut options, &mut layout);
            options.umem = Umem::Own(layout);
            let refused = check("eth0", &options, false, Some(memory(1 << 16))).unwrap_err();
            assert!(refused.message.contains(text), "{}", refused.message);
            assert!(refused.message.starts_with("interface eth0: "));
            assert_eq!(refused.code, RefusalCode::Malformed);
        }
    }

    #[test]
    fn memory_has_to_be_sealed_whole_and_there() {
        let sealed = |fd: &OwnedFd, seals| rustix::fs::fcntl_add_seals(fd, seals).unwrap();
        let open = unsealed(1 << 16);
        refuse(open, "memfd is not sealed against SHRINK, GROW");
        let fixed = unsealed(1 << 16);
        sealed(
            &fixed,
            SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE,
        );
        refuse(fixed, "memfd is sealed against WRITE");
        refuse(memory(3000), "no whole number of frames");
        refuse(memory(0), "no whole number of frames");
        let (pipe, _writer) = std::io::pipe().unwrap();
        refuse(pipe.into(), "descriptor is a pipe, not a sealed memfd");
        let refused = check("eth0", &options(), false, None).unwrap_err();
        assert!(refused.message.contains("descriptor is missing"));
        let sparse = unsealed(1 << 16);
        sealed(&sparse, SealFlags::SHRINK | SealFlags::GROW);
        let room = check("eth0", &options(), false, Some(sparse)).unwrap();
        let refused = room.check_allocated("eth0").unwrap_err();
        assert!(
            refused.message.contains("is allocated"),
            "{}",
            refused.message
        );
    }

    #[test]
    fn good_memory_is_taken() {
        let room = check("eth0", &options(), false, Some(memory(1 << 16))).unwrap();
        assert_eq!(room.bytes(), 1 << 16);
        room.check_allocated("eth0").unwrap();
        let shared = SocketOptions {
            umem: Umem::Shared { token: [0; 16] },
            rx: 0,
            ..options()
        };
        let room = check("eth0", &shared, false, None).unwrap();
        assert_eq!(room.bytes(), 0);
        let beside = SocketOptions {
            fill: 0,
            completion: 0,
            ..shared
        };
        check("eth0", &beside, true, None).unwrap();
        let refused = check("eth0", &beside, false, None).unwrap_err();
        assert!(refused.message.contains("the FILL ring can't have 0"));
    }

    fn refuse(memfd: OwnedFd, text: &str) {
        let refused = check("eth0", &options(), false, Some(memfd)).unwrap_err();
        assert!(refused.message.contains(text), "{}", refused.message);
        assert_eq!(refused.code, RefusalCode::Descriptor);
    }

    fn layout() -> UmemLayout {
        UmemLayout {
            frame_size: 2048,
            headroom: 0,
            unaligned: false,
            tx_metadata_len: 0,
            software_checksum: false,
        }
    }

    fn options() -> SocketOptions {
        SocketOptions {
            umem: Umem::Own(layout()),
            fill: 64,
            completion: 64,
            rx: 64,
            tx: 64,
            mode: SocketMode::Auto,
            need_wakeup: true,
            multi_buffer: false,
            busy_poll: None,
        }
    }

    fn memory(bytes: u64) -> OwnedFd {
        let memfd = unsealed(bytes);
        if bytes > 0 {
            rustix::fs::fallocate(&memfd, FallocateFlags::empty(), 0, bytes).unwrap();
        }
        rustix::fs::fcntl_add_seals(&memfd, SealFlags::SHRINK | SealFlags::GROW).unwrap();
        memfd
    }

    fn unsealed(bytes: u64) -> OwnedFd {
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        let memfd = rustix::fs::memfd_create("umem", flags).unwrap();
        rustix::fs::ftruncate(&memfd, bytes).unwrap();
        memfd
    }
}
