//! How are the parts of a multipart body cut (RFC 2046 §5.1)?

mod body;
mod boundary;
mod head;
mod json_end;
#[cfg(test)]
mod tests;

use memchr::memchr;

use self::{
    body::Body,
    boundary::{Boundary, Mark, NoDelimiter},
    head::Ends,
};
use super::{DecodeError, Decoder, EndOfInput, Framing, Opening, Record, content_type};

/// One record a part: its body, as it is where it is text, JSON or XML, else in base64.
///
/// A part is complete at the last byte of its `Content-Length`, at the last bracket of a body that is
/// said to be JSON, or at the delimiter behind it, whichever comes first; what then stands before the
/// delimiter may only be white space. The boundary comes from the content type; where that has none, it
/// is the first line that begins with two dashes. LF is taken for CR LF.
///
/// The stream ends with its closing delimiter, and without one it was cut. Only `x-mixed-replace`,
/// whose senders never write one, may end anywhere between parts.
pub const FRAMING: Framing = Framing {
    name: "multipart",
    content_types: &["multipart/mixed", "multipart/x-mixed-replace"],
    is_for_its_own_clients: true,
    is_text: false,
    decoder: |opening| Box::new(Multipart::new(opening)),
    sample_content_type: "multipart/mixed; boundary=\"a b\"; subscriptionSpec=1.0",
    sample: b"preamble\r\n--a b\r\ncontent-type: application/json\r\n\r\n{\"data\":\r\n[\"}\"]}\r\n--a b\r\n\
        Content-Type: application/json\r\n\r\n{}\n--a b \t\r\n\r\nplain\r\n--a bc\r\n--a b\r\n\
        Content-Type: image/jpeg\r\nContent-Length: 9\r\n\r\n\xFF\xD8\r\n\n--a \r\n\n--a b\nX: y\n\n\
        \r\n--a b--\r\nepilogue\r\n--a b\r\n",
    sample_records: &[
        b"{\"data\":\r\n[\"}\"]}",
        b"{}",
        b"plain\r\n--a bc",
        b"/9gNCgotLWEg",
        b"",
    ],
};

/// Cuts parts. The limit is a body's as it came; in base64 it is a third longer.
#[derive(Debug)]
struct Multipart {
    /// Whether the sender ends its stream by closing the connection, or the message, between parts.
    is_endless: bool,
    phase: Phase,
    boundary: Boundary,
    /// What has come of a line of the preamble or of a head. Invariant: at most [`HEAD_BYTES_MAX`].
    carry: Vec<u8>,
    body: Body,
}

/// Where in the stream we are.
#[derive(Debug, Clone, Copy)]
enum Phase {
    /// Before the first delimiter line, behind so many bytes of other lines.
    Preamble { passed_bytes: usize },
    /// In a delimiter line, behind the delimiter.
    DelimiterLine,
    /// In a part's head.
    Head(Ends),
    /// In a part's body.
    Body,
    /// Behind a body that ended before its delimiter came.
    Behind,
    /// Behind the last part.
    Ended,
}

impl Multipart {
    fn new(opening: &Opening<'_>) -> Self {
        Self {
            is_endless: content_type::is(opening.content_type, "multipart/x-mixed-replace"),
            phase: Phase::Preamble { passed_bytes: 0 },
            boundary: Boundary::of(opening.content_type),
            carry: Vec::new(),
            body: Body::new(opening.record_bytes_max),
        }
    }

    fn preamble(&mut self, input: &mut &[u8], passed_bytes: usize) -> Result<(), DecodeError> {
        let end = memchr(b'\n', input);
        let (more, rest) = input.split_at(end.unwrap_or(input.len()));
        let bytes = passed_bytes + self.carry.len() + more.len();
        if bytes > HEAD_BYTES_MAX {
            return Err(bad("no delimiter line comes within the first 16384 bytes"));
        }
        self.carry.extend_from_slice(more);
        *input = rest;
        let mark = self.boundary.open(&self.carry, end.is_some());
        if end.is_some() {
            *input = &rest[1..];
            let passed_bytes = bytes + 1;
            self.phase = Phase::Preamble { passed_bytes };
            self.carry = Vec::new();
        }
        if let Some(mark) = mark {
            self.carry = Vec::new();
            self.pass(mark);
        }
        Ok(())
    }

