//! Which bytes are values that stand back to back?

use super::super::{
    DecodeError, EndOfInput, check,
    values::samples::{array, number, string},
};
use super::FRAMING;

fn check_error(input: &[u8], end: EndOfInput, error: Option<&DecodeError>, count: usize) {
    let outcome = check::decode(&FRAMING, &[input], end, 10_000);
    assert_eq!(
        outcome.error.as_ref(),
        error,
        "{} {end:?}",
        input.escape_ascii()
    );
    assert_eq!(outcome.records.len(), count, "{}", input.escape_ascii());
    if input.len() < 100 {
        check::every_split(&FRAMING, input, end, 10_000);
    }
}

#[test]
fn values_stand_back_to_back() {
    for (input, records) in [
        (&b""[..], &[][..]),
        (b" \n\t\r\n ", &[]),
        (b"{}", &[&b"{}"[..]]),
        (
            b"{}{}[]\"a\"\"b\"",
            &[b"{}", b"{}", b"[]", b"\"a\"", b"\"b\""],
        ),
        (b"1 2\n3\r\n4\t", &[b"1", b"2", b"3", b"4"]),
        (
            b"1{}2[]3\"a\"null",
            &[b"1", b"{}", b"2", b"[]", b"3", b"\"a\"", b"null"],
        ),
        (
            b"{\"a\":\"}\"}{\"b\":\"\\\"}\"}",
            &[b"{\"a\":\"}\"}", b"{\"b\":\"\\\"}\"}"],
        ),
        (b"{ \"a\" : 1 }", &[b"{ \"a\" : 1 }"]),
        (b"{ \"a b\" :\n1.0e+0 }\n", &[b"{\"a b\":1.0e+0}"]),
        (b"[\r] \"a\nb\"", &[b"[]", b"\"a\nb\""]),
        (b"\xEF\xBB\xBF", &[]),
        (b"\xEF\xBB\xBF {}\n", &[b"{}"]),
        (b"{\xFF}", &[b"{\xFF}"]),
    ] {
        check::whole(&FRAMING, input, records);
    }
}

#[test]
fn a_value_is_lent_with_its_last_byte() {
    check::prompt(
        &FRAMING,
        &[
            (b"{\"a\":[1", 0),
            (b"]}", 1),
            (b"\"x", 0),
            (b"\"", 1),
            (b"1", 0),
            (b"2", 0),
            (b"\n", 1),
            (b"true", 0),
            (b"{}", 2),
        ],
    );
}

#[test]
fn what_is_no_json_is_refused() {
    let bad = |reason| {
        Some(DecodeError::BadFraming {
            framing: "json",
            reason,
        })
    };
    let value = "a JSON value was expected, and another character came";
    let scalar = "a JSON value is neither a number nor true, false or null";
    let deep = "arrays and objects lie in one another more than 1024 deep";
    for (input, reason, count) in [
        (&b"{},{}"[..], value, 1),
        (b"x", value, 0),
        (b"{}\0", value, 1),
        (b"\x1E{}", value, 0),
        (b"]", value, 0),
        (b"{}}", value, 1),
        (b"{\"a\":[}", "a bracket closes one of another kind", 0),
        (b"[1}", "a bracket closes one of another kind", 0),
        (b"truefalse ", scalar, 0),
        (b"01 ", scalar, 0),
        (b"-\n", scalar, 0),
        (
            b"\xEF\xBB{}",
            "the stream begins with half a byte order mark",
            0,
        ),
        ("[".repeat(1025).as_bytes(), deep, 0),
    ] {
        for end in [EndOfInput::Verified, EndOfInput::Unverified] {
            check_error(input, end, bad(reason).as_ref(), count);
        }
    }
    let deepest = ["[".repeat(1024), "]".repeat(1024)].concat();
    check::every_split(&FRAMING, deepest.as_bytes(), EndOfInput::Verified, 10_000);
    check_error(deepest.as_bytes(), EndOfInput::Verified, None, 1);
}

#[test]
fn a_torn_value_is_not_lent() {
    let ends = [EndOfInput::Verified, EndOfInput::Unverified];
    for (input, is_whole) in [
        (&b"{\"a\":1"[..], [false, false]),
        (b"\"tex", [false, false]),
        (b"\"\\\"", [false, false]),
        (b"tru", [false, false]),
        (b"true", [true, true]),
        (b"12", [true, false]),
        (b"12.", [false, false]),
        (b"-", [false, false]),
        (b"\xEF\xBB", [false, false]),
    ] {
        let truncated = DecodeError::Truncated {
            framing: "json",
            carried_bytes: input.len(),
        };
        for (end, is_whole) in ends.into_iter().zip(is_whole) {
            let error = (!is_whole).then_some(&truncated);
            check_error(input, end, error, usize::from(is_whole));
        }
    }
}

#[test]
fn the_limit_is_the_values() {
    for before in ["", "\u{FEFF}", "{} \n"] {
        check::limit_of(&FRAMING, before.as_bytes(), string, b"");
        check::limit_of(&FRAMING, before.as_bytes(), array, b"\n");
        check::limit_of(&FRAMING, before.as_bytes(), number, b"\n");
    }
}

#[test]
fn nothing_is_held_between_records() {
    check::idle(&FRAMING, &[b"{", b"}"]);
    check::idle(&FRAMING, &[b"{\n}", b"[", b"\n]\n  ", b"1", b" "]);
}
