//! Does every part come whole and at once, however it is written and cut?

use base64::{Engine, engine::general_purpose::STANDARD};
use proptest::{
    collection::vec,
    option,
    prelude::{Just, ProptestConfig, Strategy, any, prop_oneof},
    prop_assert_eq, proptest,
    sample::select,
};

use super::super::{DecodeError, EndOfInput, Framing, check};
use super::{FRAMING, HEAD_BYTES_MAX};

const GRAPHQL: Framing = of("multipart/mixed;boundary=\"graphql\";deferSpec=20220824");
const DASH: Framing = of("multipart/mixed; boundary=\"-\"");
const CAMERA: Framing = of("multipart/x-mixed-replace; boundary=--frame");
const TOLD: Framing = of("multipart/mixed; boundary=b");
const UNTOLD: Framing = of("");

const ENDS: [EndOfInput; 2] = [EndOfInput::Verified, EndOfInput::Unverified];

const fn of(content_type: &'static str) -> Framing {
    Framing {
        sample_content_type: content_type,
        ..FRAMING
    }
}

fn truncated(carried_bytes: usize) -> DecodeError {
    DecodeError::Truncated {
        framing: "multipart",
        carried_bytes,
    }
}

/// As `apollo-router` writes it: each part with the delimiter that ends it.
#[test]
fn apollos_parts_come_with_the_next_delimiter() {
    let head = "content-type: application/json\r\n\r\n";
    let first =
        format!("\r\n--graphql\r\n{head}{{\"data\":{{\"test\":\"hello\"}},\"hasNext\":true}}");
    let last = format!("{head}{{\"hasNext\":false}}\r\n--graphql--\r\n");
    let heartbeat = format!("{head}{{}}\r\n--graphql\r\n");
    let input = [&first, "\r\n--graphql\r\n", &heartbeat, &last].concat();
    check::whole(
        &GRAPHQL,
        input.as_bytes(),
        &[
            b"{\"data\":{\"test\":\"hello\"},\"hasNext\":true}",
            b"{}",
            b"{\"hasNext\":false}",
        ],
    );
    check::prompt(
        &GRAPHQL,
        &[
            (first.as_bytes(), 1),
            (b"\r\n--graphql\r\n", 0),
            (heartbeat.as_bytes(), 1),
            (&last.as_bytes()[..last.len() - 17], 0),
            (b"}", 1),
        ],
    );
    // A part that says nothing of its body is complete with the delimiter's next byte.
    check::prompt(
        &GRAPHQL,
        &[(b"--graphql\n\n{}\r\n--graphql", 0), (b"\r", 1), (b"\n", 0)],
    );
}

/// As helix and async-graphql write it.
#[test]
fn a_boundary_may_be_one_dash() {
    let head = "Content-Type: application/json; charset=utf-8\r\nContent-Length: 14\r\n\r\n";
    let input = format!(
        "---\r\n{head}{{\"data\":\"---\"}}\r\n---\r\n\r\n----\r\n---x\r\n---\r\n{head}[1,\r\n---\r\n]\r\n-----"
    );
    let outcome = check::decode(&DASH, &[input.as_bytes()], EndOfInput::Verified, 1000);
    // A string of JSON holds no line end, so what looks like a delimiter in it is one.
    assert_eq!(
        outcome.datas(),
        [&b"{\"data\":\"---\"}"[..], b"----\r\n---x", b"[1,"]
    );
    check::every_split(&DASH, input.as_bytes(), EndOfInput::Verified, 1000);
}

