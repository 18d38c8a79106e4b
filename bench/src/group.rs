//! What is measured together.
//!
//! A new group is a module with a function that returns [`Measured`], and a line in [`ALL`].

use std::path::PathBuf;

use crate::figure::Figure;
use crate::table::Table;
use crate::{Result, daemon, data_plane, echo, firewall, xsk};

/// Figures that come of the same measurement.
pub(crate) struct Group {
    /// The names of its figures, by which it is chosen.
    pub(crate) figures: &'static [&'static str],
    /// Measures all of them.
    pub(crate) measure: fn(&Setup) -> Result<Measured>,
}

/// Every group, in the order in which they run.
pub(crate) const ALL: [Group; 8] = [
    Group {
        figures: &data_plane::instructions::FIGURES,
        measure: data_plane::instructions::measure,
    },
    Group {
        figures: &data_plane::packets::FIGURES,
        measure: data_plane::packets::measure,
    },
    Group {
        figures: &daemon::add::FIGURES,
        measure: daemon::add::measure,
    },
    Group {
        figures: &daemon::reorder::FIGURES,
        measure: daemon::reorder::measure,
    },
    Group {
        figures: &daemon::scale::FIGURES,
        measure: daemon::scale::measure,
    },
    Group {
        figures: &firewall::FIGURES,
        measure: firewall::measure,
    },
    Group {
        figures: &xsk::FIGURES,
        measure: xsk::measure,
    },
    Group {
        figures: &echo::FIGURES,
        measure: echo::measure,
    },
];

/// What groups are told.
pub(crate) struct Setup {
    /// The dispatcher object of the current libxdp, if there is one.
    pub(crate) libxdp: Option<PathBuf>,
}

/// What a group found out.
pub(crate) struct Measured {
    /// What has a name, a target and a peer.
    pub(crate) figures: Vec<Figure>,
    /// What they come from, for people.
    pub(crate) tables: Vec<Table>,
}
