//! How are the events of an event stream cut and set right (WHATWG HTML §9.2.5, §9.2.6)?

#[cfg(test)]
mod tests;

use memchr::{memchr, memchr2};

use super::{DecodeError, Decoder, EndOfInput, Framing, Record, bom::Bom};

/// Server-Sent Events in any dialect: CR, LF and CR LF, `data:` without a space, comments, a BOM,
/// unknown fields, a last event without its blank line.
pub const FRAMING: Framing = Framing {
    name: "sse",
    content_types: &["text/event-stream"],
    is_for_its_own_clients: false,
    is_text: true,
    decoder: |opening| Box::new(Sse::new(opening.record_bytes_max)),
    sample_content_type: "",
    sample: b"\xEF\xBB\xBF: hi\nid: 1\r\nevent: tick\r\ndata: a\r\ndata:b\r\n\r\ndata\rretry: 9\r\rid\n\n\
        : x\n\nid:2\ntype: y\ndata:  \xC3\xBC\n\ndata: [DONE]\n\n",
    sample_records: &[b"a\nb", b"", b" \xC3\xBC", b"[DONE]"],
};

/// Cuts at blank lines, and undoes the lines in between.
#[derive(Debug)]
struct Sse {
    bom: Bom,
    /// Whether the last byte was a CR, which ended its line at once: an LF after it belongs to it.
    is_after_cr: bool,
    /// Whether the line that has no end yet is a comment, of which nothing is kept.
    is_in_comment: bool,
    /// The start of a line that has no end yet. Invariant: holds no CR and no LF.
    line: Vec<u8>,
    /// The fields of the block that has no end yet, as far as they came in earlier chunks.
    kept: Kept,
    /// Whether `kept` belongs to the record that is lent, and must be gone before the next.
    is_lent: bool,
    /// The most that `kept`, what was seen since and the value of the incomplete line hold together.
    record_bytes_max: usize,
}

/// Fields that lie in the decoder.
#[derive(Debug, Default)]
struct Kept {
    data: Option<Vec<u8>>,
    name: Option<Vec<u8>>,
    id: Option<Vec<u8>>,
    retry_ms: Option<u64>,
}

/// Fields that lie in the chunk. They stand before those that are kept, and never are data of both.
#[derive(Debug, Default, Clone, Copy)]
struct Seen<'i> {
    data: Option<&'i [u8]>,
    name: Option<&'i [u8]>,
    id: Option<&'i [u8]>,
}

impl Sse {
    fn new(record_bytes_max: usize) -> Self {
        Self {
            bom: Bom::default(),
            is_after_cr: false,
            is_in_comment: false,
            line: Vec::new(),
            kept: Kept::default(),
            is_lent: false,
            record_bytes_max,
        }
    }

    fn begin(&mut self) {
        if self.is_lent {
            self.is_lent = false;
            self.kept = Kept::default();
        }
    }

    /// Takes the rest of a line and its end off `input`; `None` where there is no end.
    #[inline]
    fn cut<'i>(&mut self, input: &mut &'i [u8]) -> Option<&'i [u8]> {
        if self.is_after_cr && !input.is_empty() {
            self.is_after_cr = false;
            *input = input.strip_prefix(b"\n").unwrap_or(input);
        }
        let end = memchr2(b'\n', b'\r', input)?;
        self.is_after_cr = input[end] == b'\r';
        let (head, tail) = input.split_at(end);
        *input = &tail[1..];
        Some(head)
    }

    /// Takes in a line, of which `head` is what lies in the chunk.
    fn end_line<'i>(&mut self, head: &'i [u8], seen: &mut Seen<'i>) -> Result<(), DecodeError> {
        if std::mem::take(&mut self.is_in_comment) {
            return Ok(());
        }
        if self.line.is_empty() {
            if head.starts_with(b":") {
                return Ok(());
            }
            self.check_line(head, seen)?;
            self.kept.field(head, seen);
        } else {
            let mut line = std::mem::take(&mut self.line);
            line.extend_from_slice(head);
            self.check_line(&line, seen)?;
            let mut in_line = Seen::default();
            self.kept.field(&line, &mut in_line);
            self.kept.keep(in_line);
        }
        self.check(self.kept.bytes(seen))
    }

    /// Keeps what has no end yet: a line's start, and the fields of the block.
    fn keep<'i>(&mut self, rest: &'i [u8], seen: Seen<'i>) -> Result<(), DecodeError> {
        if self.line.is_empty() && rest.starts_with(b":") {
            self.is_in_comment = true;
        }
        if !self.is_in_comment {
            self.line.extend_from_slice(rest);
            self.check_line(&self.line, &seen)?;
        }
        self.kept.keep(seen);
        Ok(())
    }

    /// Whether a line that is or begins with `line` may follow.
    ///
    /// What it costs never falls as the line grows, so that the verdict is the same for every cut.
    fn check_line(&self, line: &[u8], seen: &Seen<'_>) -> Result<(), DecodeError> {
        let is_joined = self.kept.has_data(seen);
        let bytes = if let Some(value) = line.strip_prefix(b"data:") {
            without_space(value).len() + usize::from(is_joined)
        } else if let Some(value) = line.strip_prefix(b"event:").or(line.strip_prefix(b"id:")) {
            without_space(value).len()
        } else {
            line.len().saturating_sub(FIELD_NAME_BYTES_MAX)
        };
        self.check(self.kept.bytes(seen) + bytes)
    }

    #[inline]
    fn check(&self, bytes: usize) -> Result<(), DecodeError> {
        if bytes > self.record_bytes_max {
            return Err(DecodeError::RecordTooLarge {
                record_bytes_max: self.record_bytes_max,
            });
        }
        Ok(())
    }

    /// Lends the block that a blank line has ended.
    fn lend<'a>(&'a mut self, seen: Seen<'a>) -> Record<'a> {
        self.is_lent = true;
        let data = seen.data.or(self.kept.data.as_deref());
        let name = seen.name.or(self.kept.name.as_deref());
        Record {
            data,
            name: name.filter(|name| data.is_some() && !name.is_empty()),
            id: seen.id.or(self.kept.id.as_deref()),
            retry_ms: self.kept.retry_ms,
        }
    }
}

