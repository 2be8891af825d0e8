//! What is the mixed load? Streams that tick, streams that are silent, short ones, and readers that stop reading and go.

use std::{cell::Cell, rc::Rc, time::Duration};

use tokio::task::JoinSet;

use crate::{
    client::Client,
    run::{
        RunError,
        steady::{Reading, Streams, read_until},
    },
    stream::{Cut, Stream},
};

/// All that is open.
#[derive(Debug)]
pub(super) struct Load {
    steady: Streams,
    silent: Streams,
    passing: JoinSet<()>,
    /// How many of the passing streams have been opened, and are open.
    opened: Rc<Cell<u64>>,
    open: Rc<Cell<usize>>,
}

impl Load {
    /// Opens all that stays open, and begins with what comes and goes.
    pub(super) async fn start(reading: &Rc<Client>, slow: &Rc<Client>) -> Result<Self, RunError> {
        let target = reading.connector.target();
        let mut steady = Streams::new(Rc::clone(reading), Reading::On);
        steady
            .open(
                STEADY,
                PER_CONNECTION,
                RAMP,
                &target.path_with(STEADY_QUERY),
            )
            .await?;
        let mut silent = Streams::new(Rc::clone(reading), Reading::On);
        silent
            .open(
                SILENT,
                PER_CONNECTION,
                RAMP,
                &target.path_with(SILENT_QUERY),
            )
            .await?;
        steady.wait_live().await?;
        silent.wait_live().await?;
        let mut load = Self {
            steady,
            silent,
            passing: JoinSet::new(),
            opened: Rc::default(),
            open: Rc::default(),
        };
        for lane in 0..SHORT_LANES {
            let path = target.path_with(SHORT_QUERY);
            load.lane(
                Rc::clone(reading),
                path,
                Passing::Short,
                SHORT_PAUSE * lane / SHORT_LANES,
            );
        }
        for lane in 0..SLOW_LANES {
            let path = target.path_with(SLOW_QUERY);
            load.lane(
                Rc::clone(slow),
                path,
                Passing::Slow,
                SLOW_TIME * lane / SLOW_LANES,
            );
        }
        Ok(load)
    }

    /// Streams that follow each other, the first after a delay, so that lanes do not go in step.
    fn lane(&mut self, client: Rc<Client>, path: String, passing: Passing, delay: Duration) {
        let (opened, open) = (Rc::clone(&self.opened), Rc::clone(&self.open));
        self.passing.spawn_local(async move {
            tokio::time::sleep(delay).await;
            loop {
                opened.set(opened.get() + 1);
                open.set(open.get() + 1);
                if let Some(stream) = client.start(None, &path).await
                    && let Err(cut) = passing.read(&client, stream).await
                {
                    client.tally.borrow_mut().ended_early(|| cut.0);
                }
                open.set(open.get() - 1);
                tokio::time::sleep(SHORT_PAUSE).await;
            }
        });
    }

    /// How many streams are open.
    pub(super) fn open_now(&mut self) -> usize {
        self.steady.open_now() + self.silent.open_now() + self.open.get()
    }

    /// How many streams have been opened.
    pub(super) fn opened(&self) -> u64 {
        STEADY + SILENT + self.opened.get()
    }

    /// Closes everything.
    pub(super) fn close(mut self) {
        self.passing.abort_all();
        self.steady.close();
        self.silent.close();
    }
}

/// A stream that comes and goes.
#[derive(Debug, Clone, Copy)]
enum Passing {
    /// Ends by itself.
    Short,
    /// Is not read after its first record, and left after a while.
    Slow,
}

impl Passing {
    async fn read(self, client: &Client, mut stream: Stream) -> Result<(), Cut> {
        match self {
            Self::Short => read_until(client, stream, SHORT_RECORDS).await.map(drop),
            Self::Slow => {
                while stream.events() == 0 {
                    if !stream.part(client).await? {
                        return Err(Cut(
                            "a stream without end ended before its first record".into()
                        ));
                    }
                }
                tokio::time::sleep(SLOW_TIME).await;
                Ok(())
            }
        }
    }
}

const STEADY: u64 = 100;
const STEADY_QUERY: &str = "size=200&rate=25";
const SILENT: u64 = 100;
const SILENT_QUERY: &str = "size=200&records=1&hold=1";
const PER_CONNECTION: u64 = 10;
const RAMP: Duration = Duration::from_secs(1);
const SHORT_LANES: u32 = 4;
const SHORT_RECORDS: u64 = 5;
const SHORT_QUERY: &str = "size=200&records=5";
const SHORT_PAUSE: Duration = Duration::from_millis(40);
const SLOW_LANES: u32 = 20;
const SLOW_QUERY: &str = "size=200&batch=16&send_buffer=32768";
const SLOW_TIME: Duration = Duration::from_secs(10);
