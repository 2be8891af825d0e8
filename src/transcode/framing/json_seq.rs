//! How are the texts of a JSON text sequence cut (RFC 7464)?

#[cfg(test)]
mod tests;

use memchr::memchr;

use super::{
    DecodeError, Decoder, EndOfInput, Framing, Opening, Record,
    values::{Fault, Place, Values},
};

/// Texts that each begin with RS (0x1E) and end with LF.
///
/// A text ends with its own last byte, wherever its LF is; only a number, `true`, `false` or `null` needs
/// white space to follow, or it is truncated (§2.4). A text that is malformed, because its sender broke off
/// in it or otherwise, is passed over up to the next RS, and the stream goes on (§2.1, §2.3).
pub const FRAMING: Framing = Framing {
    name: "json-seq",
    content_types: &["application/json-seq", "+json-seq"],
    is_for_its_own_clients: false,
    is_text: true,
    decoder: |opening| Box::new(JsonSeq::new(opening)),
    sample_content_type: "application/json-seq",
    sample: b"\x1E{\"d\":\"2014-09-22T21:58:35.270Z\",\"value\":6}\n\x1E{\n  \"d\": \" \\n\",\n  \"value\": 12\n}\n\
        \x1E[\"broken off\x1E\x1E\"\xC3\xBC\"\n\x1E\n\x1E12\n\x1E34\x1Etrue\r\n\x1E[] trailing\n\x1E[3]",
    sample_records: &[
        b"{\"d\":\"2014-09-22T21:58:35.270Z\",\"value\":6}",
        b"{\"d\":\" \\n\",\"value\":12}",
        b"\"\xC3\xBC\"",
        b"12",
        b"true",
        b"[]",
        b"[3]",
    ],
};

#[derive(Debug)]
struct JsonSeq {
    values: Values,
    stage: Stage,
    /// How many malformed texts were passed over, until that is asked for.
    skipped: u32,
}

/// Where in the sequence we are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Before the first RS.
    Start,
    /// Behind an RS, and perhaps white space.
    Begun,
    /// The same, and an LF has come: a text of nothing, unless more of it comes.
    Blank,
    /// In a text.
    Text,
    /// Behind a text that was lent or is malformed. Up to the next RS nothing counts.
    Over,
}

impl JsonSeq {
    fn new(opening: &Opening<'_>) -> Self {
        Self {
            values: Values::new(opening.record_bytes_max),
            stage: Stage::Start,
            skipped: 0,
        }
    }

    #[inline]
    fn cut<'i>(&mut self, input: &mut &'i [u8]) -> Result<Option<Place<'i>>, Fault> {
        self.values.begin(input)?;
        while let Some((first, rest)) = input.split_first() {
            match self.stage {
                Stage::Over => {
                    let Some(next) = memchr(RS, input) else {
                        *input = &[];
                        break;
                    };
                    *input = &input[next + 1..];
                    self.stage = Stage::Begun;
                }
                Stage::Text => match self.cut_text(input) {
                    Ok(None) => {}
                    Err(Fault::Malformed(_)) => {
                        self.values.abandon();
                        self.pass_over();
                    }
                    complete => return complete,
                },
                Stage::Start | Stage::Begun | Stage::Blank => {
                    self.before_text(*first)?;
                    if self.stage != Stage::Text {
                        *input = rest;
                    }
                }
            }
        }
        Ok(None)
    }

    /// Cuts the rest of a text, which goes no further than the next RS.
    #[inline]
    fn cut_text<'i>(&mut self, input: &mut &'i [u8]) -> Result<Option<Place<'i>>, Fault> {
        let end = memchr(RS, input);
        let (mut text, behind) = input.split_at(end.unwrap_or(input.len()));
        let place = self.values.cut(&mut text)?;
        if place.is_some() {
            if self.values.is_scalar() && !text.first().is_some_and(|byte| is_blank(*byte)) {
                return Err(Fault::Malformed("a number or literal goes on"));
            }
            self.stage = Stage::Over;
            *input = &input[input.len() - behind.len() - text.len()..];
            return Ok(place);
        }
        *input = behind;
        if end.is_some() {
            return Err(Fault::Malformed("a text ends before its value does"));
        }
        Ok(None)
    }

    /// Takes a byte where no text has begun.
    #[inline]
    fn before_text(&mut self, byte: u8) -> Result<(), Fault> {
        self.stage = match (self.stage, byte) {
            (_, RS) => Stage::Begun,
            (Stage::Begun, b'\n') => Stage::Blank,
            (stage, _) if is_blank(byte) => stage,
            (Stage::Start, _) => {
                return Err(Fault::Malformed(
                    "the sequence does not begin with RS (0x1E)",
                ));
            }
            _ if self.values.open(byte).is_ok() => Stage::Text,
            _ => {
                self.pass_over();
                return Ok(());
            }
        };
        Ok(())
    }

    /// Leaves out the rest of a malformed text.
    #[cold]
    fn pass_over(&mut self) {
        self.stage = Stage::Over;
        self.skipped = self.skipped.saturating_add(1);
    }
}

impl Decoder for JsonSeq {
    #[inline]
    fn next<'a>(&'a mut self, input: &mut &'a [u8]) -> Result<Option<Record<'a>>, DecodeError> {
        match self.cut(input) {
            Ok(place) => Ok(place.map(|place| self.values.record(place))),
            Err(fault) => Err(self.values.error(fault, FRAMING.name)),
        }
    }

    /// What has come of the last text is not all of it, whatever it is: else it would be lent.
    fn finish(&mut self, _end: EndOfInput) -> Result<Option<Record<'_>>, DecodeError> {
        let is_torn = matches!(self.stage, Stage::Begun | Stage::Text);
        if is_torn || self.carried_bytes() > 0 {
            return Err(self.values.truncated(FRAMING.name));
        }
        Ok(None)
    }

    fn take_skipped(&mut self) -> u64 {
        std::mem::take(&mut self.skipped).into()
    }

    fn carried_bytes(&self) -> usize {
        self.values.carried_bytes()
    }
}

#[inline]
fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}

/// Record separator.
const RS: u8 = 0x1E;