impl Decoder for Sse {
    fn next<'a>(&'a mut self, input: &mut &'a [u8]) -> Result<Option<Record<'a>>, DecodeError> {
        self.begin();
        if !self.bom.is_past() {
            self.line.extend_from_slice(self.bom.strip(input));
        }
        let mut seen = Seen::default();
        while let Some(head) = self.cut(input) {
            if !head.is_empty() || !self.line.is_empty() || self.is_in_comment {
                self.end_line(head, &mut seen)?;
            } else if self.kept.is_record(&seen) {
                return Ok(Some(self.lend(seen)));
            } else {
                self.kept = Kept::default();
                seen = Seen::default();
            }
        }
        self.keep(std::mem::take(input), seen)?;
        Ok(None)
    }

    /// A block without its blank line is complete if the input is.
    fn finish(&mut self, end: EndOfInput) -> Result<Option<Record<'_>>, DecodeError> {
        self.begin();
        if !self.bom.is_past() {
            self.line.extend_from_slice(self.bom.unmatched());
        }
        if end == EndOfInput::Unverified && !(self.line.is_empty() && self.kept.is_empty()) {
            return Err(DecodeError::Truncated {
                framing: FRAMING.name,
                carried_bytes: self.carried_bytes(),
            });
        }
        if !self.line.is_empty() {
            self.end_line(b"", &mut Seen::default())?;
        }
        let seen = Seen::default();
        Ok(self.kept.is_record(&seen).then(|| self.lend(seen)))
    }

    fn carried_bytes(&self) -> usize {
        let kept_bytes = if self.is_lent {
            0
        } else {
            self.kept.bytes(&Seen::default())
        };
        self.bom.held_bytes() + self.line.len() + kept_bytes
    }
}

impl Kept {
    /// Takes in one whole line that is no comment (§9.2.6, "process the field").
    fn field<'i>(&mut self, line: &'i [u8], seen: &mut Seen<'i>) {
        let (name, value) = match memchr(b':', line) {
            Some(colon) => (&line[..colon], without_space(&line[colon + 1..])),
            None => (line, &b""[..]),
        };
        match name {
            b"data" if self.has_data(seen) => {
                let data = self.data.get_or_insert_default();
                data.extend_from_slice(seen.data.take().unwrap_or_default());
                data.push(b'\n');
                data.extend_from_slice(value);
            }
            b"data" => seen.data = Some(value),
            b"event" => seen.name = Some(value),
            b"id" if memchr(0, value).is_none() => seen.id = Some(value),
            b"retry" => self.retry_ms = retry_ms(value).or(self.retry_ms),
            _ => {}
        }
    }

    /// Takes over what was seen, because the chunk ends.
    fn keep(&mut self, seen: Seen<'_>) {
        let replace = |kept: &mut Option<Vec<u8>>, seen: Option<&[u8]>| {
            if let Some(seen) = seen {
                *kept = Some(seen.to_vec());
            }
        };
        replace(&mut self.data, seen.data);
        replace(&mut self.name, seen.name);
        replace(&mut self.id, seen.id);
    }

    fn has_data(&self, seen: &Seen<'_>) -> bool {
        seen.data.is_some() || self.data.is_some()
    }

    /// Whether the block says anything to a client: an event, or a new id or reconnection time.
    fn is_record(&self, seen: &Seen<'_>) -> bool {
        let has_id = seen.id.is_some() || self.id.is_some();
        self.has_data(seen) || has_id || self.retry_ms.is_some()
    }

    fn is_empty(&self) -> bool {
        self.name.is_none() && !self.is_record(&Seen::default())
    }

    /// How much the fields hold that are the block's, wherever they lie.
    fn bytes(&self, seen: &Seen<'_>) -> usize {
        let length = |seen: Option<&[u8]>, kept: &Option<Vec<u8>>| {
            seen.or(kept.as_deref()).map_or(0, <[u8]>::len)
        };
        length(seen.data, &self.data) + length(seen.name, &self.name) + length(seen.id, &self.id)
    }
}

/// One space after the colon is not part of the value.
#[inline]
fn without_space(value: &[u8]) -> &[u8] {
    value.strip_prefix(b" ").unwrap_or(value)
}

/// The reconnection time, if the value is ASCII digits only and not beyond all measure.
fn retry_ms(value: &[u8]) -> Option<u64> {
    let is_number = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
    let digits = std::str::from_utf8(value).ok().filter(|_| is_number)?;
    digits.parse().ok()
}

/// The longest name of a field that is kept, with its colon: what a line may hold beyond its value.
const FIELD_NAME_BYTES_MAX: usize = b"event:".len();
