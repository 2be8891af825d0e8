//! Does every stream turn into the same events, however it is cut?

mod binary;
mod models;
mod text;
mod text_models;

use std::{sync::Arc, time::Duration};

use proptest::{
    collection::vec,
    prelude::{Just, ProptestConfig, Strategy, any, prop_oneof},
    prop_assert, prop_assert_eq, proptest,
    sample::select,
};
use serde_json::Value;
use weir::transcode::{
    framing::{DecodeError, EndOfInput, FRAMINGS, Framing, by_name},
    mapping::{
        self,
        condition::{Condition, Subject, Test},
        end::{self, EndEvent},
        field::{Field, Retry},
    },
    output::{FieldValue, OUTPUTS},
    transcoder::{Transcoder, Turn},
};

use crate::sse_reader::{SseEvent, SseReader, read};

/// What came of one stream.
#[derive(Debug, PartialEq, Eq)]
struct Outcome {
    out: Vec<u8>,
    events: u64,
    error: Option<DecodeError>,
}

/// How a stream is handed over.
#[derive(Debug, Clone)]
struct Hand {
    /// The lengths of the chunks, over and over; empty is one chunk.
    chunk_bytes: Vec<usize>,
    out_bytes_max: usize,
    record_bytes_max: usize,
    end: EndOfInput,
}

impl Hand {
    fn whole(record_bytes_max: usize, end: EndOfInput) -> Self {
        Self {
            chunk_bytes: Vec::new(),
            out_bytes_max: usize::MAX,
            record_bytes_max,
            end,
        }
    }

    fn chunks<'a>(&self, mut input: &'a [u8]) -> Vec<&'a [u8]> {
        let mut chunks = Vec::new();
        for length in self.chunk_bytes.iter().cycle() {
            if input.is_empty() {
                break;
            }
            let (chunk, rest) = input.split_at(input.len().min(*length));
            chunks.push(chunk);
            input = rest;
        }
        chunks.push(input);
        chunks
    }
}

/// Turns `input` and checks, after every call, that the output ends at an event's end, keeps its
/// bound, and shows the client as many events as were counted.
fn turn(from: &'static Framing, event: &mapping::Settings, input: &[u8], hand: &Hand) -> Outcome {
    let mut transcoder = open(from, event, hand.record_bytes_max);
    let mut reader = SseReader::default();
    let mut outcome = Outcome {
        out: Vec::new(),
        events: 0,
        error: None,
    };
    let mut take = |out: &[u8], counted: Result<u64, DecodeError>| {
        let seen = reader.push(out);
        assert!(reader.is_between_events(), "{}", out.escape_ascii());
        outcome.out.extend_from_slice(out);
        outcome.events += seen.len() as u64;
        match counted {
            Ok(counted) => assert_eq!(seen.len() as u64, counted),
            Err(error) => outcome.error = Some(error),
        }
        outcome.error.is_none()
    };
    for mut chunk in hand.chunks(input) {
        while !chunk.is_empty() {
            let mut out = Vec::new();
            let before = chunk.len();
            let counted = transcoder.push(&mut chunk, &mut out, hand.out_bytes_max);
            if counted.is_ok() {
                assert!(chunk.is_empty() || out.len() >= hand.out_bytes_max);
                // What only shows that a number is over is no part of it.
                assert!(chunk.len() < before || !out.is_empty(), "no progress");
            }
            if !take(&out, counted) {
                return outcome;
            }
        }
    }
    let mut out = Vec::new();
    let counted = transcoder.finish(hand.end, &mut out);
    take(&out, counted);
    outcome
}

/// A transcoder as for the framing's sample.
fn open(from: &'static Framing, event: &mapping::Settings, record_bytes_max: usize) -> Transcoder {
    let mut turn = Turn::new(from, OUTPUTS[0], record_bytes_max);
    turn.opening.content_type = from.sample_content_type;
    Transcoder::new(&turn, &Arc::new(event.clone()))
}

/// Bytes that are likely to hurt: delimiters, field names, halves of characters, marks.
fn bytes() -> impl Strategy<Value = Vec<u8>> {
    let pieces: [&[u8]; 26] = [
        b"\n",
        b"\n",
        b"\r",
        b"\r\n",
        b"\n\n",
        b" ",
        b":",
        b"data",
        b"data:",
        b"data: ",
        b"id:",
        b"event: ",
        b"retry: 1",
        b"{}",
        b"{\"a\":",
        b"1",
        b"x",
        b"\0",
        b"\xEF\xBB\xBF",
        b"\xEF",
        b"\xC3\xBC",
        b"\xF0\x9F",
        b"\x8C\x8A",
        b"\xFF",
        b"\t",
        b"a longer piece of plain text, beyond sixteen and thirty-two and sixty-four bytes",
    ];
    let piece = prop_oneof![
        9 => select(pieces.to_vec()).prop_map(<[u8]>::to_vec),
        1 => vec(any::<u8>(), 0..40),
    ];
    vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}

