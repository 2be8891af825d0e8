//! Which bytes are the elements of an array?

use super::super::{
    DecodeError, EndOfInput, check,
    values::samples::{array, number, string},
};
use super::FRAMING;

fn check_error(input: &[u8], end: EndOfInput, error: &DecodeError, count: usize) {
    let outcome = check::decode(&FRAMING, &[input], end, 1000);
    assert_eq!(
        outcome.error.as_ref(),
        Some(error),
        "{} {end:?}",
        input.escape_ascii()
    );
    assert_eq!(outcome.records.len(), count, "{}", input.escape_ascii());
    check::every_split(&FRAMING, input, end, 1000);
}

#[test]
fn elements_are_records() {
    for (input, records) in [
        (&b"[]"[..], &[][..]),
        (b" [ \r\n ] \n", &[]),
        (b"[{}]", &[&b"{}"[..]]),
        (
            b"[{},[],\"a\",1,true]",
            &[b"{}", b"[]", b"\"a\"", b"1", b"true"],
        ),
        (b"\n[\n1\n,\n2\n]\n", &[b"1", b"2"]),
        (
            b"[{ \"a\" : 1 },{\n\"b c\" : [\n1 ]}\n]",
            &[b"{ \"a\" : 1 }", b"{\"b c\":[1]}"],
        ),
        (b"[[[1,2],[3]],[\"],\"]]", &[b"[[1,2],[3]]", b"[\"],\"]"]),
        (b"\xEF\xBB\xBF[1]", &[b"1"]),
    ] {
        check::whole(&FRAMING, input, records);
    }
}

#[test]
fn an_element_is_lent_with_its_last_byte() {
    check::prompt(
        &FRAMING,
        &[
            (b"[", 0),
            (b"{\n}", 1),
            (b"\n,", 0),
            (b"\"x", 0),
            (b"\"", 1),
            (b",1", 0),
            (b"\n", 1),
            (b",2", 0),
            (b",", 1),
            (b"3]", 1),
        ],
    );
}

#[test]
fn separators_are_strict() {
    let value = "a JSON value was expected, and another character came";
    let separator = "an element stands before neither \",\" nor \"]\"";
    for (input, reason, count) in [
        (&b"{}"[..], "the stream does not begin with \"[\"", 0),
        (
            b"\xEF[]",
            "the stream begins with half a byte order mark",
            0,
        ),
        (b"[,1]", value, 0),
        (b"[1,,2]", value, 1),
        (b"[1,]", value, 1),
        (b"[1 2]", separator, 1),
        (b"[{}{}]", separator, 1),
        (b"[1:2]", separator, 1),
        (
            b"[nul]",
            "a JSON value is neither a number nor true, false or null",
            0,
        ),
        (b"[{]]", "a bracket closes one of another kind", 0),
        (b"[}", value, 0),
        (b"[1]]", "something stands behind the array's \"]\"", 1),
        (b"[][]", "something stands behind the array's \"]\"", 0),
    ] {
        for end in [EndOfInput::Verified, EndOfInput::Unverified] {
            let framing = "json-array";
            check_error(
                input,
                end,
                &DecodeError::BadFraming { framing, reason },
                count,
            );
        }
    }
}

#[test]
fn without_its_bracket_the_array_was_cut() {
    for (input, carried_bytes, count) in [
        (&b"["[..], 0, 0),
        (b"[{}", 0, 1),
        (b"[{}\n,", 0, 1),
        (b"[{},{\"a\"", 4, 1),
        (b"[12", 2, 0),
        (b"[true", 4, 0),
        (b"\xEF", 1, 0),
    ] {
        for end in [EndOfInput::Verified, EndOfInput::Unverified] {
            let framing = "json-array";
            check_error(
                input,
                end,
                &DecodeError::Truncated {
                    framing,
                    carried_bytes,
                },
                count,
            );
        }
    }
}

#[test]
fn a_blank_body_is_complete_if_its_end_is_sure() {
    for input in [&b""[..], b" \r\n", b"\xEF\xBB\xBF"] {
        let outcome = check::decode(&FRAMING, &[input], EndOfInput::Verified, 1000);
        assert_eq!(outcome, check::Outcome::default());
        let truncated = DecodeError::Truncated {
            framing: "json-array",
            carried_bytes: 0,
        };
        check_error(input, EndOfInput::Unverified, &truncated, 0);
    }
}

#[test]
fn the_end_is_known() {
    let mut decoder = check::open(&FRAMING, 1000);
    for (chunk, has_ended) in [
        (&b"[[]"[..], false),
        (b" ", false),
        (b",1]", true),
        (b"\n", true),
    ] {
        check::count(&mut *decoder, chunk);
        assert_eq!(decoder.has_ended(), has_ended);
    }
    assert!(decoder.finish(EndOfInput::Unverified).unwrap().is_none());
}

#[test]
fn the_limit_is_the_elements() {
    for before in ["[", "[1 , "] {
        check::limit_of(&FRAMING, before.as_bytes(), string, b"]");
        check::limit_of(&FRAMING, before.as_bytes(), array, b"\n]");
        check::limit_of(&FRAMING, before.as_bytes(), number, b"]");
    }
}

#[test]
fn nothing_is_held_between_records() {
    check::idle(&FRAMING, &[b"[", b"{", b"}"]);
    check::idle(&FRAMING, &[b"[{\n}", b",", b"[\n]\n  ", b",1", b" "]);
    check::idle(&FRAMING, &[b"[1", b"]"]);
}
