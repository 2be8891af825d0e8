//! Does every message of gRPC-Web come, in bytes as in base64, and do its trailers say how it ended?

use base64::{Engine, engine::general_purpose::STANDARD};
use proptest::{
    collection::vec,
    prelude::{ProptestConfig, any},
    prop_assert_eq, proptest,
};

use super::super::{DecodeError, EndOfInput, Framing, Opening, check};
use super::FRAMING;

const BINARY: Framing = Framing {
    sample_content_type: "application/grpc-web+json",
    ..FRAMING
};

const OK: &[u8] = b"grpc-status: 0\r\n";

fn frame(flags: u8, message: &[u8]) -> Vec<u8> {
    let length = u32::try_from(message.len()).unwrap().to_be_bytes();
    [&[flags], &length[..], message].concat()
}

fn stream(frames: &[(u8, &[u8])]) -> Vec<u8> {
    frames
        .iter()
        .flat_map(|(flags, message)| frame(*flags, message))
        .collect()
}

/// Each frame in base64 by itself, as most senders write it.
fn text(frames: &[(u8, &[u8])]) -> Vec<u8> {
    let frames = frames.iter();
    let encoded = frames.map(|(flags, message)| STANDARD.encode(frame(*flags, message)));
    encoded.collect::<String>().into_bytes()
}

#[test]
fn a_stream_is_its_messages_and_its_trailers() {
    check::whole(
        &BINARY,
        b"\0\0\0\0\x07\n\x05hello\x80\0\0\0\x10grpc-status: 0\r\n",
        &[b"\n\x05hello"],
    );
    check::whole(
        &FRAMING,
        b"AAAAAAcKBWhlbGxvgAAAABBncnBjLXN0YXR1czogMA0K",
        &[b"\n\x05hello"],
    );
    let long = vec![b'x'; 1000];
    let frames: &[(u8, &[u8])] = &[(0, b"1"), (0, b""), (0, b"22"), (0, &long), (0x80, OK)];
    for (framing, input) in [
        (&BINARY, stream(frames)),
        (&FRAMING, text(frames)),
        (&FRAMING, STANDARD.encode(stream(frames)).into_bytes()),
    ] {
        let outcome = check::decode(framing, &[&input], EndOfInput::Unverified, 1000);
        assert_eq!(outcome.error, None);
        assert_eq!(outcome.datas(), [&b"1"[..], b"22", &long]);
        check::every_split(framing, &input, EndOfInput::Verified, 1000);
    }
}

#[test]
fn a_message_is_lent_at_its_last_byte() {
    check::prompt(
        &BINARY,
        &[
            (b"\0\0\0\0\x02{", 0),
            (b"}\0", 1),
            (b"\0\0\0\x01", 0),
            (b"1", 1),
        ],
    );
    // In base64 that may be inside of four characters, or before their padding.
    check::prompt(
        &FRAMING,
        &[
            (b"AAAAAAExAA", 1),
            (b"AAAAEx", 1),
            (b"AAAAAAEx", 1),
            (b"AAAAAA", 0),
            (b"Ex\n", 1),
        ],
    );
    check::prompt(
        &FRAMING,
        &[
            (b"AAAAAAIx", 0),
            (b"MQ", 1),
            (b"==AAAAAA", 0),
            (b"IxMQ=", 1),
            (b"=", 0),
        ],
    );
}

#[test]
fn a_status_is_reported() {
    let frames: &[(u8, &[u8])] = &[
        (0, b"1"),
        (0x80, b"grpc-status: 5\r\ngrpc-message: no%20such\r\n"),
    ];
    for (framing, input) in [(&BINARY, stream(frames)), (&FRAMING, text(frames))] {
        for input in [&input[..], &[&input[..], b"!"].concat()] {
            let outcome = check::decode(framing, &[input], EndOfInput::Verified, 1000);
            let report = "grpc-status 5 (NOT_FOUND): no such".to_owned();
            assert_eq!(outcome.error, Some(DecodeError::Reported { report }));
            assert_eq!(outcome.datas(), [b"1"]);
            check::every_split(framing, input, EndOfInput::Verified, 1000);
        }
    }
}

#[test]
fn what_is_no_grpc_web_is_refused() {
    let compressed = "a message is compressed; have requests say grpc-accept-encoding: identity";
    let flags = "a message has flags that mean nothing";
    let behind = "something comes behind the trailers";
    let no_status = "the trailers have no grpc-status that is a number";
    for (frames, reason) in [
        (&[(0, &b"1"[..]), (1, b"x")][..], compressed),
        (&[(0x81, b"x")], compressed),
        (&[(2, b"x")], flags),
        (&[(0x82, b"x")], flags),
        (&[(0x80, b"")], no_status),
        (&[(0x80, b"grpc-message: a")], no_status),
        (&[(0x80, OK), (0x80, OK)], behind),
        (&[(0x80, OK), (0, b"1")], behind),
    ] {
        check::refused(&BINARY, &stream(frames), reason);
        check::refused(&FRAMING, &text(frames), reason);
    }
    check::refused(&BINARY, b"AAAAAAcKBWhlbGxv", flags);
    check::refused(
        &FRAMING,
        &stream(&[(0, b"1")]),
        "a character is none of base64",
    );
    check::refused(&FRAMING, b"AAAAAAExA===", "padding of base64 ends nothing");
    check::refused(
        &FRAMING,
        b"AAAAAAExAA=A",
        "padding of base64 is not complete",
    );
    let ended = [&text(&[(0x80, OK)])[..], b"\r\n==="].concat();
    check::refused(&FRAMING, &ended, "padding of base64 ends nothing");
}

