//! How is an event written as an element of a JSON text sequence (RFC 7464)?

use super::{Encoder, Event, Format, Output, object};

/// A record separator, a JSON text, a line feed.
pub const OUTPUT: Output = Output {
    name: "json-seq",
    media_types: &["application/json-seq"],
    // Not every reader knows that more than one separator may stand before a text.
    has_heartbeats: false,
    format: Format::JsonSeq,
};

/// Writes a JSON text sequence. A heartbeat is a separator with nothing behind it, which is no element
/// (RFC 7464 §2.1).
#[derive(Debug, Clone, Copy, Default)]
pub struct JsonSeq;

impl Encoder for JsonSeq {
    fn event(&self, event: &Event<'_>, out: &mut Vec<u8>) -> bool {
        let before = out.len();
        out.push(SEPARATOR);
        if object::event(event, out) {
            out.push(b'\n');
        } else {
            out.truncate(before);
        }
        event.data.is_some()
    }

    fn data(&self, data: &[u8], out: &mut Vec<u8>) {
        out.push(SEPARATOR);
        object::data(data, out);
        out.push(b'\n');
    }

    fn heartbeat(&self, out: &mut Vec<u8>) {
        out.push(SEPARATOR);
    }

    fn error(&self, code: &str, message: &str, out: &mut Vec<u8>) {
        out.push(SEPARATOR);
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

/// RS.
const SEPARATOR: u8 = 0x1E;

#[cfg(test)]
mod tests {
    use super::{Encoder, Event, JsonSeq};

    #[test]
    fn everything_is_an_element_or_a_separator() {
        let mut out = Vec::new();
        JsonSeq.data(b"12", &mut out);
        assert!(!JsonSeq.event(&Event::default(), &mut out));
        JsonSeq.heartbeat(&mut out);
        JsonSeq.retry(1500, &mut out);
        JsonSeq.error("drained", "m", &mut out);
        let written = "\u{1E}12\n\u{1E}\u{1E}{\"retry\":1500}\n\
            \u{1E}{\"event\":\"stream-error\",\"data\":{\"code\":\"drained\",\"message\":\"m\"}}\n";
        assert_eq!(String::from_utf8(out).unwrap(), written);
    }
}
