//! Points in time at which something ends.

/// How long what belongs to clients waits for them after the daemon was started again, unless the
/// operator says otherwise.
pub const ORPHAN_LINGER_MS: u32 = 30_000;

/// A point in boot time (`CLOCK_BOOTTIME`), in milliseconds: it goes on while the machine sleeps,
/// and it means the same to a daemon that is started again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Moment(pub u64);

impl Moment {
    /// So many milliseconds later.
    #[must_use]
    pub fn after_ms(self, ms: impl Into<u64>) -> Self {
        Self(self.0.saturating_add(ms.into()))
    }

    /// Milliseconds from `earlier` until this; 0 if it is past.
    pub fn ms_since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// The start of a daemon, to which the clients of a former one come back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Start {
    /// When it is.
    pub now: Moment,
    /// How long members and sockets wait for their clients, at least.
    pub linger_ms: u32,
}

impl Start {
    /// When something goes that was to linger so long.
    pub fn until(self, linger_ms: u32) -> Moment {
        self.now.after_ms(linger_ms.max(self.linger_ms))
    }
}

impl From<Moment> for Start {
    fn from(now: Moment) -> Self {
        Self {
            now,
            linger_ms: ORPHAN_LINGER_MS,
        }
    }
}
