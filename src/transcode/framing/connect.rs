//! How are the messages of a Connect stream cut (Connect protocol, "Streaming RPCs")?

#[cfg(test)]
mod tests;

use std::borrow::Cow;

use super::{
    DecodeError, Decoder, EndOfInput, Framing, Opening, Record,
    envelopes::{Envelopes, Kind},
    report::one_line,
};
use crate::transcode::json::{self, Pointer};

/// One record a message, as it is: JSON, or what protobuf makes of it. An empty message is dropped.
///
/// The stream ends with a message that says so, and without one it was cut. If that tells an error, the
/// error's JSON is the last record, by the name `error`, and what the upstream reports.
pub const FRAMING: Framing = Framing {
    name: "connect",
    content_types: &["application/connect+json", "application/connect+proto"],
    is_for_its_own_clients: true,
    is_text: false,
    decoder: |opening| Box::new(Connect::new(opening)),
    sample_content_type: "application/connect+json",
    sample: b"\0\0\0\0\x11{\"greeting\":\"Hi\"}\0\0\0\0\0\0\0\0\0\x01\n\
        \x02\0\0\0\x20{ \"metadata\": {\"a\": [\"b\", \"c\"]}}",
    sample_records: &[b"{\"greeting\":\"Hi\"}", b"\n"],
};

#[derive(Debug)]
struct Connect {
    envelopes: Envelopes,
    end: End,
}

/// How the stream ended.
#[derive(Debug)]
enum End {
    NotYet,
    Complete,
    /// With an error, which was lent as a record.
    Failed(String),
}

impl Connect {
    fn new(opening: &Opening<'_>) -> Self {
        Self {
            envelopes: Envelopes::new(FRAMING.name, opening.record_bytes_max, kind_of),
            end: End::NotYet,
        }
    }

    /// Whether the stream has ended well.
    ///
    /// # Errors
    /// It has failed.
    fn is_complete(&mut self) -> Result<bool, DecodeError> {
        match &mut self.end {
            End::NotYet => Ok(false),
            End::Complete => Ok(true),
            End::Failed(report) => Err(DecodeError::Reported {
                report: std::mem::take(report),
            }),
        }
    }
}

impl Decoder for Connect {
    #[inline]
    fn next<'a>(&'a mut self, input: &mut &'a [u8]) -> Result<Option<Record<'a>>, DecodeError> {
        self.envelopes.release();
        let (kind, piece) = loop {
            if self.is_complete()? {
                return check_end(input);
            }
            let Some((kind, piece)) = self.envelopes.take(input)? else {
                return Ok(None);
            };
            let message = self.envelopes.bytes(piece);
            if kind == Kind::End && error(message)?.is_none() {
                self.end = End::Complete;
                self.envelopes.release();
            } else if kind == Kind::End || !message.is_empty() {
                break (kind, piece);
            }
        };
        let message = self.envelopes.bytes(piece);
        let (data, name) = match kind {
            Kind::Record => (message, None),
            Kind::End => {
                let error = error(message)?.unwrap_or_default();
                self.end = End::Failed(report(error));
                (error, Some(&b"error"[..]))
            }
        };
        Ok(Some(Record {
            data: Some(data),
            name,
            ..Record::default()
        }))
    }

    fn finish(&mut self, _end: EndOfInput) -> Result<Option<Record<'_>>, DecodeError> {
        self.envelopes.release();
        if self.is_complete()? {
            return Ok(None);
        }
        Err(self.envelopes.truncated())
    }

    fn carried_bytes(&self) -> usize {
        self.envelopes.carried_bytes()
    }

    fn has_ended(&self) -> bool {
        matches!(self.end, End::Complete)
    }
}

/// The error that the last message tells, as it is written.
fn error(end: &[u8]) -> Result<Option<&[u8]>, DecodeError> {
    if !json::is_text(end) || !json::trim_start(end).starts_with(b"{") {
        return Err(bad("the message that ends the stream is no JSON object"));
    }
    Ok(member(end, "/error").filter(|error| error != b"null"))
}

/// What an error is called, and says of itself.
fn report(error: &[u8]) -> String {
    let text = |pointer| member(error, pointer).and_then(json::unescape);
    // As the protocol has it for a code that is missing.
    let code = text("/code").unwrap_or(Cow::Borrowed(b"unknown"));
    let mut report = one_line(&code, CODE_CHARS_MAX);
    if let Some(message) = text("/message").filter(|message| !message.is_empty()) {
        report.push_str(": ");
        report.push_str(&one_line(&message, MESSAGE_CHARS_MAX));
    }
    report
}

/// The raw value at `pointer` of a JSON text.
fn member<'a>(text: &'a [u8], pointer: &str) -> Option<&'a [u8]> {
    json::at(text, &Pointer::parse(pointer).ok()?)
}

/// What is left of `input` stands behind the end.
fn check_end(input: &[u8]) -> Result<Option<Record<'static>>, DecodeError> {
    if input.is_empty() {
        return Ok(None);
    }
    Err(bad(
        "something comes behind the message that ends the stream",
    ))
}

fn kind_of(flags: u8) -> Result<Kind, &'static str> {
    match flags {
        0 => Ok(Kind::Record),
        END_STREAM => Ok(Kind::End),
        flags if flags & !END_STREAM == COMPRESSED => {
            Err("a message is compressed; have requests say connect-accept-encoding: identity")
        }
        _ => Err("a message has flags that mean nothing"),
    }
}

fn bad(reason: &'static str) -> DecodeError {
    DecodeError::BadFraming {
        framing: FRAMING.name,
        reason,
    }
}

const END_STREAM: u8 = 0x02;

const COMPRESSED: u8 = 0x01;

const CODE_CHARS_MAX: usize = 64;

const MESSAGE_CHARS_MAX: usize = 256;
