//! How are exactly so many bytes taken that may lie in several chunks?

use super::{DecodeError, Record};

/// Takes pieces of a known length, straight from the chunk where they lie whole in it, and keeps what
/// has come of one until it is whole.
///
/// The length is a stranger's word: memory grows with the bytes that come, never ahead of them, and
/// never beyond the length. Between pieces none is held.
#[derive(Debug, Default)]
pub(super) struct Exact {
    /// The start of the piece that is not whole yet, or the piece that is lent.
    carry: Vec<u8>,
    /// Whether `carry` was given out whole, and must be gone before the next piece. Then it is not
    /// empty.
    is_lent: bool,
}

/// Where a piece lies; [`Exact::bytes`] are its bytes.
///
/// Apart from them, so that a piece can be looked at and dropped before the next is taken.
#[derive(Debug, Clone, Copy)]
pub(super) enum Piece<'i> {
    /// Whole in the chunk.
    Chunk(&'i [u8]),
    /// In the taker.
    Carry,
}

impl Exact {
    /// Takes the next `length` bytes off `input`; keeps all of it where that is not enough.
    ///
    /// Until a piece is whole, every call must ask for the same length.
    #[inline]
    pub(super) fn take<'i>(&mut self, input: &mut &'i [u8], length: usize) -> Option<Piece<'i>> {
        self.release();
        if self.carry.is_empty()
            && let Some((piece, rest)) = input.split_at_checked(length)
        {
            *input = rest;
            return Some(Piece::Chunk(piece));
        }
        self.gather(input, length)
    }

    /// Takes of a piece what has come of it.
    #[inline(never)]
    fn gather<'i>(&mut self, input: &mut &'i [u8], length: usize) -> Option<Piece<'i>> {
        debug_assert!(self.carry.len() < length, "a piece keeps its length");
        let missing = length.saturating_sub(self.carry.len());
        let (more, rest) = input.split_at(missing.min(input.len()));
        *input = rest;
        self.reserve(more.len(), length);
        self.carry.extend_from_slice(more);
        self.is_lent = self.carry.len() >= length;
        self.is_lent.then_some(Piece::Carry)
    }

    /// Makes room for `more` bytes: twice as much as before, so that a trickle copies each byte a
    /// bounded number of times, but no more than `length`.
    fn reserve(&mut self, more: usize, length: usize) {
        let bytes = self.carry.len() + more;
        if bytes > self.carry.capacity() {
            let doubled = self.carry.capacity().saturating_mul(2);
            let room = doubled.max(bytes).max(ROOM_BYTES_MIN).min(length);
            self.carry.reserve_exact(room - self.carry.len());
        }
    }

    /// The bytes of a piece that was just taken.
    #[inline]
    pub(super) fn bytes<'a>(&'a self, piece: Piece<'a>) -> &'a [u8] {
        match piece {
            Piece::Chunk(bytes) => bytes,
            Piece::Carry => &self.carry,
        }
    }

    /// Lets go of the piece that was lent. [`Exact::take`] does so first; this is for a decoder that may
    /// not come to take anything.
    #[inline]
    pub(super) fn release(&mut self) {
        if self.is_lent {
            self.is_lent = false;
            // With its capacity: an idle stream holds nothing.
            self.carry = Vec::new();
        }
    }

    /// How many bytes of an incomplete piece are kept.
    #[inline]
    pub(super) fn carried_bytes(&self) -> usize {
        if self.is_lent { 0 } else { self.carry.len() }
    }

    /// How much memory is held, for tests of what an idle stream costs.
    #[cfg(test)]
    pub(super) fn held_bytes(&self) -> usize {
        self.carry.capacity()
    }
}

/// What the end of the input says where only a length ends a record: with bytes of an incomplete one
/// the stream was cut, whatever the message around it says.
///
/// # Errors
/// The input ended inside a record.
pub(super) fn end(
    framing: &'static str,
    carried_bytes: usize,
) -> Result<Option<Record<'static>>, DecodeError> {
    if carried_bytes > 0 {
        return Err(DecodeError::Truncated {
            framing,
            carried_bytes,
        });
    }
    Ok(None)
}

