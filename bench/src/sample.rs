//! A value measured several times.

/// What several measurements say.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Sample {
    /// The middle one.
    pub(crate) median: f64,
    /// How far the middle half of them reaches, from the first to the third quartile.
    pub(crate) spread: f64,
}

impl Sample {
    /// Of at least one value.
    pub(crate) fn of(values: impl IntoIterator<Item = f64>) -> Self {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        let quartile = |quarters: usize| values[(values.len() - 1) * quarters / 4];
        Self {
            median: quartile(2),
            spread: quartile(3) - quartile(1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_half_decides() {
        let sample = Sample::of([900.0, 2.0, 1.0, 3.0, 0.0]);
        let expected = Sample {
            median: 2.0,
            spread: 2.0,
        };
        assert_eq!(sample, expected);
    }
}
