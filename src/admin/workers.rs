//! How are the workers asked?

use std::time::Duration;

use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant, timeout_at},
};

use crate::proxy::streams::{Ended, Filter, Listing, Query};

/// How long a worker may take to answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// Where each worker is asked, by its number.
pub(super) struct Workers(pub(super) Vec<mpsc::Sender<Query>>);

/// What all workers were asked for.
#[derive(Debug, Default)]
pub(super) struct Gathered {
    /// How many streams there are, also beyond the limit.
    pub(super) total: u64,
    /// The oldest first.
    pub(super) streams: Vec<Listing>,
    /// How many workers were too busy to answer.
    pub(super) silent: usize,
}

impl Workers {
    /// The open streams of all workers, the oldest first, at most `limit`.
    pub(super) async fn list(&self, filter: &Filter, limit: usize) -> Gathered {
        let mut gathered = Gathered::default();
        let query = |reply| Query::List(filter.clone(), limit, reply);
        for listed in self.ask_all(query).await {
            let Some(mut listed) = listed else {
                gathered.silent += 1;
                continue;
            };
            gathered.total += listed.total;
            gathered.streams.append(&mut listed.streams);
        }
        gathered
            .streams
            .sort_by(|one, other| other.age.cmp(&one.age).then(one.id.cmp(&other.id)));
        gathered.streams.truncate(limit);
        gathered
    }

    /// The last endings of all workers, the newest first, at most `limit`.
    pub(super) async fn endings(&self, limit: usize) -> Vec<Ended> {
        let answers = self.ask_all(Query::Endings).await;
        let mut endings: Vec<Ended> = answers.into_iter().flatten().flatten().collect();
        endings.sort_by_key(|ended| std::cmp::Reverse(ended.at));
        endings.truncate(limit);
        endings
    }

    /// What one worker answers; `None` where there is none of that number, or it is too busy.
    pub(super) async fn ask<T>(
        &self,
        worker: usize,
        query: impl FnOnce(oneshot::Sender<T>) -> Query,
    ) -> Option<T> {
        let answer = post(self.0.get(worker)?, query);
        await_until(Instant::now() + PATIENCE, answer).await
    }

    /// Whether there is a worker of that number.
    pub(super) fn has(&self, worker: usize) -> bool {
        worker < self.0.len()
    }

    async fn ask_all<T>(&self, query: impl Fn(oneshot::Sender<T>) -> Query) -> Vec<Option<T>> {
        let until = Instant::now() + PATIENCE;
        let workers = self.0.iter();
        let answers: Vec<_> = workers.map(|worker| post(worker, &query)).collect();
        let mut answered = Vec::new();
        for answer in answers {
            answered.push(await_until(until, answer).await);
        }
        answered
    }
}

fn post<T>(
    worker: &mpsc::Sender<Query>,
    query: impl FnOnce(oneshot::Sender<T>) -> Query,
) -> oneshot::Receiver<T> {
    let (reply, answer) = oneshot::channel();
    // A worker whose queue is full answers nothing: the reply's place is dropped.
    let _ = worker.try_send(query(reply));
    answer
}

async fn await_until<T>(until: Instant, answer: oneshot::Receiver<T>) -> Option<T> {
    timeout_at(until, answer).await.ok()?.ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proxy::streams::Listed;

    /// A worker that is busy is waited for, but not for ever, and the others' streams are told.
    #[tokio::test(start_paused = true)]
    async fn a_busy_worker_does_not_silence_the_others() {
        let (busy, _unanswered) = mpsc::channel(1);
        let (idle, mut queries) = mpsc::channel(1);
        let workers = Workers(vec![busy, idle]);
        let answer = async {
            while let Some(Query::List(_, _, reply)) = queries.recv().await {
                let listed = Listed {
                    total: 7,
                    streams: Vec::new(),
                };
                reply.send(listed).expect("somebody waits");
            }
        };
        let ask = async {
            // The second time there is not even room for the question.
            for _ in 0..2 {
                let gathered = workers.list(&Filter::default(), 10).await;
                assert_eq!((gathered.total, gathered.silent), (7, 1));
            }
        };
        tokio::select! {
            () = ask => {}
            () = answer => {}
        }
        assert!(workers.has(1) && !workers.has(2));
        let one = workers.ask(2, |reply| Query::Close(0, reply));
        assert_eq!(one.await, None);
    }
}
