//! The maps that rules are in, as memory: the kernel's, or in tests any.

use std::io;
use std::ops::Deref;
use std::os::fd::BorrowedFd;
use std::ptr::NonNull;

use firewall_abi::{
    Bucket, Config, LENGTHS4_LINES, LENGTHS6_SLOTS, Lengths4, Lengths6, Room, StoredKey, Tables,
};
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

/// Everything that a packet is judged by.
#[derive(Debug)]
pub struct Memory {
    pub(crate) config: Area<Config>,
    pub(crate) buckets: Area<Bucket>,
    pub(crate) keys: Area<StoredKey>,
    pub(crate) lengths4: Area<Lengths4>,
    pub(crate) lengths6: Area<Lengths6>,
    pub(crate) room: Room,
}

/// The maps' descriptors, each of a map as large as [`Memory::map`] is told.
#[derive(Clone, Copy, Debug)]
pub struct Descriptors<'fd> {
    /// [`firewall_abi::CONFIG_MAP`].
    pub config: BorrowedFd<'fd>,
    /// [`firewall_abi::BUCKETS_MAP`].
    pub buckets: BorrowedFd<'fd>,
    /// [`firewall_abi::KEYS_MAP`].
    pub keys: BorrowedFd<'fd>,
    /// [`firewall_abi::LENGTHS4_MAP`].
    pub lengths4: BorrowedFd<'fd>,
    /// [`firewall_abi::LENGTHS6_MAP`].
    pub lengths6: BorrowedFd<'fd>,
}

impl Memory {
    /// The maps of a loaded program. Fails for maps that have less room.
    pub fn map(descriptors: Descriptors<'_>, room: Room) -> io::Result<Self> {
        Ok(Self {
            config: Area::map(descriptors.config, 1)?,
            buckets: Area::map(descriptors.buckets, 2 * room.half())?,
            keys: Area::map(descriptors.keys, room.entries)?,
            lengths4: Area::map(descriptors.lengths4, 2 * LENGTHS4_LINES)?,
            lengths6: Area::map(descriptors.lengths6, 2 * LENGTHS6_SLOTS)?,
            room,
        })
    }

    /// Memory that no program looks at, and another view of it.
    #[cfg(test)]
    pub(crate) fn pair(room: Room) -> [Self; 2] {
        use std::os::fd::AsFd as _;
        let file = |elements: u32, bytes: usize| {
            let flags = rustix::fs::MemfdFlags::CLOEXEC;
            let file = rustix::fs::memfd_create("map", flags).expect("a file in memory");
            let bytes = elements as usize * bytes;
            rustix::fs::ftruncate(&file, bytes as u64).expect("it grows");
            file
        };
        let config = file(1, size_of::<Config>());
        let buckets = file(2 * room.half(), size_of::<Bucket>());
        let keys = file(room.entries, size_of::<StoredKey>());
        let lengths4 = file(2 * LENGTHS4_LINES, size_of::<Lengths4>());
        let lengths6 = file(2 * LENGTHS6_SLOTS, size_of::<Lengths6>());
        let descriptors = Descriptors {
            config: config.as_fd(),
            buckets: buckets.as_fd(),
            keys: keys.as_fd(),
            lengths4: lengths4.as_fd(),
            lengths6: lengths6.as_fd(),
        };
        [(); 2].map(|()| Self::map(descriptors, room).expect("it can be mapped"))
    }
}

/// As the program looks them up.
impl Tables for Memory {
    fn config(&self) -> Option<&Config> {
        self.config.first()
    }

    fn bucket(&self, index: u32) -> Option<&Bucket> {
        self.buckets.get(usize::try_from(index).ok()?)
    }

    fn key(&self, id: u32) -> Option<&StoredKey> {
        self.keys.get(usize::try_from(id).ok()?)
    }

    fn lengths4(&self, index: u32) -> Option<&Lengths4> {
        self.lengths4.get(usize::try_from(index).ok()?)
    }

    fn lengths6(&self, index: u32) -> Option<&Lengths6> {
        self.lengths6.get(usize::try_from(index).ok()?)
    }
}

/// What a map's elements are made of: words, which others may write at any time.
pub(crate) trait Words {}
impl Words for Config {}
impl Words for Bucket {}
impl Words for StoredKey {}
impl Words for Lengths4 {}
impl Words for Lengths6 {}

/// So many elements, mapped.
#[derive(Debug)]
pub(crate) struct Area<T> {
    start: NonNull<T>,
    elements: usize,
}

// SAFETY: it owns its mapping, which any thread may use and unmap.
unsafe impl<T: Words> Send for Area<T> {}

impl<T: Words> Area<T> {
    fn map(descriptor: BorrowedFd<'_>, elements: u32) -> io::Result<Self> {
        let elements = elements as usize;
        let access = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: a new mapping, at an address that the kernel chooses. An array map's mapping is
        // as long as its elements, each rounded up to 8 bytes, which these types are a multiple of;
        // a longer one is refused.
        let start = unsafe {
            mmap(
                std::ptr::null_mut(),
                elements * size_of::<T>(),
                access,
                MapFlags::SHARED,
                descriptor,
                0,
            )
        }?;
        Self::of(start.cast(), elements)
    }

    fn of(start: *mut T, elements: usize) -> io::Result<Self> {
        let start = NonNull::new(start).ok_or(io::ErrorKind::InvalidData)?;
        Ok(Self { start, elements })
    }
}

impl<T> Deref for Area<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        // SAFETY: the mapping begins at a page and has so many elements, for as long as this
        // lives. They are atomic words, for which all bytes are valid and which others may write.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.elements) }
    }
}

impl<T> Drop for Area<T> {
    fn drop(&mut self) {
        // SAFETY: the whole mapping, which is this one's own and which nothing borrows any more.
        // It can't fail: the range is one that was mapped.
        let _ = unsafe { munmap(self.start.as_ptr().cast(), self.elements * size_of::<T>()) };
    }
}
