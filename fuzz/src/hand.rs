//! How is a stream handed over, and into how many pieces is it cut?

use arbitrary::Arbitrary;
use weir::transcode::framing::EndOfInput;

/// How a stream is handed over, as the fuzzer says.
#[derive(Debug, Clone, Copy, Arbitrary)]
pub struct Hand {
    cuts: u32,
    record: u8,
    out: u8,
    is_verified: bool,
}

impl Hand {
    /// How many bytes of input it takes.
    pub const BYTES: usize = 7;

    /// The longest record: most often one that input can pass.
    #[must_use]
    pub fn record_bytes_max(self) -> usize {
        match self.record {
            0..200 => usize::from(self.record),
            200.. => 1 << 20,
        }
    }

    /// How much output is taken at once.
    #[must_use]
    pub fn out_bytes_max(self) -> usize {
        match self.out {
            0..200 => 1 + usize::from(self.out),
            200.. => usize::MAX,
        }
    }

    /// How sure the end is.
    #[must_use]
    pub fn end(self) -> EndOfInput {
        if self.is_verified {
            EndOfInput::Verified
        } else {
            EndOfInput::Unverified
        }
    }

    /// The input in pieces, none of them empty, of lengths that the cuts say.
    #[must_use]
    pub fn pieces(self, mut input: &[u8]) -> Vec<&[u8]> {
        let (mut pieces, mut noise) = (Vec::new(), self.cuts | 1);
        // From a byte each to all at once.
        let longest = 1 << (self.cuts % 12);
        while !input.is_empty() {
            // Marsaglia's xorshift: the pieces depend on nothing but the cuts.
            noise ^= noise << 13;
            noise ^= noise >> 17;
            noise ^= noise << 5;
            let length = 1 + noise as usize % longest;
            let (piece, rest) = input.split_at(length.min(input.len()));
            pieces.push(piece);
            input = rest;
        }
        pieces
    }
}
