//! Do all workers still work?

use tokio::sync::{mpsc, oneshot, watch};

use crate::proxy::streams::Query;

/// Feels whether the workers work: each of them has to answer between its streams' turns.
#[derive(Debug)]
pub struct Pulse {
    pub(super) workers: Vec<mpsc::Sender<Query>>,
    pub(super) stopped: watch::Receiver<bool>,
}

impl Pulse {
    /// Waits until every worker has answered, for as long as that takes. Says whether each has: one that is
    /// gone has not, unless the process drains, in which workers end.
    pub async fn beat(&self) -> bool {
        for worker in &self.workers {
            let (reply, answered) = oneshot::channel();
            let is_asked = worker.send(Query::Pulse(reply)).await.is_ok();
            let has_answered = is_asked && answered.await.is_ok();
            if !has_answered && !*self.stopped.borrow() {
                return false;
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// Answers so many times, and then never again.
    fn worker(answers: usize) -> (mpsc::Sender<Query>, tokio::task::JoinHandle<()>) {
        let (sender, mut queries) = mpsc::channel(1);
        let answering = tokio::spawn(async move {
            for _ in 0..answers {
                if let Some(Query::Pulse(reply)) = queries.recv().await {
                    let _ = reply.send(());
                }
            }
            std::future::pending::<()>().await;
        });
        (sender, answering)
    }

    #[tokio::test(start_paused = true)]
    async fn one_worker_that_is_stuck_is_enough() {
        let (first, _first) = worker(5);
        let (second, _second) = worker(2);
        let (_stop, stopped) = watch::channel(false);
        let pulse = Pulse {
            workers: vec![first, second],
            stopped,
        };
        assert!(pulse.beat().await);
        assert!(pulse.beat().await);
        for _ in 0..3 {
            let beat = tokio::time::timeout(Duration::from_hours(1), pulse.beat());
            assert!(beat.await.is_err());
        }
    }

    #[tokio::test]
    async fn a_worker_may_be_gone_only_in_a_drain() {
        let (alive, _alive) = worker(9);
        let (gone, working) = worker(9);
        let (stop, stopped) = watch::channel(false);
        let pulse = Pulse {
            workers: vec![alive, gone],
            stopped,
        };
        assert!(pulse.beat().await);
        working.abort();
        assert!(working.await.is_err());
        assert!(!pulse.beat().await);
        stop.send_replace(true);
        assert!(pulse.beat().await);
    }
}
