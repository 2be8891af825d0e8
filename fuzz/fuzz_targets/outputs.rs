//! Does every output say what the event stream said that it was made from?
#![no_main]

use arbitrary::Arbitrary;
use libfuzzer_sys::{fuzz_mutator, fuzz_target};
use serde::{Deserialize, de::IgnoredAny};
use serde_json::value::RawValue;
use weir::transcode::{
    framing::{EndOfInput, sse::FRAMING},
    output::{Format, OUTPUTS},
    transcoder::{Transcoder, Turn},
};
use weir_fuzz::{
    client::{Client, Event, Reader},
    hand::Hand,
    seed, squeeze,
    stream::Stream,
};

#[derive(Debug, Arbitrary)]
struct Case<'a> {
    hand: Hand,
    stream: &'a [u8],
}

/// An event that has more than data, as one JSON text.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Object<'a> {
    event: Option<String>,
    id: Option<String>,
    retry: Option<u64>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
}

fuzz_target!(|case: Case<'_>| {
    let mut client = Reader::default();
    let mut expected = client.read(case.stream);
    // A verified end completes the last block; a client by itself would drop it.
    expected.extend(client.read(b"\n\n"));
    for event in &mut expected {
        // A name with NUL is dropped.
        if event.name.contains('\0') {
            "message".clone_into(&mut event.name);
        }
    }
    for to in OUTPUTS {
        let turn = Turn::new(&FRAMING, to, RECORD_BYTES_MAX);
        let stream = Stream {
            turn,
            event: std::sync::Arc::default(),
            hand: case.hand,
        };
        assert_eq!(stream.cut(case.stream), stream.whole(case.stream));
        let blocks = blocks(&turn, case.stream);
        if to.format == Format::Sse {
            let mut again = Reader::default();
            let written: Vec<u8> = blocks.into_iter().flat_map(|(block, _)| block).collect();
            assert_eq!(again.take(&written), expected);
            assert_eq!(again.state(), client.state());
        } else {
            check_texts(to.format, &blocks, &expected);
        }
    }
});

fuzz_mutator!(
    |data: &mut [u8], size: usize, max_size: usize, noise: u32| {
        seed::mutate(data, size, max_size, noise, |_| {
            [&[0xFF; Hand::BYTES], FRAMING.sample].concat()
        })
    }
);

/// What is written for each record by itself, and how many events were counted.
fn blocks(turn: &Turn<'_>, mut stream: &[u8]) -> Vec<(Vec<u8>, u64)> {
    let mut transcoder = Transcoder::new(turn, &std::sync::Arc::default());
    let mut blocks = Vec::new();
    while !stream.is_empty() {
        let mut out = Vec::new();
        let counted = transcoder.push(&mut stream, &mut out, 1);
        blocks.push((out, counted.expect("short records")));
    }
    let mut out = Vec::new();
    let counted = transcoder.finish(EndOfInput::Verified, &mut out);
    blocks.push((out, counted.expect("a verified end")));
    blocks
}

fn check_texts(format: Format, blocks: &[(Vec<u8>, u64)], expected: &[Event]) {
    let client = Client::of(format);
    let mut expected = expected.iter();
    for (block, counted) in blocks {
        let texts = client.texts(block);
        match (&texts[..], counted) {
            ([], 0) => {}
            ([text], 0) => {
                let object: Object<'_> = serde_json::from_str(text).expect("an object");
                assert!(object.id.is_some() || object.retry.is_some(), "{text}");
                assert!(object.event.is_none() && object.data.is_none(), "{text}");
            }
            ([text], 1) => {
                let event = expected.next().expect("no more events than were read");
                assert!(says(text, event), "{text:?} is not {event:?}");
            }
            _ => panic!("{counted} events in {texts:?}"),
        }
    }
    assert_eq!(expected.next(), None, "every event is written");
}

/// Whether the text says the event: data alone, or with what else there is.
fn says(text: &str, event: &Event) -> bool {
    if is_said(text, &event.data) && event.name == "message" {
        return true;
    }
    let Ok(object) = serde_json::from_str::<Object<'_>>(text) else {
        return false;
    };
    let name = object.event.as_deref().unwrap_or("message");
    let id = object.id.as_ref().unwrap_or(&event.last_event_id);
    let Some(data) = object.data.map(RawValue::get) else {
        return false;
    };
    let is_text = serde_json::from_str::<String>(data).is_ok_and(|text| text == event.data);
    let is_right = is_said(data, &event.data) || is_text;
    is_right && name == event.name && *id == event.last_event_id
}

/// Whether the text is the data, which is JSON.
fn is_said(text: &str, data: &str) -> bool {
    serde_json::from_str::<IgnoredAny>(data).is_ok() && squeeze(text) == squeeze(data)
}

const RECORD_BYTES_MAX: usize = 1 << 20;
