//! Where in a text does something stand that means something?

use super::block::{BLOCK_BYTES, Block, Strings};

/// A way through a text, block by block.
#[derive(Debug, Clone, Default)]
pub(super) struct Scan {
    /// Where the next block begins.
    at: usize,
    strings: Strings,
    /// Where the last backslash ends.
    escapes_end: usize,
}

/// One block of a text. Of the zeros behind the text's end nothing is said.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seen {
    block: Block,
    /// Where the block begins.
    at: usize,
    /// What stands in no string. A closing quote does.
    outside: u64,
    backslashes: u64,
    /// Where the last backslash before this block ends.
    escapes_end: usize,
}

/// The places of set bits, in order.
#[derive(Debug, Clone)]
pub(super) struct Marks {
    at: usize,
    bits: u64,
}

/// Where something stands.
#[derive(Debug, Clone, Copy)]
pub(super) struct Mark {
    /// In the text.
    pub(super) at: usize,
    /// In its block.
    bit: u64,
}

impl Scan {
    /// The blocks of `text`, which begins outside strings.
    #[inline]
    pub(super) fn of(text: &[u8]) -> impl Iterator<Item = Seen> {
        let mut scan = Self::default();
        std::iter::from_fn(move || scan.next(text))
    }

    /// The next block of `text`; blocks that lie wholly inside a string are passed over.
    #[inline]
    pub(super) fn next(&mut self, text: &[u8]) -> Option<Seen> {
        while self.at < text.len() {
            let rest = &text[self.at..];
            let block = Block::first_of(rest);
            let (at, len) = (self.at, rest.len().min(BLOCK_BYTES));
            self.at += len;
            let (quotes, backslashes) = (block.eq(b'"'), block.eq(b'\\'));
            if self.strings.is_inside(quotes, backslashes) {
                continue;
            }
            let escapes_end = self.escapes_end;
            if backslashes != 0 {
                self.escapes_end = at + end(backslashes);
            }
            return Some(Seen {
                block,
                at,
                outside: !self.strings.inside(quotes, backslashes, len),
                backslashes,
                escapes_end,
            });
        }
        None
    }

    /// Goes on in a text that follows the one behind.
    #[inline]
    pub(super) fn follow(&mut self) {
        self.at = 0;
        self.escapes_end = 0;
    }
}

impl Seen {
    /// Where `{` and `[` stand outside strings.
    #[inline]
    pub(super) fn opens(&self) -> u64 {
        self.block.bracket(b'{') & self.outside
    }

    /// Where `}` and `]` stand outside strings.
    #[inline]
    pub(super) fn closes(&self) -> u64 {
        self.block.bracket(b'}') & self.outside
    }

    /// Where `byte`, which is not 0, stands outside strings.
    #[inline]
    pub(super) fn eq(&self, byte: u8) -> u64 {
        self.block.eq(byte) & self.outside
    }

    /// Where white space stands outside strings.
    #[inline]
    pub(super) fn blanks(&self) -> u64 {
        self.eq(b' ') | self.eq(b'\t') | self.eq(b'\n') | self.eq(b'\r')
    }

    /// Where line ends stand outside strings.
    #[inline]
    pub(super) fn line_ends(&self) -> u64 {
        self.eq(b'\n') | self.eq(b'\r')
    }

    /// Where brackets of any kind stand outside strings.
    #[inline]
    pub(super) fn brackets(&self) -> u64 {
        self.opens() | self.closes()
    }

    /// What stands outside strings, and of a text's last block what stands behind it.
    #[inline]
    pub(super) fn outside(&self) -> u64 {
        self.outside
    }

    /// The places of `bits` in the text.
    #[inline]
    pub(super) fn marks(&self, bits: u64) -> Marks {
        Marks { at: self.at, bits }
    }

    /// Where the last backslash before `mark` ends; 0 where there is none.
    #[inline]
    pub(super) fn escapes_end(&self, mark: Mark) -> usize {
        match self.backslashes & (mark.bit - 1) {
            0 => self.escapes_end,
            before => self.at + end(before),
        }
    }
}

impl Mark {
    /// Whether it is one of `bits` of its block.
    #[inline]
    pub(super) fn is_in(self, bits: u64) -> bool {
        self.bit & bits != 0
    }

    /// Whether one of `bits` of its block stands before it.
    #[inline]
    pub(super) fn is_behind(self, bits: u64) -> bool {
        (self.bit - 1) & bits != 0
    }
}

impl Iterator for Marks {
    type Item = Mark;

    #[inline]
    fn next(&mut self) -> Option<Mark> {
        let bit = self.bits & self.bits.wrapping_neg();
        self.bits ^= bit;
        (bit != 0).then(|| Mark {
            at: self.at + bit.trailing_zeros() as usize,
            bit,
        })
    }
}

/// How deep arrays and objects lie in one another.
pub(super) fn depth_max(text: &[u8]) -> usize {
    let (mut depth, mut depth_max) = (0_usize, 0);
    for seen in Scan::of(text) {
        let (opens, closes) = (seen.opens(), seen.closes());
        for mark in seen.marks(opens | closes) {
            if mark.is_in(opens) {
                depth += 1;
                depth_max = depth_max.max(depth);
            } else {
                depth = depth.saturating_sub(1);
            }
        }
    }
    depth_max
}

/// One more than the place of the highest set bit.
#[inline]
fn end(bits: u64) -> usize {
    BLOCK_BYTES - bits.leading_zeros() as usize
}

#[cfg(test)]
mod tests {
    use super::{BLOCK_BYTES, Scan, depth_max};

    /// What stands outside strings, byte by byte.
    fn outside(text: &[u8]) -> Vec<bool> {
        let (mut is_inside, mut is_escaped) = (false, false);
        let outside = text.iter().map(|byte| {
            let is_quote = *byte == b'"' && !is_escaped;
            is_inside ^= is_quote;
            is_escaped = *byte == b'\\' && !is_escaped;
            !is_inside
        });
        outside.collect()
    }

    #[test]
    fn strings_are_told_from_the_rest() {
        for pad in 0..=2 * BLOCK_BYTES {
            for middle in [
                &b"\"a\"b\"c\""[..],
                b"\"\\\"\"x",
                b"\"\\\\\"x\"\\\\\\\"\"x",
                b"\"\\\\\\\\\\\\\\\\\\\"\"xx",
                b"\"\\",
            ] {
                let mut text = vec![b'.'; pad];
                text.extend_from_slice(middle);
                text.extend_from_slice(&[b','; 70]);
                let expected = outside(&text);
                let mut found = vec![false; text.len()];
                for seen in Scan::of(&text) {
                    for mark in seen.marks(seen.outside).take_while(|m| m.at < text.len()) {
                        found[mark.at] = true;
                    }
                }
                assert_eq!(found, expected, "{}", text.escape_ascii());
            }
        }
    }

    #[test]
    fn the_last_escape_is_known() {
        let text = format!("\\{}\\.:{}:", ".".repeat(60), ".".repeat(200));
        let ends = Scan::of(text.as_bytes()).flat_map(|seen| {
            let marks = seen.marks(seen.eq(b':'));
            marks.map(move |mark| (mark.at, seen.escapes_end(mark)))
        });
        assert_eq!(ends.collect::<Vec<_>>(), [(63, 62), (264, 62)]);
    }

    #[test]
    fn depth_is_counted_outside_strings() {
        for (text, depth) in [("", 0), ("1", 0), ("[]", 1), ("]][{}]", 2), ("\"[[\"[", 1)] {
            assert_eq!(depth_max(text.as_bytes()), depth, "{text}");
        }
    }
}
