//! Where does the body of a reply end, and which of the bytes are payload?
//!
//! Knows no sockets: whoever reads hands over each piece as it came, and is told where in it the
//! payload lies (RFC 9112 §6.3).

use std::ops::Range;

use http::HeaderMap;

use super::chunked::{Chunked, Step};
use crate::transcode::framing::EndOfInput;

/// What is left of a body.
#[derive(Debug)]
pub(super) enum Body {
    /// So many bytes more; none is the end.
    Length(u64),
    /// Chunks until the last.
    Chunked(Chunked),
    /// Everything until the connection is closed.
    UntilClose,
}

/// What one piece held.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Decoded {
    /// Where the payload lies in the piece.
    pub(super) payload: Range<usize>,
    /// How much of the piece belongs to the message; what follows does not.
    pub(super) used: usize,
}

/// How far a body is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// More is to come.
    Going,
    /// It has ended where its framing says.
    Done,
    /// It cannot go on.
    Bad(&'static str),
}

impl Body {
    /// A reply without a body.
    pub(super) const NONE: Self = Self::Length(0);

    /// Whether its end can be told from a cut.
    pub(super) fn end(&self) -> EndOfInput {
        match self {
            Self::Length(_) | Self::Chunked(_) => EndOfInput::Verified,
            Self::UntilClose => EndOfInput::Unverified,
        }
    }

    /// Takes the next piece; its payload is made contiguous in place.
    ///
    /// Not to be called once the body is done or bad.
    pub(super) fn decode(&mut self, piece: &mut [u8]) -> Decoded {
        match self {
            Self::Length(rest) => {
                let length =
                    usize::try_from(*rest).map_or(piece.len(), |rest| rest.min(piece.len()));
                *rest -= length as u64;
                Decoded {
                    payload: 0..length,
                    used: length,
                }
            }
            Self::Chunked(chunked) => decode_chunks(chunked, piece),
            Self::UntilClose => Decoded {
                payload: 0..piece.len(),
                used: piece.len(),
            },
        }
    }

    /// How far the body is after what was decoded.
    pub(super) fn progress(&self) -> Progress {
        match self {
            Self::Length(0) => Progress::Done,
            Self::Length(_) | Self::UntilClose => Progress::Going,
            Self::Chunked(chunked) => chunked.progress(),
        }
    }

    /// The fields after the last chunk; to be asked once the body is done.
    ///
    /// # Errors
    /// They are no fields.
    pub(super) fn take_trailers(&mut self) -> Result<Option<HeaderMap>, &'static str> {
        match self {
            Self::Chunked(chunked) => chunked.take_trailers(),
            Self::Length(_) | Self::UntilClose => Ok(None),
        }
    }
}

/// Moves the payload of all but the first chunk down, next to what came before; most reads hold one.
fn decode_chunks(chunked: &mut Chunked, piece: &mut [u8]) -> Decoded {
    let (mut payload, mut used) = (0..0, 0);
    while used < piece.len() {
        match chunked.step(&piece[used..]) {
            Step::Framing(length) => used += length,
            Step::Payload(length) => {
                if payload.is_empty() {
                    payload = used..used;
                } else {
                    piece.copy_within(used..used + length, payload.end);
                }
                payload.end += length;
                used += length;
            }
            Step::Over => break,
        }
    }
    Decoded { payload, used }
}
