//! How are JSON values cut that stand back to back?

#[cfg(test)]
mod tests;

use super::{
    DecodeError, Decoder, EndOfInput, Framing, Opening, Record,
    values::{Fault, Place, Values},
};
use crate::transcode::json::trim_start;

/// Concatenated JSON: one value after the other, with any white space or none in between.
///
/// A record ends with its own last byte, not with what follows; only a number, `true`, `false` or `null`
/// needs something to follow. One that stands in several lines is lent in one.
///
/// No media type is taken for it: its senders say `application/json`, and most of that is no stream.
pub const FRAMING: Framing = Framing {
    name: "json",
    content_types: &[],
    is_for_its_own_clients: false,
    is_text: true,
    decoder: |opening| Box::new(Json::new(opening)),
    sample_content_type: "application/json",
    sample: b"\xEF\xBB\xBF{\"type\":\"ADDED\",\"object\":{\"name\":\"}\\\"\"}}\n{\"a\": [1, 2]}{\"b\" : {\r\n\
        \t\"c d\": \"\xC3\xBC \\n\"\r\n}}\r\n[[]]\"text \"12.5e3 true\nnull ",
    sample_records: &[
        b"{\"type\":\"ADDED\",\"object\":{\"name\":\"}\\\"\"}}",
        b"{\"a\": [1, 2]}",
        b"{\"b\":{\"c d\":\"\xC3\xBC \\n\"}}",
        b"[[]]",
        b"\"text \"",
        b"12.5e3",
        b"true",
        b"null",
    ],
};

#[derive(Debug)]
struct Json {
    values: Values,
}

impl Json {
    fn new(opening: &Opening<'_>) -> Self {
        Self {
            values: Values::new(opening.record_bytes_max),
        }
    }

    #[inline]
    fn cut<'i>(&mut self, input: &mut &'i [u8]) -> Result<Option<Place<'i>>, Fault> {
        self.values.begin(input)?;
        if !self.values.is_open() {
            *input = trim_start(input);
            let Some(first) = input.first() else {
                return Ok(None);
            };
            self.values.open(*first)?;
        }
        self.values.cut(input)
    }
}

impl Decoder for Json {
    #[inline]
    fn next<'a>(&'a mut self, input: &mut &'a [u8]) -> Result<Option<Record<'a>>, DecodeError> {
        match self.cut(input) {
            Ok(place) => Ok(place.map(|place| self.values.record(place))),
            Err(fault) => Err(self.values.error(fault, FRAMING.name)),
        }
    }

    /// A number or literal at the very end needs nothing to follow.
    fn finish(&mut self, end: EndOfInput) -> Result<Option<Record<'_>>, DecodeError> {
        self.values.finish(end, FRAMING.name)
    }

    fn carried_bytes(&self) -> usize {
        self.values.carried_bytes()
    }
}
