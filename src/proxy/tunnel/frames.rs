//! Has one side of a WebSocket said that it closes?
//!
//! Only the frames' heads are looked at (RFC 6455 §5.2), which are in the clear whatever extensions do to
//! what they carry. Bytes that are no frames at all are taken for some: nobody but the log and the
//! endpoint's health depends on it.

/// The frames that one side sends, as they pass.
#[derive(Debug, Default)]
pub(super) struct Frames {
    /// The start of a frame's head, as long as its length is not known.
    head: [u8; HEAD_BYTES_MAX],
    head_bytes: usize,
    /// How much of the frame is still to come behind that: its mask and its payload.
    left: u64,
    has_closed: bool,
}

/// Opcode, and length in its longest form.
const HEAD_BYTES_MAX: usize = 10;
const MASK_BYTES: u64 = 4;
const OPCODE_CLOSE: u8 = 8;

impl Frames {
    /// Looks at the next bytes.
    pub(super) fn pass(&mut self, mut bytes: &[u8]) {
        while !self.has_closed
            && let Some((first, rest)) = bytes.split_first()
        {
            if self.left > 0 {
                let skipped =
                    usize::try_from(self.left).map_or(bytes.len(), |left| left.min(bytes.len()));
                self.left -= skipped as u64;
                bytes = &bytes[skipped..];
                continue;
            }
            self.head[self.head_bytes] = *first;
            self.head_bytes += 1;
            bytes = rest;
            if let Some(left) = self.behind_head() {
                self.has_closed = self.head[0] & 0x0F == OPCODE_CLOSE;
                self.left = left;
                self.head_bytes = 0;
            }
        }
    }

    /// Whether a close frame has begun.
    pub(super) fn has_closed(&self) -> bool {
        self.has_closed
    }

    /// How many bytes the frame has behind its head; `None` as long as that is not whole.
    fn behind_head(&self) -> Option<u64> {
        let behind_opcode = self.head[..self.head_bytes].get(1..)?;
        let (length, extended) = behind_opcode.split_first()?;
        let payload = match length & 0x7F {
            126 => u16::from_be_bytes(extended.try_into().ok()?).into(),
            127 => u64::from_be_bytes(extended.try_into().ok()?),
            short => short.into(),
        };
        let mask = if length & 0x80 == 0 { 0 } else { MASK_BYTES };
        Some(mask.saturating_add(payload))
    }
}

#[cfg(test)]
mod tests {
    use super::Frames;

    /// A frame with that opcode, of so many bytes, masked or not.
    fn frame(opcode: u8, length: usize, is_masked: bool) -> Vec<u8> {
        let mask = u8::from(is_masked) << 7;
        let mut bytes = vec![0x80 | opcode];
        match length {
            0..126 => bytes.push(mask | u8::try_from(length).unwrap()),
            126..65_536 => {
                bytes.push(mask | 0x7E);
                bytes.extend(u16::try_from(length).unwrap().to_be_bytes());
            }
            _ => {
                bytes.push(mask | 0x7F);
                bytes.extend((length as u64).to_be_bytes());
            }
        }
        // Whatever is carried looks like a close frame.
        bytes.resize(bytes.len() + length + usize::from(is_masked) * 4, 0x88);
        bytes
    }

    #[test]
    fn a_close_frame_is_found_however_the_bytes_are_cut() {
        let mut before = Vec::new();
        for (opcode, length) in [(1, 0), (2, 125), (9, 126), (0, 300), (1, 70_000), (10, 5)] {
            for is_masked in [false, true] {
                before.extend(frame(opcode, length, is_masked));
            }
        }
        for is_masked in [false, true] {
            let whole = [before.clone(), frame(8, 2, is_masked)].concat();
            for step in [1, 2, 3, 7, 1000, whole.len()] {
                let mut frames = Frames::default();
                before.chunks(step).for_each(|bytes| frames.pass(bytes));
                assert!(!frames.has_closed(), "{step}");
                let mut frames = Frames::default();
                whole.chunks(step).for_each(|bytes| frames.pass(bytes));
                assert!(frames.has_closed(), "{step}");
            }
        }
    }

    #[test]
    fn no_bytes_are_too_odd() {
        let mut longest = vec![0x82, 0xFF];
        longest.extend([0xFF; 8]);
        for bytes in [longest, vec![0xFF; 1000], vec![0; 1000]] {
            for step in [1, 9, 1000] {
                let mut frames = Frames::default();
                bytes.chunks(step).for_each(|bytes| frames.pass(bytes));
                assert!(!frames.has_closed());
            }
        }
    }
}
