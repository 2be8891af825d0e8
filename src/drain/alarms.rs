//! Whose time has come although nothing else happens?
//!
//! Each open stream waits for a time nearly always: until its next heartbeat, or the end of its patience. A timer of
//! the runtime takes 112 bytes for that; here it is an entry of a set that all streams of a worker share.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeSet,
    future::{Future as _, poll_fn},
    pin::pin,
    task::{Poll, Waker},
    time::Duration,
};

use tokio::time::{Instant, sleep_until};

/// How many bits tell places apart.
const PLACE_BITS: u32 = 26;
/// How many places there may be.
pub(super) const PLACES_MAX: u32 = 1 << PLACE_BITS;
/// What no time is, and has been rung at the begin.
const NO_TIME_MS: u64 = 1;

/// The times at which places are woken, in one worker.
#[derive(Debug)]
pub(super) struct Alarms {
    begun_at: Instant,
    due: RefCell<BTreeSet<Due>>,
    /// Up to when everybody has been woken, in milliseconds since the begin.
    rung_ms: Cell<u64>,
    /// Who waits for the first of them.
    ringer: RefCell<Option<Waker>>,
}

/// A place, and when it is to be woken, if at all, in one word: milliseconds since the begin (for 8 years), then the
/// place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Due(u64);

impl Due {
    /// A place that nobody waits at.
    pub(super) fn vacant(place: u32) -> Self {
        Self::at(0, place)
    }

    /// The place when somebody waits there, and for no time.
    pub(super) fn taken(self) -> Self {
        Self::at(NO_TIME_MS, self.place())
    }

    fn at(ms: u64, place: u32) -> Self {
        let ms_max = u64::MAX >> PLACE_BITS;
        Self(ms.min(ms_max) << PLACE_BITS | u64::from(place))
    }

    pub(super) fn is_vacant(self) -> bool {
        self.ms() == 0
    }

    pub(super) fn place(self) -> u32 {
        const { assert!(PLACE_BITS < u32::BITS) };
        u32::try_from(self.0 % u64::from(PLACES_MAX)).unwrap_or_default()
    }

    fn ms(self) -> u64 {
        self.0 >> PLACE_BITS
    }
}

impl Default for Alarms {
    fn default() -> Self {
        Self {
            begun_at: Instant::now(),
            due: RefCell::default(),
            rung_ms: Cell::new(NO_TIME_MS),
            ringer: RefCell::default(),
        }
    }
}

impl Alarms {
    /// The same place at that time, in whole milliseconds and not before it.
    pub(super) fn due(&self, at: Instant, place: u32) -> Due {
        let after = at.saturating_duration_since(self.begun_at);
        let up = after + Duration::from_nanos(999_999);
        let ms = u64::try_from(up.as_millis()).unwrap_or(u64::MAX);
        // What has been rung is over: the next one can be told from it.
        Due::at(ms.max(self.rung_ms.get() + 1), place)
    }

    /// Whether the place is still to be woken for this.
    pub(super) fn is_ahead(&self, due: Due) -> bool {
        due.ms() > self.rung_ms.get()
    }

    /// Has the place woken then.
    pub(super) fn set(&self, due: Due) {
        let mut all = self.due.borrow_mut();
        all.insert(due);
        if all.first() == Some(&due)
            && let Some(ringer) = self.ringer.take()
        {
            ringer.wake();
        }
    }

    /// Does not have the place woken then.
    pub(super) fn unset(&self, due: Due) {
        self.due.borrow_mut().remove(&due);
    }

    /// Wakes each place whose time has come, by `wake`, for ever.
    pub(super) async fn ring(&self, wake: impl Fn(u32)) {
        let mut sleep = pin!(sleep_until(self.begun_at));
        poll_fn(|cx| {
            while let Some(next) = self.ring_due(&wake) {
                if sleep.deadline() != next {
                    sleep.as_mut().reset(next);
                }
                if sleep.as_mut().poll(cx).is_pending() {
                    break;
                }
            }
            self.ringer.replace(Some(cx.waker().clone()));
            Poll::<()>::Pending
        })
        .await;
    }

    /// Wakes each place whose time has come; when the next one is due.
    pub(super) fn ring_due(&self, wake: impl Fn(u32)) -> Option<Instant> {
        let now = Instant::now().saturating_duration_since(self.begun_at);
        let now_ms = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
        self.rung_ms.set(now_ms.max(NO_TIME_MS));
        let mut due = self.due.borrow_mut();
        while let Some(&next) = due.first() {
            if self.is_ahead(next) {
                return Some(self.begun_at + Duration::from_millis(next.ms()));
            }
            due.pop_first();
            wake(next.place());
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::sleep;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn each_place_is_woken_once_when_its_time_has_come() {
        let alarms = Alarms::default();
        let begun = Instant::now();
        let due = |ms, place| alarms.due(begun + Duration::from_millis(ms), place);
        let rung = RefCell::new(Vec::new());
        let ringing = alarms.ring(|place| {
            rung.borrow_mut().push((place, begun.elapsed().as_millis()));
        });
        for (place, ms) in [(3, 300), (1, 100), (2, 200), (5, 300)] {
            alarms.set(due(ms, place));
        }
        alarms.unset(due(200, 2));
        let meanwhile = async {
            sleep(Duration::from_millis(150)).await;
            assert!(!alarms.is_ahead(Due::at(100, 1)), "it was rung");
            alarms.set(due(180, 4));
            sleep(Duration::from_secs(1)).await;
        };
        tokio::select! {
            () = ringing => unreachable!("it rings for ever"),
            () = meanwhile => {}
        }
        let order = [(1, 100), (4, 180), (3, 300), (5, 300)];
        assert_eq!(*rung.borrow(), order);
    }

    /// What is set for a time that has just been rung is rung next.
    #[tokio::test(start_paused = true)]
    async fn a_time_that_is_over_is_still_ahead() {
        let alarms = Alarms::default();
        sleep(Duration::from_millis(10)).await;
        assert_eq!(alarms.ring_due(|_| {}), None);
        let due = alarms.due(Instant::now(), 7);
        assert!(alarms.is_ahead(due));
        alarms.set(due);
        let next = alarms.ring_due(|_| panic!("it is not over"));
        assert_eq!(next, Some(Instant::now() + Duration::from_millis(1)));
    }
}