    /// Goes on behind a delimiter.
    fn pass(&mut self, mark: Mark) {
        self.phase = match mark {
            Mark::Delimiter => Phase::DelimiterLine,
            Mark::DelimiterLine => Phase::Head(Ends::default()),
            Mark::Close => Phase::Ended,
        };
    }

    fn delimiter_line(&mut self, input: &mut &[u8]) -> Result<(), DecodeError> {
        let end = memchr(b'\n', input);
        let (line, rest) = input.split_at(end.unwrap_or(input.len()));
        if !line.iter().all(u8::is_ascii_whitespace) {
            return Err(bad("a delimiter line goes on behind the boundary"));
        }
        *input = rest;
        if end.is_some() {
            *input = &rest[1..];
            self.pass(Mark::DelimiterLine);
        }
        Ok(())
    }

    fn head(&mut self, input: &mut &[u8], mut ends: Ends) -> Result<(), DecodeError> {
        let end = ends.find(input);
        let (more, rest) = input.split_at(end.unwrap_or(input.len()));
        if self.carry.len() + more.len() > HEAD_BYTES_MAX {
            return Err(bad("a part's head is longer than 16384 bytes"));
        }
        *input = rest;
        if end.is_none() {
            self.carry.extend_from_slice(more);
            self.phase = Phase::Head(ends);
            return Ok(());
        }
        let head = if self.carry.is_empty() {
            head::parse(more)
        } else {
            self.carry.extend_from_slice(more);
            head::parse(&std::mem::take(&mut self.carry))
        };
        self.body.begin(head.map_err(bad)?);
        self.boundary.restart();
        self.phase = Phase::Body;
        Ok(())
    }

    /// Goes on behind a body.
    fn pass_body(&mut self, mark: Option<Mark>) {
        if let Some(mark) = mark {
            return self.pass(mark);
        }
        self.boundary.restart();
        self.phase = Phase::Behind;
    }

    fn behind(&mut self, input: &mut &[u8]) -> Result<(), DecodeError> {
        let mark = self.boundary.expect(input);
        let mark = mark.map_err(|NoDelimiter| bad("a part goes on behind its end"))?;
        if let Some(mark) = mark {
            self.pass(mark);
        }
        Ok(())
    }
}

impl Decoder for Multipart {
    fn next<'a>(&'a mut self, input: &mut &'a [u8]) -> Result<Option<Record<'a>>, DecodeError> {
        self.body.release();
        loop {
            match self.phase {
                Phase::Preamble { passed_bytes } => self.preamble(input, passed_bytes)?,
                Phase::DelimiterLine => self.delimiter_line(input)?,
                Phase::Head(ends) => self.head(input, ends)?,
                Phase::Body => {
                    if let Some(taken) = self.body.take(input, &mut self.boundary)? {
                        self.pass_body(taken.mark);
                        return Ok(Some(self.body.lend(&taken)));
                    }
                }
                Phase::Behind => self.behind(input)?,
                Phase::Ended => *input = &[],
            }
            let is_empty_body = matches!(self.phase, Phase::Body) && self.body.is_empty();
            if input.is_empty() && !is_empty_body {
                return Ok(None);
            }
        }
    }

    fn finish(&mut self, _end: EndOfInput) -> Result<Option<Record<'_>>, DecodeError> {
        self.body.release();
        let is_between = match self.phase {
            Phase::Preamble { passed_bytes } => passed_bytes == 0 && self.carry.is_empty(),
            Phase::DelimiterLine => true,
            Phase::Head(_) => self.carry.is_empty(),
            Phase::Body => false,
            Phase::Behind => self.boundary.is_at_start(),
            Phase::Ended => return Ok(None),
        };
        if self.is_endless && is_between {
            return Ok(None);
        }
        Err(DecodeError::Truncated {
            framing: FRAMING.name,
            carried_bytes: self.carried_bytes(),
        })
    }

    fn carried_bytes(&self) -> usize {
        self.carry.len() + self.body.carried_bytes()
    }

    fn has_ended(&self) -> bool {
        matches!(self.phase, Phase::Ended)
    }
}

fn bad(reason: &'static str) -> DecodeError {
    DecodeError::BadFraming {
        framing: FRAMING.name,
        reason,
    }
}

/// The longest head of a part, and the longest preamble.
const HEAD_BYTES_MAX: usize = 16 * 1024;
