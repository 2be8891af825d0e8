//! What do the bytes of a response say? Events or lines, of which every byte is accounted for.

use crate::{
    record::{self, Record},
    tally::{Sequence, Tally},
};

/// How the records of a response are told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// A line each.
    Ndjson,
    /// Server-Sent Events.
    Sse,
}

impl Framing {
    /// The framing that a media type names, without regard to its parameters.
    #[must_use]
    pub fn of(content_type: &str) -> Option<Self> {
        match content_type.split(';').next().unwrap_or_default().trim() {
            "text/event-stream" => Some(Self::Sse),
            "application/x-ndjson" => Some(Self::Ndjson),
            _ => None,
        }
    }
}

/// Reads one stream.
#[derive(Debug)]
pub struct Reader {
    framing: Framing,
    size_bytes: usize,
    sequence: Sequence,
    /// How many records have come.
    events: u64,
    /// The start of a line whose end has not come. Invariant: holds no line feed.
    carry: Vec<u8>,
    event: Event,
}

/// What the lines so far say of the event that the next empty line ends.
#[derive(Debug, Default)]
struct Event {
    has_lines: bool,
    is_error: bool,
    data: Data,
}

#[derive(Debug, Default)]
enum Data {
    #[default]
    None,
    Record(Record),
    /// Not a record; kept for the words of the fault.
    Other(String),
}

impl Reader {
    /// A reader of records of exactly `size_bytes`, counted with the line feed that the backend gives them.
    #[must_use]
    pub fn new(framing: Framing, size_bytes: usize, sequence: Sequence) -> Self {
        Self {
            framing,
            size_bytes,
            sequence,
            events: 0,
            carry: Vec::new(),
            event: Event::default(),
        }
    }

    /// How many records have come.
    #[must_use]
    pub fn events(&self) -> u64 {
        self.events
    }

    /// Takes what came at `now_ns`, however it was cut.
    pub fn push(&mut self, mut bytes: &[u8], now_ns: u64, tally: &mut Tally) {
        while let Some(end) = memchr::memchr(b'\n', bytes) {
            let (line, rest) = (&bytes[..end], &bytes[end + 1..]);
            bytes = rest;
            if self.carry.is_empty() {
                self.line(line, now_ns, tally);
            } else {
                let mut whole = std::mem::take(&mut self.carry);
                whole.extend_from_slice(line);
                self.line(&whole, now_ns, tally);
            }
        }
        if self.carry.len() + bytes.len() > LINE_BYTES_MAX {
            tally.error(|| format!("a line is longer than {LINE_BYTES_MAX} bytes"));
            self.carry = Vec::new();
        } else {
            self.carry.extend_from_slice(bytes);
        }
    }

    /// Whether the bytes so far end where an event does: nothing is torn.
    #[must_use]
    pub fn is_between_events(&self) -> bool {
        self.carry.is_empty() && !self.event.has_lines
    }

    fn line(&mut self, line: &[u8], now_ns: u64, tally: &mut Tally) {
        match self.framing {
            Framing::Ndjson => {
                let data = self.data(line);
                self.dispatch(data, now_ns, tally);
            }
            Framing::Sse => self.sse_line(line, now_ns, tally),
        }
    }

    /// Takes one line of a stream of events (WHATWG HTML §9.2.6), stricter than a browser would: what it ignores is a fault.
    fn sse_line(&mut self, line: &[u8], now_ns: u64, tally: &mut Tally) {
        if line.is_empty() {
            let event = std::mem::take(&mut self.event);
            if event.is_error {
                tally.error(|| format!("the event stream-error: {}", event.data.words()));
            } else if event.has_lines {
                self.dispatch(event.data, now_ns, tally);
            }
            return;
        }
        if line[0] == b':' {
            tally.counts.heartbeats += 1;
            return;
        }
        self.event.has_lines = true;
        if let Some(data) = line.strip_prefix(b"data: ") {
            self.event.data = match std::mem::take(&mut self.event.data) {
                Data::None if !self.event.is_error => self.data(data),
                Data::None => Data::Other(words(data)),
                before @ (Data::Record(_) | Data::Other(_)) => {
                    Data::Other(format!("{} then {}", before.words(), words(data)))
                }
            };
        } else if let Some(name) = line.strip_prefix(b"event: ") {
            self.event.is_error = name == b"stream-error";
        } else if !(line.starts_with(b"id: ") || line.starts_with(b"retry: ")) {
            tally.error(|| format!("a line that is no field: {}", words(line)));
        }
    }

