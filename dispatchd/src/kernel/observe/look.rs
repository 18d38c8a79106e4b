//! One look at a chain's pins, and what was wrong in it.

use std::ffi::OsString;

use planner::{Call, ChainDir, Kind, Pin, Why};

use crate::kernel::pinned::{self, Fault, Object};
use crate::kernel::pins::{self, Pins};

/// See the module.
pub(super) struct Look<'a> {
    pins: &'a Pins,
    dir: ChainDir,
    /// In the order in which they were met.
    pub(super) faults: Vec<Why>,
}

impl<'a> Look<'a> {
    pub(super) fn at(pins: &'a Pins, dir: ChainDir) -> Self {
        Self {
            pins,
            dir,
            faults: Vec::new(),
        }
    }

    /// Opens a pin that is to be like this; `None` if it isn't there, or if it isn't like this, which
    /// is a fault.
    pub(super) fn open<T>(
        &mut self,
        pin: &Pin,
        wanted: impl FnOnce(Object) -> Result<T, Fault>,
    ) -> Option<T> {
        let opened = pinned::open(&self.pins.path(self.dir, pin));
        match opened.and_then(|found| found.map(wanted).transpose()) {
            Ok(found) => found,
            Err(fault) => {
                self.faults.push(fault.of(pin.clone()));
                None
            }
        }
    }

    /// The names in a directory; none if it isn't there, or if it is no directory, which is a fault.
    pub(super) fn names(&mut self, pin: &Pin) -> Vec<OsString> {
        let path = self.pins.path(self.dir, pin);
        let kind = match path.symlink_metadata() {
            Ok(found) if found.is_file() => Some(Kind::Pin),
            Ok(found) if !found.is_dir() => Some(Kind::Other),
            Ok(_) | Err(_) => None,
        };
        let names = match kind {
            Some(kind) => Err(Fault::Kind(kind)),
            None => pins::names(&path).map_err(Fault::failed(Call::Readdir)),
        };
        names.unwrap_or_else(|fault| {
            self.faults.push(fault.of(pin.clone()));
            Vec::new()
        })
    }

    /// What a call said, if it worked.
    pub(super) fn said<T>(&mut self, pin: &Pin, call: Call, said: std::io::Result<T>) -> Option<T> {
        said.map_err(|error| self.faults.push(Fault::failed(call)(error).of(pin.clone())))
            .ok()
    }
}