fn hand() -> impl Strategy<Value = Hand> {
    let end = prop_oneof![Just(EndOfInput::Verified), Just(EndOfInput::Unverified)];
    let record_bytes_max = prop_oneof![Just(1 << 20), 0..100_usize];
    (vec(1..20_usize, 1..6), 1..200_usize, record_bytes_max, end).prop_map(
        |(chunk_bytes, out_bytes_max, record_bytes_max, end)| Hand {
            chunk_bytes,
            out_bytes_max,
            record_bytes_max,
            end,
        },
    )
}

fn settings() -> mapping::Settings {
    mapping::Settings {
        name: Some(Field::Fixed(FieldValue::new("tick").unwrap())),
        retry: Some(Retry::Fixed(Duration::from_millis(1500))),
        ..mapping::Settings::default()
    }
}

/// The data of the events of a stream that is whole.
fn data(framing: &str, input: &[u8], hand: &Hand) -> Vec<String> {
    let outcome = turn(
        by_name(framing).unwrap(),
        &mapping::Settings::default(),
        input,
        hand,
    );
    let events = read(&outcome.out).into_iter();
    events.map(|event| event.data).collect()
}

/// A payload as a client gets it.
fn as_data(payload: &[u8]) -> String {
    let text = String::from_utf8_lossy(payload);
    text.replace("\r\n", "\n").replace('\r', "\n")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn every_cut_gives_the_same_output(input in bytes(), hand in hand()) {
        for framing in FRAMINGS {
            for event in [mapping::Settings::default(), settings()] {
                let outcome = turn(framing, &event, &input, &hand);
                if framing.name != "chunks" {
                    let whole = Hand::whole(hand.record_bytes_max, hand.end);
                    prop_assert_eq!(outcome, turn(framing, &event, &input, &whole));
                }
            }
        }
    }

    #[test]
    fn ndjson_is_the_lines_that_are_not_blank(input in bytes(), hand in hand()) {
        let hand = Hand { record_bytes_max: 1 << 20, end: EndOfInput::Verified, ..hand };
        let text = input.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(&input);
        let mut lines: Vec<&[u8]> = text.split(|byte| *byte == b'\n').collect();
        let last = lines.pop().unwrap_or_default();
        if serde_json::from_str::<Value>(&String::from_utf8_lossy(last)).is_ok() {
            lines.push(last);
        }
        let is_blank = |line: &[u8]| line.iter().all(|byte| b" \t\r".contains(byte));
        let expected: Vec<_> = lines
            .into_iter()
            .filter(|line| !is_blank(line))
            .map(|line| as_data(line.strip_suffix(b"\r").unwrap_or(line)))
            .collect();
        prop_assert_eq!(data("ndjson", &input, &hand), expected);
    }

    #[test]
    fn lines_are_the_lines(input in bytes(), hand in hand()) {
        let hand = Hand { record_bytes_max: 1 << 20, ..hand };
        let text = as_data(input.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(&input));
        let mut expected: Vec<_> = text.split('\n').map(str::to_owned).collect();
        if expected.last().is_some_and(String::is_empty) {
            expected.pop();
        }
        prop_assert_eq!(data("lines", &input, &hand), expected);
    }

    #[test]
    fn chunks_are_the_bytes_as_they_came(input in bytes(), hand in hand()) {
        let hand = Hand { record_bytes_max: 1 << 20, out_bytes_max: usize::MAX, ..hand };
        // Without CR: of a CR LF in two chunks the client sees two line ends.
        let input: Vec<u8> = input.into_iter().filter(|byte| *byte != b'\r').collect();
        prop_assert_eq!(data("chunks", &input, &hand).concat(), as_data(&input));
    }

    #[test]
    fn sse_says_to_a_client_what_it_said_before(input in bytes(), hand in hand()) {
        let hand = Hand { record_bytes_max: 1 << 20, end: EndOfInput::Verified, ..hand };
        let mut before = SseReader::default();
        let mut expected = before.push(&input);
        // A verified end completes the last block; a client by itself would drop it.
        expected.extend(before.push(b"\n\n"));
        let outcome = turn(by_name("sse").unwrap(), &mapping::Settings::default(), &input, &hand);
        let mut after = SseReader::default();
        let events = after.push(&outcome.out);
        // A name with NUL is dropped.
        let expected: Vec<SseEvent> = expected
            .into_iter()
            .map(|event| SseEvent {
                name: if event.name.contains('\0') { "message".to_owned() } else { event.name },
                ..event
            })
            .collect();
        prop_assert_eq!(events, expected);
        prop_assert_eq!(after.last_event_id(), before.last_event_id());
        prop_assert_eq!(after.retry_ms(), before.retry_ms());
        prop_assert_eq!(after.comments(), 0);
    }

    #[test]
    fn nothing_torn_stands_before_a_heartbeat_or_an_error(input in bytes(), hand in hand()) {
        for framing in FRAMINGS {
            let mut transcoder = open(framing, &settings(), 1 << 20);
            let (mut reader, mut out) = (SseReader::default(), Vec::new());
            'stream: for mut chunk in hand.chunks(&input) {
                while !chunk.is_empty() {
                    let pushed = transcoder.push(&mut chunk, &mut out, hand.out_bytes_max);
                    if pushed.is_err() {
                        break 'stream;
                    }
                    transcoder.heartbeat(&mut out);
                    reader.push(&out);
                    prop_assert!(reader.is_between_events());
                    out.clear();
                }
            }
            transcoder.error("idle_timeout", "nothing\ncame", &mut out);
            transcoder.retry(2000, &mut out);
            let events = reader.push(&out);
            let last = events.last().unwrap();
            prop_assert_eq!(&last.name, "stream-error");
            let error: Value = serde_json::from_str(&last.data).unwrap();
            prop_assert_eq!(&error["code"], "idle_timeout");
            prop_assert_eq!(&error["message"], "nothing\ncame");
            prop_assert_eq!(reader.retry_ms(), Some(2000));
        }
    }
}

