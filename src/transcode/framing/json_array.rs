//! How are the elements of one JSON array cut while it still grows?

#[cfg(test)]
mod tests;

use super::{
    DecodeError, Decoder, EndOfInput, Framing, Opening, Record,
    values::{Fault, Place, Values},
};
use crate::transcode::json::trim_start;

/// One JSON array for the whole stream: each element is a record, and `]` is the end.
///
/// An element ends with its own last byte, not with the comma; only a number, `true`, `false` or `null`
/// needs something to follow. One that stands in several lines is lent in one. Whatever the connection
/// says, without its `]` the array was cut, and behind it nothing is missing. A body of nothing but white
/// space whose end is sure is a stream without records: its sender meant it so.
///
/// No media type is taken for it: its senders say `application/json`, and most of that is no stream.
pub const FRAMING: Framing = Framing {
    name: "json-array",
    content_types: &[],
    is_for_its_own_clients: false,
    is_text: true,
    decoder: |opening| Box::new(JsonArray::new(opening)),
    sample_content_type: "application/json",
    sample: b"\xEF\xBB\xBF [{\r\n  \"candidates\": [{\"text\": \"1\\n, ]\"}],\r\n  \"n\": 14\r\n}\r\n,\r\n\
        {\"a\" :2},[ ],\"x\"\n,12, -3.5e+1 ,true,null]\n",
    sample_records: &[
        b"{\"candidates\":[{\"text\":\"1\\n, ]\"}],\"n\":14}",
        b"{\"a\" :2}",
        b"[ ]",
        b"\"x\"",
        b"12",
        b"-3.5e+1",
        b"true",
        b"null",
    ],
};

#[derive(Debug)]
struct JsonArray {
    values: Values,
    due: Due,
}

/// What must come next, but for white space.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Due {
    /// `[`.
    Array,
    /// The first element or `]`.
    First,
    /// An element.
    Element,
    /// The rest of an element.
    Rest,
    /// `,` or `]`.
    Separator,
    /// Nothing.
    Nothing,
}

impl JsonArray {
    fn new(opening: &Opening<'_>) -> Self {
        Self {
            values: Values::new(opening.record_bytes_max),
            due: Due::Array,
        }
    }

    #[inline]
    fn cut<'i>(&mut self, input: &mut &'i [u8]) -> Result<Option<Place<'i>>, Fault> {
        self.values.begin(input)?;
        while self.due != Due::Rest {
            *input = trim_start(input);
            let Some((first, rest)) = input.split_first() else {
                return Ok(None);
            };
            self.due = self.behind(*first)?;
            if self.due != Due::Rest {
                *input = rest;
            }
        }
        let place = self.values.cut(input)?;
        if place.is_some() {
            self.due = Due::Separator;
        }
        Ok(place)
    }

    /// What is due behind `byte`, which comes where no element goes on.
    #[inline]
    fn behind(&mut self, byte: u8) -> Result<Due, Fault> {
        match (self.due, byte) {
            (Due::Array, b'[') => Ok(Due::First),
            (Due::First | Due::Separator, b']') => Ok(Due::Nothing),
            (Due::Separator, b',') => Ok(Due::Element),
            (Due::First | Due::Element, _) => self.values.open(byte).map(|()| Due::Rest),
            (Due::Array, _) => Err(Fault::Malformed("the stream does not begin with \"[\"")),
            (Due::Separator | Due::Rest, _) => Err(Fault::Malformed(
                "an element stands before neither \",\" nor \"]\"",
            )),
            (Due::Nothing, _) => Err(Fault::Malformed(
                "something stands behind the array's \"]\"",
            )),
        }
    }
}

impl Decoder for JsonArray {
    #[inline]
    fn next<'a>(&'a mut self, input: &mut &'a [u8]) -> Result<Option<Record<'a>>, DecodeError> {
        match self.cut(input) {
            Ok(place) => Ok(place.map(|place| self.values.record(place))),
            Err(fault) => Err(self.values.error(fault, FRAMING.name)),
        }
    }

    fn finish(&mut self, end: EndOfInput) -> Result<Option<Record<'_>>, DecodeError> {
        let is_blank = self.due == Due::Array && self.carried_bytes() == 0;
        if self.has_ended() || (is_blank && end == EndOfInput::Verified) {
            return Ok(None);
        }
        Err(self.values.truncated(FRAMING.name))
    }

    fn carried_bytes(&self) -> usize {
        self.values.carried_bytes()
    }

    fn has_ended(&self) -> bool {
        self.due == Due::Nothing
    }
}