#[test]
fn a_camera_ends_between_two_parts() {
    let frame =
        b"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: 6\r\n\r\n\xFF\xD8\r\n\xFF\xD9\r\n";
    let input = [&frame[..], frame].concat();
    check::whole(&CAMERA, &input, &[b"/9gNCv/Z", b"/9gNCv/Z"]);
    check::prompt(
        &CAMERA,
        &[(&frame[..frame.len() - 3], 0), (b"\xD9", 1), (b"\r\n", 0)],
    );
    check::whole(&CAMERA, b"", &[]);
    check::whole(
        &CAMERA,
        &[&frame[..], b"--frame\r\n"].concat(),
        &[b"/9gNCv/Z"],
    );
    check::whole(
        &CAMERA,
        &[&frame[..], b"--frame--\r\n"].concat(),
        &[b"/9gNCv/Z"],
    );

    let head_bytes = frame.len() - 8 - "--frame\r\n".len();
    for end in ENDS {
        let error = |length: usize| check::decode(&CAMERA, &[&input[..length]], end, 1000).error;
        let second = frame.len();
        assert_eq!(error(second), None);
        for cut in 1.."--frame".len() {
            assert_eq!(error(second + cut), Some(truncated(0)), "{cut}");
        }
        for cut in "--frame\r".len().."--frame\r\n".len() {
            assert_eq!(error(second + cut), None, "{cut}");
        }
        for cut in 1..head_bytes {
            assert_eq!(error(second + 9 + cut), Some(truncated(cut)), "{cut}");
        }
        for cut in 0..6 {
            assert_eq!(
                error(second + 9 + head_bytes + cut),
                Some(truncated(cut)),
                "{cut}"
            );
        }
        for cut in 6..9 {
            assert_eq!(error(second + 9 + head_bytes + cut.min(8)), None, "{cut}");
        }
        assert_eq!(
            check::decode(&CAMERA, &[b"404\n"], end, 100).error,
            Some(truncated(0))
        );
    }
}

#[test]
fn any_other_stream_ends_with_its_closing_delimiter() {
    let input = b"\r\n--graphql\r\n\r\na\r\n--graphql--\r\nepilogue\r\n--graphql\r\n";
    let close = b"\r\n--graphql\r\n\r\na\r\n--graphql--".len();
    for end in ENDS {
        for length in 0..=input.len() {
            let outcome = check::decode(&GRAPHQL, &[&input[..length]], end, 1000);
            let is_truncated = matches!(outcome.error, Some(DecodeError::Truncated { .. }));
            assert_eq!(is_truncated, length < close, "{length}");
            check::every_split(&GRAPHQL, &input[..length], end, 1000);
        }
    }
    assert_eq!(has_ended(&GRAPHQL, &input[..close - 1]), Some(false));
    assert_eq!(has_ended(&GRAPHQL, &input[..close]), Some(true));
    assert_eq!(has_ended(&GRAPHQL, input), Some(true));
    assert_eq!(has_ended(&GRAPHQL, b"--graphql--"), Some(true));
    assert_eq!(has_ended(&GRAPHQL, b"x\n--graphql-- \r\nx"), Some(true));
    check::whole(&GRAPHQL, b"--graphql--", &[]);
}

/// What a decoder says of itself behind `input`, if that is sound.
fn has_ended(framing: &Framing, input: &[u8]) -> Option<bool> {
    let mut decoder = (framing.decoder)(&super::Opening {
        record_bytes_max: 1000,
        content_type: framing.sample_content_type,
    });
    let mut left = input;
    while !left.is_empty() {
        let mut rest = left;
        decoder.next(&mut rest).ok()?;
        left = &left[left.len() - rest.len()..];
    }
    Some(decoder.has_ended())
}

#[test]
fn lines_end_at_lf_too() {
    for end in ["\n", "\r\n"] {
        let lines = [
            "",
            "--b",
            "content-type: text/plain",
            "",
            "a",
            "",
            "--b",
            "",
            "b",
            "--b",
            "",
            "--b--",
            "",
        ];
        check::whole(
            &UNTOLD,
            lines.join(end).as_bytes(),
            &[["a", ""].join(end).as_bytes(), b"b", b""],
        );
    }
}

