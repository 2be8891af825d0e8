//! How is gzip written without a deflate state for each stream?
//!
//! A deflate state of zlib's kind takes 160 kB and more, most of which can be found again: it is made of
//! the plain bytes that the window reaches back to. So a stream keeps those alone, and the thread's
//! deflater, which all streams use in turn, is shown them before each flush. That costs some 1 µs a KiB
//! of window and flush, and makes a stream some thirty times smaller.

use std::{cell::RefCell, fmt, rc::Rc};

use zlib_rs::{Deflate, DeflateFlush, Status, crc32::crc32};

use super::{Coder, Step};

/// A gzip stream of one member (RFC 1952).
pub(super) struct Gzip {
    deflaters: Rc<RefCell<Deflaters>>,
    /// The last of the plain bytes.
    /// Invariant: at most `window_bytes`.
    window: Vec<u8>,
    window_bytes: usize,
    crc: u32,
    plain_bytes: u64,
    is_begun: bool,
}

/// A thread's deflate states, each made when it is first used; 380 kB each, which no budget counts.
#[derive(Default)]
pub(super) struct Deflaters {
    quick: Option<Deflate>,
    thorough: Option<Deflate>,
}

/// What a gzip stream with this window holds, in bytes.
pub(super) fn cost_bytes(window_log: u8) -> usize {
    (1 << window_log) + STATE_BYTES
}

impl Gzip {
    pub(super) fn new(window_log: u8, deflaters: Rc<RefCell<Deflaters>>) -> Self {
        Self {
            deflaters,
            window: Vec::new(),
            window_bytes: 1 << window_log,
            crc: 0,
            plain_bytes: 0,
            is_begun: false,
        }
    }

    #[cfg(test)]
    pub(super) fn held_bytes(&self) -> usize {
        size_of::<Self>() + self.window.capacity()
    }

    /// Moves the window over `plain`.
    fn remember(&mut self, plain: &[u8]) {
        let kept = &plain[plain.len().saturating_sub(self.window_bytes)..];
        let gone = (self.window.len() + kept.len()).saturating_sub(self.window_bytes);
        self.window.drain(..gone);
        let needed = self.window.len() + kept.len();
        if needed > self.window.capacity() {
            let capacity = self.window_bytes.min(2 * needed);
            self.window.reserve_exact(capacity - self.window.len());
        }
        self.window.extend_from_slice(kept);
    }
}

impl Coder for Gzip {
    fn write(&mut self, plain: &[u8], step: Step, coded: &mut Vec<u8>) {
        if !self.is_begun {
            coded.extend_from_slice(&HEADER);
            self.is_begun = true;
        }
        let mut deflaters = self.deflaters.borrow_mut();
        let deflate = deflaters.of(plain.len());
        // Nothing of what another stream wrote may be referred to.
        deflate.reset();
        if !self.window.is_empty() {
            deflate
                .set_dictionary(&self.window)
                .expect("a raw deflate state takes a dictionary whenever it is fresh");
        }
        write(deflate, plain, step, coded);
        drop(deflaters);
        self.crc = crc32(self.crc, plain);
        self.plain_bytes += plain.len() as u64;
        if step == Step::Finish {
            coded.extend_from_slice(&self.crc.to_le_bytes());
            // The size is told modulo 2^32.
            coded.extend_from_slice(&self.plain_bytes.to_le_bytes()[..4]);
        } else {
            self.remember(plain);
        }
    }
}

impl Deflaters {
    /// The state that suits a write of this length.
    fn of(&mut self, plain_bytes: usize) -> &mut Deflate {
        let (deflate, level) = if plain_bytes < THOROUGH_BYTES_MIN {
            (&mut self.quick, QUICK_LEVEL)
        } else {
            (&mut self.thorough, THOROUGH_LEVEL)
        };
        deflate.get_or_insert_with(|| Deflate::new(level, false, super::WINDOW_LOG_MAX))
    }
}

impl fmt::Debug for Deflaters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Deflaters").finish_non_exhaustive()
    }
}

/// Appends the deflate blocks of `plain`.
fn write(deflate: &mut Deflate, mut plain: &[u8], step: Step, coded: &mut Vec<u8>) {
    let flush = match step {
        Step::Flush => DeflateFlush::SyncFlush,
        Step::Finish => DeflateFlush::Finish,
    };
    loop {
        let start = coded.len();
        let room = (plain.len() + plain.len() / 8 + ROOM_BYTES_MIN).min(ROOM_BYTES_MAX);
        coded.resize(start + room, 0);
        let (read, written) = (deflate.total_in(), deflate.total_out());
        let status = deflate
            .compress(plain, &mut coded[start..], flush)
            .expect("deflate takes any bytes");
        let read = usize::try_from(deflate.total_in() - read).unwrap_or(plain.len());
        let written = usize::try_from(deflate.total_out() - written).unwrap_or(room);
        coded.truncate(start + written);
        plain = &plain[read..];
        // A flush is done once it leaves room, the end once it says so.
        let is_done = match step {
            Step::Flush => plain.is_empty() && written < room,
            Step::Finish => status == Status::StreamEnd,
        };
        if is_done {
            return;
        }
    }
}

/// Deflate, no name, no time, the fastest algorithm, an unknown system.
const HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 4, 0xff];

/// What a stream holds besides its window, and what its allocator rounds up, in bytes.
const STATE_BYTES: usize = 512;

/// From how many bytes on a write is worth codes of its own; short ones are written with deflate's fixed
/// codes, in a third of the time.
const THOROUGH_BYTES_MIN: usize = 1024;
const QUICK_LEVEL: i32 = 1;
const THOROUGH_LEVEL: i32 = 4;

/// How much room is made for coded bytes at once: zeroed before it is written, so little for little.
const ROOM_BYTES_MIN: usize = 64;
const ROOM_BYTES_MAX: usize = 64 * 1024;
