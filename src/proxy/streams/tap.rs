//! How is what a stream writes copied to somebody who watches, without holding the stream up?
//!
//! A copy is taken of so many events a second, into a queue that has an end: what does not fit is
//! counted and left out.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use bytes::Bytes;
use memchr::memmem;
use tokio::{
    sync::{mpsc, oneshot},
    time::Instant,
};

/// How many copies may wait for whoever watches.
const PIECES_MAX: usize = 64;
/// The longest event that is copied, in bytes.
const PIECE_BYTES_MAX: usize = 64 * 1024;
/// What `rate` is counted over.
const SPAN: Duration = Duration::from_secs(1);

/// What a stream was seen to write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// Bytes of SSE: an event, with the comments before it, or comments alone.
    Event(Bytes),
    /// Bytes of something else, cut as they were written.
    Bytes(Bytes),
}

/// The stream's side of a tap.
#[derive(Debug)]
pub struct Tap {
    pieces: mpsc::Sender<Piece>,
    missed: Arc<AtomicU64>,
    ended: oneshot::Sender<&'static str>,
    /// Copies in [`SPAN`].
    rate: u32,
    span_began: Instant,
    copied: u32,
}

/// The side of whoever watches.
#[derive(Debug)]
pub struct Tapping {
    /// What was copied; closed at the stream's end.
    pub pieces: mpsc::Receiver<Piece>,
    /// How many were left out so far.
    pub missed: Arc<AtomicU64>,
    /// How the stream ended.
    pub ended: oneshot::Receiver<&'static str>,
}

/// What became of a tap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tapped {
    /// Copies come.
    Begun,
    /// There is no such stream.
    Unknown,
    /// What a tunnel carries is not ours to read.
    Tunnel,
    /// There are as many as may be.
    TooMany,
}

/// The watcher is gone.
#[derive(Debug)]
pub(super) struct Left;

/// A tap of `rate` events a second.
#[must_use]
pub fn tap(rate: u32) -> (Tap, Tapping) {
    let (pieces, received) = mpsc::channel(PIECES_MAX);
    let (ended, is_ended) = oneshot::channel();
    let missed = Arc::new(AtomicU64::new(0));
    let tap = Tap {
        pieces,
        missed: Arc::clone(&missed),
        ended,
        rate,
        span_began: Instant::now(),
        copied: 0,
    };
    let tapping = Tapping {
        pieces: received,
        missed,
        ended: is_ended,
    };
    (tap, tapping)
}

impl Tap {
    /// Copies what was written at `now`, as far as that is allowed.
    pub(super) fn copy(&mut self, bytes: &[u8], is_sse: bool, now: Instant) -> Result<(), Left> {
        if now.duration_since(self.span_began) >= SPAN {
            (self.span_began, self.copied) = (now, 0);
        }
        if !is_sse {
            return self.give(bytes, Piece::Bytes);
        }
        let mut rest = bytes;
        while !rest.is_empty() {
            let end = memmem::find(rest, b"\n\n").map_or(rest.len(), |at| at + 2);
            let (event, behind) = rest.split_at(end);
            self.give(event, Piece::Event)?;
            rest = behind;
        }
        Ok(())
    }

    fn give(&mut self, bytes: &[u8], piece: fn(Bytes) -> Piece) -> Result<(), Left> {
        if self.copied < self.rate && bytes.len() <= PIECE_BYTES_MAX {
            match self.pieces.try_reserve() {
                Ok(place) => {
                    place.send(piece(Bytes::copy_from_slice(bytes)));
                    self.copied += 1;
                    return Ok(());
                }
                Err(mpsc::error::TrySendError::Closed(())) => return Err(Left),
                Err(mpsc::error::TrySendError::Full(())) => {}
            }
        }
        self.missed.fetch_add(1, Relaxed);
        Ok(())
    }

    /// Says how the stream ended.
    pub(super) fn end(self, ending: &'static str) {
        // Whoever has left need not know.
        let _ = self.ended.send(ending);
    }

    /// Whether nobody watches any more.
    pub(super) fn is_left(&self) -> bool {
        self.pieces.is_closed()
    }
}