#[test]
fn a_part_ends_at_what_comes_first() {
    for (part, records) in [
        // The length.
        ("content-length: 3\n\nabc", &["abc"][..]),
        ("content-length: 3\n\nabc\r\n \t", &["abc"]),
        ("content-length: 5\n\nabc\r\n", &["abc\r\n"]),
        ("content-length: 0\n\n", &[""]),
        ("content-length: 0\ncontent-type: image/png\n\n", &[""]),
        // The last bracket.
        (
            "content-type: text/json\ncontent-length: 4\n\n{}\r\n",
            &["{}"],
        ),
        (
            "content-type: a/b+json\n\n\n {\"a\":\n\"\\\"}\"}\n\n",
            &["\n {\"a\":\n\"\\\"}\"}"],
        ),
        // The delimiter.
        ("content-length: 90\n\nabc", &["abc"]),
        ("content-type: a/json\n\n12", &["12"]),
        ("content-type: a/json\n\n\"x\"\n", &["\"x\"\n"]),
        ("content-type: a/json\n\n{", &["{"]),
        ("\n{}\n\n", &["{}\n\n"]),
        ("x: y\n", &[""]),
        ("\n--bb\n--b-\n-", &["--bb\n--b-\n-"]),
        ("content-type: image/png\n\nabc", &["YWJj"]),
        ("content-type: image/png\n\nabcd", &["YWJjZA=="]),
    ] {
        let input = ["--b\n", part, "\r\n--b--"].concat();
        let records: Vec<_> = records.iter().map(|record| record.as_bytes()).collect();
        check::whole(&UNTOLD, input.as_bytes(), &records);
    }
}

#[test]
fn what_is_no_multipart_is_refused() {
    let behind = "a part goes on behind its end";
    let unreadable = "a part's header fields cannot be read";
    for (input, reason) in [
        ("--b\ncontent-length: 1\n\nab", behind),
        ("--b\ncontent-length: 1\n\na\n--c", behind),
        ("--b\ncontent-type: a/json\n\n{}{}", behind),
        ("--b\ncontent-type: a/json\n\n{}\n--bb", behind),
        ("--b x\n", "a delimiter line goes on behind the boundary"),
        ("--b\nno field\n\n", unreadable),
        ("--b\n--b\n\n", unreadable),
        (
            "--b\ncontent-length: x\n\n",
            "a part's content-length is no number of bytes",
        ),
    ] {
        let whole = ["--b\n\n\n", input].concat();
        check::refused(&UNTOLD, whole.as_bytes(), reason);
    }
}

#[test]
fn a_preamble_and_a_head_have_a_bound() {
    let long = vec![b'x'; HEAD_BYTES_MAX];
    let lines = b"xyz\n".repeat(HEAD_BYTES_MAX / 4);
    let verdict = |before: &[u8], length: usize, after: &[u8]| {
        let input = [before, &long[..length], after].concat();
        let outcome = check::decode(&UNTOLD, &[&input], EndOfInput::Verified, 10);
        let by_piece = check::cut(&input, &[1000, 23]);
        assert_eq!(
            outcome,
            check::decode(&UNTOLD, &by_piece, EndOfInput::Verified, 10)
        );
        outcome.error
    };
    let bad = |reason| {
        Some(DecodeError::BadFraming {
            framing: "multipart",
            reason,
        })
    };
    let preamble = bad("no delimiter line comes within the first 16384 bytes");
    let head = bad("a part's head is longer than 16384 bytes");
    let part = b"\n--b\n\na\n--b--";
    assert_eq!(verdict(b"", HEAD_BYTES_MAX - 4, part), None);
    assert_eq!(verdict(b"", HEAD_BYTES_MAX - 3, part), preamble);
    assert_eq!(verdict(b"x", HEAD_BYTES_MAX, b""), preamble);
    assert_eq!(verdict(&lines, 1, b""), preamble);
    assert_eq!(
        verdict(b"--b\na:", HEAD_BYTES_MAX - 4, b"\n\nx\n--b--"),
        None
    );
    assert_eq!(
        verdict(b"--b\na:", HEAD_BYTES_MAX - 3, b"\n\nx\n--b--"),
        head
    );
    assert_eq!(verdict(b"--b\na:", HEAD_BYTES_MAX - 1, b""), head);
}

#[test]
fn the_limit_is_the_bodys_as_it_came() {
    for head in ["", "content-type: image/png\n", "content-length: 3\n"] {
        for (body, is_refused) in [
            ("abc", false),
            ("abcd", true),
            ("ab\r", false),
            ("abc\rd", true),
        ] {
            for after in ["", "\r\n--b--", "\n--b--", "\r\n--b"] {
                let is_sent = !head.starts_with("content-length") || body.len() == 3;
                let input = format!("--b\n{head}\n{body}{after}");
                let outcome = check::decode(&UNTOLD, &[input.as_bytes()], EndOfInput::Verified, 3);
                let too_large = matches!(outcome.error, Some(DecodeError::RecordTooLarge { .. }));
                assert!(!is_sent || too_large == is_refused, "{input:?}");
                check::every_split(&UNTOLD, input.as_bytes(), EndOfInput::Verified, 3);
            }
        }
    }
    let json = b"--b\ncontent-type: a/json\n\n[1] \n \n--b--";
    let outcome = check::decode(&UNTOLD, &[json], EndOfInput::Verified, 3);
    assert_eq!(outcome.datas(), [b"[1]"]);
    assert_eq!(outcome.error, None);
    check::too_large(&UNTOLD, b"--b\ncontent-type: a/json\n\n[123", 3);
}

