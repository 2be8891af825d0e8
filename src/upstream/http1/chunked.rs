//! How are chunks told from their framing, strictly and in little space?
//!
//! RFC 9112 §7.1. Every CR and LF of the framing is wanted where it belongs. Extensions are read over,
//! with a limit for each chunk's line and none for the body, which may be endless.

use http::HeaderMap;

use super::{FIELDS_MAX, body::Progress, fields};
use crate::upstream::trailers;

/// The longest line that begins a chunk, in bytes: its size and its extensions.
const LINE_BYTES_MAX: u16 = 4096;
/// The longest size that is read in one go, in digits.
const PLAIN_DIGITS_MAX: usize = 8;
/// The most that may follow the last chunk, in bytes.
const TRAILER_BYTES_MAX: usize = 16 * 1024;

/// A body in chunks, as far as it has come.
#[derive(Debug)]
pub(super) struct Chunked {
    state: State,
    /// How much of the chunk's line has come.
    line_bytes: u16,
    /// The chunk's size as far as it is read, then how much of its payload is still to come.
    rest: u64,
    /// What has come after the last chunk; no memory before.
    trailers: Option<Box<Trailers>>,
}

#[derive(Debug, Default)]
struct Trailers(Vec<u8>);

/// What is to come next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// The first digit of a chunk's size.
    Start,
    /// More digits, or what ends them.
    Size,
    /// More space after the size, or what ends it.
    Space,
    /// An extension, to the line's CR.
    Extension,
    SizeLf,
    Payload,
    PayloadCr,
    PayloadLf,
    /// The first byte of a trailer's line, or the CR of the empty line.
    TrailerStart,
    /// The rest of a trailer's line, to its CR.
    Trailer,
    TrailerLf,
    LastLf,
    Done,
    Bad(Wrong),
}

/// What the framing is not. Every open stream has room for one, so that it is no text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wrong {
    NoSize,
    Boundless,
    LongLine,
    BareLf,
    Longer,
    TrailerEnd,
    LongTrailers,
    LastLine,
}

impl Wrong {
    fn sentence(self) -> &'static str {
        match self {
            Self::NoSize => "the line that begins a chunk is no size",
            Self::Boundless => "a chunk's size is beyond all bounds",
            Self::LongLine => "the line that begins a chunk is too long",
            Self::BareLf => "the line that begins a chunk ends without CR",
            Self::Longer => "a chunk is longer than its size says",
            Self::TrailerEnd => "a trailer's line does not end with CR LF",
            Self::LongTrailers => "what follows the last chunk is too long",
            Self::LastLine => "the last line is not empty",
        }
    }
}

/// What the next bytes are.
pub(super) enum Step {
    /// So many bytes are framing.
    Framing(usize),
    /// So many bytes are payload, at least one.
    Payload(usize),
    /// They do not belong to the body.
    Over,
}

impl Chunked {
    pub(super) fn new() -> Self {
        Self {
            state: State::Start,
            line_bytes: 0,
            rest: 0,
            trailers: None,
        }
    }

    /// Takes what is next off the front of these bytes, which are at least one.
    pub(super) fn step(&mut self, bytes: &[u8]) -> Step {
        if self.state == State::Payload {
            let rest = usize::try_from(self.rest).unwrap_or(usize::MAX);
            let length = rest.min(bytes.len());
            self.rest -= length as u64;
            if self.rest == 0 {
                self.state = State::PayloadCr;
            }
            return Step::Payload(length);
        }
        if let Some(framing) = self.common(bytes) {
            return Step::Framing(framing);
        }
        if self.progress() != Progress::Going {
            return Step::Over;
        }
        if self.state == State::Extension {
            let text = memchr::memchr2(b'\r', b'\n', bytes).unwrap_or(bytes.len());
            if text > 0 {
                return Step::Framing(self.extension(text));
            }
        }
        self.state = self.after(self.state, bytes[0]);
        Step::Framing(1)
    }

    /// Reads the framing between two chunks in one go where it is whole and plain, as nearly all is;
    /// what it leaves is read byte by byte.
    fn common(&mut self, bytes: &[u8]) -> Option<usize> {
        if self.state == State::PayloadCr && bytes.starts_with(b"\r\n") {
            self.state = State::Start;
            return Some(2);
        }
        if self.state != State::Start {
            return None;
        }
        let mut size = 0;
        for (digits, byte) in bytes.iter().take(PLAIN_DIGITS_MAX + 1).enumerate() {
            let Some(digit) = char::from(*byte).to_digit(16) else {
                let is_plain = size > 0 && bytes[digits..].starts_with(b"\r\n");
                return is_plain.then(|| {
                    (self.state, self.rest) = (State::Payload, size);
                    digits + 2
                });
            };
            size = size * 16 + u64::from(digit);
        }
        None
    }