/// The least room that is made at once, unless the piece is shorter.
const ROOM_BYTES_MIN: usize = 64;

#[cfg(test)]
mod tests {
    use super::super::DecodeError;
    use super::{Exact, Piece, end};

    /// Takes pieces of these lengths out of `chunks`; how many of them were copied.
    fn check(chunks: &[&[u8]], lengths: &[usize], pieces: &[&[u8]]) -> usize {
        let (mut exact, mut got, mut copied) = (Exact::default(), Vec::new(), 0);
        for chunk in chunks {
            let mut input = *chunk;
            while let Some(length) = lengths.get(got.len()) {
                let Some(piece) = exact.take(&mut input, *length) else {
                    assert!(input.is_empty(), "None means that all is taken");
                    break;
                };
                assert_eq!(exact.carried_bytes(), 0);
                assert!(exact.held_bytes() <= *length);
                copied += usize::from(matches!(piece, Piece::Carry));
                got.push(exact.bytes(piece).to_vec());
            }
            exact.release();
        }
        assert_eq!(got, pieces, "{chunks:?}");
        copied
    }

    #[test]
    fn pieces_are_borrowed_where_they_lie_whole() {
        assert_eq!(check(&[b"abcde"], &[2, 0, 3], &[b"ab", b"", b"cde"]), 0);
        assert_eq!(check(&[b"ab", b"", b"cde"], &[2, 3], &[b"ab", b"cde"]), 0);
        assert_eq!(check(&[b"ab", b"cde"], &[3, 2], &[b"abc", b"de"]), 1);
        assert_eq!(check(&[b"a", b"b", b"c"], &[3, 0], &[b"abc", b""]), 1);
        assert_eq!(check(&[], &[1], &[]), 0);
    }

    #[test]
    fn every_cut_gives_the_same_pieces() {
        let input = b"abcdefghij";
        let pieces: &[&[u8]] = &[b"a", b"", b"bcd", b"efghij"];
        for first in 0..=input.len() {
            for last in first..=input.len() {
                let chunks = [&input[..first], &input[first..last], &input[last..]];
                check(&chunks, &[1, 0, 3, 6], pieces);
            }
        }
        let by_byte: Vec<_> = input.chunks(1).collect();
        check(&by_byte, &[1, 0, 3, 6], pieces);
    }

    #[test]
    fn memory_follows_the_bytes_that_come() {
        let mut exact = Exact::default();
        for (count, held_bytes_max) in [(1, 64), (64, 64), (65, 128), (129, 256)] {
            while exact.carried_bytes() < count {
                assert!(exact.take(&mut &b"x"[..], usize::MAX).is_none());
            }
            assert!(exact.held_bytes() <= held_bytes_max);
        }
        // The last doubling stops at the length.
        for length in [1, 3, 63, 65, 1000] {
            let mut exact = Exact::default();
            while exact.take(&mut &b"x"[..], length).is_none() {}
            assert!(exact.held_bytes() <= length);
        }
    }

    #[test]
    fn a_piece_that_was_lent_is_let_go() {
        let mut exact = Exact::default();
        assert!(exact.take(&mut &b"a"[..], 2).is_none());
        assert_eq!(exact.carried_bytes(), 1);
        assert!(exact.take(&mut &b"b"[..], 2).is_some());
        assert_eq!(exact.carried_bytes(), 0);
        exact.release();
        assert_eq!(exact.held_bytes(), 0);
    }

    #[test]
    fn an_end_inside_a_record_is_a_cut() {
        assert_eq!(end("x", 0), Ok(None));
        let error = DecodeError::Truncated {
            framing: "x",
            carried_bytes: 3,
        };
        assert_eq!(end("x", 3), Err(error));
    }
}
