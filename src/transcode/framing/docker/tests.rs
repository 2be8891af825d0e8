//! Are a container's streams told apart, and each cut into its lines?

use super::super::{
    DecodeError, Decoder, EndOfInput,
    check::{self, Outcome, Owned},
};
use super::{Cutter, Docker, FRAMING, HEADER_BYTES};

fn frame(stream: u8, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&[stream, 0, 0, 0], &length[..], payload].concat()
}

fn frames(frames: &[(u8, &[u8])]) -> Vec<u8> {
    let frames = frames.iter();
    frames
        .flat_map(|(stream, payload)| frame(*stream, payload))
        .collect()
}

/// Decodes in every cut to these lines.
fn check_lines(input: &[(u8, &[u8])], lines: &[(&str, &[u8])]) {
    let records = lines.iter().map(|(name, data)| Owned {
        data: Some(data.to_vec()),
        name: Some(name.as_bytes().to_vec()),
        ..Owned::default()
    });
    let expected = Outcome {
        records: records.collect(),
        error: None,
    };
    let wire = frames(input);
    for end in [EndOfInput::Verified, EndOfInput::Unverified] {
        let outcome = check::decode(&FRAMING, &[&wire], end, 1000);
        assert_eq!(outcome, expected, "{input:?}");
        check::every_split(&FRAMING, &wire, end, 1000);
    }
}

#[test]
fn a_line_bears_the_name_of_its_stream() {
    check_lines(
        &[(0, b"in\n"), (1, b"out\n"), (2, b"err\n"), (3, b"sys\n")],
        &[
            ("stdin", b"in"),
            ("stdout", b"out"),
            ("stderr", b"err"),
            ("systemerr", b"sys"),
        ],
    );
}

#[test]
fn lines_end_at_lf_and_crlf_wherever_frames_do() {
    check_lines(&[], &[]);
    check_lines(
        &[(1, b"a\nb\r\n\n\r\nc\rd\r\r\n\0\xFF\n")],
        &[
            ("stdout", b"a"),
            ("stdout", b"b"),
            ("stdout", b""),
            ("stdout", b""),
            ("stdout", b"c\rd\r"),
            ("stdout", b"\0\xFF"),
        ],
    );
    check_lines(
        &[(1, b"ab"), (1, b""), (1, b"c"), (1, b"\r"), (1, b"\nd\n")],
        &[("stdout", b"abc"), ("stdout", b"d")],
    );
    // What looks like a header is payload.
    check_lines(
        &[(1, &frame(2, b"x\n"))],
        &[("stdout", b"\x02\0\0\0\0\0\0\x02x")],
    );
}

#[test]
fn streams_do_not_mix() {
    check_lines(
        &[
            (1, b"o"),
            (2, b"e"),
            (1, b"ut\n"),
            (2, b"rr"),
            (1, b"x\n"),
            (2, b"\n"),
        ],
        &[("stdout", b"out"), ("stdout", b"x"), ("stderr", b"err")],
    );
    check_lines(
        &[(2, b"e\r"), (1, b"\n"), (2, b"\n")],
        &[("stdout", b""), ("stderr", b"e")],
    );
}

#[test]
fn the_last_line_of_each_stream_needs_no_end() {
    check_lines(
        &[(3, b"s"), (2, b"e"), (1, b"a\no\r"), (0, b"i")],
        &[
            ("stdout", b"a"),
            ("stdin", b"i"),
            ("stdout", b"o"),
            ("stderr", b"e"),
            ("systemerr", b"s"),
        ],
    );
}

#[test]
fn what_is_no_frame_is_refused() {
    let reason = "a frame is of no known stream";
    for header in [
        &b"\x04\0\0\0\0\0\0\x01"[..],
        b"\xFF\0\0\0\0\0\0\x01",
        b"2026-01-01 a line",
    ] {
        check::refused(&FRAMING, header, reason);
        check::refused(&FRAMING, &[&frame(1, b"a\nb"), header].concat(), reason);
    }
    let reason = "a frame's header is not padded with zeros";
    for header in [
        &b"\x01\x01\0\0\0\0\0\x01"[..],
        b"\x01\0\0\x01\0\0\0\0",
        b"\x02\0 \0\0\0\0\x01",
    ] {
        check::refused(&FRAMING, header, reason);
        check::refused(&FRAMING, &[&frame(1, b"a\nb"), header].concat(), reason);
    }
}

