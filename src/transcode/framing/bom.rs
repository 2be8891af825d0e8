//! How is a byte order mark at the start of a stream taken off?

/// Takes one UTF-8 byte order mark off the start of a stream, however it is cut.
#[derive(Debug, Default)]
pub(super) struct Bom {
    /// How many bytes of the mark have come.
    matched: usize,
    /// Whether what stands at the start is known.
    is_past: bool,
}

impl Bom {
    /// Whether the start of the stream is behind us: then there is nothing to take off.
    #[inline]
    pub(super) fn is_past(&self) -> bool {
        self.is_past
    }

    /// Takes the mark off the front of `input`. Returns what was taken for its start earlier and has
    /// turned out to be payload: it belongs before `input`.
    pub(super) fn strip(&mut self, input: &mut &[u8]) -> &'static [u8] {
        while let Some((first, rest)) = input.split_first() {
            if *first != BOM[self.matched] {
                return self.unmatched();
            }
            self.matched += 1;
            *input = rest;
            if self.matched == BOM.len() {
                self.is_past = true;
                break;
            }
        }
        &[]
    }

    /// What was taken for the start of a mark and is none, as the byte after it or the end of the input
    /// tells: then the start is behind us.
    pub(super) fn unmatched(&mut self) -> &'static [u8] {
        self.is_past = true;
        if self.matched == BOM.len() {
            &[]
        } else {
            &BOM[..self.matched]
        }
    }

    /// How many bytes are held back until it is known whether they are a mark.
    pub(super) fn held_bytes(&self) -> usize {
        if self.is_past { 0 } else { self.matched }
    }
}

const BOM: &[u8; 3] = b"\xEF\xBB\xBF";

#[cfg(test)]
mod tests {
    use super::Bom;

    fn check(chunks: &[&[u8]], payload: &[u8]) {
        let (mut bom, mut got) = (Bom::default(), Vec::new());
        for mut chunk in chunks.iter().copied() {
            if !bom.is_past() {
                got.extend_from_slice(bom.strip(&mut chunk));
            }
            got.extend_from_slice(chunk);
        }
        if !bom.is_past() {
            got.extend_from_slice(bom.unmatched());
        }
        assert_eq!(got, payload, "{chunks:?}");
    }

    #[test]
    fn one_mark_is_stripped_at_the_start_only() {
        check(&[b"\xEF\xBB\xBFx"], b"x");
        check(&[b"\xEF", b"", b"\xBB", b"\xBF", b"x"], b"x");
        check(&[b"\xEF\xBB\xBF\xEF\xBB\xBFx"], b"\xEF\xBB\xBFx");
        check(&[b"x\xEF\xBB\xBF"], b"x\xEF\xBB\xBF");
        check(&[b"\xEF\xBB\xBF"], b"");
    }

    #[test]
    fn a_start_that_is_none_is_payload() {
        check(&[b"\xEF\xBBx"], b"\xEF\xBBx");
        check(&[b"\xEF", b"\xBB", b"x"], b"\xEF\xBBx");
        check(&[b"\xEF", b"\xEF\xBB\xBF"], b"\xEF\xEF\xBB\xBF");
        check(&[b"\xEF\xBB"], b"\xEF\xBB");
        check(&[], b"");
    }
}
