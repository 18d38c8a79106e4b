//! A rule as the table holds it: one word, so that it is changed with one store.

/// What becomes of a packet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Action {
    /// XDP_PASS.
    #[default]
    Allow,
    /// XDP_DROP.
    Deny,
}

/// The id that packets are counted under which the default decided.
pub const DEFAULT_ID: u32 = 0;
/// The id that packets are counted under which could not be read as far as the rules need.
pub const UNREADABLE_ID: u32 = 1;
/// The first id of a rule.
pub const IDS_FIRST: u32 = 2;
/// One more than the largest id.
pub const IDS_MAX: u32 = 1 << ID_BITS;

const ID_BITS: u32 = 24;
const PRESENT: u64 = 1 << 0;
const DENY: u64 = 1 << 1;
const ID_SHIFT: u32 = 2;
const TAG_SHIFT: u32 = ID_SHIFT + ID_BITS;

/// From the lowest bit: whether there is an entry, whether it denies, 24 bits of id, and a tag of
/// 38 bits, which says what it is about as [`Place`](crate::Place) explains.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(transparent)]
pub struct Entry(u64);

impl Entry {
    /// No entry.
    pub const NONE: Self = Self(0);

    /// An entry. The tag has 38 bits and the id is below [`IDS_MAX`].
    #[inline(always)]
    pub const fn new(tag: u64, id: u32, action: Action) -> Self {
        let deny = match action {
            Action::Allow => 0,
            Action::Deny => DENY,
        };
        Self(tag << TAG_SHIFT | (id as u64) << ID_SHIFT | deny | PRESENT)
    }

    /// The entry in a word of the table.
    #[inline(always)]
    pub const fn of(word: u64) -> Self {
        Self(word)
    }

    /// The word of the table.
    #[inline(always)]
    pub const fn word(self) -> u64 {
        self.0
    }

    /// Whether there is one.
    #[inline(always)]
    pub const fn is_present(self) -> bool {
        self.0 & PRESENT != 0
    }

    /// What it is about.
    #[inline(always)]
    pub const fn tag(self) -> u64 {
        self.0 >> TAG_SHIFT
    }

    /// What it is counted under.
    #[inline(always)]
    pub const fn id(self) -> u32 {
        (self.0 >> ID_SHIFT) as u32 & (IDS_MAX - 1)
    }

    /// What it decides.
    #[inline(always)]
    pub const fn action(self) -> Action {
        if self.0 & DENY == 0 {
            Action::Allow
        } else {
            Action::Deny
        }
    }
}
