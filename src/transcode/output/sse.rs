//! How is an event written as Server-Sent Events (WHATWG HTML §9.2)?

use std::io::Write;

use memchr::memchr2;

use super::{Encoder, Event, Format, Output, object};

/// Server-Sent Events.
pub const OUTPUT: Output = Output {
    name: "sse",
    media_types: &["text/event-stream"],
    has_heartbeats: true,
    format: Format::Sse,
};

/// Writes `text/event-stream`: LF only, one space after each colon, never a BOM.
#[derive(Debug, Clone, Copy, Default)]
pub struct Sse;

impl Encoder for Sse {
    fn event(&self, event: &Event<'_>, out: &mut Vec<u8>) -> bool {
        let before = out.len();
        if let Some(id) = &event.id {
            field(b"id: ", id.as_str().as_bytes(), out);
        }
        if let Some(name) = &event.name
            && event.data.is_some()
        {
            field(b"event: ", name.as_str().as_bytes(), out);
        }
        if let Some(retry_ms) = event.retry_ms {
            write_retry(retry_ms, out);
        }
        if let Some(data) = event.data {
            self.data(data, out);
            return true;
        }
        if out.len() > before {
            out.push(b'\n');
        }
        false
    }

    /// One `data` line for each line of it: a bare CR also ends one for the client (§9.2.5). Invalid
    /// UTF-8 is replaced as the client's decoder would, so that no raw byte of it is forwarded.
    #[inline]
    fn data(&self, data: &[u8], out: &mut Vec<u8>) {
        if is_plain(data) {
            out.reserve(DATA.len() + data.len() + END.len());
            out.extend_from_slice(DATA);
            out.extend_from_slice(data);
            out.extend_from_slice(END);
        } else {
            data_lines(data, out);
        }
    }

    /// A comment line alone: after a blank line too, some clients dispatch an empty event.
    fn heartbeat(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b":\n");
    }

    fn error(&self, code: &str, message: &str, out: &mut Vec<u8>) {
        out.extend_from_slice(b"event: stream-error\ndata: ");
        object::error(code, message, out);
        out.extend_from_slice(END);
    }

    /// The blank line makes the field count before the stream's end; without data it dispatches nothing.
    fn retry(&self, retry_ms: u64, out: &mut Vec<u8>) {
        write_retry(retry_ms, out);
        out.push(b'\n');
    }
}

/// Whether `bytes` hold only ASCII without CR and LF, and so can be one line as they are.
///
/// Long ones go by blocks without branches, which the compiler turns into vector instructions;
/// short ones by words, where setting vectors up would cost more than it saves.
#[inline]
fn is_plain(bytes: &[u8]) -> bool {
    if let Some(tail) = bytes.last_chunk() {
        // The last block may overlap the one before.
        return bytes.as_chunks().0.iter().all(is_plain_block) && is_plain_block(tail);
    }
    if let Some(tail) = bytes.last_chunk() {
        let mut words = bytes.as_chunks().0.iter();
        return words.all(|word| is_plain_word(*word)) && is_plain_word(*tail);
    }
    bytes.iter().all(|byte| special_bits(*byte) == 0)
}

#[inline]
fn is_plain_block(block: &[u8; 64]) -> bool {
    block
        .iter()
        .fold(0, |found, byte| found | special_bits(*byte))
        == 0
}

/// Not 0 for CR, LF and whatever is not ASCII; no branches.
#[inline]
fn special_bits(byte: u8) -> u8 {
    u8::from(byte == b'\n') | u8::from(byte == b'\r') | (byte & 0x80)
}

#[inline]
fn is_plain_word(word: [u8; 8]) -> bool {
    let word = u64::from_ne_bytes(word);
    let is_lf = zeros(word ^ (ONES * u64::from(b'\n')));
    let is_cr = zeros(word ^ (ONES * u64::from(b'\r')));
    (word | is_lf | is_cr) & HIGHS == 0
}

/// Sets the high bit of the lowest zero byte, if there is one; bits above it may be wrong.
#[inline]
fn zeros(word: u64) -> u64 {
    word.wrapping_sub(ONES) & !word
}

#[cold]
fn data_lines(bytes: &[u8], out: &mut Vec<u8>) {
    out.reserve(bytes.len() + 2 * DATA.len());
    let mut rest = bytes;
    loop {
        out.extend_from_slice(DATA);
        let Some(end) = memchr2(b'\r', b'\n', rest) else {
            text(rest, out);
            break;
        };
        text(&rest[..end], out);
        out.push(b'\n');
        let is_crlf = rest[end..].starts_with(b"\r\n");
        rest = &rest[end + 1 + usize::from(is_crlf)..];
    }
    out.extend_from_slice(END);
}

