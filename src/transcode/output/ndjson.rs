//! How is an event written as newline-delimited JSON (NDJSON, JSON Lines)?

use super::{Encoder, Event, Format, Output, object};

/// One JSON text a line.
pub const OUTPUT: Output = Output {
    name: "ndjson",
    media_types: &[
        "application/x-ndjson",
        "application/ndjson",
        "application/jsonl",
        "application/x-jsonl",
        "application/jsonlines",
        "application/x-jsonlines",
        "application/json-lines",
        "application/stream+json",
    ],
    has_heartbeats: true,
    format: Format::Ndjson,
};

/// Writes NDJSON: each event is one line, each heartbeat an empty one, which readers skip.
#[derive(Debug, Clone, Copy, Default)]
pub struct Ndjson;

impl Encoder for Ndjson {
    fn event(&self, event: &Event<'_>, out: &mut Vec<u8>) -> bool {
        if object::event(event, out) {
            out.push(b'\n');
        }
        event.data.is_some()
    }

    fn data(&self, data: &[u8], out: &mut Vec<u8>) {
        object::data(data, out);
        out.push(b'\n');
    }

    fn heartbeat(&self, out: &mut Vec<u8>) {
        out.push(b'\n');
    }

    fn error(&self, code: &str, message: &str, out: &mut Vec<u8>) {
        object::stream_error(code, message, out);
        out.push(b'\n');
    }

    fn retry(&self, retry_ms: u64, out: &mut Vec<u8>) {
        self.event(
            &Event {
                retry_ms: Some(retry_ms),
                ..Event::default()
            },
            out,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::{Encoder, Event, Ndjson};

    #[test]
    fn everything_is_a_line() {
        let mut out = Vec::new();
        Ndjson.data(b"[1,\n2]", &mut out);
        assert!(!Ndjson.event(&Event::default(), &mut out));
        Ndjson.heartbeat(&mut out);
        Ndjson.retry(1500, &mut out);
        Ndjson.error("bad_framing", "a \"quote\"\n", &mut out);
        let written = "[1,2]\n\n{\"retry\":1500}\n\
            {\"event\":\"stream-error\",\"data\":{\"code\":\"bad_framing\",\"message\":\"a \\\"quote\\\"\\n\"}}\n";
        assert_eq!(String::from_utf8(out).unwrap(), written);
    }
}
