//! What does an encoder write, and what does a decoder make of it?

use compression_codecs::{BrotliDecoder, DecodeV2, GzipDecoder, ZstdDecoder};
use compression_core::util::{PartialBuffer, WriteBuffer};

/// Runs `step` with fresh room until it says that it is done, and returns all that it wrote.
pub fn drain(mut step: impl FnMut(&mut WriteBuffer<'_>) -> bool) -> Vec<u8> {
    let mut coded = Vec::new();
    loop {
        let mut room = [0; 4096];
        let mut buffer = WriteBuffer::new_initialized(&mut room);
        let is_done = step(&mut buffer);
        coded.extend_from_slice(buffer.written());
        if is_done {
            return coded;
        }
    }
}

/// What a client has decoded of one stream.
pub struct Decoded {
    decoder: Option<Box<dyn DecodeV2>>,
    /// Whether the coding's own end has come.
    pub is_finished: bool,
}

impl Decoded {
    /// Decodes what is coded like this; `""` and what is not known are not coded.
    pub fn of(content_encoding: &str) -> Self {
        Self {
            decoder: match content_encoding {
                "gzip" => Some(Box::new(GzipDecoder::new())),
                "br" => Some(Box::new(BrotliDecoder::new())),
                "zstd" => Some(Box::new(ZstdDecoder::new())),
                _ => None,
            },
            is_finished: false,
        }
    }

    /// The text that can be told by now.
    pub fn text(&mut self, coded: &[u8]) -> String {
        let Some(decoder) = self.decoder.as_mut().filter(|_| !coded.is_empty()) else {
            return String::from_utf8(coded.to_vec()).expect("text");
        };
        assert!(
            !self.is_finished || coded.is_empty(),
            "bytes follow the end"
        );
        let mut coded = PartialBuffer::new(coded);
        let is_finished = &mut self.is_finished;
        let plain = drain(|room| {
            *is_finished |= decoder.decode(&mut coded, room).expect("a coding");
            *is_finished || (coded.unwritten().is_empty() && !room.has_no_spare_space())
        });
        String::from_utf8(plain).expect("text")
    }
}
