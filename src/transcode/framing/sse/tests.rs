//! Are events cut and set right as WHATWG HTML §9.2.6 says?

use super::super::{
    DecodeError, EndOfInput,
    check::{self, Outcome, Owned},
};
use super::FRAMING;

fn record(data: Option<&str>, name: Option<&str>, id: Option<&str>, retry: Option<u64>) -> Owned {
    let own = |text: Option<&str>| text.map(|text| text.as_bytes().to_vec());
    Owned {
        data: own(data),
        name: own(name),
        id: own(id),
        retry_ms: retry,
    }
}

fn event(data: &str) -> Owned {
    record(Some(data), None, None, None)
}

fn check_records(input: &str, records: &[Owned]) {
    let outcome = check::decode(&FRAMING, &[input.as_bytes()], EndOfInput::Verified, 1000);
    let expected = Outcome {
        records: records.to_vec(),
        error: None,
    };
    assert_eq!(outcome, expected, "{input:?}");
    for end in [EndOfInput::Verified, EndOfInput::Unverified] {
        check::every_split(&FRAMING, input.as_bytes(), end, 1000);
        check::every_split(&FRAMING, input.as_bytes(), end, 3);
    }
}

fn is_truncated(error: &DecodeError) -> bool {
    matches!(error, DecodeError::Truncated { .. })
}

#[test]
fn the_examples_of_the_standard() {
    check_records(
        "data: YHOO\ndata: +2\ndata: 10\n\n",
        &[event("YHOO\n+2\n10")],
    );
    check_records(
        ": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third event\n",
        &[
            record(Some("first event"), None, Some("1"), None),
            record(Some("second event"), None, Some(""), None),
            // The standard drops it; here the input's end is verified.
            event(" third event"),
        ],
    );
    check_records(
        "data\n\ndata\ndata\n\ndata:\n",
        &[event(""), event("\n"), event("")],
    );
    check_records(
        "data:test\n\ndata: test\n\n",
        &[event("test"), event("test")],
    );
}

#[test]
fn every_line_end_ends_a_line() {
    for end in ["\n", "\r", "\r\n"] {
        let input =
            format!("id: 1{end}event: e{end}data: a{end}data: b{end}{end}data: c{end}{end}");
        let first = record(Some("a\nb"), Some("e"), Some("1"), None);
        check_records(&input, &[first, event("c")]);
    }
    check_records("data: a\r\n\rdata: b\n\r\n", &[event("a"), event("b")]);
    check_records("data: a\r\r\ndata: b\r\n\n", &[event("a"), event("b")]);
}

#[test]
fn an_event_is_lent_at_its_blank_line_whatever_ends_it() {
    check::prompt(&FRAMING, &[(b"data: a\n\n", 1)]);
    check::prompt(
        &FRAMING,
        &[(b"data: a\r\r", 1), (b"\n", 0), (b"data: b\r\n\r", 1)],
    );
    check::prompt(
        &FRAMING,
        &[(b"data: a\r", 0), (b"\n", 0), (b"\r", 1), (b"\n", 0)],
    );
}

#[test]
fn fields_follow_the_standard() {
    for (input, records) in [
        // Unknown fields, other cases, comments, a line without a colon.
        (
            "Data: x\ntype: y\n: c\ndatax: z\ndata: a\n\n",
            vec![event("a")],
        ),
        ("data : a\n\n", vec![]),
        (" data: a\n\n", vec![]),
        // One space goes, no more; a colon in the value stays.
        ("data:  a: b \n\n", vec![event(" a: b ")]),
        // An id with NUL is ignored, and leaves the one before.
        (
            "id: 1\nid: 2\0\ndata: a\n\n",
            vec![record(Some("a"), None, Some("1"), None)],
        ),
        ("id: 2\0\n\n", vec![]),
        // The last name wins; an empty one is `message`; none without data.
        (
            "event: a\nevent: b\ndata: x\n\n",
            vec![record(Some("x"), Some("b"), None, None)],
        ),
        ("event: a\nevent\ndata: x\n\n", vec![event("x")]),
        ("event: a\n\ndata: x\n\n", vec![event("x")]),
        (
            "event: a\nid: 1\n\n",
            vec![record(None, None, Some("1"), None)],
        ),
        // The reconnection time is digits only.
        ("retry: 10\n\n", vec![record(None, None, None, Some(10))]),
        (
            "retry: 10\nretry: -1\n\n",
            vec![record(None, None, None, Some(10))],
        ),
        (
            "retry: 1.5\nretry: +1\nretry:\nretry: 1 \nretry: 99999999999999999999\n\n",
            vec![],
        ),
        // The id stands only where its block has one.
        (
            "id: 1\ndata: a\n\ndata: b\n\n",
            vec![record(Some("a"), None, Some("1"), None), event("b")],
        ),
        (":\n\n\n:\r\n\r\n", vec![]),
    ] {
        check_records(input, &records);
    }
}