    /// Reads over so much of an extension, or as much as a line may hold.
    fn extension(&mut self, length: usize) -> usize {
        let room = LINE_BYTES_MAX - self.line_bytes;
        match u16::try_from(length).ok().filter(|length| *length <= room) {
            Some(length) => self.line_bytes += length,
            None => self.state = State::Bad(Wrong::LongLine),
        }
        length
    }

    pub(super) fn progress(&self) -> Progress {
        if let State::Bad(wrong) = self.state {
            Progress::Bad(wrong.sentence())
        } else if self.state == State::Done {
            Progress::Done
        } else {
            Progress::Going
        }
    }

    /// What of the fields after the last chunk is passed on.
    ///
    /// # Errors
    /// They are no fields.
    pub(super) fn take_trailers(&mut self) -> Result<Option<HeaderMap>, &'static str> {
        let Some(trailers) = self.trailers.take() else {
            return Ok(None);
        };
        let mut bytes = trailers.0;
        bytes.extend_from_slice(b"\r\n");
        let mut parsed = [httparse::EMPTY_HEADER; FIELDS_MAX];
        match httparse::parse_headers(&bytes, &mut parsed) {
            Ok(httparse::Status::Complete((used, parsed))) if used == bytes.len() => {
                let fields = fields::collect(parsed).ok_or("a trailer is no field")?;
                Ok(trailers::forwardable(fields))
            }
            _ => Err("what follows the last chunk is no fields"),
        }
    }

    /// The state after this byte of framing.
    fn after(&mut self, state: State, byte: u8) -> State {
        match (state, byte) {
            (State::PayloadCr, b'\r') => State::PayloadLf,
            (State::PayloadLf, b'\n') => State::Start,
            (State::PayloadCr | State::PayloadLf, _) => State::Bad(Wrong::Longer),
            (State::LastLf, b'\n') => State::Done,
            (State::TrailerStart, b'\r') => State::LastLf,
            (State::LastLf, _) => State::Bad(Wrong::LastLine),
            (State::TrailerStart | State::Trailer | State::TrailerLf, _) => {
                self.after_trailer(state, byte)
            }
            _ => self.after_line(state, byte),
        }
    }

    fn after_line(&mut self, state: State, byte: u8) -> State {
        if self.line_bytes == LINE_BYTES_MAX {
            return State::Bad(Wrong::LongLine);
        }
        self.line_bytes += 1;
        match (state, byte) {
            (State::Start | State::Size, b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') => {
                self.digit(byte)
            }
            (State::Size | State::Space, b' ' | b'\t') => State::Space,
            (State::Size | State::Space | State::Extension, b'\r') => State::SizeLf,
            (State::Extension, b'\n') => State::Bad(Wrong::BareLf),
            (State::Size | State::Space, b';') => State::Extension,
            (State::SizeLf, b'\n') => {
                self.line_bytes = 0;
                if self.rest == 0 {
                    State::TrailerStart
                } else {
                    State::Payload
                }
            }
            _ => State::Bad(Wrong::NoSize),
        }
    }

    fn digit(&mut self, byte: u8) -> State {
        let digit = char::from(byte).to_digit(16).unwrap_or_default();
        let size = self.rest.checked_mul(16);
        match size.and_then(|size| size.checked_add(u64::from(digit))) {
            Some(size) => {
                self.rest = size;
                State::Size
            }
            None => State::Bad(Wrong::Boundless),
        }
    }

    fn after_trailer(&mut self, state: State, byte: u8) -> State {
        let trailers = &mut self.trailers.get_or_insert_default().0;
        if trailers.len() == TRAILER_BYTES_MAX {
            return State::Bad(Wrong::LongTrailers);
        }
        trailers.push(byte);
        match (state, byte) {
            (State::TrailerLf, b'\n') => State::TrailerStart,
            (State::TrailerLf, _) | (_, b'\n') => State::Bad(Wrong::TrailerEnd),
            (_, b'\r') => State::TrailerLf,
            _ => State::Trailer,
        }
    }
}
