//! How is an event written as one JSON object?

use std::io::Write;

use super::Event;
use crate::transcode::json;

/// Appends `event` as one JSON text without line breaks. Returns whether there was anything to write.
///
/// Data that is JSON stands as the JSON that it is, and alone where nothing else is set; other data is
/// a string. What is not UTF-8 in it is U+FFFD.
pub(super) fn event(event: &Event<'_>, out: &mut Vec<u8>) -> bool {
    let Event {
        data,
        name,
        id,
        retry_ms,
    } = event;
    let name = name.as_ref().filter(|_| data.is_some());
    let has_fields = name.is_some() || id.is_some() || retry_ms.is_some();
    match data {
        Some(data) if !has_fields => self::data(data, out),
        None if !has_fields => return false,
        _ => {
            let mut open = b'{';
            let mut member = |key: &str, out: &mut Vec<u8>| {
                out.push(open);
                open = b',';
                write!(out, "\"{key}\":").expect("a Vec takes every byte");
            };
            if let Some(name) = name {
                member("event", out);
                string(name.as_str(), out);
            }
            if let Some(id) = id {
                member("id", out);
                string(id.as_str(), out);
            }
            if let Some(retry_ms) = retry_ms {
                member("retry", out);
                write!(out, "{retry_ms}").expect("a Vec takes every byte");
            }
            if let Some(data) = data {
                member("data", out);
                value(data, out);
            }
            out.push(b'}');
        }
    }
    true
}

/// Appends an event of data and nothing else: its JSON, or an object that holds it as a string.
pub(super) fn data(data: &[u8], out: &mut Vec<u8>) {
    if json::is_text(data) {
        raw(data, out);
        return;
    }
    out.extend_from_slice(b"{\"data\":");
    string(&String::from_utf8_lossy(data), out);
    out.push(b'}');
}

/// Appends what the client of a cut stream is told.
pub(super) fn error(code: &str, message: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"code\":");
    string(code, out);
    out.extend_from_slice(b",\"message\":");
    string(message, out);
    out.push(b'}');
}

/// Appends the event that tells why the stream ends here.
pub(super) fn stream_error(code: &str, message: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"event\":\"stream-error\",\"data\":");
    error(code, message, out);
    out.push(b'}');
}

/// Appends data as a member's value.
fn value(data: &[u8], out: &mut Vec<u8>) {
    if json::is_member(data) {
        raw(data, out);
    } else {
        string(&String::from_utf8_lossy(data), out);
    }
}

/// Appends a JSON text as one line.
fn raw(text: &[u8], out: &mut Vec<u8>) {
    let text = text.trim_ascii();
    if json::is_one_line(text) {
        out.extend_from_slice(text);
    } else {
        json::minify(text, out);
    }
}

fn string(text: &str, out: &mut Vec<u8>) {
    serde_json::to_writer(out, text).expect("a Vec takes every byte, and a str is always JSON");
}

#[cfg(test)]
mod tests {
    use super::{Event, event};
    use crate::transcode::output::FieldText;

    #[test]
    fn json_stands_as_it_is_and_text_as_a_string() {
        let text = |value: &'static str| FieldText::sanitize(value.as_bytes());
        for (data, name, id, retry_ms, written) in [
            (Some(&b"{\"a\": 1.0}"[..]), None, None, None, "{\"a\": 1.0}"),
            (Some(b" [1,\n 2] \n"), None, None, None, "[1,2]"),
            (Some(b"12"), None, None, None, "12"),
            (
                Some(b"12 eggs\n"),
                None,
                None,
                None,
                r#"{"data":"12 eggs\n"}"#,
            ),
            (Some(b""), None, None, None, r#"{"data":""}"#),
            (Some(b"a\xFF"), None, None, None, "{\"data\":\"a\u{FFFD}\"}"),
            (
                Some(b"{}"),
                text("tick"),
                None,
                None,
                r#"{"event":"tick","data":{}}"#,
            ),
            (
                Some(b"x"),
                text("a\"b"),
                text("7"),
                None,
                r#"{"event":"a\"b","id":"7","data":"x"}"#,
            ),
            (Some(b"x"), None, None, Some(9), r#"{"retry":9,"data":"x"}"#),
            (None, text("tick"), text("7"), None, r#"{"id":"7"}"#),
            (None, None, None, Some(9), r#"{"retry":9}"#),
            (None, text("tick"), None, None, ""),
        ] {
            let mut out = Vec::new();
            let it = Event {
                data,
                name,
                id,
                retry_ms,
            };
            assert_eq!(event(&it, &mut out), !written.is_empty());
            assert_eq!(String::from_utf8(out).unwrap(), written, "{it:?}");
        }
    }

    #[test]
    fn what_is_written_can_be_read_however_deep_the_data_is() {
        for depth in 120..135 {
            let data = [vec![b'['; depth], vec![b']'; depth]].concat();
            for name in [None, FieldText::sanitize(&b"tick"[..])] {
                let mut out = Vec::new();
                let it = Event {
                    data: Some(&data),
                    name,
                    ..Event::default()
                };
                assert!(event(&it, &mut out));
                let read = serde_json::from_slice::<serde_json::Value>(&out);
                assert!(read.is_ok(), "{depth} {it:?}: {read:?}");
            }
        }
    }
}
