//! How does everyone learn that we stop, or that its time has come?
//!
//! A [`Drain`] belongs to one worker thread. Streams and connections hold a [`Watch`] each: a place
//! in a list of wakers, so that a silent stream pays 40 bytes for it and nothing per event. At that place it
//! is woken, too, when a time comes that it has set.

mod alarms;

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use slab::Slab;
use tokio::time::Instant;

use self::alarms::{Alarms, Due, PLACES_MAX};

/// One worker's knowledge of whether we stop.
#[derive(Debug, Default)]
pub struct Drain {
    window: Cell<Option<Window>>,
    wakers: RefCell<Slab<Option<Waker>>>,
    alarms: Alarms,
    /// Who waits for the last to leave.
    emptied: RefCell<Option<Waker>>,
}

/// The time that streams have to end in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// When the drain began.
    pub begun: Instant,
    /// When whatever is left is cut.
    pub until: Instant,
}

impl Window {
    /// No time at all: what began is over now.
    #[must_use]
    pub fn over(now: Instant) -> Self {
        Self {
            begun: now,
            until: now,
        }
    }

    /// A moment in the first four fifths of the window, chosen by `fraction` from 0 to 1, so that
    /// clients do not all come back in the same second.
    #[must_use]
    pub fn spread(self, fraction: f64) -> Instant {
        let span = self.until.saturating_duration_since(self.begun);
        self.begun + span.mul_f64(0.8 * fraction.clamp(0.0, 1.0))
    }
}

impl Drain {
    /// Begins to drain, once: everyone who watches is woken.
    pub fn begin(&self, now: Instant, window: Duration) {
        if self.window.get().is_some() {
            return;
        }
        self.window.set(Some(Window {
            begun: now,
            until: now + window,
        }));
        for (_, waker) in self.wakers.borrow().iter() {
            waker.iter().for_each(Waker::wake_by_ref);
        }
    }

    /// Wakes the task at that place alone, where it has been polled there.
    pub fn wake(&self, place: u32) {
        if let Some(Some(waker)) = self.wakers.borrow().get(place as usize) {
            waker.wake_by_ref();
        }
    }

    /// Wakes tasks whose time has come, as long as it is polled.
    pub async fn ring(&self) {
        self.alarms.ring(|place| self.wake(place)).await;
    }

    /// The window, once the drain has begun.
    #[must_use]
    pub fn window(&self) -> Option<Window> {
        self.window.get()
    }

    /// Waits until nobody watches any more: every stream and connection has ended.
    pub async fn emptied(&self) {
        std::future::poll_fn(|cx| {
            if self.wakers.borrow().is_empty() {
                return Poll::Ready(());
            }
            self.emptied.replace(Some(cx.waker().clone()));
            Poll::Pending
        })
        .await;
    }

    /// A place among those who are told.
    ///
    /// # Panics
    /// There are 2^26 streams and connections in one worker, which take more than 80 GB.
    #[must_use]
    pub fn watch(self: &Rc<Self>) -> Watch {
        let place = u32::try_from(self.wakers.borrow_mut().insert(None));
        let place = place.ok().filter(|place| *place < PLACES_MAX);
        Watch {
            drain: Rc::clone(self),
            due: Cell::new(Due::vacant(
                place.expect("fewer than 2^26 streams in one worker"),
            )),
        }
    }
}

/// One task's place among those who are told. Every open stream has one, so that it is kept small.
#[derive(Debug)]
pub struct Watch {
    drain: Rc<Drain>,
    /// The place, vacant until the task's waker stands there; and when it was last to be woken.
    due: Cell<Due>,
}

impl Watch {
    /// The window, once the drain has begun; until then the task is woken when it does. Always polled by
    /// the same task: its place is not looked at again for each event.
    pub fn poll(&mut self, cx: &Context<'_>) -> Option<Window> {
        let due = self.due.get();
        if due.is_vacant() {
            self.drain.wakers.borrow_mut()[due.place() as usize] = Some(cx.waker().clone());
            self.due.set(due.taken());
        }
        self.drain.window()
    }

    /// Ready once `at` is reached; until then the task is woken at `at` or earlier. Only for a task that is told of
    /// the drain. A time that is set is never moved later: when it comes, the next one is set.
    pub fn poll_until(&self, at: Instant) -> Poll<()> {
        if at <= Instant::now() {
            return Poll::Ready(());
        }
        let alarms = &self.drain.alarms;
        let set = self.due.get();
        let due = alarms.due(at, set.place());
        if alarms.is_ahead(set) {
            if set <= due {
                return Poll::Pending;
            }
            alarms.unset(set);
        }
        alarms.set(due);
        self.due.set(due);
        Poll::Pending
    }

    /// Whether the task is still to be woken at a time that it has set.
    #[must_use]
    pub fn is_pending(&self) -> bool {
        self.drain.alarms.is_ahead(self.due.get())
    }

    /// Where it is among those who are told, for [`Drain::wake`].
    #[must_use]
    pub fn place(&self) -> u32 {
        self.due.get().place()
    }

    /// Whether the window has passed, so that whatever is left is cut.
    #[must_use]
    pub fn is_over(&self, now: Instant) -> bool {
        self.drain
            .window()
            .is_some_and(|window| window.until <= now)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let due = self.due.get();
        self.drain.alarms.unset(due);
        let mut wakers = self.drain.wakers.borrow_mut();
        wakers.remove(due.place() as usize);
        if wakers.is_empty()
            && let Some(waker) = self.drain.emptied.take()
        {
            waker.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::{
            Arc,
            atomic::{AtomicUsize, Ordering},
        },
        task::Wake,
    };

    use super::*;

    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_watches_is_woken_once_and_told_the_window() {
        let drain = Rc::new(Drain::default());
        let count = Arc::new(Count(AtomicUsize::new(0)));
        let waker = Waker::from(Arc::clone(&count));
        let cx = Context::from_waker(&waker);
        let mut watch = drain.watch();
        let gone = drain.watch();
        assert_eq!(watch.poll(&cx), None);
        drop(gone);
        let now = Instant::now();
        drain.begin(now, Duration::from_secs(10));
        drain.begin(now, Duration::from_secs(99));
        assert_eq!(count.0.load(Ordering::SeqCst), 1);
        drain.wake(watch.place());
        assert_eq!(count.0.load(Ordering::SeqCst), 2);
        let window = watch.poll(&cx).expect("the drain has begun");
        assert_eq!(window.until, now + Duration::from_secs(10));
        assert_eq!(window.spread(0.5), now + Duration::from_secs(4));
        assert!(!watch.is_over(now) && watch.is_over(window.until));
        let (ended, ()) = tokio::join!(
            tokio::time::timeout(Duration::from_secs(1), drain.emptied()),
            async { drop(watch) },
        );
        assert!(ended.is_ok());
    }
}
