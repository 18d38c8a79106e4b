//! A measured value beside its peer's, with its target.

use serde::Serialize;

use crate::sample::Sample;
use crate::table::{Table, number};

/// One result. Its name stays the same from version to version.
pub(crate) struct Figure {
    pub(crate) name: &'static str,
    pub(crate) unit: &'static str,
    pub(crate) ours: Sample,
    /// What ours is compared with.
    pub(crate) peer: String,
    /// The peer's value, in the same unit and from the same run.
    pub(crate) peer_value: f64,
    pub(crate) target: Target,
}

/// What a value has to reach.
#[derive(Clone, Copy)]
pub(crate) enum Target {
    AtMost(f64),
    AtLeast(f64),
    /// Nothing: the figure is there to be known.
    None,
}

impl Figure {
    /// Whether the target is reached, if there is one.
    pub(crate) fn met(&self) -> Option<bool> {
        match self.target {
            Target::AtMost(limit) => Some(self.ours.median <= limit),
            Target::AtLeast(limit) => Some(self.ours.median >= limit),
            Target::None => None,
        }
    }
}

impl Target {
    /// The value that is just good enough.
    pub(crate) fn limit(self) -> Option<f64> {
        match self {
            Self::AtMost(limit) | Self::AtLeast(limit) => Some(limit),
            Self::None => None,
        }
    }

    fn words(self) -> String {
        match self {
            Self::AtMost(limit) => format!("≤ {}", number(limit)),
            Self::AtLeast(limit) => format!("≥ {}", number(limit)),
            Self::None => "-".to_owned(),
        }
    }
}

/// The figures, for people.
pub(crate) fn table(figures: &[Figure]) -> Table {
    let mut table = Table::new(
        "Figures",
        [
            "name", "value", "spread", "target", "met", "peer's", "unit", "peer",
        ],
    );
    for figure in figures {
        table.row([
            figure.name.to_owned(),
            number(figure.ours.median),
            number(figure.ours.spread),
            figure.target.words(),
            match figure.met() {
                Some(true) => "yes",
                Some(false) => "NO",
                None => "-",
            }
            .to_owned(),
            number(figure.peer_value),
            figure.unit.to_owned(),
            figure.peer.clone(),
        ]);
    }
    table
}

/// The figures, for programs.
pub(crate) fn json(figures: &[Figure]) -> serde_json::Result<String> {
    #[derive(Serialize)]
    struct Document<'a> {
        figures: Vec<Entry<'a>>,
    }
    #[derive(Serialize)]
    struct Entry<'a> {
        name: &'a str,
        value: f64,
        unit: &'a str,
        peer: &'a str,
        peer_value: f64,
        target: Option<f64>,
        met: Option<bool>,
        spread: f64,
    }
    let figures = figures.iter().map(|figure| Entry {
        name: figure.name,
        value: figure.ours.median,
        unit: figure.unit,
        peer: &figure.peer,
        peer_value: figure.peer_value,
        target: figure.target.limit(),
        met: figure.met(),
        spread: figure.ours.spread,
    });
    let document = Document {
        figures: figures.collect(),
    };
    Ok(serde_json::to_string_pretty(&document)? + "\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_met_on_its_limit_and_on_the_good_side() {
        let met = |value, target| {
            let figure = Figure {
                name: "name",
                unit: "unit",
                ours: Sample::of([value]),
                peer: "peer".to_owned(),
                peer_value: 1.0,
                target,
            };
            figure.met()
        };
        let values = [1.0, 2.0, 3.0];
        let at_most = values.map(|value| met(value, Target::AtMost(2.0)));
        let at_least = values.map(|value| met(value, Target::AtLeast(2.0)));
        assert_eq!(at_most, [true, true, false].map(Some));
        assert_eq!(at_least, [false, true, true].map(Some));
        assert_eq!(met(2.0, Target::None), None);
    }
}
