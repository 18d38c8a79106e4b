//! Opens pins without believing their names.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use planner::{Call, Kind, Pin, Why};

use crate::bpf::{self, LinkInfo, MapInfo, ObjectKind, ProgramInfo, Shape};

/// What a pin turned out to be.
#[derive(Debug)]
pub(super) enum Object {
    Map(OwnedFd, MapInfo),
    Program(OwnedFd, ProgramInfo),
    Link(OwnedFd, LinkInfo),
}

/// Why a name can't be opened as a pin.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// It is something else.
    Kind(Kind),
    /// A call failed.
    Failed { call: Call, errno: i32 },
}

impl Fault {
    pub(super) fn failed(call: Call) -> impl FnOnce(io::Error) -> Self {
        move |error| Self::Failed {
            call,
            errno: error.raw_os_error().unwrap_or(0),
        }
    }

    /// What is wrong with the chain, then.
    pub(super) fn of(self, pin: Pin) -> Why {
        match self {
            Self::Kind(found) => Why::WrongKind { pin, found },
            Self::Failed { call, errno } => Why::Failed { pin, call, errno },
        }
    }
}

impl Object {
    pub(super) fn kind(&self) -> Kind {
        match self {
            Self::Map(_, info) => map_kind(&info.shape),
            Self::Program(_, info) => Kind::Program {
                program_type: info.program_type,
            },
            Self::Link(_, info) => Kind::Link {
                link_type: info.link_type,
            },
        }
    }

    /// The map, if it is one like this.
    pub(super) fn map(self, fits: impl Fn(&Shape) -> bool) -> Result<(OwnedFd, MapInfo), Fault> {
        match self {
            Self::Map(fd, info) if fits(&info.shape) => Ok((fd, info)),
            other @ (Self::Map(..) | Self::Program(..) | Self::Link(..)) => {
                Err(Fault::Kind(other.kind()))
            }
        }
    }

    /// The program, if it is one of these types.
    pub(super) fn program(self, types: &[u32]) -> Result<(OwnedFd, ProgramInfo), Fault> {
        match self {
            Self::Program(fd, info) if types.contains(&info.program_type) => Ok((fd, info)),
            other @ (Self::Map(..) | Self::Program(..) | Self::Link(..)) => {
                Err(Fault::Kind(other.kind()))
            }
        }
    }

    /// The link, if it is of this type.
    pub(super) fn link(self, link_type: u32) -> Result<(OwnedFd, LinkInfo), Fault> {
        match self {
            Self::Link(fd, info) if info.link_type == link_type => Ok((fd, info)),
            other @ (Self::Map(..) | Self::Program(..) | Self::Link(..)) => {
                Err(Fault::Kind(other.kind()))
            }
        }
    }
}

pub(super) fn map_kind(shape: &Shape) -> Kind {
    Kind::Map {
        map_type: shape.map_type,
        key_size: shape.key_size,
        value_size: shape.value_size,
        max_entries: shape.max_entries,
    }
}

/// Opens a pin; `None` if there is nothing of this name. Only what isn't there is absent: any other
/// error must not be taken for that, or a chain that runs would be taken for one that is gone.
pub(super) fn open(path: &Path) -> Result<Option<Object>, Fault> {
    let found = match path.symlink_metadata() {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Fault::failed(Call::Lstat)(error)),
    };
    if found.is_dir() {
        return Err(Fault::Kind(Kind::Directory));
    }
    if !found.is_file() {
        return Err(Fault::Kind(Kind::Other));
    }
    let fd = match bpf::obj_get(path) {
        Ok(fd) => fd,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Fault::failed(Call::BpfObjGet)(error)),
    };
    let kind = bpf::object_kind(fd.as_fd()).map_err(Fault::failed(Call::Readlink))?;
    let info = Fault::failed(Call::BpfObjGetInfoByFd);
    Ok(Some(match kind {
        Some(ObjectKind::Map) => {
            let found = bpf::map_info(fd.as_fd()).map_err(info)?;
            Object::Map(fd, found)
        }
        Some(ObjectKind::Program) => {
            let found = bpf::program_info(fd.as_fd()).map_err(info)?;
            Object::Program(fd, found)
        }
        Some(ObjectKind::Link) => {
            let found = bpf::link_info(fd.as_fd()).map_err(info)?;
            Object::Link(fd, found)
        }
        None => return Err(Fault::Kind(Kind::Other)),
    }))
}
