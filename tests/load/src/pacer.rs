//! Whose turn is it, to the microsecond? Tokio's own timer rounds to whole milliseconds, which would let ticks out in bursts.

use std::{
    cell::RefCell,
    cmp::Reverse,
    collections::BinaryHeap,
    io,
    os::fd::{AsFd as _, AsRawFd, RawFd},
    rc::Rc,
    task::{Poll, Waker},
    time::Duration,
};

use nix::sys::{
    time::TimeSpec,
    timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags},
};
use tokio::io::unix::AsyncFd;

use crate::clock::now_ns;

/// Wakes tasks at absolute times by one kernel timer.
#[derive(Debug)]
pub struct Pacer {
    timer: AsyncFd<Timer>,
    due: RefCell<BinaryHeap<Reverse<Due>>>,
}

impl Pacer {
    /// Makes a pacer and starts the task that runs it, which ends with the runtime.
    ///
    /// # Errors
    /// When the kernel gives no timer.
    pub fn start() -> io::Result<Rc<Self>> {
        let timer = TimerFd::new(ClockId::CLOCK_MONOTONIC, TimerFlags::TFD_NONBLOCK)?;
        #[expect(
            deprecated,
            reason = "its successor is unsafe code; what that asks for, an owner that keeps its descriptor, is kept"
        )]
        let timer = AsyncFd::new(Timer(timer))?;
        let pacer = Rc::new(Self {
            timer,
            due: RefCell::default(),
        });
        let running = Rc::clone(&pacer);
        tokio::task::spawn_local(async move {
            while let Ok(mut guard) = running.timer.readable().await {
                // Not read: setting the timer again takes back its expirations.
                guard.clear_ready();
                running.wake_due();
            }
        });
        Ok(pacer)
    }

    /// Waits until `at_ns` on the clock of [`now_ns`]; returns at once when that is past.
    pub async fn until(&self, at_ns: u64) {
        let mut registered = false;
        std::future::poll_fn(|context| {
            if now_ns() >= at_ns {
                return Poll::Ready(());
            }
            if !registered {
                registered = true;
                self.register(at_ns, context.waker().clone());
            }
            Poll::Pending
        })
        .await;
    }

    fn register(&self, at_ns: u64, waker: Waker) {
        let mut due = self.due.borrow_mut();
        let is_first = due.peek().is_none_or(|Reverse(first)| at_ns < first.at_ns);
        due.push(Reverse(Due { at_ns, waker }));
        if is_first {
            self.arm(at_ns);
        }
    }

    fn wake_due(&self) {
        let now_ns = now_ns();
        let mut due = self.due.borrow_mut();
        while due
            .peek()
            .is_some_and(|Reverse(first)| first.at_ns <= now_ns)
        {
            if let Some(Reverse(first)) = due.pop() {
                first.waker.wake();
            }
        }
        if let Some(Reverse(next)) = due.peek() {
            self.arm(next.at_ns);
        }
    }

    /// A time that has passed by now fires at once.
    fn arm(&self, at_ns: u64) {
        let at = Expiration::OneShot(TimeSpec::from_duration(Duration::from_nanos(at_ns)));
        let timer = &self.timer.get_ref().0;
        timer
            .set(at, TimerSetTimeFlags::TFD_TIMER_ABSTIME)
            .expect("a valid time on a timer of ours");
    }
}

/// One task's turn.
#[derive(Debug)]
struct Due {
    at_ns: u64,
    waker: Waker,
}

impl PartialEq for Due {
    fn eq(&self, other: &Self) -> bool {
        self.at_ns == other.at_ns
    }
}

impl Eq for Due {}

impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Due {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.at_ns.cmp(&other.at_ns)
    }
}

/// Nix's timer with the trait that Tokio asks for.
#[derive(Debug)]
struct Timer(TimerFd);

impl AsRawFd for Timer {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }
}
