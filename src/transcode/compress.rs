//! How does a stream go out compressed, flush by flush?
//!
//! Each write ends in a flush, so that all of it can be decoded the moment it arrives; the coding's own
//! end is written only at a stream's clean end, so that a cut looks cut here, too.
//!
//! What a stream holds of its coding it holds while it is silent as well. So windows are small, what can
//! be is lent by the thread, and all streams of the process share one [`Budget`].

mod brotli;
mod budget;
mod gzip;
mod zstd;

#[cfg(test)]
mod tests;

use std::{cell::RefCell, rc::Rc, sync::Arc};

pub use self::budget::Budget;
use self::{brotli::Brotli, budget::Grant, gzip::Deflaters, gzip::Gzip, zstd::Zstd};

/// A content coding that streams go out in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Coding {
    /// RFC 1952.
    Gzip,
    /// RFC 7932.
    Brotli,
    /// RFC 8878.
    Zstd,
}

/// Every coding that streams can go out in.
pub const CODINGS: [Coding; 3] = [Coding::Zstd, Coding::Gzip, Coding::Brotli];

/// How a route's streams go out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The codings that a client may have, the one to prefer first; none is no compression.
    pub codings: Vec<Coding>,
    /// How far back a coding looks for what it has seen: this power of two in bytes, from
    /// [`WINDOW_LOG_MIN`] to [`WINDOW_LOG_MAX`].
    pub window_log: u8,
}

/// A window of 1 KiB.
pub const WINDOW_LOG_MIN: u8 = 10;
/// A window of 32 KiB, the most that gzip has.
pub const WINDOW_LOG_MAX: u8 = 15;

impl Default for Settings {
    fn default() -> Self {
        Self {
            codings: Vec::new(),
            window_log: 12,
        }
    }
}

impl Coding {
    /// The coding of that name.
    #[must_use]
    pub fn by_name(name: &str) -> Option<Self> {
        CODINGS.into_iter().find(|coding| coding.name() == name)
    }

    /// The name in `Content-Encoding`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Brotli => "br",
            Self::Zstd => "zstd",
        }
    }

    /// What a stream of this coding and window holds at most, in bytes, whether lively or silent.
    #[must_use]
    pub fn cost_bytes(self, window_log: u8) -> usize {
        match self {
            Self::Gzip => gzip::cost_bytes(window_log),
            Self::Brotli => brotli::cost_bytes(window_log),
            Self::Zstd => zstd::cost_bytes(window_log),
        }
    }
}

/// What the compressors of one thread have in common.
#[derive(Debug)]
pub struct Press {
    budget: Arc<Budget>,
    deflaters: Rc<RefCell<Deflaters>>,
    /// Where coded bytes are written before they take the plain ones' place.
    coded: RefCell<Vec<u8>>,
}

impl Press {
    /// Makes a thread's press.
    #[must_use]
    pub fn new(budget: Arc<Budget>) -> Self {
        Self {
            budget,
            deflaters: Rc::default(),
            coded: RefCell::default(),
        }
    }

    /// Makes the compressor of one stream; `None` where the budget is spent, or memory.
    #[must_use]
    pub fn compressor(self: &Rc<Self>, coding: Coding, window_log: u8) -> Option<Compressor> {
        let grant = self.budget.grant(coding.cost_bytes(window_log))?;
        let coder: Box<dyn Coder> = match coding {
            Coding::Gzip => Box::new(Gzip::new(window_log, Rc::clone(&self.deflaters))),
            Coding::Brotli => Box::new(Brotli::new(window_log)),
            Coding::Zstd => Box::new(Zstd::new(window_log)?),
        };
        Some(Compressor {
            coding,
            coder,
            press: Rc::clone(self),
            _grant: grant,
        })
    }
}

/// Compresses one stream.
pub struct Compressor {
    coding: Coding,
    coder: Box<dyn Coder>,
    press: Rc<Press>,
    /// Given back with the rest.
    _grant: Grant,
}

impl Compressor {
    /// What it compresses with.
    #[must_use]
    pub fn coding(&self) -> Coding {
        self.coding
    }

    /// Puts the coded form of the plain bytes in `out` from `start` on in their place. They are all there,
    /// and can be decoded as soon as this has arrived.
    pub fn flush(&mut self, out: &mut Vec<u8>, start: usize) {
        self.replace(out, start, Step::Flush);
    }

    /// The same for the last bytes of a whole stream, of which there may be none; then the coding's end.
    pub fn finish(mut self, out: &mut Vec<u8>, start: usize) {
        self.replace(out, start, Step::Finish);
    }

    fn replace(&mut self, out: &mut Vec<u8>, start: usize, step: Step) {
        let mut coded = self.press.coded.take();
        coded.clear();
        self.coder.write(&out[start..], step, &mut coded);
        out.truncate(start);
        out.extend_from_slice(&coded);
        if coded.capacity() <= CODED_BYTES_KEPT {
            self.press.coded.replace(coded);
        }
    }
}

/// One stream's side of a coding.
trait Coder {
    /// Appends the coded form of `plain`, all of it, and what the step asks for.
    fn write(&mut self, plain: &[u8], step: Step, coded: &mut Vec<u8>);
}

/// What follows the coded bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// What makes them decodable at once.
    Flush,
    /// The coding's own end.
    Finish,
}

/// The most that a thread keeps when a huge event has passed through, in bytes.
const CODED_BYTES_KEPT: usize = 1024 * 1024;
