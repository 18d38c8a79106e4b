//! Points in time at which something ends.

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
