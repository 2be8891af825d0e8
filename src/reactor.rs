//! How does a worker learn that a socket is ready?
//!
//! The sockets of streams, most of them silent for most of the time, are watched by an epoll instance of the worker's
//! own, which the runtime watches as one descriptor. A place here takes 40 bytes of a socket; the runtime's own
//! registration takes 256.

mod watched;

use std::{
    convert::Infallible,
    io,
    os::fd::{AsFd, AsRawFd as _},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
    time::Duration,
};

use mio::{Events, Interest, Registry, Token, event::Event, unix::SourceFd};
use slab::Slab;
use tokio::io::{Interest as WatchedFor, unix::AsyncFd};
use tracing::error;

pub(crate) use self::watched::Watched;

/// How many sockets one look finds ready at most, before those that were found have their turn.
const EVENTS_MAX: usize = 1024;

/// The sockets of one worker, and who waits for each.
#[derive(Debug)]
pub struct Reactor {
    registry: Registry,
    places: Mutex<Slab<Place>>,
}

/// Looks for sockets that have become ready.
struct Lookout {
    poll: AsyncFd<mio::Poll>,
    events: Events,
    reactor: Arc<Reactor>,
}

/// What is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Read = 0,
    Write = 1,
}

const SIDES: [Side; 2] = [Side::Read, Side::Write];

/// What is known of one socket, for each side. Every open stream has one or two, so that it is kept small.
#[derive(Debug)]
struct Place {
    waiting: [Option<Waker>; 2],
    /// Whether an attempt may succeed, as far as is known.
    is_ready: [bool; 2],
    /// Whether the peer has closed the side: nothing more will tell of that.
    is_closed: [bool; 2],
}

/// A side of a socket was ready; it is taken for blocked until this is put back or the socket tells again.
#[derive(Debug, Clone, Copy)]
struct Ready {
    is_closed: bool,
}

impl Reactor {
    /// Makes a reactor, which looks at its sockets in a task of this thread.
    ///
    /// # Errors
    /// There are no further descriptors.
    #[expect(
        deprecated,
        reason = "what takes its place is unsafe, for types that may lie about their descriptor; mio's owns it"
    )]
    pub fn start() -> io::Result<Arc<Self>> {
        let poll = mio::Poll::new()?;
        let reactor = Arc::new(Self {
            registry: poll.registry().try_clone()?,
            places: Mutex::default(),
        });
        let lookout = Lookout {
            poll: AsyncFd::with_interest(poll, WatchedFor::READABLE)?,
            events: Events::with_capacity(EVENTS_MAX),
            reactor: Arc::clone(&reactor),
        };
        tokio::task::spawn_local(async move {
            let Err(error) = lookout.run().await;
            error!(%error, "A thread hears of its sockets no more.");
        });
        Ok(reactor)
    }

    /// Watches a socket, which is taken for writable until it blocks.
    fn add(&self, socket: &impl AsFd, interest: Interest) -> io::Result<u32> {
        let key = self.places().insert(Place {
            waiting: [None, None],
            is_ready: [false, true],
            is_closed: [false, false],
        });
        let fd = socket.as_fd().as_raw_fd();
        let added = self
            .registry
            .register(&mut SourceFd(&fd), Token(key), interest)
            .and_then(|()| u32::try_from(key).map_err(io::Error::other));
        if added.is_err() {
            self.places().remove(key);
        }
        added
    }

    fn remove(&self, socket: &impl AsFd, key: u32) {
        // It can only fail where the kernel has forgotten the socket already.
        drop(
            self.registry
                .deregister(&mut SourceFd(&socket.as_fd().as_raw_fd())),
        );
        // Let go of after the lock: a waker may be the last that holds a task.
        let place = self.places().try_remove(key as usize);
        drop(place);
    }

    /// Takes a side's readiness, or has the task woken once there is some.
    fn poll_take(&self, key: u32, side: Side, cx: &Context<'_>) -> Poll<Ready> {
        let mut places = self.places();
        let place = &mut places[key as usize];
        if std::mem::take(&mut place.is_ready[side as usize]) {
            let is_closed = std::mem::take(&mut place.is_closed[side as usize]);
            return Poll::Ready(Ready { is_closed });
        }
        let waiting = &mut place.waiting[side as usize];
        if waiting
            .as_ref()
            .is_some_and(|one| one.will_wake(cx.waker()))
        {
            return Poll::Pending;
        }
        let before = waiting.replace(cx.waker().clone());
        drop(places);
        drop(before);
        Poll::Pending
    }

    /// The side is as ready as it was.
    fn put_back(&self, key: u32, side: Side, ready: Ready) {
        let place = &mut self.places()[key as usize];
        place.is_ready[side as usize] = true;
        place.is_closed[side as usize] |= ready.is_closed;
    }

    /// Wakes those whom an event concerns.
    fn note(&self, event: &Event) {
        let is_closed = [
            event.is_read_closed() || event.is_error(),
            event.is_write_closed() || event.is_error(),
        ];
        let is_ready = [
            is_closed[0] || event.is_readable(),
            is_closed[1] || event.is_writable(),
        ];
        let mut woken = [None, None];
        // One that was removed may have told before.
        if let Some(place) = self.places().get_mut(event.token().0) {
            for side in SIDES
                .map(|side| side as usize)
                .into_iter()
                .filter(|side| is_ready[*side])
            {
                place.is_ready[side] = true;
                place.is_closed[side] |= is_closed[side];
                woken[side] = place.waiting[side].take();
            }
        }
        woken.into_iter().flatten().for_each(Waker::wake);
    }

    fn places(&self) -> MutexGuard<'_, Slab<Place>> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lookout {
    /// Wakes tasks as their sockets become ready.
    async fn run(mut self) -> io::Result<Infallible> {
        loop {
            let mut look = self.poll.readable_mut().await?;
            match look
                .get_inner_mut()
                .poll(&mut self.events, Some(Duration::ZERO))
            {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                polled => polled?,
            }
            let mut found = 0;
            for event in &self.events {
                self.reactor.note(event);
                found += 1;
            }
            if found < EVENTS_MAX {
                look.clear_ready();
            } else {
                // There may be more, after those that were found.
                tokio::task::yield_now().await;
            }
        }
    }
}

#[cfg(test)]
mod tests;
