//! Are messages of an Amazon event stream cut and understood as Smithy says?

use super::super::{
    DecodeError, Decoder, EndOfInput,
    check::{self, Owned},
};
use super::{AwsEventstream, FRAMING, HEADERS_BYTES_MAX};

/// A string header.
fn text(name: &str, value: &str) -> Vec<u8> {
    let length = u16::try_from(value.len()).unwrap().to_be_bytes();
    header(name, 7, &[&length[..], value.as_bytes()].concat())
}

fn header(name: &str, kind: u8, value: &[u8]) -> Vec<u8> {
    let name_bytes = u8::try_from(name.len()).unwrap();
    [&[name_bytes], name.as_bytes(), &[kind], value].concat()
}

/// The lengths with their checksum.
fn prelude(total_bytes: usize, headers_bytes: usize) -> Vec<u8> {
    let bytes = |length| u32::try_from(length).unwrap().to_be_bytes();
    sealed([bytes(total_bytes), bytes(headers_bytes)].concat())
}

fn message(headers: &[Vec<u8>], payload: &[u8]) -> Vec<u8> {
    let headers = headers.concat();
    let prelude = prelude(16 + headers.len() + payload.len(), headers.len());
    sealed([&prelude, &headers, payload].concat())
}

fn sealed(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes.extend(crc32fast::hash(&bytes).to_be_bytes());
    bytes
}

fn event(name: &str, payload: &[u8]) -> Vec<u8> {
    let headers = [text(":message-type", "event"), text(":event-type", name)];
    message(&headers, payload)
}

fn record(name: Option<&str>, data: &[u8]) -> Owned {
    Owned {
        data: Some(data.to_vec()),
        name: name.map(|name| name.as_bytes().to_vec()),
        ..Owned::default()
    }
}

/// Decodes in every cut to these records and this report.
fn check_records(input: &[u8], records: &[Owned], report: Option<&str>) {
    for end in [EndOfInput::Verified, EndOfInput::Unverified] {
        let outcome = check::decode(&FRAMING, &[input], end, 1000);
        let error = report.map(|report| DecodeError::Reported {
            report: report.to_owned(),
        });
        assert_eq!(outcome.error, error);
        assert_eq!(outcome.records, records);
        check::every_split(&FRAMING, input, end, 1000);
    }
}

#[test]
fn an_event_is_its_payload_under_its_name() {
    let messages = [
        event("chunk", b"{\"a\":1}"),
        event("initial-response", b"{}"),
        event("End", b""),
        event("raw", b"\0\xFF\r\n"),
        // Without a name, a type, or a type that is known.
        message(&[text(":message-type", "event")], b"x"),
        message(&[text(":event-type", "y")], b"y"),
        message(
            &[text(":message-type", "later"), text(":event-type", "z")],
            b"z",
        ),
        message(&[], b""),
    ];
    check_records(
        &messages.concat(),
        &[
            record(Some("chunk"), b"{\"a\":1}"),
            record(Some("initial-response"), b"{}"),
            record(Some("End"), b""),
            record(Some("raw"), b"\0\xFF\r\n"),
            record(None, b"x"),
            record(Some("y"), b"y"),
            record(Some("z"), b"z"),
            record(None, b""),
        ],
        None,
    );
}

#[test]
fn values_of_every_type_are_skipped() {
    let long = [&2_u16.to_be_bytes()[..], b"\0\x07"].concat();
    let headers = [
        header("true", 0, b""),
        header("false", 1, b""),
        header("byte", 2, b"\x80"),
        header("short", 3, b"\x01\x02"),
        header("integer", 4, b"\x01\x02\x03\x04"),
        header("long", 5, b"\x01\x02\x03\x04\x05\x06\x07\x08"),
        header("bytes", 6, &long),
        header("string", 7, &long),
        header("timestamp", 8, b"\0\0\x01\x8c\0\0\0\0"),
        header("uuid", 9, b"0123456789abcdef"),
        text(":event-type", "n"),
        // The same name twice is theirs to make sense of.
        header("true", 0, b""),
    ];
    check_records(&message(&headers, b"x"), &[record(Some("n"), b"x")], None);
}

#[test]
fn an_exception_is_the_last_record() {
    let exception = |name: &[Vec<u8>], payload: &[u8]| {
        message(
            &[&[text(":message-type", "exception")], name].concat(),
            payload,
        )
    };
    let named = [text(":exception-type", "throttlingException")];
    let said = b"{\"message\":\"slow down\"}";
    let first = record(Some("chunk"), b"1");
    check_records(
        &[
            event("chunk", b"1"),
            exception(&named, said),
            event("chunk", b"2"),
        ]
        .concat(),
        &[first.clone(), record(Some("throttlingException"), said)],
        Some("throttlingException"),
    );
    check_records(
        &[event("chunk", b"1"), exception(&[], b"")].concat(),
        &[first, record(None, b"")],
        Some("an exception"),
    );
}

#[test]
fn an_error_is_reported_on_one_short_line() {
    let long = "ü\n".repeat(200);
    let short = "ü ".repeat(128);
    for (headers, report) in [
        (vec![], "an error"),
        (vec![text(":error-code", "InternalError")], "InternalError"),
        (
            vec![
                text(":error-message", "The server\r\nfailed\0\x1b."),
                text(":error-code", "500"),
            ],
            "500: The server  failed  .",
        ),
        (
            vec![
                text(":error-code", &"e".repeat(80)),
                text(":error-message", &long),
            ],
            &format!("{}: {short}", "e".repeat(64)),
        ),
        (vec![text(":error-message", "x")], "an error: x"),
    ] {
        let headers = [vec![text(":message-type", "error")], headers].concat();
        let input = [
            event("chunk", b"1"),
            message(&headers, b"secret"),
            event("chunk", b"2"),
        ];
        check_records(
            &input.concat(),
            &[record(Some("chunk"), b"1")],
            Some(report),
        );
    }
}

