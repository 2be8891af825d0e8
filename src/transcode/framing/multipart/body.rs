//! How is a part's body taken, from its first byte to the earliest that ends it?

use base64::{Engine, engine::general_purpose::STANDARD};

use super::{
    super::{DecodeError, Record},
    boundary::{Boundary, Mark},
    head::{Head, Kind},
    json_end::JsonEnd,
};

/// Takes bodies, straight from the chunk where they lie whole in it.
#[derive(Debug)]
pub(super) struct Body {
    head: Head,
    json_end: JsonEnd,
    /// What has come of the body, and perhaps of the delimiter behind it; or the body that is lent.
    /// Invariant: `carry.len()` passes `record_bytes_max` by a delimiter at most.
    carry: Vec<u8>,
    /// The lent body in base64.
    encoded: String,
    /// Whether `carry` or `encoded` was given out, and both must be gone before the next body.
    is_lent: bool,
    record_bytes_max: usize,
}

/// A body that is complete.
#[derive(Debug)]
pub(super) struct Taken<'i> {
    /// The body, if it lies whole in the chunk; else it lies in the carry.
    chunk: Option<&'i [u8]>,
    /// The delimiter behind it, if that is what ended it.
    pub(super) mark: Option<Mark>,
}

/// What ends a body.
struct End {
    /// How many bytes the body has.
    bytes: usize,
    /// How many bytes of the chunk are over with it, its delimiter included.
    taken: usize,
    mark: Option<Mark>,
}

impl Body {
    pub(super) fn new(record_bytes_max: usize) -> Self {
        Self {
            head: Head::default(),
            json_end: JsonEnd::new(),
            carry: Vec::new(),
            encoded: String::new(),
            is_lent: false,
            record_bytes_max,
        }
    }

    /// Begins the body behind `head`.
    pub(super) fn begin(&mut self, head: Head) {
        self.head = head;
        self.json_end = JsonEnd::new();
    }

    /// Whether a body that begins now is complete already.
    pub(super) fn is_empty(&self) -> bool {
        self.head.length == Some(0)
    }

    /// Takes a body off `input`, or keeps all of it, which has no end of it.
    ///
    /// # Errors
    /// The body is too long, whatever comes.
    pub(super) fn take<'i>(
        &mut self,
        input: &mut &'i [u8],
        boundary: &mut Boundary,
    ) -> Result<Option<Taken<'i>>, DecodeError> {
        let Some(End { bytes, taken, mark }) = self.find(input, boundary) else {
            // What may belong to a delimiter is not the body's yet.
            let bytes = (self.carry.len() + input.len()).saturating_sub(boundary.matched());
            self.check(self.without_cr(input, bytes))?;
            self.carry.extend_from_slice(std::mem::take(input));
            return Ok(None);
        };
        self.check(bytes)?;
        let (came, rest) = input.split_at(taken);
        *input = rest;
        if self.carry.is_empty() {
            let chunk = Some(&came[..bytes]);
            return Ok(Some(Taken { chunk, mark }));
        }
        self.carry.extend_from_slice(came);
        self.carry.truncate(bytes);
        self.is_lent = true;
        Ok(Some(Taken { chunk: None, mark }))
    }

    /// Finds what ends the body first: its last bracket, the delimiter, its length.
    fn find(&mut self, input: &[u8], boundary: &mut Boundary) -> Option<End> {
        let carried = self.carry.len();
        let left = self
            .head
            .length
            .map(|length| length.saturating_sub(carried));
        let window = &input[..left.map_or(input.len(), |left| left.min(input.len()))];
        let marked = boundary.find(window).map(|(taken, mark)| {
            let bytes = (carried + taken).saturating_sub(boundary.mark_bytes(mark));
            End {
                bytes: self.without_cr(window, bytes),
                taken,
                mark: Some(mark),
            }
        });
        if self.head.kind == Kind::Json {
            let text_end = marked
                .as_ref()
                .map_or(carried + window.len(), |end| end.bytes);
            let text = &window[..text_end.saturating_sub(carried)];
            if let Some(taken) = self.json_end.find(text) {
                return Some(End {
                    bytes: carried + taken,
                    taken,
                    mark: None,
                });
            }
        }
        let by_length = || {
            (left == Some(window.len())).then_some(End {
                bytes: carried + window.len(),
                taken: window.len(),
                mark: None,
            })
        };
        marked.or_else(by_length)
    }

    /// How many of the first `bytes` of what is carried and `more` stand before a CR at their end.
    fn without_cr(&self, more: &[u8], bytes: usize) -> usize {
        let Some(last) = bytes.checked_sub(1) else {
            return 0;
        };
        let in_more = || more.get(last - self.carry.len());
        match self.carry.get(last).or_else(in_more) {
            Some(b'\r') => last,
            Some(_) | None => bytes,
        }
    }

    fn check(&self, bytes: usize) -> Result<(), DecodeError> {
        if bytes > self.record_bytes_max {
            return Err(DecodeError::RecordTooLarge {
                record_bytes_max: self.record_bytes_max,
            });
        }
        Ok(())
    }

    /// Lends the body that was just taken.
    pub(super) fn lend<'a>(&'a mut self, taken: &Taken<'a>) -> Record<'a> {
        let bytes = taken.chunk.unwrap_or(&self.carry);
        let data = match self.head.kind {
            Kind::Text | Kind::Json => bytes,
            Kind::Binary => {
                self.is_lent = true;
                STANDARD.encode_string(bytes, &mut self.encoded);
                self.encoded.as_bytes()
            }
        };
        Record {
            data: Some(data),
            ..Record::default()
        }
    }

    /// Lets go of the body that was lent, with its memory: an idle stream holds nothing.
    pub(super) fn release(&mut self) {
        if self.is_lent {
            self.is_lent = false;
            self.carry = Vec::new();
            self.encoded = String::new();
        }
    }

    /// How many bytes of an incomplete body are kept.
    pub(super) fn carried_bytes(&self) -> usize {
        if self.is_lent { 0 } else { self.carry.len() }
    }

    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        self.carry.capacity() + self.encoded.capacity()
    }
}
