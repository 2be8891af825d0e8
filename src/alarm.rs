//! When is a task woken although nothing comes?
//!
//! Open streams, of which there are many, share one set of times a worker instead: [`crate::drain::Watch::poll_until`].

use std::{
    future::Future as _,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::time::{Instant, Sleep, sleep_until};

/// One timer for all deadlines of a task, armed for the earliest and never moved back.
///
/// Deadlines that move later cost nothing: when the timer fires early, it is armed again. Holds no
/// memory until it is first armed.
#[derive(Debug, Default)]
pub struct Alarm {
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Alarm {
    /// Whether it is armed and has not fired, so that a task that armed it is woken.
    #[must_use]
    pub fn is_pending(&self) -> bool {
        self.sleep.as_ref().is_some_and(|sleep| !sleep.is_elapsed())
    }

    /// Ready once `at` is reached; until then the task is woken at `at` or earlier.
    pub fn poll_until(&mut self, at: Instant, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            let sleep = self.sleep.get_or_insert_with(|| Box::pin(sleep_until(at)));
            if at < sleep.deadline() {
                sleep.as_mut().reset(at);
            }
            if sleep.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            self.sleep = None;
            if at <= Instant::now() {
                return Poll::Ready(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{future::poll_fn, time::Duration};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_fires_at_the_deadline_although_that_moved() {
        let begun = Instant::now();
        let at = |seconds| begun + Duration::from_secs(seconds);
        let mut alarm = Alarm::default();
        let mut first = true;
        poll_fn(|cx| {
            if std::mem::take(&mut first) {
                assert!(alarm.poll_until(at(1), cx).is_pending());
            }
            alarm.poll_until(at(3), cx)
        })
        .await;
        assert_eq!(begun.elapsed().as_secs(), 3);
        let mut first = true;
        poll_fn(|cx| {
            if std::mem::take(&mut first) {
                assert!(alarm.poll_until(at(60), cx).is_pending());
            }
            alarm.poll_until(at(5), cx)
        })
        .await;
        assert_eq!(begun.elapsed().as_secs(), 5);
    }
}
