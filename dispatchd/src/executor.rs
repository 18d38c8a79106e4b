//! Carries out plans; chooses nothing.

use std::collections::BTreeSet;

use planner::{ChainDir, Cleanup, Plan};

use crate::kernel::{Kernel, KernelError};

/// Carries out a plan. An error means that nothing changed: what was built aside is freed again.
/// Otherwise the plan's commit is done, and what is returned are the cleanup steps that failed:
/// they do no harm, and reconciling what is pinned then ([`planner::reconcile`]) finishes them.
pub fn run(kernel: &mut impl Kernel, plan: &Plan) -> Result<Vec<KernelError>, KernelError> {
    let built = plan
        .prepare
        .iter()
        .try_for_each(|step| kernel.prepare(plan, step))
        .and_then(|()| kernel.commit(plan));
    if let Err(error) = built {
        kernel.discard(plan);
        return Err(error);
    }
    Ok(finish(kernel, plan.dir, &plan.cleanup))
}

/// Frees what packets no longer see, and returns what failed.
///
/// Every step is tried, but for those that a failed one made unsafe: nothing is freed while
/// packets may be inside it, and no build whose counts are not saved.
pub fn finish(kernel: &mut impl Kernel, chain: ChainDir, steps: &[Cleanup]) -> Vec<KernelError> {
    let mut failures = Vec::new();
    let mut unsaved = BTreeSet::new();
    for step in steps {
        if let Cleanup::RetireBuild { build } = step
            && unsaved.contains(build)
        {
            continue;
        }
        let Err(error) = kernel.cleanup(chain, step) else {
            continue;
        };
        failures.push(error);
        if *step == Cleanup::Grace {
            break;
        }
        if let Cleanup::FoldCounters { build, .. } = step {
            unsaved.insert(*build);
        }
    }
    failures
}

#[cfg(test)]
mod tests;
