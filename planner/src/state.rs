//! Every chain.

use std::collections::BTreeMap;

use crate::{Chain, ChainKey, MemberId};

/// Every chain that the daemon runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    /// The chains.
    pub chains: BTreeMap<ChainKey, Chain>,
    /// The next member's id.
    pub next_member: MemberId,
}