#[test]
fn the_first_event_carries_what_is_configured_once() {
    let retry_only = mapping::Settings {
        name: None,
        ..settings()
    };
    let name_only = mapping::Settings {
        retry: None,
        ..settings()
    };
    for (event, expected) in [
        (
            settings(),
            "event: tick\nretry: 1500\ndata: {}\n\nevent: tick\ndata: []\n\n",
        ),
        (retry_only, "retry: 1500\ndata: {}\n\ndata: []\n\n"),
        (
            name_only,
            "event: tick\ndata: {}\n\nevent: tick\ndata: []\n\n",
        ),
    ] {
        let hand = Hand::whole(100, EndOfInput::Verified);
        let outcome = turn(by_name("ndjson").unwrap(), &event, b"{}\n[]\n", &hand);
        assert_eq!(String::from_utf8(outcome.out).unwrap(), expected);
        assert_eq!(outcome.events, 2);
    }
}

#[test]
fn events_before_a_fault_are_whole() {
    let long = format!("{{}}\n{}", "x".repeat(200));
    let too_large = DecodeError::RecordTooLarge {
        record_bytes_max: 100,
    };
    let truncated = DecodeError::Truncated {
        framing: "ndjson",
        carried_bytes: 5,
    };
    for (input, error) in [(long.as_str(), too_large), ("{}\n{\"a\":", truncated)] {
        let hand = Hand::whole(100, EndOfInput::Unverified);
        let outcome = turn(
            by_name("ndjson").unwrap(),
            &mapping::Settings::default(),
            input.as_bytes(),
            &hand,
        );
        assert_eq!(outcome.out, b"data: {}\n\n");
        assert_eq!(outcome.error, Some(error));
    }
}

#[test]
fn behind_the_record_that_ends_the_stream_nothing_is_written() {
    let bye = EndEvent {
        name: None,
        data: "bye".into(),
    };
    let text = |text: &str| Condition {
        subject: Subject::Text,
        test: Test::Text(text.into()),
    };
    let event = mapping::Settings {
        end: end::Settings {
            when: vec![text("last")],
            error: vec![text("more")],
            event: Some(bye),
        },
        ..mapping::Settings::default()
    };
    // The lines of two streams, both of which only the end of the input ends.
    let input = b"\x01\0\0\0\0\0\0\x04last\x02\0\0\0\0\0\0\x04more";
    for end in [EndOfInput::Verified, EndOfInput::Unverified] {
        let hand = Hand::whole(100, end);
        let outcome = turn(by_name("docker").unwrap(), &event, input, &hand);
        let written = "event: stdout\ndata: last\n\ndata: bye\n\n";
        assert_eq!(String::from_utf8(outcome.out).unwrap(), written);
        assert_eq!(outcome.error, None);
    }
}

/// A decoder lets go of what it has lent when it is called again: a long record must not stay in memory
/// until more comes.
#[test]
fn the_last_record_is_let_go_of_however_full_the_output_is() {
    let connect = by_name("connect").unwrap();
    let mut transcoder = open(connect, &mapping::Settings::default(), 1 << 20);
    let end = br#"{"error":{"code":"unavailable"}}"#;
    let length = u8::try_from(end.len()).unwrap();
    let input = [&[2, 0, 0, 0, length][..], end].concat();
    let (mut rest, mut out) = (&input[..], Vec::new());
    // What is behind the record is told by that very call.
    let pushed = transcoder.push(&mut rest, &mut out, 1);
    assert!(
        matches!(pushed, Err(DecodeError::Reported { .. })),
        "{pushed:?}"
    );
    assert!(
        out.starts_with(b"event: error\ndata: {"),
        "{}",
        out.escape_ascii()
    );
}

#[test]
fn output_passes_its_bound_by_one_event_at_most() {
    let input = "{\"n\":1}\n".repeat(1000);
    let mut transcoder = open(
        by_name("ndjson").unwrap(),
        &mapping::Settings::default(),
        100,
    );
    let (mut rest, mut calls) = (input.as_bytes(), 0);
    while !rest.is_empty() {
        let mut out = Vec::new();
        transcoder.push(&mut rest, &mut out, 100).unwrap();
        assert!(out.len() < 100 + "data: {\"n\":1}\n\n".len());
        calls += 1;
    }
    assert_eq!(calls, 143);
}
