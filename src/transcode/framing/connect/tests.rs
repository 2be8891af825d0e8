//! Does every message of a Connect stream come, and does its end say how it ended?

use super::super::{
    DecodeError, Decoder, EndOfInput, Opening,
    check::{self, Outcome, Owned},
};
use super::{Connect, FRAMING};

fn envelope(flags: u8, message: &[u8]) -> Vec<u8> {
    let length = u32::try_from(message.len()).unwrap().to_be_bytes();
    [&[flags], &length[..], message].concat()
}

fn stream(messages: &[(u8, &[u8])]) -> Vec<u8> {
    let envelopes = messages.iter();
    envelopes
        .flat_map(|(flags, message)| envelope(*flags, message))
        .collect()
}

#[test]
fn a_stream_is_its_messages_and_its_end() {
    check::whole(
        &FRAMING,
        b"\0\0\0\0\x11{\"greeting\":\"Hi\"}\x02\0\0\0\x02{}",
        &[b"{\"greeting\":\"Hi\"}"],
    );
    let long = vec![b'x'; 1000];
    check::whole(
        &FRAMING,
        &stream(&[
            (0, b"\x02\0\0\0\x02{}"),
            (0, b""),
            (0, &long),
            (2, b"{\"error\":null}"),
        ]),
        &[b"\x02\0\0\0\x02{}", &long],
    );
    check::prompt(
        &FRAMING,
        &[
            (b"\0\0\0\0\x02{", 0),
            (b"}\0", 1),
            (b"\0\0\0\x01", 0),
            (b"1", 1),
        ],
    );
}

#[test]
fn an_error_is_a_record_and_a_report() {
    let long = format!("{{\"code\":\"{0}\",\"message\":\"{0}\"}}", "x".repeat(400));
    let too_long = format!("{}: {}", "x".repeat(64), "x".repeat(256));
    for (error, report) in [
        (
            "{\"code\":\"not_found\",\"message\":\"no\\n such\"}",
            "not_found: no  such",
        ),
        ("{ \"code\" : \"canceled\" , \"details\":[{}] }", "canceled"),
        ("{\"message\":\"m\"}", "unknown: m"),
        ("{\"code\":5}", "unknown"),
        ("\"broken\"", "unknown"),
        (&long, &too_long),
    ] {
        let end = format!("{{\"metadata\":{{}}, \"error\": {error}\n}}");
        let input = stream(&[(0, b"{}"), (2, end.as_bytes())]);
        let outcome = Outcome {
            records: vec![
                Owned {
                    data: Some(b"{}".to_vec()),
                    ..Owned::default()
                },
                Owned {
                    data: Some(error.as_bytes().to_vec()),
                    name: Some(b"error".to_vec()),
                    ..Owned::default()
                },
            ],
            error: Some(DecodeError::Reported {
                report: report.to_owned(),
            }),
        };
        for input in [&input[..], &[&input[..], b"x"].concat()] {
            for end in [EndOfInput::Verified, EndOfInput::Unverified] {
                assert_eq!(
                    check::decode(&FRAMING, &[input], end, 1000),
                    outcome,
                    "{error}"
                );
            }
        }
        check::every_split(&FRAMING, &input, EndOfInput::Verified, 1000);
    }
}

#[test]
fn what_is_no_connect_stream_is_refused() {
    let compressed = "a message is compressed; have requests say connect-accept-encoding: identity";
    let flags = "a message has flags that mean nothing";
    let no_object = "the message that ends the stream is no JSON object";
    let behind = "something comes behind the message that ends the stream";
    for (input, reason) in [
        (stream(&[(0, b"{}"), (1, b"x")]), compressed),
        (stream(&[(3, b"x")]), compressed),
        (stream(&[(4, b"x")]), flags),
        (stream(&[(0x80, b"x")]), flags),
        (stream(&[(2, b"")]), no_object),
        (stream(&[(2, b"[]")]), no_object),
        (stream(&[(2, b"{}}")]), no_object),
        (stream(&[(2, b"{\"\xFF\":1}")]), no_object),
        (stream(&[(2, b"{}"), (2, b"{}")]), behind),
        (stream(&[(2, b"{}"), (0, b"{}")]), behind),
    ] {
        check::refused(&FRAMING, &input, reason);
    }
    check::refused(&FRAMING, b"\x01", compressed);
    check::refused(&FRAMING, b"{\"a\":1}", flags);
}

#[test]
fn a_length_is_refused_by_itself() {
    check::too_large(&FRAMING, b"\0\0\0\x03\xE9", 1000);
    check::too_large(&FRAMING, b"\0\xFF\xFF\xFF\xFF", 1000);
    // An end may be longer than a record.
    let end = [b"{}", &[b' '; 1000][..]].concat();
    let input = stream(&[(0, b"1"), (2, &end)]);
    let outcome = check::decode(&FRAMING, &[&input], EndOfInput::Unverified, 1);
    assert_eq!(
        (outcome.datas(), outcome.error.as_ref()),
        (vec![&b"1"[..]], None)
    );
    check::too_large(&FRAMING, b"\x02\0\0\x40\x01", 16 << 10);
}

#[test]
fn without_its_end_a_stream_was_cut() {
    let input = stream(&[(0, b"{}"), (0, b""), (2, b"{}")]);
    for length in 0..=input.len() {
        for end in [EndOfInput::Verified, EndOfInput::Unverified] {
            let outcome = check::decode(&FRAMING, &[&input[..length]], end, 1000);
            let is_truncated = matches!(outcome.error, Some(DecodeError::Truncated { .. }));
            assert_eq!(is_truncated, length < input.len());
            check::every_split(&FRAMING, &input[..length], end, 1000);
        }
    }
}

fn open() -> Connect {
    Connect::new(&Opening {
        record_bytes_max: 1000,
        content_type: "",
    })
}

#[test]
fn only_a_good_end_is_one() {
    for (last, has_ended) in [("{}", true), ("{\"error\":{}}", false)] {
        let mut decoder = open();
        let input = stream(&[(2, last.as_bytes())]);
        assert!(!decoder.has_ended());
        let record = decoder.next(&mut &input[..]).unwrap();
        assert_eq!(record.is_some(), !has_ended);
        assert_eq!(decoder.has_ended(), has_ended);
    }
}

#[test]
fn nothing_is_held_between_messages() {
    check::idle(&FRAMING, &[b"\0\0\0\0\x02{", b"}"]);
    for last in [&b"\0\0\0\0\x02{}"[..], b"\x02\0\0\0\x02{}"] {
        let mut decoder = open();
        for chunk in [&last[..6], &last[6..], b""] {
            let _ = decoder.next(&mut &*chunk).unwrap();
        }
        assert_eq!(decoder.envelopes.held_bytes(), 0);
    }
}
