//! What does a client see of an event stream (WHATWG HTML §9.2.5, §9.2.6)?
//!
//! Written from the standard and byte by byte, so that it shares no thought with what it checks.

/// An event as a listener gets it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SseEvent {
    /// `message` where the stream gives none.
    pub(crate) name: String,
    /// The data lines, joined by LF.
    pub(crate) data: String,
    /// The last event id when it was dispatched.
    pub(crate) last_event_id: String,
}

/// Reads an event stream as it comes.
#[derive(Debug, Default)]
pub(crate) struct SseReader {
    /// The bytes of the line that has not ended.
    line: Vec<u8>,
    is_after_cr: bool,
    is_past_start: bool,
    data: String,
    name: String,
    /// The standard's last event ID *buffer*, which becomes the last event id at a blank line.
    id: String,
    last_event_id: String,
    retry_ms: Option<u64>,
    comments: u64,
}

impl SseReader {
    /// Takes more of the stream in and returns the events that it completes.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> Vec<SseEvent> {
        let mut events = Vec::new();
        for byte in bytes {
            let is_second_of_crlf = self.is_after_cr && *byte == b'\n';
            self.is_after_cr = *byte == b'\r';
            match byte {
                b'\n' if is_second_of_crlf => {}
                b'\n' | b'\r' => {
                    let line = std::mem::take(&mut self.line);
                    events.extend(self.line(&line));
                }
                _ => self.line.push(*byte),
            }
        }
        events
    }

    /// The id that a client would reconnect with.
    pub(crate) fn last_event_id(&self) -> &str {
        &self.last_event_id
    }

    /// The reconnection time, if the stream has set one.
    pub(crate) fn retry_ms(&self) -> Option<u64> {
        self.retry_ms
    }

    /// How many comment lines have come.
    pub(crate) fn comments(&self) -> u64 {
        self.comments
    }

    /// Whether nothing is begun: what would be lost if the stream ended here.
    pub(crate) fn is_between_events(&self) -> bool {
        self.line.is_empty()
            && self.data.is_empty()
            && self.name.is_empty()
            && self.id == self.last_event_id
    }

    fn line(&mut self, bytes: &[u8]) -> Option<SseEvent> {
        let text = String::from_utf8_lossy(bytes);
        let mut line = &text[..];
        if !self.is_past_start {
            self.is_past_start = true;
            line = line.strip_prefix('\u{FEFF}').unwrap_or(line);
        }
        if line.is_empty() {
            return self.dispatch();
        }
        match line.split_once(':') {
            Some(("", _)) => self.comments += 1,
            Some((field, value)) => self.field(field, value.strip_prefix(' ').unwrap_or(value)),
            None => self.field(line, ""),
        }
        None
    }

    fn field(&mut self, field: &str, value: &str) {
        match field {
            "event" => value.clone_into(&mut self.name),
            "data" => {
                self.data.push_str(value);
                self.data.push('\n');
            }
            "id" if !value.contains('\0') => value.clone_into(&mut self.id),
            "retry" if value.chars().all(|c| c.is_ascii_digit()) => {
                self.retry_ms = value.parse().ok().or(self.retry_ms);
            }
            _ => {}
        }
    }

    fn dispatch(&mut self) -> Option<SseEvent> {
        self.last_event_id.clone_from(&self.id);
        let name = std::mem::take(&mut self.name);
        let mut data = std::mem::take(&mut self.data);
        data.pop()?;
        Some(SseEvent {
            name: if name.is_empty() {
                "message".to_owned()
            } else {
                name
            },
            data,
            last_event_id: self.last_event_id.clone(),
        })
    }
}

/// The events of a stream that is there as a whole; what has no blank line is not among them.
pub(crate) fn read(stream: &[u8]) -> Vec<SseEvent> {
    SseReader::default().push(stream)
}

#[test]
fn the_reader_reads_the_examples_of_the_standard() {
    let data = |stream: &str| {
        let events = read(stream.as_bytes());
        events
            .into_iter()
            .map(|event| event.data)
            .collect::<Vec<_>>()
    };
    assert_eq!(
        data("data: YHOO\ndata: +2\r\ndata: 10\r\r"),
        ["YHOO\n+2\n10"]
    );
    assert_eq!(data("data\n\ndata\ndata\n\ndata:"), ["", "\n"]);
    assert_eq!(data("data:test\n\ndata: test\n\n"), ["test", "test"]);

    let mut reader = SseReader::default();
    let stream = "\u{FEFF}: test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third event\n";
    let events = reader.push(stream.as_bytes());
    let ids = events.iter().map(|event| event.last_event_id.as_str());
    assert_eq!(ids.collect::<Vec<_>>(), ["1", ""]);
    assert_eq!(reader.comments(), 1);
    assert!(!reader.is_between_events());
    assert_eq!(reader.push(b"retry: 5\nevent: x\n\n")[0].name, "x");
    assert!(reader.is_between_events());
    assert_eq!((reader.last_event_id(), reader.retry_ms()), ("", Some(5)));
}
