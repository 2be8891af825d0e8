//! How is a point in time kept in eight bytes?

use std::{num::NonZeroU64, time::Duration};

use tokio::time::Instant;

/// What the moments of a worker's streams count from; earlier ones cannot be told.
#[derive(Debug, Clone, Copy)]
pub(super) struct Clock(Instant);

/// An [`Instant`] in half of its memory, also where there may be none: nanoseconds by a [`Clock`], for 580 years.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Moment(NonZeroU64);

impl Clock {
    /// Counts from here.
    pub(super) fn new(begun_at: Instant) -> Self {
        Self(begun_at)
    }

    /// This moment.
    pub(super) fn now(self) -> Moment {
        self.moment(Instant::now())
    }

    pub(super) fn moment(self, at: Instant) -> Moment {
        let after = at.saturating_duration_since(self.0).as_nanos();
        let after = u64::try_from(after).unwrap_or(u64::MAX);
        Moment(NonZeroU64::MIN.saturating_add(after))
    }

    pub(super) fn instant(self, at: Moment) -> Instant {
        self.0 + Duration::from_nanos(at.0.get() - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_the_instant_that_it_was_made_of() {
        let begun = Instant::now();
        let clock = Clock::new(begun);
        let year = Duration::from_hours(24 * 365);
        for at in [begun, begun + Duration::from_nanos(1), begun + year] {
            assert_eq!(clock.instant(clock.moment(at)), at);
        }
        assert!(clock.moment(begun) < clock.moment(begun + Duration::from_nanos(1)));
    }

    #[test]
    fn it_is_small_where_there_may_be_none() {
        assert_eq!(size_of::<Option<Moment>>(), 8);
    }
}
