//! Which bytes are the texts of a sequence?

use super::super::{
    DecodeError, EndOfInput, check,
    values::samples::{array, number, string},
};
use super::FRAMING;

#[test]
fn texts_begin_with_rs_and_end_with_lf() {
    for (input, records) in [
        (&b""[..], &[][..]),
        (b"\n", &[]),
        (b"\x1E{}\n", &[&b"{}"[..]]),
        (b"\x1E{}\n\x1E[1]\n\x1E\"a\"\n", &[b"{}", b"[1]", b"\"a\""]),
        (
            b"\x1E1\n\x1Etrue\r\n\x1Enull \x1E-2\t",
            &[b"1", b"true", b"null", b"-2"],
        ),
        (b"\x1E \n {} \n", &[b"{}"]),
        (b"\x1E{\n \"a b\": 1\n}\n", &[b"{\"a b\":1}"]),
        (b"\x1E\x1E\x1E{}\x1E[]", &[b"{}", b"[]"]),
        (b"\x1E\n\x1E\r\n\x1E{}\n\x1E\n", &[b"{}"]),
        (b"\xEF\xBB\xBF\x1E{}\n", &[b"{}"]),
        (b"\r\n\x1E{}\n", &[b"{}"]),
    ] {
        check::whole(&FRAMING, input, records);
    }
}

#[test]
fn a_malformed_text_is_passed_over() {
    for (input, records) in [
        (&b"\x1E{\"a\":\x1E{}\n"[..], &[&b"{}"[..]][..]),
        (b"\x1E{\"a\":\"b\x1E{}\n", &[b"{}"]),
        (b"\x1E{\"a\":\"\\\x1E{}\n", &[b"{}"]),
        (b"\x1E[}\n\x1E{}\n", &[b"{}"]),
        (b"\x1Ehello\n\x1E{}\n", &[b"{}"]),
        (b"\x1Etrux\n\x1E{}\n", &[b"{}"]),
        (b"\x1E12\x1E{}\n", &[b"{}"]),
        (b"\x1Etrue\x1E{}\n", &[b"{}"]),
        (b"\x1E12,\n\x1E{}\n", &[b"{}"]),
        (b"\x1E{} {} x\n\x1E[]\n", &[b"{}", b"[]"]),
        (b"\x1E-{\n\x1E{}\n", &[b"{}"]),
    ] {
        check::whole(&FRAMING, input, records);
    }
}

#[test]
fn what_does_not_begin_with_rs_is_no_sequence() {
    for (input, reason) in [
        (
            &b"{}\n{}\n"[..],
            "the sequence does not begin with RS (0x1E)",
        ),
        (
            b"\xEF\xBB\x1E",
            "the stream begins with half a byte order mark",
        ),
    ] {
        let outcome = check::decode(&FRAMING, &[input], EndOfInput::Verified, 1000);
        let framing = "json-seq";
        assert_eq!(
            outcome.error,
            Some(DecodeError::BadFraming { framing, reason })
        );
        assert_eq!(outcome.records, []);
        check::every_split(&FRAMING, input, EndOfInput::Verified, 1000);
    }
}

#[test]
fn a_torn_last_text_is_not_lent() {
    for (input, carried_bytes) in [
        (&b"\x1E"[..], 0),
        (b"\x1E ", 0),
        (b"\x1E{}\n\x1E", 0),
        (b"\x1E{}\n\x1E{\"a\"", 4),
        (b"\x1E12", 2),
        (b"\x1Etrue", 4),
        (b"\x1E\"a", 2),
        (b"\xEF\xBB", 2),
    ] {
        for end in [EndOfInput::Verified, EndOfInput::Unverified] {
            let outcome = check::decode(&FRAMING, &[input], end, 1000);
            let framing = "json-seq";
            assert_eq!(
                outcome.error,
                Some(DecodeError::Truncated {
                    framing,
                    carried_bytes
                })
            );
            check::every_split(&FRAMING, input, end, 1000);
        }
    }
}

#[test]
fn a_text_is_lent_with_the_byte_that_proves_it() {
    check::prompt(
        &FRAMING,
        &[
            (b"\x1E{", 0),
            (b"}", 1),
            (b"\n", 0),
            (b"\x1E12", 0),
            (b"3", 0),
            (b"\n", 1),
            (b"\x1E[\n", 0),
            (b"]\n", 1),
        ],
    );
}

#[test]
fn the_limit_is_the_texts_value() {
    for before in ["\x1E", "\x1E{} \n\x1E\n "] {
        check::limit_of(&FRAMING, before.as_bytes(), string, b"\n");
        check::limit_of(&FRAMING, before.as_bytes(), array, b"");
        check::limit_of(&FRAMING, before.as_bytes(), number, b"\n");
    }
}

#[test]
fn nothing_is_held_between_records() {
    check::idle(&FRAMING, &[b"\x1E", b"{", b"}", b"\n"]);
    check::idle(&FRAMING, &[b"\x1E[\n", b"\n]\n\x1E"]);
    check::idle(&FRAMING, &[b"\x1E[\"", b"\x1E"]);
}