#[test]
fn a_mark_is_stripped_at_the_start_only() {
    check_records("\u{FEFF}data: a\n\n", &[event("a")]);
    check_records("\u{FEFF}\u{FEFF}data: a\n\n", &[]);
    check_records("data: a\n\n\u{FEFF}data: b\n\n", &[event("a")]);
}

#[test]
fn a_block_without_its_blank_line_counts_if_the_input_is_whole() {
    for (input, verified, is_cut) in [
        ("data: a", Some(event("a")), true),
        ("data: a\n", Some(event("a")), true),
        ("data\n", Some(event("")), true),
        ("data: a\r", Some(event("a")), true),
        ("id: 1", Some(record(None, None, Some("1"), None)), true),
        ("event: a\n", None, true),
        ("retry: 5", Some(record(None, None, None, Some(5))), true),
        ("data: a\n\n", Some(event("a")), false),
        ("data: a\r\r\n", Some(event("a")), false),
        (": hi", None, false),
        (": hi\n", None, false),
        ("", None, false),
    ] {
        check_records(input, &verified.into_iter().collect::<Vec<_>>());
        let outcome = check::decode(&FRAMING, &[input.as_bytes()], EndOfInput::Unverified, 1000);
        let is_truncated = outcome.error.as_ref().is_some_and(is_truncated);
        assert_eq!(is_truncated, is_cut, "{input:?}");
        assert!(!is_cut || outcome.records.is_empty());
    }
}

#[test]
fn the_limit_is_the_blocks() {
    check::limit(&FRAMING, b"data: ", b"\n\n");
    check::limit(&FRAMING, b"data:", b"\r\r");
    check::limit(&FRAMING, b"\xEF\xBB\xBFdata:", b"\r\n\r\n");
    check::limit(
        &FRAMING,
        b"data: a\n\n:a very long comment is dropped\ndata: ",
        b"\n\n",
    );
    let error = Some(DecodeError::RecordTooLarge {
        record_bytes_max: 4,
    });
    for (input, is_refused) in [
        ("data: ab\ndata: c\n\n", false),
        ("data: ab\ndata: cd\n\n", true),
        ("data: abc\ndata\n\n", false),
        ("data: abcd\ndata\n\n", true),
        ("id: a\nevent: b\ndata: cd\n\n", false),
        ("id: a\nevent: b\ndata: cde\n\n", true),
        ("data: abcd\n\ndata: abcd\n\n", false),
        ("data: abcd\n:0123456789\n\n", false),
        ("x: 01234567\n\n", true),
        // Known before the line ends.
        ("data: ab\ndata: c", false),
        ("data: ab\ndata: cd", true),
        ("id: abc\ndata: d", false),
        ("id: abc\ndata: de", true),
    ] {
        let input = input.as_bytes();
        let outcome = check::decode(&FRAMING, &[input], EndOfInput::Unverified, 4);
        let too_large = outcome.error.filter(|error| !is_truncated(error));
        assert_eq!(
            too_large,
            error.clone().filter(|_| is_refused),
            "{}",
            input.escape_ascii()
        );
        check::every_split(&FRAMING, input, EndOfInput::Verified, 4);
    }
}

#[test]
fn nothing_is_held_between_events() {
    check::idle(&FRAMING, &[b"data: a\nid: 1\n", b"event: b\n\n"]);
    check::idle(&FRAMING, &[b": a long comment", b" of an idle upstream"]);
    check::idle(&FRAMING, &[b"data: a", b"\r\r"]);
}
