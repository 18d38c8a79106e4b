//! As what a program is loaded, and what it can be loaded as.

use std::fmt;

use dispatcher_abi::Engine;

/// As what the kernel holds a program. It is chosen before the program is loaded and can't be
/// changed afterwards, only by loading the program again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Form {
    /// freplace: a `BPF_PROG_TYPE_EXT` program; tail call: an XDP program.
    pub engine: Engine,
    /// Loaded with `BPF_F_XDP_HAS_FRAGS`. A root has the flag only if all its members have, and its
    /// program array takes only programs that agree with the root.
    pub frags: bool,
    /// The attach type that the program expects. A program array takes only programs that agree
    /// with its root in that, and a link can't be updated from one type to the other.
    pub attach: AttachType,
}

impl Form {
    /// An XDP program without frags, of the attach type that the daemon loads.
    pub(crate) const PLAIN: Self = Self {
        engine: Engine::Tailcall,
        frags: false,
        attach: AttachType::Xdp,
    };
}

/// The attach type that an XDP program expects (`expected_attach_type`, `enum bpf_attach_type`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AttachType {
    /// 0: none was given when the program was loaded.
    Unset,
    /// 37, `BPF_XDP`: what the daemon loads.
    #[default]
    Xdp,
}

/// What a program can be loaded as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Abilities {
    /// Why it can't take the place of a slot's function; `None` if it can.
    pub obstacle: Option<Obstacle>,
    /// It takes packets of several buffers.
    pub frags: bool,
}

impl Abilities {
    /// What is hoped of a program that nobody has looked at.
    pub(crate) const ALL: Self = Self {
        obstacle: None,
        frags: true,
    };
}

/// Why a program can't take the place of a slot's function. It then runs by tail call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Obstacle {
    /// The kernel compares prototypes, and the object says nothing of types.
    NoTypes,
    /// The prototype is another than a slot's.
    Prototype,
    /// It was refused as an extension, and not as an XDP program.
    Refused,
    /// A later version found one that this version has no word for.
    Unknown(u32),
    /// An extension takes the right to read the kernel's memory (`CAP_PERFMON`).
    Untrusted,
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoTypes => "its object has no type information (BTF) for it",
            Self::Prototype => "its prototype is not `int f(struct xdp_md *)`",
            Self::Refused => "the kernel takes it as an XDP program and not as an extension",
            Self::Unknown(_) => "a later version of dispatchd found that it can't be an extension",
            Self::Untrusted => {
                "its user is not trusted to load extensions, which may read the kernel's memory"
            }
        })
    }
}
