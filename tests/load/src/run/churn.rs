//! How do many short streams follow each other? So many at once, each opened when one before it has ended.

use std::{cell::Cell, rc::Rc};

use tokio::task::JoinSet;

use super::steady::read_until;
use crate::{
    client::{Carrier, Client},
    work::Plan,
};

/// Short streams, some at once.
#[derive(Debug)]
pub struct Churn {
    lane: Lane,
    concurrency: u64,
}

/// What opens one stream after the other.
#[derive(Debug, Clone)]
struct Lane {
    client: Rc<Client>,
    path: Rc<str>,
    records: u64,
    is_kept: bool,
    /// How many streams are still to be opened, and how many have ended, well or not.
    left: Rc<Cell<u64>>,
    done: Rc<Cell<u64>>,
}

impl Churn {
    /// The churn that a plan describes, of streams at `path`.
    #[must_use]
    pub fn new(client: Rc<Client>, plan: &Plan, path: String) -> Self {
        let lane = Lane {
            client,
            path: path.into(),
            records: plan.records,
            is_kept: plan.is_kept,
            left: Rc::new(Cell::new(plan.streams)),
            done: Rc::default(),
        };
        Self {
            lane,
            concurrency: plan.concurrency,
        }
    }

    /// How many streams have ended, from now on as well.
    #[must_use]
    pub fn done(&self) -> Rc<Cell<u64>> {
        Rc::clone(&self.lane.done)
    }

    /// Opens and reads them all.
    pub async fn run(self) {
        let mut lanes = JoinSet::new();
        for _ in 0..self.concurrency {
            lanes.spawn_local(self.lane.clone().run());
        }
        while lanes.join_next().await.is_some() {}
    }
}

impl Lane {
    async fn run(self) {
        let mut kept = None;
        while let Some(left) = self.left.get().checked_sub(1) {
            self.left.set(left);
            kept = self.stream(kept.take()).await.filter(|_| self.is_kept);
            self.done.set(self.done.get() + 1);
        }
    }

    /// Reads one stream and gives its connection back, where it can carry another.
    async fn stream(&self, kept: Option<Carrier>) -> Option<Carrier> {
        let client = &self.client;
        let carrier = match kept {
            Some(carrier) => carrier,
            None => client.counted(client.connect().await)?,
        };
        let shared = carrier.share();
        let stream = client.counted(client.open(carrier, &self.path).await)?;
        match read_until(client, stream, self.records).await {
            Ok(stream) => shared.or_else(|| stream.into_carrier()),
            Err(cut) => {
                client.tally.borrow_mut().ended_early(|| cut.0);
                None
            }
        }
    }
}