/// Appends one line, with U+FFFD for what is not UTF-8.
fn text(line: &[u8], out: &mut Vec<u8>) {
    if std::str::from_utf8(line).is_ok() {
        out.extend_from_slice(line);
        return;
    }
    for piece in line.utf8_chunks() {
        out.extend_from_slice(piece.valid().as_bytes());
        if !piece.invalid().is_empty() {
            out.extend_from_slice("\u{FFFD}".as_bytes());
        }
    }
}

fn field(name: &[u8], value: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(name);
    out.extend_from_slice(value);
    out.push(b'\n');
}

fn write_retry(retry_ms: u64, out: &mut Vec<u8>) {
    writeln!(out, "retry: {retry_ms}").expect("a Vec takes every byte");
}

const DATA: &[u8] = b"data: ";

/// Ends the last line, and the event.
const END: &[u8] = b"\n\n";

/// A one, and a high bit, in each byte of a word.
const ONES: u64 = u64::MAX / 0xFF;
const HIGHS: u64 = ONES << 7;

#[cfg(test)]
mod tests {
    use super::super::{Encoder, Event, FieldText};
    use super::{Sse, is_plain};

    fn check(event: &Event<'_>, written: &str) {
        let mut out = b"before\n\n".to_vec();
        let is_seen = Sse.event(event, &mut out);
        assert_eq!(
            String::from_utf8(out).unwrap(),
            format!("before\n\n{written}"),
            "{event:?}"
        );
        assert_eq!(is_seen, event.data.is_some());
    }

    fn text(value: &'static str) -> Option<FieldText<'static>> {
        FieldText::sanitize(value.as_bytes())
    }

    #[test]
    fn fields_stand_in_order() {
        let full = Event {
            data: Some(b"x"),
            name: text("tick"),
            id: text("7"),
            retry_ms: Some(1500),
        };
        check(&full, "id: 7\nevent: tick\nretry: 1500\ndata: x\n\n");
        let id_only = Event {
            data: None,
            ..full.clone()
        };
        check(&id_only, "id: 7\nretry: 1500\n\n");
        let name_only = Event {
            name: text("tick"),
            ..Event::default()
        };
        check(&name_only, "");
        let id_reset = Event {
            id: text(""),
            ..Event::default()
        };
        check(&id_reset, "id: \n\n");
    }

    #[test]
    fn data_is_split_at_every_line_end() {
        for (data, written) in [
            (&b""[..], "data: \n\n"),
            (b" x", "data:  x\n\n"),
            (b"a\nb", "data: a\ndata: b\n\n"),
            (b"a\rb", "data: a\ndata: b\n\n"),
            (b"a\r\nb", "data: a\ndata: b\n\n"),
            (b"a\n\rb", "data: a\ndata: \ndata: b\n\n"),
            (b"\n", "data: \ndata: \n\n"),
            (b"\r\n\r\n", "data: \ndata: \ndata: \n\n"),
            (b"a\0b", "data: a\0b\n\n"),
            (
                b"data: x\n\nid: 1",
                "data: data: x\ndata: \ndata: id: 1\n\n",
            ),
            ("ü\n☃".as_bytes(), "data: ü\ndata: ☃\n\n"),
            (
                b"a\xFFb\xE2\x98\n\xF0\x9F",
                "data: a\u{FFFD}b\u{FFFD}\ndata: \u{FFFD}\n\n",
            ),
            (b"\xEF\xBB\xBFx", "data: \u{FEFF}x\n\n"),
        ] {
            let event = Event {
                data: Some(data),
                ..Event::default()
            };
            check(&event, written);
        }
    }

    #[test]
    fn a_special_byte_is_seen_at_every_place() {
        for length in 0..200 {
            let mut bytes = vec![b'x'; length];
            assert!(is_plain(&bytes));
            for at in 0..length {
                for special in [b'\r', b'\n', 0x80, 0xFF] {
                    bytes[at] = special;
                    assert!(!is_plain(&bytes), "{special} at {at} of {length}");
                }
                bytes[at] = 0x7F;
            }
        }
    }

    #[test]
    fn errors_are_one_line_whatever_they_say() {
        let mut out = Vec::new();
        Sse.error("bad_framing", "a \"quote\"\nand \u{1}", &mut out);
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "event: stream-error\ndata: {\"code\":\"bad_framing\",\"message\":\"a \\\"quote\\\"\\nand \\u0001\"}\n\n"
        );
    }

    #[test]
    fn heartbeat_and_retry() {
        let mut out = Vec::new();
        Sse.heartbeat(&mut out);
        Sse.retry(2500, &mut out);
        assert_eq!(out, b":\nretry: 2500\n\n");
    }
}