#[test]
fn nothing_is_held_between_parts() {
    check::idle(&UNTOLD, &[b"--b\n\na\n--", b"b\n"]);
    check::idle(&UNTOLD, &[b"--b\ncontent-ty", b"pe: a/json\n\n{", b"}\n"]);
    check::idle(
        &CAMERA,
        &[
            b"--frame\ncontent-type: a/b\ncontent-length:2\n\na",
            b"b\r\n",
        ],
    );
    let mut decoder = super::Multipart::new(&super::Opening {
        record_bytes_max: 1000,
        content_type: "",
    });
    for chunk in [&b"--b\ncontent-type: a/b\n\na\n"[..], b"--b\n"] {
        let mut input = chunk;
        while super::Decoder::next(&mut decoder, &mut input)
            .unwrap()
            .is_some()
        {
            input = b"";
        }
    }
    assert_eq!(decoder.carry.capacity() + decoder.body.capacity(), 0);
}

/// A part as it is written.
#[derive(Debug, Clone)]
struct Part {
    media_type: Option<&'static str>,
    has_length: bool,
    body: Vec<u8>,
}

fn part() -> impl Strategy<Value = Part> {
    let pieces: [&[u8]; 12] = [
        b"\n", b"\r", b"\r\n", b"-", b"--", b"--", b"b", b"bb", b" ", b"{}", b"\xFF", b"\0",
    ];
    let body = vec(select(pieces.to_vec()), 0..12).prop_map(|pieces| pieces.concat());
    // A body without a length must hold no delimiter, and begin none with what follows it.
    let is_sound = |body: &Vec<u8>| {
        let lines = [b"\n", &body[..], b"\r\n"].concat();
        let mut windows = lines.windows(5);
        let ends = [b'\n', b'\r', b' '];
        !windows.any(|it| it.starts_with(b"\n--b") && ends.contains(&it[4]))
            && !lines.windows(6).any(|it| it == b"\n--b--")
    };
    let body = body.prop_filter("holds a delimiter", is_sound);
    let media_type = option::of(select(vec!["text/plain", "image/png"]));
    (media_type, any::<bool>(), body).prop_map(|(media_type, has_length, body)| Part {
        media_type,
        has_length,
        body,
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn what_was_written_is_read(
        parts in vec(part(), 0..5),
        line_end in prop_oneof![Just("\n"), Just("\r\n")],
        cuts in vec(1..9_usize, 1..5),
    ) {
        let mut input = b"--b".to_vec();
        let mut expected = Vec::new();
        for Part { media_type, has_length, body } in parts {
            let mut head = line_end.to_owned();
            let mut field = |name: &str, value: &str| head.extend([name, ": ", value, line_end]);
            if let Some(media_type) = media_type {
                field("Content-Type", media_type);
            }
            if has_length {
                field("Content-Length", &body.len().to_string());
            }
            head.push_str(line_end);
            // Before an LF of its own a body's CR cannot be told from the delimiter's.
            let end = if body.ends_with(b"\r") && !has_length { "\r\n" } else { line_end };
            input.extend([head.as_bytes(), &body, end.as_bytes(), b"--b"].concat());
            expected.push(match media_type {
                Some("image/png") => STANDARD.encode(&body).into_bytes(),
                _ => body,
            });
        }
        input.extend(b"--");
        let chunks = check::cut(&input, &cuts);
        let outcome = check::decode(&TOLD, &chunks, EndOfInput::Unverified, 1000);
        prop_assert_eq!(&outcome.error, &None);
        prop_assert_eq!(outcome.datas(), expected);
    }
}
