//! How is a point in time kept in eight bytes?

use std::{num::NonZeroU64, sync::LazyLock, time::Duration};

use tokio::time::Instant;

/// How long before the process asked for the first time times can be told.
const BEFORE: Duration = Duration::from_hours(24);

/// The earliest moment that can be told.
static EARLIEST: LazyLock<Instant> = LazyLock::new(|| {
    let now = Instant::now();
    now.checked_sub(BEFORE).unwrap_or(now)
});

/// An [`Instant`] in half of its memory, also where there may be none: nanoseconds, for some 580 years.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Moment(NonZeroU64);

impl Moment {
    /// This one.
    pub(crate) fn now() -> Self {
        Instant::now().into()
    }
}

impl From<Instant> for Moment {
    fn from(at: Instant) -> Self {
        let after = at.saturating_duration_since(*EARLIEST).as_nanos();
        let after = u64::try_from(after).unwrap_or(u64::MAX);
        Self(NonZeroU64::MIN.saturating_add(after))
    }
}

impl From<Moment> for Instant {
    fn from(moment: Moment) -> Self {
        *EARLIEST + Duration::from_nanos(moment.0.get() - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_the_instant_that_it_was_made_of() {
        let now = Instant::now();
        for at in [
            now,
            now + Duration::from_nanos(1),
            now + Duration::from_hours(24 * 365),
        ] {
            assert_eq!(Instant::from(Moment::from(at)), at);
        }
        assert!(Moment::from(now) < Moment::from(now + Duration::from_nanos(1)));
    }

    #[test]
    fn it_is_small_where_there_may_be_none() {
        assert_eq!(size_of::<Option<Moment>>(), 8);
    }
}
