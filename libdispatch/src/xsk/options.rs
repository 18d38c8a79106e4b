//! What a socket is asked to be.

use super::Error;

/// How a socket is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Entries of the FILL ring (`XDP_UMEM_FILL_RING`): how many frames the kernel may have for
    /// receiving. A power of two. A socket that is alone with its UMEM, and sends nothing but what it
    /// received, has the least work with twice the UMEM's frames: one that comes back has room at once,
    /// and in order finds itself at its place.
    pub fill: u32,
    /// Entries of the COMPLETION ring (`XDP_UMEM_COMPLETION_RING`). A power of two.
    pub completion: u32,
    /// Entries of the RX ring (`XDP_RX_RING`). A power of two, or 0 for a socket that only sends.
    pub rx: u32,
    /// Entries of the TX ring (`XDP_TX_RING`). A power of two, or 0 for a socket that only receives.
    pub tx: u32,
    /// Who copies packets.
    pub copies: Copies,
    /// Whether the kernel may sleep until it is woken up (`XDP_USE_NEED_WAKEUP`, Linux 5.4). It is
    /// woken up only when it says that it sleeps; otherwise, at each flush.
    pub need_wakeup: bool,
    /// Whether packets may have several frames (`XDP_USE_SG`, Linux 6.6).
    pub multi_buffer: bool,
    /// Whether the driver's queue is processed by the application's own system calls.
    pub busy_poll: Option<BusyPoll>,
}

/// Who copies packets between the driver and the UMEM.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Copies {
    /// Nobody, if the driver can do without; otherwise the kernel.
    #[default]
    Auto,
    /// The kernel (`XDP_COPY`): works with every driver.
    Always,
    /// Nobody (`XDP_ZEROCOPY`): an error if the driver can't.
    Never,
}

/// Preferred busy polling: the kernel leaves the queue to the application, which processes it
/// whenever it waits, receives or flushes, on its own CPU.
///
/// Whether it does is in `BusyPollRxPackets` of `/proc/net/netstat`. Where packets are copied, Linux 6.12
/// polls and 6.18 does not: then the kernel goes on by itself, and who never waits saves being woken.
///
/// # Minimum kernel version
///
/// 5.11; setting it needs `CAP_NET_ADMIN`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BusyPoll {
    /// How long a system call may poll, in microseconds (`SO_BUSY_POLL`).
    pub microseconds: u32,
    /// How many packets it may process (`SO_BUSY_POLL_BUDGET`).
    pub budget: u16,
}

/// 2048 entries in each ring, and the kernel may sleep.
impl Default for Options {
    fn default() -> Self {
        Self {
            fill: 2048,
            completion: 2048,
            rx: 2048,
            tx: 2048,
            copies: Copies::Auto,
            need_wakeup: true,
            multi_buffer: false,
            busy_poll: None,
        }
    }
}

impl Options {
    /// With so many entries in each ring.
    #[must_use]
    pub fn rings(self, entries: u32) -> Self {
        Self {
            fill: entries,
            completion: entries,
            rx: entries,
            tx: entries,
            ..self
        }
    }

    /// The same without FILL and COMPLETION, checked: for a socket that has another one's.
    pub(super) fn beside(&self) -> Result<Self, Error> {
        let options = Self {
            fill: 0,
            completion: 0,
            ..*self
        };
        options.check(false)?;
        Ok(options)
    }

    /// Checks the rings' sizes; `owner` is whether the socket has FILL and COMPLETION.
    pub(super) fn check(&self, owner: bool) -> Result<(), Error> {
        let rings = [
            ("FILL", self.fill),
            ("COMPLETION", self.completion),
            ("RX", self.rx),
            ("TX", self.tx),
        ];
        for (ring, entries) in rings {
            if entries != 0 && !(entries.is_power_of_two() && entries <= ENTRIES_MAX) {
                return Err(Error::RingSize { ring, entries });
            }
        }
        if self.rx == 0 && self.tx == 0 {
            return Err(Error::NoRing { ring: "RX or TX" });
        }
        if owner && self.fill == 0 {
            return Err(Error::NoRing { ring: "FILL" });
        }
        if owner && self.completion == 0 {
            return Err(Error::NoRing { ring: "COMPLETION" });
        }
        Ok(())
    }
}

/// More than any kernel allocates, and small enough that a ring's length in bytes is far from any
/// overflow.
const ENTRIES_MAX: u32 = 1 << 24;
