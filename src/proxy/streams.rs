//! Which streams does this worker serve, and which ended last?
//!
//! Streams never leave their thread, so that whoever asks from another one sends a [`Query`], and the
//! worker answers it between its streams' turns.

mod listing;
mod live;
mod tap;

use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, VecDeque},
    fmt,
    net::IpAddr,
    ops::Bound,
    rc::Rc,
    str::FromStr,
};

use thiserror::Error;
use tokio::{
    sync::{mpsc, oneshot},
    time::Instant,
};

pub(super) use self::live::{Asked, Live, Written};
pub use self::{
    listing::{Ended, Listing, Requested},
    tap::{Piece, Tap, Tapped, Tapping, tap},
};
use super::moment::Clock;
use crate::{drain::Drain, telemetry::metrics::WorkerMetrics, transcode::output::Format};

/// How many endings a worker remembers.
pub const ENDINGS_MAX: usize = 100;
/// How many streams are looked at before others have their turn.
const LOOKED_AT_MAX: usize = 256;
/// How many taps a worker holds at once.
const TAPS_MAX: usize = 16;

/// A stream's name, unique as long as the process lives: `0-1a2b` is one of worker 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct StreamId {
    /// The worker that serves it, from 0.
    pub worker: usize,
    /// How many came before it in that worker.
    pub number: u64,
}

/// The text is no stream's name.
#[derive(Debug, Error)]
#[error("a stream's id is a worker's number and the stream's in hexadecimal, such as 0-1a2b")]
pub struct NoStreamId;

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{:x}", self.worker, self.number)
    }
}

impl FromStr for StreamId {
    type Err = NoStreamId;

    fn from_str(text: &str) -> Result<Self, NoStreamId> {
        let (worker, number) = text.split_once('-').ok_or(NoStreamId)?;
        // Only what is written by `Display`: a sign, say, would be read, too.
        let id = Self {
            worker: worker.parse().map_err(|_| NoStreamId)?,
            number: u64::from_str_radix(number, 16).map_err(|_| NoStreamId)?,
        };
        Some(id)
            .filter(|id| id.to_string() == text)
            .ok_or(NoStreamId)
    }
}

/// Which streams are asked for.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Those of the route of this name.
    pub route: Option<String>,
    /// Those of this peer; `Some(None)` is whoever came over a unix socket.
    pub peer: Option<Option<IpAddr>>,
    /// This one alone.
    pub number: Option<u64>,
}

/// What a worker is asked, and where it answers.
#[derive(Debug)]
pub enum Query {
    /// Its open streams, the oldest first, at most so many.
    List(Filter, usize, oneshot::Sender<Listed>),
    /// The endings it remembers, the oldest first.
    Endings(oneshot::Sender<Vec<Ended>>),
    /// To end a stream at an event's end; whether there is such a stream.
    Close(u64, oneshot::Sender<bool>),
    /// To copy what a stream writes; what became of that.
    Tap(u64, Tap, oneshot::Sender<Tapped>),
    /// Whether it works at all.
    Pulse(oneshot::Sender<()>),
}

/// The open streams that a worker was asked for.
#[derive(Debug, Default)]
pub struct Listed {
    /// How many there are, also beyond the limit.
    pub total: u64,
    /// The oldest first.
    pub streams: Vec<Listing>,
}

/// The streams of one worker.
pub struct Streams {
    /// Where the worker counts.
    pub metrics: Rc<WorkerMetrics>,
    drain: Rc<Drain>,
    /// How many requests have come.
    count: Cell<u64>,
    /// What the streams' times count from.
    begun_at: Instant,
    /// The open ones by number, so the oldest first.
    open: RefCell<BTreeMap<u64, Rc<Live>>>,
    endings: RefCell<VecDeque<Ended>>,
    taps: RefCell<Vec<(u64, Tap)>>,
}

impl fmt::Debug for Streams {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Streams({} open)", self.open.borrow().len())
    }
}

impl Streams {
    /// No streams yet.
    #[must_use]
    pub fn new(metrics: WorkerMetrics, drain: Rc<Drain>) -> Rc<Self> {
        Rc::new(Self {
            metrics: Rc::new(metrics),
            drain,
            count: Cell::new(0),
            begun_at: Instant::now(),
            open: RefCell::default(),
            endings: RefCell::default(),
            taps: RefCell::default(),
        })
    }

    /// Answers what is asked, as long as anybody may ask.
    pub async fn answer(self: Rc<Self>, mut queries: mpsc::Receiver<Query>) {
        while let Some(query) = queries.recv().await {
            // Whoever has not waited for the answer needs none.
            match query {
                Query::List(filter, limit, reply) => {
                    let _ = reply.send(self.list(&filter, limit).await);
                }
                Query::Endings(reply) => {
                    let endings = self.endings.borrow();
                    let _ = reply.send(endings.iter().cloned().collect());
                }
                Query::Close(number, reply) => {
                    let _ = reply.send(self.close(number));
                }
                Query::Tap(number, tap, reply) => {
                    let _ = reply.send(self.put(number, tap));
                }
                Query::Pulse(reply) => {
                    let _ = reply.send(());
                }
            }
        }
    }

