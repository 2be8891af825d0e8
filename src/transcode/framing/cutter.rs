//! How is a line cut that may lie in several chunks?

use super::DecodeError;

/// Cuts lines, straight from the chunk where they lie whole in it, and keeps what has no end yet.
///
/// Only new bytes are searched; the kept ones never again. Between calls it holds memory only while
/// a line is incomplete.
#[derive(Debug)]
pub(super) struct Cutter {
    /// The start of the line whose end has not arrived, or the line that is lent.
    /// Invariant: `carry.len() <= line_bytes_max + 1` (the one may be a CR that belongs to the end).
    carry: Vec<u8>,
    /// Whether `carry` was given out whole, and must be gone before the next line. Then it is not empty.
    is_lent: bool,
    /// The longest line, without its end; of 4 GiB at most, as every open stream has room for it.
    line_bytes_max: u32,
}

/// Where a line lies; [`Cutter::bytes`] are its bytes.
///
/// Apart from them, so that a line can be looked at and dropped before the next is cut.
#[derive(Debug, Clone, Copy)]
pub(super) enum Line<'i> {
    /// Whole in the chunk.
    Chunk(&'i [u8]),
    /// In the cutter.
    Carry,
}

impl Cutter {
    pub(super) fn new(line_bytes_max: usize) -> Self {
        Self {
            carry: Vec::new(),
            is_lent: false,
            line_bytes_max: u32::try_from(line_bytes_max).unwrap_or(u32::MAX),
        }
    }

    /// Takes the line that ends at `end` of `input` off it, with its one byte of delimiter; keeps all
    /// of `input` where there is no end.
    ///
    /// # Errors
    /// The line is too long, whatever comes.
    #[inline]
    pub(super) fn cut<'i>(
        &mut self,
        input: &mut &'i [u8],
        end: Option<usize>,
    ) -> Result<Option<Line<'i>>, DecodeError> {
        match end {
            Some(end) if self.carry.is_empty() && end <= self.line_bytes_max as usize => {
                let (head, tail) = input.split_at(end);
                *input = &tail[1..];
                Ok(Some(Line::Chunk(head)))
            }
            _ => self.cut_at_edge(input, end),
        }
    }

    /// Cuts a line that is not simply there: it began in an earlier chunk, ends in a later one, or
    /// has the limit's length.
    #[inline(never)]
    fn cut_at_edge<'i>(
        &mut self,
        input: &mut &'i [u8],
        end: Option<usize>,
    ) -> Result<Option<Line<'i>>, DecodeError> {
        self.begin();
        let Some(end) = end else {
            let rest = std::mem::take(input);
            self.check(rest)?;
            self.carry.extend_from_slice(rest);
            return Ok(None);
        };
        let (head, tail) = input.split_at(end);
        *input = &tail[1..];
        self.check(head)?;
        if self.carry.is_empty() {
            return Ok(Some(Line::Chunk(head)));
        }
        self.carry.extend_from_slice(head);
        self.is_lent = true;
        Ok(Some(Line::Carry))
    }

    /// The bytes of a line that was just cut.
    #[inline]
    pub(super) fn bytes<'a>(&'a self, line: Line<'a>) -> &'a [u8] {
        match line {
            Line::Chunk(bytes) => bytes,
            Line::Carry => &self.carry,
        }
    }

    /// Lends what has come of the line that has no end; after that there is none.
    pub(super) fn incomplete(&mut self) -> &[u8] {
        self.begin();
        self.is_lent = !self.carry.is_empty();
        &self.carry
    }

    /// Puts `bytes` at the start of the line that begins.
    pub(super) fn prepend(&mut self, bytes: &'static [u8]) {
        self.carry.extend_from_slice(bytes);
    }

    /// How many bytes of an incomplete line are kept.
    pub(super) fn carried_bytes(&self) -> usize {
        if self.is_lent { 0 } else { self.carry.len() }
    }

    /// How much memory is held, for tests of what an idle stream costs.
    #[cfg(test)]
    pub(super) fn held_bytes(&self) -> usize {
        self.carry.capacity()
    }

    /// Lets go of the line that was lent. Every other call does so first; it is for who may not come
    /// to make one.
    #[inline]
    pub(super) fn begin(&mut self) {
        if self.is_lent {
            self.is_lent = false;
            // With its capacity: an idle stream holds nothing.
            self.carry = Vec::new();
        }
    }

    /// Whether the line may go on with `more`. One CR at its end may belong to its delimiter.
    #[inline]
    fn check(&self, more: &[u8]) -> Result<(), DecodeError> {
        let bytes = self.carry.len() + more.len();
        if bytes <= self.line_bytes_max as usize {
            return Ok(());
        }
        let last = more.last().or(self.carry.last());
        if bytes == self.line_bytes_max as usize + 1 && last == Some(&b'\r') {
            return Ok(());
        }
        Err(DecodeError::RecordTooLarge {
            record_bytes_max: self.line_bytes_max as usize,
        })
    }
}
