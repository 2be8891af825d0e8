//! Who is next when an endpoint has room again?
//!
//! One line for all workers, first come, first served. Whoever gives a place back calls the first;
//! whoever leaves the line, with a place or without, calls the one behind. Nobody is called, and no
//! lock is taken, where nobody waits.

use std::{
    collections::VecDeque,
    future::poll_fn,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    task::{Poll, Waker},
};

/// The requests that wait for an endpoint of one upstream.
#[derive(Debug, Default)]
pub struct Queue {
    line: Mutex<Line>,
    /// How many are in the line. Who enters writes it before it looks for room, and who gives room back
    /// reads it afterwards: one of the two sees the other.
    length: AtomicUsize,
}

#[derive(Debug, Default)]
struct Line {
    /// By ticket, ascending.
    waiting: VecDeque<Waiting>,
    /// The next one at the end of the line.
    last: i64,
    /// How many were let in at its front.
    fronts: i64,
}

#[derive(Debug)]
struct Waiting {
    ticket: i64,
    wants: Wants,
    is_called: bool,
    waker: Option<Waker>,
}

/// Which endpoints somebody waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wants {
    /// Whichever has room: while it waits, none has.
    Any,
    /// One of those that it has not tried: others, which it leaves, may have room.
    Some,
}

/// A place in the line, given up when dropped.
#[derive(Debug)]
pub(super) struct Place<'a> {
    queue: &'a Queue,
    ticket: i64,
    wants: Wants,
}

impl Queue {
    /// How many wait.
    #[must_use]
    pub fn length(&self) -> usize {
        self.length.load(SeqCst)
    }

    /// Calls the first, as there may be room.
    pub(super) fn call(&self) {
        if self.length() > 0 {
            self.call_at(|_| 0);
        }
    }

    /// Whether who comes now may look for room without passing anybody who would have found it.
    pub(super) fn is_passable(&self) -> bool {
        self.length() == 0 || self.lock().is_first(i64::MAX)
    }

