//! Where do chunks start and end (RFC 9112 §7.1)? As strict as a client may be.

/// Takes chunks apart, however they are cut.
#[derive(Debug, Default)]
pub struct Chunked {
    state: State,
    /// Bytes left of this chunk, or its size as read so far.
    left: u64,
    /// Bytes of this line or of the trailers, to bound them.
    line_bytes: usize,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Before the first digit of a size.
    #[default]
    Start,
    Size,
    Extension,
    SizeLf,
    Data,
    DataCr,
    DataLf,
    /// At the start of a trailer line, or of the empty line that is the end.
    TrailerStart,
    Trailer,
    EndLf,
    End,
}

impl Chunked {
    /// Takes the bytes, gives their data to `data`, and returns how many of them belong to the body.
    ///
    /// # Errors
    /// A sentence, when they are no chunks.
    pub fn push(
        &mut self,
        bytes: &[u8],
        mut data: impl FnMut(&[u8]),
    ) -> Result<usize, &'static str> {
        let mut at = 0;
        while at < bytes.len() && self.state != State::End {
            if self.state == State::Data {
                let length = bytes[at..]
                    .len()
                    .min(usize::try_from(self.left).unwrap_or(usize::MAX));
                data(&bytes[at..at + length]);
                at += length;
                self.left -= length as u64;
                if self.left == 0 {
                    self.state = State::DataCr;
                }
            } else {
                self.byte(bytes[at])?;
                at += 1;
            }
        }
        Ok(at)
    }

    /// Whether the last chunk and the trailers have come in full.
    #[must_use]
    pub fn is_at_end(&self) -> bool {
        self.state == State::End
    }

    fn byte(&mut self, byte: u8) -> Result<(), &'static str> {
        self.line_bytes += 1;
        if self.line_bytes > LINE_BYTES_MAX {
            return Err("a chunk's size line is too long");
        }
        self.state = match (self.state, byte) {
            (State::Start | State::Size, b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') => {
                let digit = char::from(byte).to_digit(16).unwrap_or_default();
                let left = self
                    .left
                    .checked_mul(16)
                    .ok_or("a chunk's size is too large")?;
                self.left = left + u64::from(digit);
                State::Size
            }
            (State::Size, b';') => State::Extension,
            (State::Size | State::Extension, b'\r') => State::SizeLf,
            (State::Extension, _) if byte != b'\n' => State::Extension,
            (State::SizeLf, b'\n') if self.left == 0 => State::TrailerStart,
            (State::SizeLf, b'\n') => State::Data,
            (State::DataCr, b'\r') => State::DataLf,
            (State::DataLf, b'\n') => {
                self.line_bytes = 0;
                State::Start
            }
            (State::TrailerStart, b'\r') => State::EndLf,
            (State::TrailerStart | State::Trailer, _) if byte != b'\n' => State::Trailer,
            (State::Trailer, b'\n') => State::TrailerStart,
            (State::EndLf, b'\n') => State::End,
            _ => return Err("the chunks are not as RFC 9112 says"),
        };
        Ok(())
    }
}

const LINE_BYTES_MAX: usize = 128 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    /// The data and the number of bytes taken, with the bytes cut in two at `at`.
    fn read(bytes: &[u8], at: usize) -> Result<(Vec<u8>, usize, bool), &'static str> {
        let (mut chunked, mut data) = (Chunked::default(), Vec::new());
        let mut taken = chunked.push(&bytes[..at], |part| data.extend_from_slice(part))?;
        taken += chunked.push(&bytes[at..], |part| data.extend_from_slice(part))?;
        Ok((data, taken, chunked.is_at_end()))
    }

    #[test]
    fn chunks_are_the_same_wherever_they_are_cut() {
        let wire = b"5\r\nhello\r\n0a;why=\"not\"\r\n, world\r\n.\r\n00\r\nTrailer: x\r\n\r\nHTTP/1.1 200 OK";
        let taken = wire.len() - "HTTP/1.1 200 OK".len();
        for at in 0..=wire.len() {
            let expected = (b"hello, world\r\n.".to_vec(), taken, true);
            assert_eq!(read(wire, at), Ok(expected), "cut at {at}");
        }
    }

    #[test]
    fn what_is_cut_off_is_not_at_its_end() {
        let wire = b"5\r\nhello\r\n0\r\n\r\n";
        for length in 0..wire.len() {
            let (_, taken, is_at_end) = read(&wire[..length], 0).unwrap();
            assert_eq!((taken, is_at_end), (length, false), "{length} bytes");
        }
    }

    #[test]
    fn what_is_no_chunk_is_an_error() {
        for wire in [
            "\r\n",
            "g\r\n",
            "5\nhello\n",
            "5\r\nhello0\r\n\r\n",
            "ffffffffffffffffff\r\n",
            "-1\r\n",
        ] {
            assert!(read(wire.as_bytes(), 0).is_err(), "{wire:?}");
        }
    }
}
