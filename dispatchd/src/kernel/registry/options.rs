//! What a later version adds to a record without a new one: numbered, skipped where it isn't known.

use planner::RegistryFault;
use serde::{Deserialize, Serialize};

/// In an option's number: whoever doesn't know it can't make sense of the record.
const MUST_BE_KNOWN: u32 = 1 << 31;

/// The options at a record's end. This version writes none, and knows none. Those that are skipped
/// are gone after this daemon's next change of the chain.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Options(Vec<OptionRecord>);

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct OptionRecord {
    number: u32,
    bytes: Vec<u8>,
}

impl Options {
    /// Fails if one of them has to be known.
    pub(super) fn skip(&self) -> Result<(), RegistryFault> {
        let must = |option: &&OptionRecord| option.number & MUST_BE_KNOWN != 0;
        self.0.iter().find(must).map_or(Ok(()), |option| {
            Err(RegistryFault::Unknown {
                option: option.number & !MUST_BE_KNOWN,
            })
        })
    }

    #[cfg(test)]
    pub(super) fn one(number: u32, must_be_known: bool) -> Self {
        let bit = if must_be_known { MUST_BE_KNOWN } else { 0 };
        Self(vec![OptionRecord {
            number: number | bit,
            bytes: vec![7; 5],
        }])
    }
}