    fn data(&self, line: &[u8]) -> Data {
        record::parse(line, self.size_bytes).map_or_else(|| Data::Other(words(line)), Data::Record)
    }

    fn dispatch(&mut self, data: Data, now_ns: u64, tally: &mut Tally) {
        match data {
            Data::Record(record) => {
                self.events += 1;
                tally.record(&mut self.sequence, record, now_ns);
            }
            // `id` and `retry` alone are not dispatched to anyone.
            Data::None => {}
            Data::Other(words) => tally.error(|| format!("a bad record: {words}")),
        }
    }
}

impl Data {
    fn words(&self) -> String {
        match self {
            Self::None => "without data".into(),
            Self::Record(record) => format!("record {}", record.seq),
            Self::Other(words) => words.clone(),
        }
    }
}

/// The start of what came, fit for a terminal.
fn words(bytes: &[u8]) -> String {
    bytes[..bytes.len().min(WORDS_BYTES_MAX)]
        .escape_ascii()
        .to_string()
}

const LINE_BYTES_MAX: usize = 32 * 1024 * 1024;
const WORDS_BYTES_MAX: usize = 80;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tally::Counts;

    fn line(seq: u64) -> String {
        let mut out = Vec::new();
        record::write(Record { seq, at_ns: 5 }, 64, &mut out);
        String::from_utf8(out).unwrap()
    }

    /// What is counted, and whether the end is an event's end, cut in two at `at`.
    fn read(framing: Framing, text: &str, at: usize) -> (Counts, bool) {
        let mut reader = Reader::new(framing, 64, Sequence::from_start());
        let mut tally = Tally::new();
        for part in [&text.as_bytes()[..at], &text.as_bytes()[at..]] {
            reader.push(part, 9, &mut tally);
        }
        (tally.counts, reader.is_between_events())
    }

    fn check(framing: Framing, text: &str, expected: Counts, is_whole: bool) {
        for at in 0..=text.len() {
            assert_eq!(
                read(framing, text, at),
                (expected, is_whole),
                "cut at {at} of {text}"
            );
        }
    }

    #[test]
    fn events_comments_and_errors_are_counted_wherever_they_are_cut() {
        let (zero, one, two) = (line(0), line(1), line(2));
        let text = format!(
            ":\ndata: {zero}\n:\n: still here\nid: 7\nevent: message\ndata: {one}\nretry: 3000\n\ndata: {two}\n\
             event: stream-error\ndata: {{\"code\":\"drained\"}}\n\n"
        );
        let expected = Counts {
            events: 3,
            heartbeats: 3,
            errors: 1,
            ..Counts::default()
        };
        check(Framing::Sse, &text, expected, true);
    }

    #[test]
    fn what_is_no_record_is_an_error() {
        let zero = line(0);
        let expected = Counts {
            errors: 1,
            ..Counts::default()
        };
        check(
            Framing::Sse,
            &format!("data: {zero}data: {zero}\n"),
            expected,
            true,
        );
        check(Framing::Sse, "data: [DONE]\n\n", expected, true);
        check(Framing::Ndjson, "{\"seq\":0}\n", expected, true);
        let expected = Counts {
            events: 1,
            errors: 1,
            ..Counts::default()
        };
        check(
            Framing::Sse,
            &format!("dato: 1\ndata: {zero}\n"),
            expected,
            true,
        );
        check(Framing::Ndjson, &format!("{zero}\n"), expected, true);
    }

    #[test]
    fn a_torn_event_is_seen() {
        let zero = line(0);
        check(
            Framing::Sse,
            &format!("data: {zero}"),
            Counts::default(),
            false,
        );
        let expected = Counts {
            events: 1,
            ..Counts::default()
        };
        check(Framing::Ndjson, &format!("{zero}{{\"s"), expected, false);
        check(Framing::Sse, &format!("data: {zero}\n:"), expected, false);
    }
}
