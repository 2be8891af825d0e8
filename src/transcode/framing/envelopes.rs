//! How are messages cut that stand behind a byte of flags and their length?

use super::{
    DecodeError,
    exact::{Exact, Piece},
};

/// Cuts the messages of gRPC and of Connect: flags, a big-endian length of four bytes, so many bytes.
#[derive(Debug)]
pub(super) struct Envelopes {
    framing: &'static str,
    /// What the flags say, or why they cannot be.
    kind_of: fn(flags: u8) -> Result<Kind, &'static str>,
    /// Flags and length of the message that is not whole yet, as far as they have come.
    head: [u8; HEAD_BYTES],
    head_bytes: usize,
    message: Exact,
    record_bytes_max: usize,
}

/// What a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Record,
    /// The last one, which says how the stream ended.
    End,
}

impl Envelopes {
    pub(super) fn new(
        framing: &'static str,
        record_bytes_max: usize,
        kind_of: fn(u8) -> Result<Kind, &'static str>,
    ) -> Self {
        Self {
            framing,
            kind_of,
            head: [0; HEAD_BYTES],
            head_bytes: 0,
            message: Exact::default(),
            record_bytes_max,
        }
    }

    /// Takes the next message off `input`; keeps all of it where that is not enough.
    ///
    /// # Errors
    /// The flags are not known, or the length is beyond the limit: the record's, or that of an end.
    #[inline]
    pub(super) fn take<'i>(
        &mut self,
        input: &mut &'i [u8],
    ) -> Result<Option<(Kind, Piece<'i>)>, DecodeError> {
        self.message.release();
        let missing = HEAD_BYTES - self.head_bytes;
        let (came, rest) = input.split_at(missing.min(input.len()));
        *input = rest;
        self.head[self.head_bytes..][..came.len()].copy_from_slice(came);
        self.head_bytes += came.len();
        if self.head_bytes == 0 {
            return Ok(None);
        }
        let kind = (self.kind_of)(self.head[0]).map_err(|reason| self.bad(reason))?;
        if self.head_bytes < HEAD_BYTES {
            return Ok(None);
        }
        let length = self.length();
        self.check(kind, length)?;
        let Some(piece) = self.message.take(input, length) else {
            return Ok(None);
        };
        self.head_bytes = 0;
        Ok(Some((kind, piece)))
    }

    /// How many bytes the message lacks, or its head: taking them and no more leaves nothing behind.
    pub(super) fn missing_bytes(&self) -> usize {
        if self.head_bytes < HEAD_BYTES {
            return HEAD_BYTES - self.head_bytes;
        }
        self.length().saturating_sub(self.message.carried_bytes())
    }

    fn length(&self) -> usize {
        let [_, length @ ..] = self.head;
        usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX)
    }

    fn check(&self, kind: Kind, length: usize) -> Result<(), DecodeError> {
        let record_bytes_max = match kind {
            Kind::Record => self.record_bytes_max,
            Kind::End => self.record_bytes_max.max(END_BYTES_MAX),
        };
        if length > record_bytes_max {
            return Err(DecodeError::RecordTooLarge { record_bytes_max });
        }
        Ok(())
    }

    /// The bytes of a message that was just taken.
    #[inline]
    pub(super) fn bytes<'a>(&'a self, piece: Piece<'a>) -> &'a [u8] {
        self.message.bytes(piece)
    }

    /// Lets go of the message that was lent.
    #[inline]
    pub(super) fn release(&mut self) {
        self.message.release();
    }

    /// How many bytes of an incomplete message are kept.
    pub(super) fn carried_bytes(&self) -> usize {
        self.head_bytes + self.message.carried_bytes()
    }

    #[cfg(test)]
    pub(super) fn held_bytes(&self) -> usize {
        self.message.held_bytes()
    }

    pub(super) fn bad(&self, reason: &'static str) -> DecodeError {
        DecodeError::BadFraming {
            framing: self.framing,
            reason,
        }
    }

    /// A stream that ended before its own end came, whatever the message around it says.
    pub(super) fn truncated(&self) -> DecodeError {
        DecodeError::Truncated {
            framing: self.framing,
            carried_bytes: self.carried_bytes(),
        }
    }
}

/// A byte of flags and a length.
const HEAD_BYTES: usize = 1 + size_of::<u32>();

/// How long an end may be although records may not.
const END_BYTES_MAX: usize = 16 * 1024;
