//! How are the messages of gRPC-Web cut (gRPC, PROTOCOL-WEB)?

mod base64;
#[cfg(test)]
mod tests;
mod trailers;

use self::base64::Base64;
use super::{
    DecodeError, Decoder, EndOfInput, Framing, Record, content_type,
    envelopes::{Envelopes, Kind},
    exact::Piece,
};

/// One record a message, as it is: JSON, or what protobuf makes of it. An empty message is the upstream's
/// heartbeat and is dropped.
///
/// The stream ends with a frame of trailers, in which a status other than 0 is what the upstream reports;
/// without one it was cut. A content type `application/grpc-web-text` says that all of it is in base64,
/// which may be padded anywhere.
pub const FRAMING: Framing = Framing {
    name: "grpc-web",
    content_types: &[
        "application/grpc-web",
        "application/grpc-web+proto",
        "application/grpc-web+json",
        "application/grpc-web-text",
        "application/grpc-web-text+proto",
        "application/grpc-web-text+json",
    ],
    is_for_its_own_clients: true,
    is_text: false,
    decoder: |opening| {
        if is_text(opening.content_type) {
            Box::new(Text::new(opening.record_bytes_max))
        } else {
            Box::new(Binary::new(opening.record_bytes_max))
        }
    },
    sample_content_type: "application/grpc-web-text+proto; charset=utf-8",
    // The second message is empty and padded, the next two are one piece, and a line ends before the trailers.
    sample: b"AAAAAAcKBWhlbGxvAAAAAAA=AAAAAAd7ImEiOjF9AAAAAAEA\r\ngAAAABBncnBjLXN0YXR1czogMA0K",
    sample_records: &[b"\n\x05hello", b"{\"a\":1}", b"\0"],
};

/// Cuts frames as they are.
#[derive(Debug)]
struct Binary {
    envelopes: Envelopes,
    has_ended: bool,
}

/// Cuts frames in base64: undoes no more of it at once than a frame lacks.
#[derive(Debug)]
struct Text {
    base64: Base64,
    /// The message that is lent, if it came whole out of one chunk.
    plain: Vec<u8>,
    binary: Binary,
}

/// Where in [`Text`] a message lies.
enum Place {
    Plain,
    Carry,
}

impl Binary {
    fn new(record_bytes_max: usize) -> Self {
        Self {
            envelopes: Envelopes::new(FRAMING.name, record_bytes_max, kind_of),
            has_ended: false,
        }
    }

    /// Takes the next message that is no heartbeat.
    fn take<'i>(&mut self, input: &mut &'i [u8]) -> Result<Option<Piece<'i>>, DecodeError> {
        self.envelopes.release();
        while !self.has_ended {
            let Some((kind, piece)) = self.envelopes.take(input)? else {
                return Ok(None);
            };
            let message = self.envelopes.bytes(piece);
            match kind {
                Kind::End => {
                    trailers::check(message)?;
                    self.has_ended = true;
                    self.envelopes.release();
                }
                Kind::Record if message.is_empty() => {}
                Kind::Record => return Ok(Some(piece)),
            }
        }
        Ok(None)
    }
}

impl Decoder for Binary {
    #[inline]
    fn next<'a>(&'a mut self, input: &mut &'a [u8]) -> Result<Option<Record<'a>>, DecodeError> {
        if let Some(piece) = self.take(input)? {
            return Ok(Some(record(self.envelopes.bytes(piece))));
        }
        check_end(input)?;
        Ok(None)
    }

    fn finish(&mut self, _end: EndOfInput) -> Result<Option<Record<'_>>, DecodeError> {
        self.envelopes.release();
        if self.has_ended {
            return Ok(None);
        }
        Err(self.envelopes.truncated())
    }

    fn carried_bytes(&self) -> usize {
        self.envelopes.carried_bytes()
    }

    fn has_ended(&self) -> bool {
        self.has_ended
    }
}

impl Text {
    fn new(record_bytes_max: usize) -> Self {
        Self {
            base64: Base64::default(),
            plain: Vec::new(),
            binary: Binary::new(record_bytes_max),
        }
    }

    /// Takes the next message that is no heartbeat.
    fn take(&mut self, input: &mut &[u8]) -> Result<Option<Place>, DecodeError> {
        self.binary.envelopes.release();
        while !self.binary.has_ended && !input.is_empty() {
            let mut out = [0; TEXT_BYTES];
            let missing_bytes = self.binary.envelopes.missing_bytes().min(TEXT_BYTES);
            let (mut bytes, outcome) = self.base64.decode(input, &mut out[..missing_bytes]);
            let piece = self.binary.take(&mut bytes)?;
            // After what the bytes before the fault say.
            outcome?;
            match piece {
                Some(Piece::Chunk(message)) => {
                    self.plain.clear();
                    self.plain.extend_from_slice(message);
                    return Ok(Some(Place::Plain));
                }
                Some(Piece::Carry) => return Ok(Some(Place::Carry)),
                None => {}
            }
        }
        Ok(None)
    }
}

impl Decoder for Text {
    fn next<'a>(&'a mut self, input: &mut &'a [u8]) -> Result<Option<Record<'a>>, DecodeError> {
        let place = self.take(input)?;
        match place {
            Some(Place::Plain) => return Ok(Some(record(&self.plain))),
            Some(Place::Carry) => {
                return Ok(Some(record(self.binary.envelopes.bytes(Piece::Carry))));
            }
            None => {}
        }
        // With its capacity: an idle stream holds nothing.
        self.plain = Vec::new();
        self.base64.skip(input)?;
        check_end(input)?;
        Ok(None)
    }

    fn finish(&mut self, end: EndOfInput) -> Result<Option<Record<'_>>, DecodeError> {
        self.binary.finish(end)
    }

    fn carried_bytes(&self) -> usize {
        self.binary.carried_bytes()
    }

    fn has_ended(&self) -> bool {
        self.binary.has_ended
    }
}

/// What is left of `input`, where no message is, stands behind the trailers.
fn check_end(input: &[u8]) -> Result<(), DecodeError> {
    if input.is_empty() {
        return Ok(());
    }
    Err(bad("something comes behind the trailers"))
}

fn kind_of(flags: u8) -> Result<Kind, &'static str> {
    match flags {
        0 => Ok(Kind::Record),
        TRAILERS => Ok(Kind::End),
        flags if flags & !TRAILERS == COMPRESSED => {
            Err("a message is compressed; have requests say grpc-accept-encoding: identity")
        }
        _ => Err("a message has flags that mean nothing"),
    }
}

/// Whether the frames are in base64.
fn is_text(content_type: &str) -> bool {
    let media_type = content_type::essence(content_type).to_ascii_lowercase();
    let kind = media_type.split('+').next();
    kind == Some("application/grpc-web-text")
}

fn record(message: &[u8]) -> Record<'_> {
    Record {
        data: Some(message),
        ..Record::default()
    }
}

fn bad(reason: &'static str) -> DecodeError {
    DecodeError::BadFraming {
        framing: FRAMING.name,
        reason,
    }
}

/// How much base64 is undone at once; messages beyond that come together in the carry.
const TEXT_BYTES: usize = 192;

const TRAILERS: u8 = 0x80;

const COMPRESSED: u8 = 0x01;
