//! What a start says of pins that are not what they should be, and does about them.

use planner::Recovery;

use crate::kernel::{Kernel, Linux};
use crate::unreadable;

/// Lets go of chains that are left alone, and makes the others' pins whole. What can't be mended is tried
/// again by the next start.
pub(super) fn mend(kernel: &mut Linux, recovery: &Recovery) {
    for chain in &recovery.unreadable {
        let interface = chain.interface.as_ref().map(|found| &*found.name);
        let why = unreadable::why(&chain.why);
        tracing::error!(chain = %chain.dir, interface, %why, "this chain can't be read: it runs on and is not changed");
        kernel.forget(chain.dir);
    }
    for (chain, step) in &recovery.mends {
        let what = unreadable::mend(step);
        match kernel.mend(*chain, step) {
            Ok(()) => tracing::warn!(%chain, %what, "mended a chain's pins"),
            Err(error) => {
                tracing::error!(%chain, %what, %error, source = %error.source, "a chain's pins could not be mended");
            }
        }
    }
}
