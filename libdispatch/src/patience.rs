//! How long a call waits.

use std::time::{Duration, Instant};

/// How long a call waits for each answer, and for all of them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    pub(crate) answer: Duration,
    until: Option<Instant>,
}

impl Patience {
    /// So long for each answer.
    pub(crate) fn for_each_answer(answer: Duration) -> Self {
        Self {
            answer,
            until: None,
        }
    }

    /// So long for the whole call, however many answers it needs.
    pub(crate) fn for_all(answer: Duration) -> Self {
        Self::for_each_answer(answer).for_one_answer()
    }

    /// As long as one answer may take from now on, for everything that leads to it.
    pub(crate) fn for_one_answer(&self) -> Self {
        Self {
            answer: self.answer,
            until: Some(self.limit()),
        }
    }

    /// When the wait for an answer ends that begins now.
    pub(crate) fn limit(&self) -> Instant {
        self.limit_from(Instant::now())
    }

    /// When it ends if it began at this time.
    pub(crate) fn limit_from(&self, begun: Instant) -> Instant {
        let limit = begun + self.answer;
        self.until.map_or(limit, |until| until.min(limit))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_answers_together_take_no_longer_than_the_whole() {
        let hour = Duration::from_secs(3600);
        let all = Patience::for_all(hour);
        let limit = all.limit();
        assert_eq!(all.limit(), limit, "it doesn't move");
        assert_eq!(all.for_one_answer().limit(), limit);
        let each = Patience::for_each_answer(hour);
        assert!(each.limit() >= limit);
    }
}
