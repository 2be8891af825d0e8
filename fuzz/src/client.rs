//! What does a client read of the output, and is it whole?

use serde::de::IgnoredAny;
use weir::transcode::output::Format;

use crate::sse_reader::{SseEvent, SseReader};

/// Reads an output as it comes.
#[derive(Debug)]
pub enum Client {
    /// Server-Sent Events.
    Sse(Reader),
    /// One JSON text a line.
    Ndjson,
    /// The same, behind a separator each.
    JsonSeq,
}

/// An event as a listener gets it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// `message` where the stream gives none.
    pub name: String,
    /// The data lines, joined by LF.
    pub data: String,
    /// The last event id when it was dispatched.
    pub last_event_id: String,
}

/// Reads Server-Sent Events.
#[derive(Debug, Default)]
pub struct Reader {
    sse: SseReader,
    heartbeats: u64,
}

impl Client {
    /// One that reads this format.
    #[must_use]
    pub fn of(format: Format) -> Self {
        match format {
            Format::Sse => Self::Sse(Reader::default()),
            Format::Ndjson => Self::Ndjson,
            Format::JsonSeq => Self::JsonSeq,
        }
    }

    /// Takes what was written of `counted` events, which must be whole blocks of the format.
    pub fn take(&mut self, out: &[u8], counted: u64) {
        match self {
            Self::Sse(reader) => {
                assert_eq!(reader.take(out).len() as u64, counted, "events");
                assert_eq!(reader.sse.comments(), reader.heartbeats, "comments");
            }
            Self::Ndjson | Self::JsonSeq => {
                let texts = self.texts(out).len() as u64;
                assert!(counted <= texts, "{counted} events, {texts} texts");
            }
        }
    }

    /// Takes whole blocks that nobody counted.
    pub fn take_uncounted(&mut self, out: &[u8]) {
        match self {
            Self::Sse(reader) => drop(reader.take(out)),
            Self::Ndjson | Self::JsonSeq => drop(self.texts(out)),
        }
    }

    /// Takes a heartbeat, which no listener may see.
    pub fn take_heartbeat(&mut self, out: &[u8]) {
        match self {
            Self::Sse(reader) => {
                assert_eq!(reader.take(out), [], "a heartbeat is no event");
                reader.heartbeats += 1;
                assert_eq!(reader.sse.comments(), reader.heartbeats);
            }
            Self::Ndjson => assert_eq!(out, b"\n"),
            Self::JsonSeq => assert_eq!(out, b"\x1E"),
        }
    }

    /// The data of the one event in `out`.
    pub fn take_one(&mut self, out: &[u8]) -> String {
        match self {
            Self::Sse(reader) => reader.take(out).remove(0).data,
            Self::Ndjson | Self::JsonSeq => self.texts(out).remove(0).to_owned(),
        }
    }

    /// The JSON texts in `out`, each of which must be one on a line of its own.
    #[must_use]
    pub fn texts<'a>(&self, out: &'a [u8]) -> Vec<&'a str> {
        let out = std::str::from_utf8(out).expect("the output is UTF-8");
        assert!(out.is_empty() || out.ends_with('\n'), "{out:?} is torn");
        assert!(!out.contains('\r'), "{out:?} has a CR");
        let text = |line: &'a str| {
            let text = match self {
                Self::JsonSeq => line.strip_prefix('\x1E').expect("a separator"),
                Self::Ndjson | Self::Sse(_) => line,
            };
            let is_json = serde_json::from_str::<IgnoredAny>(text).is_ok();
            assert!(is_json && !text.contains('\x1E'), "{text:?} is no JSON");
            text
        };
        out.split_terminator('\n').map(text).collect()
    }
}

impl Reader {
    /// Takes more of a stream, which must end between events.
    pub fn take(&mut self, out: &[u8]) -> Vec<Event> {
        let events = self.read(out);
        assert!(self.sse.is_between_events(), "{}", out.escape_ascii());
        events
    }

    /// Takes more of any stream.
    pub fn read(&mut self, stream: &[u8]) -> Vec<Event> {
        let own = |event: SseEvent| Event {
            name: event.name,
            data: event.data,
            last_event_id: event.last_event_id,
        };
        self.sse.push(stream).into_iter().map(own).collect()
    }

    /// The id that a client would reconnect with, and the reconnection time it was told.
    #[must_use]
    pub fn state(&self) -> (&str, Option<u64>) {
        (self.sse.last_event_id(), self.sse.retry_ms())
    }
}
