//! Which bytes of a block stand in strings?

use wide::u8x16;

/// Some bytes of a text, all asked at once: in an answer bit *n* speaks for byte *n*.
#[derive(Debug, Clone, Copy)]
pub(super) struct Block {
    lanes: [u8x16; BLOCK_BYTES / LANE_BYTES],
}

/// Tells what stands in strings, from block to block.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Strings {
    /// All ones if the next block begins inside a string, else 0.
    inside: u64,
    /// 1 if a backslash escapes the next block's first byte, else 0.
    is_escaped: u64,
}

impl Block {
    /// The first bytes of `text`, with zeros behind its end.
    #[inline]
    pub(super) fn first_of(text: &[u8]) -> Self {
        if let Some(bytes) = text.first_chunk() {
            return Self::new(bytes);
        }
        let mut padded = [0; BLOCK_BYTES];
        pad(text, &mut padded);
        Self::new(&padded)
    }

    #[inline]
    fn new(bytes: &[u8; BLOCK_BYTES]) -> Self {
        let (lanes, _) = bytes.as_chunks();
        Self {
            lanes: std::array::from_fn(|lane| u8x16::new(lanes[lane])),
        }
    }

    /// Where `byte` stands.
    #[inline]
    pub(super) fn eq(&self, byte: u8) -> u64 {
        self.bits(|lane| lane.simd_eq(u8x16::splat(byte)))
    }

    /// Where `byte` stands, or what differs from it as `[` does from `{`.
    #[inline]
    pub(super) fn bracket(&self, byte: u8) -> u64 {
        let fold = u8x16::splat(b'{' ^ b'[');
        self.bits(|lane| (lane | fold).simd_eq(u8x16::splat(byte)))
    }

    #[inline]
    fn bits(&self, test: impl Fn(u8x16) -> u8x16) -> u64 {
        let lanes = self.lanes.iter().enumerate();
        lanes.fold(0, |bits, (lane, bytes)| {
            bits | u64::from(test(*bytes).to_bitmask()) << (LANE_BYTES * lane)
        })
    }
}

impl Strings {
    /// What of the next block, of which `len` bytes count, stands in strings: from an opening quote
    /// to the last byte before the closing one.
    #[inline]
    pub(super) fn inside(&mut self, quotes: u64, backslashes: u64, len: usize) -> u64 {
        let quotes = if backslashes | self.is_escaped == 0 {
            quotes
        } else {
            quotes & !self.escaped(backslashes, len)
        };
        let inside = parity(quotes) ^ self.inside;
        self.inside = 0_u64.wrapping_sub(inside >> (BLOCK_BYTES - 1));
        inside
    }

    /// Whether a string goes on to the end of the next block.
    #[inline]
    pub(super) fn is_inside(&self, quotes: u64, backslashes: u64) -> bool {
        self.inside != 0 && quotes | backslashes | self.is_escaped == 0
    }

    /// What is escaped: where a run of backslashes of odd length ends.
    ///
    /// Adding its start to a run carries to its end; the carry comes out at an even place if the start
    /// is at an even one and the length is, too. Runs that start at an odd place are the rest.
    fn escaped(&mut self, backslashes: u64, len: usize) -> u64 {
        let backslashes = backslashes & !self.is_escaped;
        let follow = backslashes << 1 | self.is_escaped;
        let odd_starts = backslashes & !EVEN & !follow;
        let (ends, carry) = odd_starts.overflowing_add(backslashes);
        let escaped = (EVEN ^ (ends << 1)) & follow;
        self.is_escaped = if len < BLOCK_BYTES {
            escaped >> len & 1
        } else {
            u64::from(carry)
        };
        escaped
    }
}

/// Writes `text`, which is shorter than a block, before the zeros.
///
/// By whole lanes, since to read at once what was just written in other pieces takes longer than all
/// the rest.
#[inline(never)]
fn pad(text: &[u8], padded: &mut [u8; BLOCK_BYTES]) {
    let (whole, rest) = text.as_chunks::<LANE_BYTES>();
    let (lanes, _) = padded.as_chunks_mut::<LANE_BYTES>();
    for (lane, bytes) in lanes.iter_mut().zip(whole) {
        *lane = *bytes;
    }
    if !rest.is_empty() {
        lanes[whole.len()] = u8x16::new(short(rest).to_le_bytes()).to_array();
    }
}

/// Fewer than 16 bytes in little-endian order, with zeros behind them: from their first and last ones,
/// which may overlap.
#[inline]
fn short(bytes: &[u8]) -> u128 {
    if let (Some(first), Some(last)) = (bytes.first_chunk(), bytes.last_chunk()) {
        let last = u128::from(u64::from_le_bytes(*last)) << (8 * (bytes.len() - 8));
        return u128::from(u64::from_le_bytes(*first)) | last;
    }
    if let (Some(first), Some(last)) = (bytes.first_chunk(), bytes.last_chunk()) {
        let last = u128::from(u32::from_le_bytes(*last)) << (8 * (bytes.len() - 4));
        return u128::from(u32::from_le_bytes(*first)) | last;
    }
    let bytes = bytes.iter().rev();
    bytes.fold(0, |word, byte| word << 8 | u128::from(*byte))
}

/// Whether an odd number of bits is set up to each place.
#[inline]
fn parity(mut bits: u64) -> u64 {
    bits ^= bits << 1;
    bits ^= bits << 2;
    bits ^= bits << 4;
    bits ^= bits << 8;
    bits ^= bits << 16;
    bits ^ bits << 32
}

/// How many bytes a block holds: one for each bit of a word.
pub(super) const BLOCK_BYTES: usize = 64;

/// The even places.
const EVEN: u64 = 0x5555_5555_5555_5555;

const LANE_BYTES: usize = 16;

#[cfg(test)]
mod tests {
    use super::{BLOCK_BYTES, Block};

    #[test]
    fn a_block_holds_what_there_is() {
        let text: Vec<u8> = (1..=100).collect();
        for length in 0..=text.len() {
            let block = Block::first_of(&text[..length]);
            for byte in 1..=100 {
                let at = usize::from(byte) - 1;
                let is_there = at < length.min(BLOCK_BYTES);
                let expected = if is_there { 1 << at } else { 0 };
                assert_eq!(block.eq(byte), expected, "{byte} of {length}");
            }
        }
    }
}
