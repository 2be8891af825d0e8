//! How are many streams opened and held? One after the other over the ramp, each by a task of its own.

use std::{cell::Cell, rc::Rc, time::Duration};

use tokio::{task::JoinSet, time::Instant};

use super::RunError;
use crate::{
    client::{Carrier, Client, Http},
    stream::{Cut, Stream},
};

/// What a stream's client does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reading {
    /// Reads on; the stream must not end.
    On,
    /// Reads until the stream ends, which it must after so many records.
    Until(u64),
    /// Reads one record, and no more.
    Stops,
}

/// Streams that are open, or opening.
#[derive(Debug)]
pub struct Streams {
    client: Rc<Client>,
    reading: Reading,
    tasks: JoinSet<()>,
    /// How many have been opened, have had a record, and have been lost before that.
    opened: u64,
    live: Rc<Cell<u64>>,
    stillborn: Rc<Cell<u64>>,
}

impl Streams {
    /// None yet.
    #[must_use]
    pub fn new(client: Rc<Client>, reading: Reading) -> Self {
        Self {
            client,
            reading,
            tasks: JoinSet::new(),
            opened: 0,
            live: Rc::default(),
            stillborn: Rc::default(),
        }
    }

    /// Opens so many more, spread over the ramp.
    ///
    /// # Errors
    /// When a connection of HTTP/2 cannot be made.
    pub async fn open(
        &mut self,
        streams: u64,
        per_connection: u64,
        ramp: Duration,
        path: &str,
    ) -> Result<(), RunError> {
        let start = Instant::now();
        let mut shared: Option<Carrier> = None;
        for number in 0..streams {
            #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
            let at = start + ramp.mul_f64(number as f64 / streams as f64);
            // The timer rounds up to a millisecond, so many a stream is late; none waits once more for that.
            if at > Instant::now() {
                tokio::time::sleep_until(at).await;
            }
            if self.client.http == Http::Two && number % per_connection == 0 {
                let connected = self.client.connect().await;
                shared = Some(connected.map_err(|cut| RunError::Failed(cut.0))?);
            }
            let task = Following {
                client: Rc::clone(&self.client),
                reading: self.reading,
                path: path.to_owned(),
                live: Rc::clone(&self.live),
                stillborn: Rc::clone(&self.stillborn),
            };
            self.tasks
                .spawn_local(task.run(shared.as_ref().and_then(Carrier::share)));
            self.opened += 1;
        }
        Ok(())
    }

    /// Waits until each has had a record.
    ///
    /// # Errors
    /// When one is lost before, or it takes too long.
    pub async fn wait_live(&self) -> Result<(), RunError> {
        let deadline = Instant::now() + LIVE_TIME_MAX;
        while self.live.get() < self.opened {
            let stillborn = self.stillborn.get();
            if stillborn + self.live.get() == self.opened || Instant::now() > deadline {
                let tally = self.client.tally.borrow();
                let first = tally
                    .faults
                    .first()
                    .map_or("they got no record in time", String::as_str);
                return Err(RunError::Failed(format!(
                    "{} of {} streams came to life: {first}",
                    self.live.get(),
                    self.opened
                )));
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Ok(())
    }

    /// How many are open.
    #[must_use]
    pub fn open_now(&mut self) -> usize {
        while self.tasks.try_join_next().is_some() {}
        self.tasks.len()
    }

    /// Closes them all, which is no fault of anyone.
    pub fn close(mut self) {
        self.tasks.abort_all();
    }
}

/// The task of one stream.
struct Following {
    client: Rc<Client>,
    reading: Reading,
    path: String,
    live: Rc<Cell<u64>>,
    stillborn: Rc<Cell<u64>>,
}

impl Following {
    async fn run(self, carrier: Option<Carrier>) {
        let Some(stream) = self.client.start(carrier, &self.path).await else {
            self.stillborn.set(self.stillborn.get() + 1);
            return;
        };
        let followed = self.follow(stream).await;
        if let Err(cut) = followed {
            self.client.tally.borrow_mut().ended_early(|| cut.0);
        }
    }

    async fn follow(&self, mut stream: Stream) -> Result<(), Cut> {
        while stream.events() == 0 {
            if !matches!(stream.part(&self.client).await, Ok(true)) && stream.events() == 0 {
                self.stillborn.set(self.stillborn.get() + 1);
                return Err(Cut("the stream ended before its first record".into()));
            }
        }
        self.live.set(self.live.get() + 1);
        match self.reading {
            Reading::Until(records) => read_until(&self.client, stream, records).await.map(drop),
            Reading::Stops => {
                std::future::pending::<()>().await;
                // Held to here, unread.
                drop(stream);
                Ok(())
            }
            Reading::On => {
                while stream.part(&self.client).await? {}
                Err(Cut(format!(
                    "a stream without end ended after {} records",
                    stream.events()
                )))
            }
        }
    }
}

/// Reads a stream to its end, which must come after exactly so many records, and gives it back.
///
/// # Errors
/// When it ends otherwise.
pub async fn read_until(client: &Client, mut stream: Stream, records: u64) -> Result<Stream, Cut> {
    while stream.part(client).await? {}
    if stream.events() == records {
        Ok(stream)
    } else {
        Err(Cut(format!(
            "a stream of {records} records ended after {}",
            stream.events()
        )))
    }
}

const LIVE_TIME_MAX: Duration = Duration::from_secs(30);
