//! The whole turn of one stream: chunk → records → events.

use super::{
    framing::{DecodeError, Decoder, EndOfInput, Framing, Opening, Record},
    mapping::{self, Mapping},
    output::{Encoder, sse::Sse},
};

/// Turns the chunks of one reply into the events of one response.
///
/// After every call `out` ends at an event's end (invariant 5), so whatever is appended next stands
/// between events.
pub struct Transcoder {
    decoder: Box<dyn Decoder>,
    mapping: Mapping,
    encoder: Sse,
}

impl Transcoder {
    /// Makes the transcoder of one stream.
    #[must_use]
    pub fn new(from: &Framing, opening: &Opening<'_>, event: &mapping::Settings) -> Self {
        Self {
            decoder: (from.decoder)(opening),
            mapping: Mapping::new(event),
            encoder: Sse,
        }
    }

    /// Appends the events that `input` completes to `out` and takes their bytes off `input`, until
    /// `input` is empty or `out` holds `out_bytes_max` bytes or more. Returns how many events it wrote
    /// (a block that only sets `id` or `retry` is none).
    ///
    /// `out` passes its bound by at most one event.
    ///
    /// # Errors
    /// The stream cannot go on. Events before the fault are in `out`, whole.
    pub fn push(
        &mut self,
        input: &mut &[u8],
        out: &mut Vec<u8>,
        out_bytes_max: usize,
    ) -> Result<u64, DecodeError> {
        let mut events = 0;
        while out.len() < out_bytes_max {
            // A borrow of its own for each record: `Decoder::next` ties its own borrow to the input's.
            let mut rest = *input;
            match self.decoder.next(&mut rest) {
                // By reference: to move a record costs more than to write a short one.
                Ok(Some(ref record)) => {
                    events += u64::from(write(&mut self.mapping, &self.encoder, record, out));
                }
                Ok(None) => {
                    *input = &[];
                    break;
                }
                Err(error) => return Err(error),
            }
            *input = &input[input.len() - rest.len()..];
        }
        Ok(events)
    }

    /// Appends the event that the end of the input completes, if there is one. Returns how many.
    ///
    /// # Errors
    /// The input ended inside a record; nothing of it is written.
    pub fn finish(&mut self, end: EndOfInput, out: &mut Vec<u8>) -> Result<u64, DecodeError> {
        let Some(record) = self.decoder.finish(end)? else {
            return Ok(0);
        };
        let is_event = write(&mut self.mapping, &self.encoder, &record, out);
        Ok(u64::from(is_event))
    }

    /// Appends a heartbeat.
    pub fn heartbeat(&self, out: &mut Vec<u8>) {
        self.encoder.heartbeat(out);
    }

    /// Appends the `stream-error` event that tells the client why the stream ends here.
    pub fn error(&self, code: &str, message: &str, out: &mut Vec<u8>) {
        self.encoder.error(code, message, out);
    }

    /// Appends the reconnection time told to the client when the stream is drained.
    pub fn retry(&self, retry_ms: u64, out: &mut Vec<u8>) {
        self.encoder.retry(retry_ms, out);
    }

    /// Whether the framing's own end has come, so that a cut takes nothing away any more.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.decoder.has_ended()
    }

    /// How many bytes of an incomplete record are carried.
    #[must_use]
    pub fn carried_bytes(&self) -> usize {
        self.decoder.carried_bytes()
    }
}

#[inline]
fn write(
    mapping: &mut Mapping,
    encoder: &impl Encoder,
    record: &Record<'_>,
    out: &mut Vec<u8>,
) -> bool {
    let Some(data) = mapping.data_alone(record) else {
        return encoder.event(&mapping.event(record), out);
    };
    encoder.data(data, out);
    true
}
