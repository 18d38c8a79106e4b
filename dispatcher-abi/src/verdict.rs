//! What a member says of a packet, and sets of such verdicts.

use core::fmt;

use crate::UnknownWord;

/// A member's return value, as the chain understands it.
///
/// The discriminant is the verdict's bit in a [`VerdictMask`] and its index in
/// [`SlotCounters`](crate::SlotCounters).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[repr(u8)]
pub enum Verdict {
    /// `XDP_ABORTED`, 0: dropped, with the tracepoint `xdp:xdp_exception`.
    Aborted = 0,
    /// `XDP_DROP`, 1.
    Drop = 1,
    /// `XDP_PASS`, 2: to the kernel's network stack.
    Pass = 2,
    /// `XDP_TX`, 3: out of the interface it came in by.
    Tx = 3,
    /// `XDP_REDIRECT`, 4: to the target set by `bpf_redirect` or `bpf_redirect_map`.
    Redirect = 4,
    /// 31, "no opinion" (libxdp's `XDP_DISPATCHER_RETVAL`): the next slot always runs, and the
    /// driver never sees it.
    Continue = 5,
    /// Every other value: it ends the chain and is returned to the driver as it is.
    Other = 6,
}

impl Verdict {
    /// Every verdict, in the order of their bits.
    pub const ALL: [Self; 7] = [
        Self::Aborted,
        Self::Drop,
        Self::Pass,
        Self::Tx,
        Self::Redirect,
        Self::Continue,
        Self::Other,
    ];

    /// The return value that means "no opinion".
    pub const CONTINUE_VALUE: u32 = 31;

    /// The verdict that an XDP program's return value stands for.
    pub const fn of(value: u32) -> Self {
        match value {
            0 => Self::Aborted,
            1 => Self::Drop,
            2 => Self::Pass,
            3 => Self::Tx,
            4 => Self::Redirect,
            Self::CONTINUE_VALUE => Self::Continue,
            _ => Self::Other,
        }
    }

    /// The verdict's word, as on the command line and in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Aborted => "aborted",
            Self::Drop => "drop",
            Self::Pass => "pass",
            Self::Tx => "tx",
            Self::Redirect => "redirect",
            Self::Continue => "continue",
            Self::Other => "other",
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl core::str::FromStr for Verdict {
    type Err = UnknownWord;

    fn from_str(word: &str) -> Result<Self, UnknownWord> {
        Self::ALL
            .into_iter()
            .find(|verdict| verdict.name() == word)
            .ok_or(UnknownWord)
    }
}

/// A set of verdicts: one bit each, at the verdict's discriminant.
///
/// Used for a member's chain-call actions (after which verdicts the next slot runs) and for its
/// allowed verdicts (what it may decide). [`Verdict::Continue`] is in every mask.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(from = "u8", into = "u8"))]
pub struct VerdictMask(u8);

impl VerdictMask {
    /// Chain-call actions when none are given: the next slot runs after PASS.
    pub const PASS: Self = Self::of(&[Verdict::Pass]);
    /// Allowed verdicts when none are given: everything.
    pub const ALL: Self = Self::of(&Verdict::ALL);
    /// The chain ends here whatever the member says, but for "no opinion".
    pub const NONE: Self = Self::of(&[]);

    /// The set of these verdicts, and [`Verdict::Continue`].
    pub const fn of(verdicts: &[Verdict]) -> Self {
        let mut bits = 1 << Verdict::Continue as u8;
        let mut index = 0;
        while index < verdicts.len() {
            bits |= 1 << verdicts[index] as u8;
            index += 1;
        }
        Self(bits)
    }

    /// The mask with these bits; bits that stand for no verdict are dropped.
    pub const fn from_bits(bits: u8) -> Self {
        Self(bits & 0x7f | 1 << Verdict::Continue as u8)
    }

    /// One bit for each verdict in the set.
    pub const fn bits(self) -> u8 {
        self.0
    }

    /// Whether the verdict is in the set.
    pub const fn contains(self, verdict: Verdict) -> bool {
        self.0 & 1 << verdict as u8 != 0
    }

    /// The verdicts in the set that have to be said: all but [`Verdict::Continue`].
    pub fn iter(self) -> impl Iterator<Item = Verdict> {
        Verdict::ALL
            .into_iter()
            .filter(move |verdict| *verdict != Verdict::Continue && self.contains(*verdict))
    }
}

impl From<u8> for VerdictMask {
    fn from(bits: u8) -> Self {
        Self::from_bits(bits)
    }
}

impl From<VerdictMask> for u8 {
    fn from(mask: VerdictMask) -> Self {
        mask.bits()
    }
}

impl FromIterator<Verdict> for VerdictMask {
    fn from_iter<I: IntoIterator<Item = Verdict>>(verdicts: I) -> Self {
        verdicts.into_iter().fold(Self::NONE, |mask, verdict| {
            Self(mask.0 | 1 << verdict as u8)
        })
    }
}

/// `pass,drop`, in the order of the bits; `none` for the empty set.
impl fmt::Display for VerdictMask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Self::NONE {
            return f.write_str("none");
        }
        for (index, verdict) in self.iter().enumerate() {
            if index > 0 {
                f.write_str(",")?;
            }
            f.write_str(verdict.name())?;
        }
        Ok(())
    }
}

impl fmt::Debug for VerdictMask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VerdictMask({self})")
    }
}

/// The inverse of `Display`; also takes `all`.
impl core::str::FromStr for VerdictMask {
    type Err = UnknownWord;

    fn from_str(words: &str) -> Result<Self, UnknownWord> {
        match words {
            "none" => Ok(Self::NONE),
            "all" => Ok(Self::ALL),
            _ => words.split(',').map(|word| word.trim().parse()).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_has_one_verdict() {
        for value in (0..70).chain([200, 255, 1 << 31, u32::MAX]) {
            let expected = match value {
                0..=4 => Verdict::ALL[value as usize],
                31 => Verdict::Continue,
                _ => Verdict::Other,
            };
            assert_eq!(Verdict::of(value), expected, "value {value}");
        }
    }

    #[test]
    fn no_opinion_is_in_every_mask() {
        for bits in 0..=u8::MAX {
            assert!(VerdictMask::from_bits(bits).contains(Verdict::Continue));
        }
    }

    #[test]
    fn a_mask_survives_its_text() {
        extern crate std;
        use std::string::ToString;
        for bits in 0..=u8::MAX {
            let mask = VerdictMask::from_bits(bits);
            assert_eq!(mask.to_string().parse(), Ok(mask));
        }
    }
}
