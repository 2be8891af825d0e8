//! Where does a row end?

use memchr::{memchr, memchr3};

/// Finds the ends of rows: LF and CR outside quotes.
///
/// A quote opens only at the start of a cell; anywhere else outside of quotes it stands for itself.
/// That, and what may follow a closing quote, is read as most readers do (RFC 4180 leaves no such rows).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Ends {
    /// At the start of a cell.
    #[default]
    Start,
    /// In a cell, outside quotes.
    Plain,
    /// In quotes.
    Quoted,
    /// Behind a quote in quotes: it closes them, unless another one follows.
    Closing,
}

impl Ends {
    /// Where in `input` the row ends: the place of its CR or LF. `None`: `input` lies whole in the row.
    #[inline]
    pub(super) fn find(&mut self, input: &[u8]) -> Option<usize> {
        let mut at = 0;
        while let Some(first) = input.get(at) {
            match (*self, first) {
                (Self::Start | Self::Closing, b'"') => {
                    *self = Self::Quoted;
                    at += 1;
                }
                (Self::Quoted, _) => {
                    at += memchr(b'"', &input[at..])? + 1;
                    *self = Self::Closing;
                }
                (Self::Start | Self::Closing | Self::Plain, _) => {
                    *self = Self::Plain;
                    let Some(found) = memchr3(b'"', b'\n', b'\r', &input[at..]) else {
                        if input.ends_with(b",") {
                            *self = Self::Start;
                        }
                        return None;
                    };
                    let end = at + found;
                    if input[end] != b'"' {
                        *self = Self::Start;
                        return Some(end);
                    }
                    // Behind a comma it is looked at anew, as the first byte of its cell.
                    if found > 0 && input[end - 1] == b',' {
                        *self = Self::Start;
                        at = end;
                    } else {
                        at = end + 1;
                    }
                }
            }
        }
        None
    }

    /// Whether the row can end here.
    pub(super) fn is_closed(self) -> bool {
        self != Self::Quoted
    }
}