#[test]
fn a_wrong_checksum_ends_the_stream() {
    let (before, after) = (event("a", b"1"), event("b", b"2"));
    let broken = event("chunk", b"payload");
    for at in 0..broken.len() {
        for bit in [0x01, 0x80] {
            let mut broken = broken.clone();
            broken[at] ^= bit;
            let reason = if at < 12 {
                "the checksum of a message's lengths is wrong"
            } else {
                "the checksum of a message is wrong"
            };
            check::refused(&FRAMING, &[&before[..], &broken, &after].concat(), reason);
        }
    }
    // At the prelude's last byte already.
    let mut lengths = prelude(100, 0);
    lengths[11] ^= 1;
    check::refused(
        &FRAMING,
        &lengths,
        "the checksum of a message's lengths is wrong",
    );
}

#[test]
fn lengths_that_contradict_each_other_are_refused() {
    let reason = "a message's headers are longer than all of it";
    for (total_bytes, headers_bytes) in [(0, 0), (15, 0), (16, 1), (100, 85), (100, 0xFFFF_FFFF)] {
        check::refused(&FRAMING, &prelude(total_bytes, headers_bytes), reason);
    }
}

#[test]
fn headers_that_break_the_rules_are_refused() {
    let all = "a header is longer than all of them";
    let own_text = "a header of the stream's own is no string";
    for (headers, reason) in [
        (b"\0".to_vec(), "a header has no name"),
        (header("", 0, b""), "a header has no name"),
        (header("x", 10, b""), "a header's value is of no known type"),
        (
            header("x", 255, b"12345678"),
            "a header's value is of no known type",
        ),
        (b"\x02x".to_vec(), all),
        (b"\x01x".to_vec(), all),
        (header("x", 2, b""), all),
        (header("x", 5, b"1234567"), all),
        (header("x", 9, b"123456789012345"), all),
        (header("x", 7, b"\0"), all),
        (header("x", 7, b"\0\x02a"), all),
        (header("x", 6, b"\xFF\xFFa"), all),
        (header(":message-type", 0, b""), own_text),
        (header(":event-type", 6, b"\0\x01x"), own_text),
        (
            [text(":event-type", "a"), text(":event-type", "a")].concat(),
            "a header of the stream's own stands twice",
        ),
    ] {
        check::refused(&FRAMING, &message(&[headers], b"x"), reason);
    }
}

#[test]
fn the_limit_is_the_payloads() {
    for max in [0, 1, 64, 300] {
        let fits = event("chunk", &vec![b'x'; max]);
        let outcome = check::decode(&FRAMING, &[&fits], EndOfInput::Verified, max);
        assert_eq!((outcome.error, outcome.records.len()), (None, 1));
        check::every_split(&FRAMING, &fits, EndOfInput::Verified, max);
        // By its first twelve bytes.
        let long = &event("chunk", &vec![b'x'; max + 1])[..12];
        check::too_large(&FRAMING, long, max);
        check::too_large(&FRAMING, &[&fits, long].concat(), max);
    }
    check::too_large(&FRAMING, &prelude(0xFFFF_FFFF, 0), 1 << 24);
}

#[test]
fn headers_have_a_limit_of_their_own() {
    let value = "v".repeat(65_000);
    let mut headers = vec![text("a", &value), text("b", &value), Vec::new()];
    let missing = HEADERS_BYTES_MAX - headers.concat().len();
    headers[2] = text("c", &value[..missing - 5]);
    let outcome = check::decode(
        &FRAMING,
        &[&message(&headers, b"x")],
        EndOfInput::Verified,
        1,
    );
    assert_eq!(outcome.error, None);
    assert_eq!(outcome.datas(), [b"x"]);
    let prelude = prelude(HEADERS_BYTES_MAX + 18, HEADERS_BYTES_MAX + 1);
    check::refused(
        &FRAMING,
        &prelude,
        "a message's headers are longer than 128 KiB",
    );
}

#[test]
fn a_record_is_lent_at_its_last_byte() {
    let message = event("chunk", b"x");
    let (start, last) = message.split_at(message.len() - 1);
    check::prompt(&FRAMING, &[(start, 0), (last, 1), (&message, 1)]);
}

#[test]
fn a_message_that_is_cut_off_is_truncated() {
    let messages = [
        event("a", b"first"),
        message(&[], b""),
        message(&[], b"last"),
    ];
    check::cut_off(
        &FRAMING,
        &[
            (&messages[0], &[b"first"]),
            (&messages[1], &[b""]),
            (&messages[2], &[b"last"]),
        ],
    );
}

#[test]
fn nothing_is_held_between_records() {
    let message = event("chunk", b"x");
    check::idle(&FRAMING, &[&message[..5], &message[5..40], &message[40..]]);

    let mut decoder = AwsEventstream::new(1000);
    for chunk in [&message[..5], &message[5..40]] {
        assert_eq!(decoder.next(&mut &*chunk), Ok(None));
    }
    assert!(decoder.next(&mut &message[40..]).unwrap().is_some());
    assert_eq!(decoder.next(&mut &b""[..]), Ok(None));
    assert_eq!(decoder.exact.held_bytes(), 0);
}