    /// What is known of a new request.
    pub(super) fn begin(&self, asked: Asked<'_>, peer: Option<IpAddr>, now: Instant) -> Rc<Live> {
        let number = self.count.replace(self.count.get() + 1);
        let begun = now.saturating_duration_since(self.begun_at);
        Rc::new(Live::new(number, asked, peer, begun))
    }

    /// When the request came.
    pub(super) fn begun_at(&self, live: &Live) -> Instant {
        self.begun_at + live.begun()
    }

    /// What the streams' moments count from.
    pub(super) fn clock(&self) -> Clock {
        Clock::new(self.begun_at)
    }

    /// The name of one of these streams.
    pub(super) fn id(&self, live: &Live) -> StreamId {
        StreamId {
            worker: self.metrics.worker(),
            number: live.number,
        }
    }

    /// Counts a stream among the open ones; its task is woken at that place.
    pub(super) fn enter(&self, live: &Rc<Live>, place: u32) {
        live.place.set(place);
        let entered = Rc::clone(live);
        self.open.borrow_mut().insert(live.number, entered);
    }

    /// Takes a response out that has ended, and remembers how.
    pub(super) fn leave(&self, live: &Live, ending: &'static str) {
        let was_open = self.open.borrow_mut().remove(&live.number).is_some();
        // What has no body and came about is no news.
        if was_open || ending != "complete" {
            let mut endings = self.endings.borrow_mut();
            if endings.len() == ENDINGS_MAX {
                endings.pop_front();
            }
            endings.push_back(Ended::new(
                self.id(live),
                live,
                ending,
                self.begun_at(live).elapsed(),
            ));
        }
        if live.is_tapped.get() {
            let mut taps = self.taps.borrow_mut();
            let its_own = taps.extract_if(.., |(number, _)| *number == live.number);
            its_own.for_each(|(_, tap)| tap.end(ending));
        }
    }

    /// Copies what a stream that is tapped has written.
    #[cold]
    pub(super) fn copy(&self, live: &Live, bytes: &[u8]) {
        let is_sse = matches!(live.to.get(), Written::Events(Format::Sse));
        let now = Instant::now();
        let mut taps = self.taps.borrow_mut();
        taps.retain_mut(|(number, tap)| {
            *number != live.number || tap.copy(bytes, is_sse, now).is_ok()
        });
        let is_tapped = taps.iter().any(|(number, _)| *number == live.number);
        live.is_tapped.set(is_tapped);
    }

    async fn list(&self, filter: &Filter, limit: usize) -> Listed {
        let mut listed = Listed::default();
        let mut from = match filter.number {
            Some(number) => Bound::Included(number),
            None => Bound::Unbounded,
        };
        loop {
            let mut looked_at = 0;
            for (number, live) in self.open.borrow().range((from, Bound::Unbounded)) {
                from = Bound::Excluded(*number);
                looked_at += 1;
                if filter.number.is_some_and(|wanted| wanted != *number) {
                    return listed;
                }
                if filter.takes(live) {
                    listed.total += 1;
                    if listed.streams.len() < limit {
                        listed.streams.push(Listing::new(
                            self.id(live),
                            live,
                            self.begun_at(live).elapsed(),
                        ));
                    }
                }
                if looked_at == LOOKED_AT_MAX {
                    break;
                }
            }
            if looked_at < LOOKED_AT_MAX {
                return listed;
            }
            tokio::task::yield_now().await;
        }
    }

    fn close(&self, number: u64) -> bool {
        let open = self.open.borrow();
        let Some(live) = open.get(&number) else {
            return false;
        };
        live.is_closed.set(true);
        self.drain.wake(live.place.get());
        true
    }

    fn put(&self, number: u64, tap: Tap) -> Tapped {
        let open = self.open.borrow();
        let Some(live) = open.get(&number) else {
            return Tapped::Unknown;
        };
        if matches!(live.to.get(), Written::Tunnel) {
            return Tapped::Tunnel;
        }
        let mut taps = self.taps.borrow_mut();
        taps.retain(|(_, tap)| !tap.is_left());
        if taps.len() == TAPS_MAX {
            return Tapped::TooMany;
        }
        live.is_tapped.set(true);
        taps.push((number, tap));
        Tapped::Begun
    }
}

impl Filter {
    fn takes(&self, live: &Live) -> bool {
        let is_route = |route: &String| live.route_name() == route;
        let is_peer = |peer: &Option<IpAddr>| live.peer == *peer;
        self.route.as_ref().is_none_or(is_route) && self.peer.as_ref().is_none_or(is_peer)
    }
}

#[cfg(test)]
mod tests;