#[test]
fn a_length_is_refused_by_itself() {
    for (length, max) in [(1001, 1000), (u32::MAX, 1 << 20)] {
        let head = [&[0], &length.to_be_bytes()[..]].concat();
        check::too_large(&BINARY, &head, max);
        check::too_large(&FRAMING, STANDARD.encode(head).as_bytes(), max);
    }
    // Trailers may be longer than a record.
    let input = stream(&[(0, b"1"), (0x80, OK)]);
    let outcome = check::decode(&BINARY, &[&input], EndOfInput::Unverified, 1);
    assert_eq!(
        (outcome.datas(), outcome.error.as_ref()),
        (vec![&b"1"[..]], None)
    );
    check::too_large(&BINARY, b"\x80\0\0\x40\x01", 16 << 10);
}

#[test]
fn without_its_trailers_a_stream_was_cut() {
    let frames: &[(u8, &[u8])] = &[(0, b"1"), (0, b""), (0x80, b"grpc-status:0")];
    for (framing, input, whole) in [
        (&BINARY, stream(frames), 29),
        // Its last characters complete no byte that is missing.
        (&FRAMING, STANDARD.encode(stream(frames)).into_bytes(), 39),
    ] {
        for length in 0..=input.len() {
            for end in [EndOfInput::Verified, EndOfInput::Unverified] {
                let outcome = check::decode(framing, &[&input[..length]], end, 1000);
                let is_truncated = matches!(outcome.error, Some(DecodeError::Truncated { .. }));
                assert_eq!(is_truncated, length < whole, "{length}");
                check::every_split(framing, &input[..length], end, 1000);
            }
            assert_eq!(has_ended(framing, &input[..length]), length >= whole);
        }
    }
}

/// What a decoder says of itself behind `input`.
fn has_ended(framing: &Framing, input: &[u8]) -> bool {
    let mut decoder = (framing.decoder)(&Opening {
        record_bytes_max: 1000,
        content_type: framing.sample_content_type,
    });
    for byte in input {
        decoder.next(&mut &[*byte][..]).unwrap();
    }
    decoder.has_ended()
}

#[test]
fn the_content_type_says_whether_it_is_base64() {
    for (content_type, is_text) in [
        ("", false),
        ("application/grpc-web", false),
        ("application/grpc-web+proto", false),
        ("application/grpc-web-text", true),
        ("Application/Grpc-Web-Text+Proto; charset=x", true),
        ("application/grpc-web-texts", false),
    ] {
        assert_eq!(super::is_text(content_type), is_text, "{content_type}");
    }
}

#[test]
fn nothing_is_held_between_messages() {
    check::idle(&BINARY, &[b"\0\0\0\0\x02{", b"}"]);
    check::idle(&FRAMING, &[b"AAAAAAIx", b"MQ", b"="]);
    let mut decoder = super::Text::new(1000);
    for chunk in [&b"AAAAAA"[..], b"Ix", b"MQ", b"=="] {
        let _ = super::Decoder::next(&mut decoder, &mut &*chunk).unwrap();
    }
    assert_eq!(
        decoder.plain.capacity() + decoder.binary.envelopes.held_bytes(),
        0
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn what_was_written_is_read(
        messages in vec(vec(any::<u8>(), 0..20), 0..6),
        pieces in vec(1..30_usize, 1..5),
        cuts in vec(1..9_usize, 1..5),
    ) {
        let mut frames: Vec<_> = messages.iter().map(|message| (0, &message[..])).collect();
        frames.push((0x80, OK));
        let wire = stream(&frames);
        // Any piece of it may be encoded by itself.
        let text: String = check::cut(&wire, &pieces).into_iter().map(|piece| STANDARD.encode(piece)).collect();
        let expected: Vec<_> = messages.iter().filter(|message| !message.is_empty()).collect();
        for (framing, input) in [(&BINARY, &wire[..]), (&FRAMING, text.as_bytes())] {
            let outcome = check::decode(framing, &check::cut(input, &cuts), EndOfInput::Verified, 1000);
            prop_assert_eq!(&outcome.error, &None);
            prop_assert_eq!(outcome.datas(), expected.clone());
        }
    }

    #[test]
    fn any_text_gets_the_same_verdict_in_every_cut(
        text in "[AQgxMw=\n/]{0,60}|.{0,20}",
        cuts in vec(1..9_usize, 1..5),
        record_bytes_max in 0..60_usize,
    ) {
        let end = EndOfInput::Verified;
        let whole = check::decode(&FRAMING, &[text.as_bytes()], end, record_bytes_max);
        let chunks = check::cut(text.as_bytes(), &cuts);
        prop_assert_eq!(check::decode(&FRAMING, &chunks, end, record_bytes_max), whole);
    }
}
