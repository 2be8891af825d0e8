//! How is a JSON value cut that may lie in several chunks?

#[cfg(test)]
pub(super) mod samples;
#[cfg(test)]
mod tests;

use super::{DecodeError, EndOfInput, Record, bom::Bom};
use crate::transcode::json::{self, ValueEnd};

/// Cuts JSON values, straight from the chunk where they lie whole in it, and keeps what has no end yet.
///
/// A value whose bytes stand in more than one line is lent in one, without the white space outside its
/// strings; any other as it came. Each byte is looked at once to find the end, and once more where white
/// space goes. Between calls there is memory only while a value is incomplete.
#[derive(Debug)]
pub(super) struct Values {
    /// May stand before the first value.
    bom: Bom,
    /// The start of the value whose end has not arrived, or the value that is lent.
    /// Invariant: `carry.len() <= value_bytes_max`.
    carry: Vec<u8>,
    /// Whether `carry` was given out, and must be gone before the next value.
    is_lent: bool,
    /// Whether a value has begun and not ended.
    is_open: bool,
    end: ValueEnd,
    /// The longest value, as it came.
    value_bytes_max: usize,
}

/// Where a value lies; [`Values::bytes`] are its bytes.
#[derive(Debug, Clone, Copy)]
pub(super) enum Place<'i> {
    /// Whole in the chunk.
    Chunk(&'i [u8]),
    /// In the cutter.
    Carry,
}

/// Why there is no value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// It is longer than it may be.
    TooLarge,
    /// It is no JSON; says why.
    Malformed(&'static str),
}

impl Values {
    pub(super) fn new(value_bytes_max: usize) -> Self {
        Self {
            bom: Bom::default(),
            carry: Vec::new(),
            is_lent: false,
            is_open: false,
            end: ValueEnd::new(),
            value_bytes_max,
        }
    }

    /// Makes ready for more input: lets go of the value that was lent, and takes off a byte order mark.
    ///
    /// # Errors
    /// The stream begins like a mark and goes on otherwise.
    #[inline]
    pub(super) fn begin(&mut self, input: &mut &[u8]) -> Result<(), Fault> {
        self.release();
        if !self.bom.is_past() && !self.bom.strip(input).is_empty() {
            return Err(Fault::Malformed(
                "the stream begins with half a byte order mark",
            ));
        }
        Ok(())
    }

    #[inline]
    fn release(&mut self) {
        if self.is_lent {
            self.is_lent = false;
            // With its capacity: an idle stream holds nothing.
            self.carry = Vec::new();
        }
    }

    /// Whether a value has begun and not ended.
    #[inline]
    pub(super) fn is_open(&self) -> bool {
        self.is_open
    }

    /// Whether the value that was last begun is one whose end only what follows tells.
    #[inline]
    pub(super) fn is_scalar(&self) -> bool {
        self.end.is_scalar()
    }

    /// Begins the value that `first` is the first byte of.
    #[inline]
    pub(super) fn open(&mut self, first: u8) -> Result<(), Fault> {
        self.end.begin(first).map_err(Fault::Malformed)?;
        self.is_open = true;
        Ok(())
    }

    /// Drops the value that was last begun, whether it has ended or not.
    pub(super) fn abandon(&mut self) {
        self.is_open = false;
        self.is_lent = false;
        self.carry = Vec::new();
    }

    /// Takes what belongs to the open value off `input`; its place, if that completes it.
    #[inline]
    pub(super) fn cut<'i>(&mut self, input: &mut &'i [u8]) -> Result<Option<Place<'i>>, Fault> {
        let left = self.value_bytes_max - self.carry.len();
        // One byte more can end a number, which it is no part of.
        let seen = &input[..input.len().min(left + usize::from(self.end.is_scalar()))];
        let Some(end) = self.end.find(seen).map_err(Fault::Malformed)? else {
            if input.len() > left {
                return Err(Fault::TooLarge);
            }
            self.carry.extend_from_slice(std::mem::take(input));
            return Ok(None);
        };
        let (head, tail) = input.split_at(end);
        *input = tail;
        self.is_open = false;
        let place = if self.carry.is_empty() && !self.end.has_line_end() {
            Place::Chunk(head)
        } else {
            self.join(head);
            Place::Carry
        };
        if self.end.is_scalar() && !json::is_text(self.bytes(place)) {
            return Err(Fault::Malformed(
                "a JSON value is neither a number nor true, false or null",
            ));
        }
        Ok(Some(place))
    }

    /// Puts a value together that is not simply there.
    #[inline(never)]
    fn join(&mut self, head: &[u8]) {
        self.is_lent = true;
        if self.carry.is_empty() {
            json::minify(head, &mut self.carry);
            return;
        }
        self.carry.extend_from_slice(head);
        if self.end.has_line_end() {
            json::minify_in_place(&mut self.carry);
        }
    }

    /// The record of a value that was just cut.
    #[inline]
    pub(super) fn record<'a>(&'a self, place: Place<'a>) -> Record<'a> {
        record(self.bytes(place))
    }

    #[inline]
    fn bytes<'a>(&'a self, place: Place<'a>) -> &'a [u8] {
        match place {
            Place::Chunk(bytes) => bytes,
            Place::Carry => &self.carry,
        }
    }

    /// The record that the end of the input completes, if a value has begun: a number, unless it may have
    /// had more digits, or a literal (RFC 7464 §2.4 tells of the hazard).
    ///
    /// # Errors
    /// What has come is no whole value.
    pub(super) fn finish(
        &mut self,
        end: EndOfInput,
        framing: &'static str,
    ) -> Result<Option<Record<'_>>, DecodeError> {
        self.release();
        if !self.is_open && self.bom.held_bytes() == 0 {
            return Ok(None);
        }
        let is_number = self.carry.last().is_some_and(u8::is_ascii_digit);
        let may_be_cut = is_number && end == EndOfInput::Unverified;
        if self.end.is_scalar() && !may_be_cut && json::is_text(&self.carry) {
            self.is_open = false;
            self.is_lent = true;
            return Ok(Some(record(&self.carry)));
        }
        Err(self.truncated(framing))
    }

    /// What is said when the input ended too early.
    pub(super) fn truncated(&self, framing: &'static str) -> DecodeError {
        DecodeError::Truncated {
            framing,
            carried_bytes: self.carried_bytes(),
        }
    }

    /// How many bytes of an incomplete value are kept.
    pub(super) fn carried_bytes(&self) -> usize {
        let value_bytes = if self.is_lent { 0 } else { self.carry.len() };
        self.bom.held_bytes() + value_bytes
    }

    /// What is said of a fault in a stream of that framing.
    #[cold]
    pub(super) fn error(&self, fault: Fault, framing: &'static str) -> DecodeError {
        match fault {
            Fault::TooLarge => DecodeError::RecordTooLarge {
                record_bytes_max: self.value_bytes_max,
            },
            Fault::Malformed(reason) => DecodeError::BadFraming { framing, reason },
        }
    }
}

#[inline]
fn record(data: &[u8]) -> Record<'_> {
    Record {
        data: Some(data),
        ..Record::default()
    }
}
