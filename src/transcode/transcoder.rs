//! The whole turn of one stream: chunk → records → events.

use super::{
    framing::{DecodeError, Decoder, EndOfInput, Framing},
    mapping,
};

/// Turns the chunks of one reply into the events of one response.
pub struct Transcoder {
    decoder: Box<dyn Decoder>,
}

impl Transcoder {
    /// Makes the transcoder of one stream.
    #[must_use]
    pub fn new(from: &Framing, event: &mapping::Settings, record_bytes_max: usize) -> Self {
        let _ = event;
        Self {
            decoder: (from.decoder)(record_bytes_max),
        }
    }

    /// Appends the events that `input` completes to `out` and takes their bytes off `input`, until
    /// `input` is empty or `out` holds `out_bytes_max` bytes or more. Returns how many events it wrote.
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
        let _ = (input, out, out_bytes_max, &self.decoder);
        Ok(0)
    }

    /// Appends the event that the end of the input completes, if there is one. Returns how many.
    ///
    /// # Errors
    /// The input ended inside a record; nothing of it is written.
    pub fn finish(&mut self, end: EndOfInput, out: &mut Vec<u8>) -> Result<u64, DecodeError> {
        let _ = (end, out);
        Ok(0)
    }

    /// Appends a heartbeat.
    pub fn heartbeat(&self, out: &mut Vec<u8>) {
        let _ = out;
    }

    /// Appends the `stream-error` event that tells the client why the stream ends here.
    pub fn error(&self, code: &str, message: &str, out: &mut Vec<u8>) {
        let _ = (code, message, out);
    }

    /// Appends the reconnection time told to the client when the stream is drained.
    pub fn retry(&self, retry_ms: u64, out: &mut Vec<u8>) {
        let _ = (retry_ms, out);
    }

    /// How many bytes of an incomplete record are carried.
    #[must_use]
    pub fn carried_bytes(&self) -> usize {
        self.decoder.carried_bytes()
    }
}
