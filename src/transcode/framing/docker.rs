//! How are the lines of a container's streams told apart (Docker Engine API, "Stream format")?

#[cfg(test)]
mod tests;

use memchr::memchr;

use super::{DecodeError, Decoder, EndOfInput, Framing, Record, cutter::Cutter, exact::Exact};

/// One record a line, under the name of the stream it was written to: `stdout`, `stderr`, `stdin` or
/// `systemerr`. An empty line is an empty record. LF and CR LF end a line.
///
/// Frames are no records: a program's write may hold several lines or half of one, so each stream's
/// payloads are joined and cut by themselves.
///
/// Not for `application/vnd.docker.raw-stream`, which is what a terminal sends, without frames.
pub const FRAMING: Framing = Framing {
    name: "docker",
    content_types: &["application/vnd.docker.multiplexed-stream"],
    is_for_its_own_clients: true,
    is_text: false,
    decoder: |opening| Box::new(Docker::new(opening.record_bytes_max)),
    sample_content_type: "application/vnd.docker.multiplexed-stream",
    sample: b"\x01\0\0\0\0\0\0\x06hello\n\x02\0\0\0\0\0\0\x04err\n\
        \x01\0\0\0\0\0\0\x03wor\x02\0\0\0\0\0\0\x04x\r\n\n\x01\0\0\0\0\0\0\x07ld\nlast",
    sample_records: &[b"hello", b"err", b"x", b"", b"world", b"last"],
};

/// Holds at most the record limit for each of the four streams.
#[derive(Debug)]
struct Docker {
    header: Exact,
    /// The frame that is being read, or the last that was.
    frame: Frame,
    /// The line of each stream that has no end yet. Only that of the frame's stream may be lent.
    lines: [Cutter; STREAMS.len()],
}

/// What a frame's header says.
#[derive(Debug, Default)]
struct Frame {
    /// Invariant: an index of [`STREAMS`].
    stream: usize,
    payload_bytes: usize,
    /// How much of the payload has not come yet.
    left_bytes: usize,
}

impl Docker {
    fn new(record_bytes_max: usize) -> Self {
        Self {
            header: Exact::default(),
            frame: Frame::default(),
            lines: std::array::from_fn(|_| Cutter::new(record_bytes_max)),
        }
    }

    /// How many bytes have come of the frame that is not whole.
    fn frame_bytes(&self) -> usize {
        let Frame {
            payload_bytes,
            left_bytes,
            ..
        } = self.frame;
        if left_bytes == 0 {
            return self.header.carried_bytes();
        }
        HEADER_BYTES + (payload_bytes - left_bytes)
    }
}

impl Decoder for Docker {
    fn next<'a>(&'a mut self, input: &mut &'a [u8]) -> Result<Option<Record<'a>>, DecodeError> {
        self.lines[self.frame.stream].begin();
        loop {
            if self.frame.left_bytes == 0 {
                let Some(header) = self.header.take(input, HEADER_BYTES) else {
                    return Ok(None);
                };
                self.frame = Frame::parse(self.header.bytes(header))?;
                self.header.release();
            }
            let Frame {
                stream, left_bytes, ..
            } = self.frame;
            let payload = &input[..left_bytes.min(input.len())];
            let mut rest = payload;
            let line = self.lines[stream].cut(&mut rest, memchr(b'\n', payload))?;
            let taken_bytes = payload.len() - rest.len();
            *input = &input[taken_bytes..];
            self.frame.left_bytes -= taken_bytes;
            if let Some(line) = line {
                return Ok(Some(record(stream, self.lines[stream].bytes(line))));
            }
            if input.is_empty() {
                return Ok(None);
            }
        }
    }

    /// The last line of each stream needs no end, but its frame does: what a program wrote last came
    /// whole, or the stream was cut.
    fn finish(&mut self, _end: EndOfInput) -> Result<Option<Record<'_>>, DecodeError> {
        let carried_bytes = self.frame_bytes();
        if carried_bytes > 0 {
            return Err(DecodeError::Truncated {
                framing: FRAMING.name,
                carried_bytes,
            });
        }
        for (stream, lines) in self.lines.iter_mut().enumerate() {
            let line = lines.incomplete();
            if !line.is_empty() {
                return Ok(Some(record(stream, line)));
            }
        }
        Ok(None)
    }

    fn carried_bytes(&self) -> usize {
        let lines = self.lines.iter().map(Cutter::carried_bytes);
        self.header.carried_bytes() + lines.sum::<usize>()
    }
}

impl Frame {
    /// Takes the eight bytes of a header apart.
    fn parse(header: &[u8]) -> Result<Self, DecodeError> {
        let bad = |reason| DecodeError::BadFraming {
            framing: FRAMING.name,
            reason,
        };
        let (stream, length) = header.split_at(HEADER_BYTES - LENGTH_BYTES);
        let [stream, padding @ ..] = stream else {
            return Err(bad("a frame has no header"));
        };
        let stream = usize::from(*stream);
        if stream >= STREAMS.len() {
            return Err(bad("a frame is of no known stream"));
        }
        if padding.iter().any(|byte| *byte != 0) {
            return Err(bad("a frame's header is not padded with zeros"));
        }
        let payload_bytes = length
            .iter()
            .fold(0, |length, byte| (length << 8) | usize::from(*byte));
        Ok(Self {
            stream,
            payload_bytes,
            left_bytes: payload_bytes,
        })
    }
}

/// The record of a line, without the CR that may stand before its LF.
#[inline]
fn record(stream: usize, line: &[u8]) -> Record<'_> {
    Record {
        data: Some(line.strip_suffix(b"\r").unwrap_or(line)),
        name: Some(STREAMS[stream]),
        ..Record::default()
    }
}

/// The streams by their number in a frame's header.
const STREAMS: [&[u8]; 4] = [b"stdin", b"stdout", b"stderr", b"systemerr"];

/// The stream's number, three zeros, the length.
const HEADER_BYTES: usize = 4 + LENGTH_BYTES;

const LENGTH_BYTES: usize = size_of::<u32>();
