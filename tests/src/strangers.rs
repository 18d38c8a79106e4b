//! Programs that are none of the daemon's business.

use std::os::fd::{AsFd, OwnedFd};

use crate::sys::{self, Instruction};
use crate::veth::{End, Pair};

/// Somebody else's program on an interface, attached by netlink.
pub struct Foreign {
    program: OwnedFd,
}

impl Foreign {
    /// Puts a program that passes everything onto the interface.
    pub fn on(end: &End) -> Self {
        let program = returns(2);
        end.netns
            .run(|| sys::xdp_attach(end.index, Some(program.as_fd())))
            .expect("the interface takes a program");
        Self { program }
    }

    /// The kernel's id of it.
    pub fn id(&self) -> u32 {
        sys::program_id(self.program.as_fd())
    }

    /// Takes whatever hangs on the interface by netlink off.
    pub fn remove(self, end: &End) {
        end.netns
            .run(|| sys::xdp_attach(end.index, None))
            .expect("it can be detached");
    }

    /// Detaches a link by its id, as `xdp-loader unload` does to anybody's.
    pub fn detach_link(id: u32) {
        sys::link_detach(id).expect("an XDP link can be detached");
    }
}

/// So many XDP programs, each attached to an interface of its own, so that the kernel's dispatcher
/// for direct calls, which holds 48, has no place left: changing an XDP program then waits for
/// nothing.
pub struct Strangers {
    _attached: Vec<(Pair, OwnedFd)>,
}

impl Strangers {
    /// So many.
    pub fn new(count: u32) -> Self {
        let attached = (0..count)
            .map(|_| {
                let pair = Pair::new();
                let program = returns(2);
                pair.near
                    .netns
                    .run(|| sys::xdp_attach(pair.near.index, Some(program.as_fd())))
                    .expect("the interface takes a program");
                (pair, program)
            })
            .collect();
        Self {
            _attached: attached,
        }
    }
}

/// A program that returns this.
pub(crate) fn returns(verdict: i32) -> OwnedFd {
    let instruction = |code, immediate| Instruction {
        code,
        to: 0,
        from: 0,
        offset: 0,
        immediate,
    };
    sys::load_xdp(
        "xdt_foreign",
        &[instruction(0xb7, verdict), instruction(0x95, 0)],
    )
    .expect("two instructions load")
}
