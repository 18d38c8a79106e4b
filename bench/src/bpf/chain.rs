//! Chains of members that all return PASS.

use std::ffi::CStr;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::{fs, io};

use dispatcher_abi::{EXT_SLOTS, JUMP_MAP, SLOTS, Verdict};

use super::kind::{CURRENT_LIBXDP, DEBIAN_LIBXDP, Kind, Settings};
use super::sys::{self, Function, Object};
use super::{config, instructions};

const DISPATCHER: &[u8] = include_bytes!(env!("DISPATCHER_OBJECT"));
const DISPATCHER_EXT_16: &[u8] = include_bytes!(env!("DISPATCHER_EXT_16_OBJECT"));

/// A loaded chain. It is attached to nothing.
pub(crate) struct Chain {
    root: Root,
    /// What keeps the slots filled.
    _links: Vec<OwnedFd>,
}

enum Root {
    Object(Object),
    Program(OwnedFd),
}

impl Chain {
    /// Loads a chain with so many members.
    pub(crate) fn load(kind: Kind, slots: usize) -> io::Result<Self> {
        match kind {
            Kind::Bare => Self::of_code(&instructions::pass()),
            Kind::Calls => Self::of_code(&instructions::call_chain(slots)),
            Kind::Extensions(settings) => {
                let config = config::ours::<{ EXT_SLOTS[0] }>(slots, settings);
                let object = Object::load(DISPATCHER_EXT_16, c"dispatcher_ext", &config)?;
                Self::of_extensions(object, slots, "slot_")
            }
            Kind::Replaced(settings) => {
                Self::of_extensions(dispatcher(slots, settings)?, slots, "slot_")
            }
            Kind::TailCalls(settings) => Self::of_tail_calls(dispatcher(slots, settings)?, slots),
            Kind::DebianLibxdp => Self::of_libxdp(DEBIAN_LIBXDP, slots),
            Kind::CurrentLibxdp => Self::of_libxdp(CURRENT_LIBXDP, slots),
        }
    }

    fn of_code(code: &instructions::Code) -> io::Result<Self> {
        Ok(Self {
            root: Root::Program(sys::load_xdp(code)?),
            _links: Vec::new(),
        })
    }

    fn of_tail_calls(object: Object, slots: usize) -> io::Result<Self> {
        let array = object.map(JUMP_MAP)?;
        for index in 0..slots {
            // The array keeps the program.
            let member = sys::load_xdp(&instructions::pass())?;
            let index = u32::try_from(index).expect("a chain is short");
            sys::fill(array, index, member.as_fd())?;
        }
        Ok(Self {
            root: Root::Object(object),
            _links: Vec::new(),
        })
    }

    fn of_libxdp(file: &str, slots: usize) -> io::Result<Self> {
        const PROGRAM: &CStr = c"xdp_dispatcher";
        let object = Object::load(&fs::read(file)?, PROGRAM, &config::libxdp(slots))?;
        Self::of_extensions(object, slots, "prog")
    }

    /// Replaces the functions of this name and a number.
    fn of_extensions(object: Object, slots: usize, function: &str) -> io::Result<Self> {
        let first = Function::of(object.program(), &format!("{function}0"))?;
        let replace = |slot| {
            // All are loaded for the first slot and put into another: they fit each.
            let member = sys::load_extension(&instructions::pass(), &first)?;
            Function::of(object.program(), &format!("{function}{slot}"))?.replace(member.as_fd())
        };
        let links = (0..slots).map(replace).collect::<io::Result<_>>()?;
        Ok(Self {
            root: Root::Object(object),
            _links: links,
        })
    }

    /// Nanoseconds that one of so many packets takes. By the kernel's clock, which stops while
    /// something else runs, and rounds down to whole ones.
    pub(crate) fn packet_cost(&self, packets: i32) -> io::Result<f64> {
        let run = sys::run(self.program(), packets)?;
        if run.verdict == Verdict::Pass as u32 {
            Ok(f64::from(run.nanoseconds))
        } else {
            let verdict = run.verdict;
            Err(io::Error::other(format!("the chain returned {verdict}")))
        }
    }

    fn program(&self) -> BorrowedFd<'_> {
        match &self.root {
            Root::Object(object) => object.program(),
            Root::Program(program) => program.as_fd(),
        }
    }
}

fn dispatcher(slots: usize, settings: Settings) -> io::Result<Object> {
    let config = config::ours::<SLOTS>(slots, settings);
    Object::load(DISPATCHER, c"dispatcher", &config)
}
