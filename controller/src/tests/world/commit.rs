//! The step that packets see.

use dispatcher_abi::Mode;
use planner::{Build, Commit, FailureKind, Plan};

use super::{Hook, World};
use crate::HookLeft;

/// Why a commit's effect failed.
pub(super) type Why = (FailureKind, &'static str);

impl World {
    /// One effect of a commit, 0 the first; returns whether it was the last.
    pub(super) fn commit(&mut self, plan: &Plan, effect: usize) -> Result<bool, Why> {
        match (plan.commit, effect) {
            (Commit::Attach { build, mode }, _) => self.attach(plan, build, mode, effect),
            (Commit::Swap { from, to }, _) => self.swap(plan, from, to).map(|()| true),
            (Commit::Reattach { .. }, 0) => {
                // A link that is off already is fine.
                if self.holds(plan) {
                    self.take_off(plan.site);
                }
                Ok(false)
            }
            (Commit::Reattach { to, mode, .. }, _) => self.attach(plan, to, mode, effect - 1),
            (Commit::Detach { .. }, 0) => {
                // From now on it goes with the daemon.
                self.pins(plan.dir).link = None;
                self.pin_link(plan, false);
                Ok(false)
            }
            (Commit::Detach { .. }, _) => {
                if self.holds(plan) {
                    self.take_off(plan.site);
                }
                Ok(true)
            }
            (Commit::Registry { build }, _) => {
                let built = self.pins(plan.dir).built(build);
                let next = built.draft.take();
                built.registry = Some(next.expect("written before"));
                Ok(true)
            }
        }
    }

    /// What is undone at once when a commit's effect failed: a new link that isn't pinned goes, and
    /// one that should go and doesn't is pinned again.
    pub(super) fn uncommit(&mut self, plan: &Plan) -> HookLeft {
        let created = self.nics.get(&plan.site).and_then(|nic| match nic.hook {
            Hook::Link { dir, build, .. } if dir == plan.dir => Some(build),
            Hook::Link { .. } | Hook::Empty | Hook::Other(_) => None,
        });
        let to = match plan.commit {
            Commit::Attach { build, .. } => Some(build),
            Commit::Reattach { to, .. } => Some(to),
            Commit::Swap { .. } | Commit::Detach { .. } | Commit::Registry { .. } => None,
        };
        if let Some(to) = to {
            self.pins(plan.dir).next_link = None;
            if created == Some(to) {
                self.take_off(plan.site);
            }
            // A chain that is put back on its hook counts on where it was.
            if self.chains[&plan.dir].link != Some(to) {
                self.forget_counts(plan.dir, to);
            }
        }
        if let Commit::Detach { build } = plan.commit {
            self.pins(plan.dir).link = Some(build);
            self.pin_link(plan, true);
        }
        match plan.commit {
            Commit::Reattach { .. } if !self.holds(plan) => HookLeft::Empty,
            Commit::Attach { .. }
            | Commit::Swap { .. }
            | Commit::Reattach { .. }
            | Commit::Detach { .. }
            | Commit::Registry { .. } => HookLeft::AsItWas,
        }
    }

    /// Whether the chain's link is on its hook.
    pub(super) fn holds(&self, plan: &Plan) -> bool {
        let hook = self.nics.get(&plan.site).map(|nic| nic.hook);
        matches!(hook, Some(Hook::Link { dir, .. }) if dir == plan.dir)
    }

    /// Creates the link, pins it beside the old one's pin, and puts it over that.
    fn attach(
        &mut self,
        plan: &Plan,
        build: Build,
        mode: Mode,
        effect: usize,
    ) -> Result<bool, Why> {
        if effect == 0 {
            self.create(plan, build, mode)?;
            return Ok(false);
        }
        self.pin_link(plan, true);
        let pins = self.pins(plan.dir);
        if effect == 1 {
            pins.next_link = Some(build);
            return Ok(false);
        }
        pins.link = pins.next_link.take();
        Ok(true)
    }

    /// Pins the link on the chain's hook, or removes its pin.
    fn pin_link(&mut self, plan: &Plan, pins: bool) {
        let nic = self.nics.get_mut(&plan.site);
        if let Some(Hook::Link { is_pinned, dir, .. }) = nic.map(|nic| &mut nic.hook)
            && *dir == plan.dir
        {
            *is_pinned = pins;
        }
    }

    fn create(&mut self, plan: &Plan, build: Build, mode: Mode) -> Result<(), Why> {
        let is_large = self.is_too_large(plan, build, mode);
        self.pins(plan.dir).assert_whole(build);
        let Some(nic) = self.nics.get_mut(&plan.site) else {
            return Err((FailureKind::Gone, "ENODEV"));
        };
        if mode == Mode::Native && !nic.native {
            return Err((FailureKind::Mode, "EOPNOTSUPP"));
        }
        if is_large {
            return Err((FailureKind::Large, "ERANGE"));
        }
        let is_ours = matches!(nic.hook, Hook::Link { dir, .. } if dir == plan.dir);
        assert!(!is_ours, "{} is attached twice", plan.dir);
        if nic.hook != Hook::Empty {
            return Err((FailureKind::Busy, "EBUSY"));
        }
        nic.hook = Hook::Link {
            dir: plan.dir,
            build,
            is_pinned: false,
        };
        Ok(())
    }

    fn is_too_large(&self, plan: &Plan, build: Build, mode: Mode) -> bool {
        let is_large = self.nics.get(&plan.site).is_some_and(|nic| nic.large);
        let root = self.chains[&plan.dir].builds[&build].root.as_ref();
        is_large && mode == Mode::Native && !root.expect("a root").frags
    }

    fn swap(&mut self, plan: &Plan, from: Build, to: Build) -> Result<(), Why> {
        let mode = plan.next.as_ref().expect("a chain").mode;
        let is_large = self.is_too_large(plan, to, mode);
        let pins = self.pins(plan.dir);
        pins.assert_whole(to);
        if pins.link != Some(from) {
            return Err((FailureKind::Busy, "EPERM"));
        }
        if !self.holds(plan) {
            return Err((FailureKind::Gone, "ENOLINK"));
        }
        if is_large {
            return Err((FailureKind::Large, "ERANGE"));
        }
        self.take_off(plan.site);
        self.pins(plan.dir).link = Some(to);
        let nic = self.nics.get_mut(&plan.site).expect("it is held");
        nic.hook = Hook::Link {
            dir: plan.dir,
            build: to,
            is_pinned: true,
        };
        Ok(())
    }
}