    /// Gets in line; `None` where `size_max` wait already.
    pub(super) fn enter(&self, size_max: usize, wants: Wants) -> Option<Place<'_>> {
        let mut line = self.lock();
        if line.waiting.len() >= size_max {
            return None;
        }
        let ticket = line.last;
        line.last += 1;
        line.waiting.push_back(Waiting::new(ticket, wants));
        Some(self.place(&line, ticket, wants))
    }

    /// Gets back to the front of the line, for somebody who had an endpoint's place and could not use it.
    /// There are never more of them than there were places.
    pub(super) fn enter_again(&self, wants: Wants) -> Place<'_> {
        let mut line = self.lock();
        line.fronts += 1;
        let ticket = -line.fronts;
        line.waiting.push_front(Waiting::new(ticket, wants));
        self.place(&line, ticket, wants)
    }

    fn place(&self, line: &Line, ticket: i64, wants: Wants) -> Place<'_> {
        self.length.store(line.waiting.len(), SeqCst);
        Place {
            queue: self,
            ticket,
            wants,
        }
    }

    /// Calls whoever stands where `at` says.
    fn call_at(&self, at: impl FnOnce(&Line) -> usize) {
        let waker = {
            let mut line = self.lock();
            let index = at(&line);
            line.waiting.get_mut(index).and_then(|waiting| {
                waiting.is_called = true;
                waiting.waker.take()
            })
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Line> {
        // Nothing is done under this lock that could leave the line half changed.
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    fn new(ticket: i64, wants: Wants) -> Self {
        Self {
            ticket,
            wants,
            is_called: false,
            waker: None,
        }
    }
}

impl Line {
    /// Where this ticket stands, or would.
    fn position(&self, ticket: i64) -> usize {
        self.waiting
            .partition_point(|waiting| waiting.ticket < ticket)
    }

    /// Whether nobody before this ticket would take whatever has room.
    fn is_first(&self, ticket: i64) -> bool {
        let mut before = self.waiting.range(..self.position(ticket));
        before.all(|waiting| waiting.wants == Wants::Some)
    }
}

impl Place<'_> {
    /// Whether it may look for room now.
    pub(super) fn is_first(&self) -> bool {
        self.queue.lock().is_first(self.ticket)
    }

    /// Says that there was nothing that it wants; the one behind may want something else.
    pub(super) fn pass_on(&self) {
        if self.wants == Wants::Some {
            self.queue
                .call_at(|line| line.position(self.ticket).saturating_add(1));
        }
    }

    /// Waits until it is called.
    pub(super) async fn called(&self) {
        poll_fn(|cx| {
            let mut line = self.queue.lock();
            let index = line.position(self.ticket);
            let Some(waiting) = line.waiting.get_mut(index) else {
                return Poll::Ready(());
            };
            if std::mem::take(&mut waiting.is_called) {
                return Poll::Ready(());
            }
            waiting.waker = Some(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.queue.call_at(|line| line.position(self.ticket) + 1);
        let mut line = self.queue.lock();
        let index = line.position(self.ticket);
        line.waiting.remove(index);
        self.queue.length.store(line.waiting.len(), SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use std::{
        pin::pin,
        sync::Arc,
        task::{Context, Wake},
    };

    use super::*;

    /// Counts how often it is woken.
    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, SeqCst);
        }
    }

    /// Whether a place has been called since it was last asked.
    fn is_called(place: &Place<'_>) -> bool {
        let mut called = pin!(place.called());
        called
            .as_mut()
            .poll(&mut Context::from_waker(Waker::noop()))
            .is_ready()
    }

    #[test]
    fn who_came_first_is_called_first_and_whoever_leaves_calls_the_next() {
        let queue = Queue::default();
        assert!(queue.is_passable());
        queue.call();
        let enter = || queue.enter(3, Wants::Any);
        let (first, second, third) = (enter().unwrap(), enter().unwrap(), enter().unwrap());
        assert!(enter().is_none(), "three are enough");
        assert_eq!(queue.length(), 3);
        assert!(!queue.is_passable(), "who comes now would be first");
        assert!(first.is_first() && !second.is_first());
        assert!(!is_called(&first), "nobody has called yet");
        queue.call();
        assert!(is_called(&first) && !is_called(&second) && !is_called(&third));
        assert!(!is_called(&first), "one call is one chance");
        first.pass_on();
        assert!(
            !is_called(&second),
            "where the first finds nothing there is nothing"
        );
        drop(first);
        assert!(is_called(&second) && !is_called(&third));
        assert!(second.is_first());
        // Whoever gives up in the middle does not keep the others from their turn.
        let fourth = enter().unwrap();
        drop(third);
        assert!(is_called(&fourth) && !fourth.is_first());
        queue.call();
        drop(second);
        assert!(fourth.is_first() && is_called(&fourth));
        // Who had a place already is before those who had none, however many these are.
        let again = queue.enter_again(Wants::Any);
        assert!(again.is_first() && !fourth.is_first());
        queue.call();
        assert!(is_called(&again) && !is_called(&fourth));
        drop(again);
        assert!(is_called(&fourth) && fourth.is_first());
        drop(fourth);
        assert!(queue.is_passable());
        assert_eq!(queue.length(), 0);
    }

    #[test]
    fn who_does_not_want_whatever_there_is_keeps_nobody_waiting() {
        let queue = Queue::default();
        let choosy = queue.enter(9, Wants::Some).unwrap();
        assert!(queue.is_passable());
        let (second, third) = (
            queue.enter(9, Wants::Any).unwrap(),
            queue.enter(9, Wants::Any).unwrap(),
        );
        assert!(choosy.is_first() && second.is_first() && !third.is_first());
        queue.call();
        assert!(is_called(&choosy) && !is_called(&second));
        choosy.pass_on();
        assert!(is_called(&second) && !is_called(&third));
    }

    #[test]
    fn a_call_wakes_whoever_waits() {
        let queue = Queue::default();
        let place = queue.enter(1, Wants::Any).unwrap();
        let count = Arc::new(Count::default());
        let waker = Waker::from(Arc::clone(&count));
        let mut called = pin!(place.called());
        let mut is_called = || {
            let mut cx = Context::from_waker(&waker);
            called.as_mut().poll(&mut cx).is_ready()
        };
        assert!(!is_called());
        queue.call();
        assert_eq!(count.0.load(SeqCst), 1);
        assert!(is_called());
    }
}