#[test]
fn the_limit_is_a_lines_and_each_streams_own() {
    for max in [3, 64] {
        let (fits, end) = (vec![b'x'; max], EndOfInput::Verified);
        for line_end in [&b"\n"[..], b"\r\n"] {
            let ended = [&fits, line_end].concat();
            let wire = frames(&[(1, &fits), (2, &ended), (1, line_end), (1, &ended)]);
            let outcome = check::decode(&FRAMING, &[&wire], end, max);
            assert_eq!(outcome.error, None);
            assert_eq!(outcome.datas(), [&fits[..]; 3]);
            check::every_split(&FRAMING, &wire, end, max);
        }
        // Without its end already, and within an endless frame.
        let long = [&fits[..], b"x"].concat();
        let endless = [b"\x01\0\0\0\xFF\xFF\xFF\xFF", &long[..]].concat();
        check::too_large(&FRAMING, &endless, max);
        check::too_large(&FRAMING, &frames(&[(1, &fits), (2, &fits), (1, b"x")]), max);
        check::too_large(&FRAMING, &frames(&[(1, b"a\n"), (1, &long)]), max);
    }
}

#[test]
fn a_line_is_lent_at_its_lf() {
    check::prompt(
        &FRAMING,
        &[
            (b"\x01\0\0\0\0\0\0\x05a", 0),
            (b"\r", 0),
            (b"\n", 1),
            (b"b", 0),
            (b"\n\x02", 1),
            (b"\0\0\0\0\0\0\x02\n\n", 2),
        ],
    );
}

#[test]
fn a_frame_that_is_cut_off_is_truncated() {
    let messages = [frame(1, b"one\n"), frame(2, b""), frame(2, b"\r\n")];
    check::cut_off(
        &FRAMING,
        &[
            (&messages[0], &[b"one"]),
            (&messages[1], &[]),
            (&messages[2], &[b""]),
        ],
    );
}

#[test]
fn a_line_without_its_end_is_lost_with_the_frame_behind_it() {
    let wire = [frame(1, b"a\nb"), frame(2, b"c\nd")].concat();
    let outcome = check::decode(
        &FRAMING,
        &[&wire[..wire.len() - 1]],
        EndOfInput::Verified,
        1000,
    );
    assert_eq!(outcome.datas(), [b"a", b"c"]);
    let error = DecodeError::Truncated {
        framing: "docker",
        carried_bytes: 10,
    };
    assert_eq!(outcome.error, Some(error));
}

#[test]
fn nothing_is_held_between_records() {
    let wire = frames(&[(1, b"a"), (2, b"b\n"), (1, b"\n")]);
    check::idle(&FRAMING, &[&wire]);
    check::idle(&FRAMING, &wire.chunks(1).collect::<Vec<_>>());

    let mut decoder = Docker::new(1000);
    let held_bytes = |decoder: &Docker| {
        let lines = decoder.lines.iter().map(Cutter::held_bytes);
        decoder.header.held_bytes() + lines.sum::<usize>()
    };
    // The line of one stream is lent while the header of another's frame is behind it.
    let (line, next) = (frame(1, b"ab\n"), frame(2, b"c\n"));
    for byte in &line[..line.len() - 1] {
        assert_eq!(decoder.next(&mut &[*byte][..]), Ok(None));
    }
    let chunk = [b"\n", &next[..]].concat();
    assert!(decoder.next(&mut &chunk[..]).unwrap().is_some());
    assert!(held_bytes(&decoder) > 0);
    assert!(decoder.next(&mut &next[..]).unwrap().is_some());
    assert_eq!(held_bytes(&decoder), 0);
    // Of a header that came in pieces nothing is left, either.
    for byte in &line[..HEADER_BYTES] {
        assert_eq!(decoder.next(&mut &[*byte][..]), Ok(None));
    }
    assert_eq!(held_bytes(&decoder), 0);
}
