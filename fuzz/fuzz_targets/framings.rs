//! Are the events of every framing the same, however its stream is cut, and does every stream come to an end?
#![no_main]

use std::sync::Arc;

use arbitrary::Arbitrary;
use libfuzzer_sys::{fuzz_mutator, fuzz_target};
use weir::transcode::{
    framing::FRAMINGS,
    mapping::{self, field::Field},
    output::{FieldValue, OUTPUTS},
    transcoder::Turn,
};
use weir_fuzz::{hand::Hand, seed, stream::Stream};

#[derive(Debug, Arbitrary)]
struct Case<'a> {
    hand: Hand,
    framing: u8,
    content_type: u8,
    has_name: bool,
    stream: &'a [u8],
}

/// How many bytes stand before the stream.
const HEAD_BYTES: usize = Hand::BYTES + 3;

/// What a reply may say of itself, beside what its framing's sample says: boundaries, encodings, headers.
const CONTENT_TYPES: &[&str] = &[
    "",
    "multipart/mixed; boundary=\"-\"",
    "multipart/x-mixed-replace; boundary=a",
    "application/grpc-web-text+proto",
    "application/grpc-web+json",
    "application/connect+json",
    "text/csv; header=absent",
    "text/plain; charset=utf-16",
    "text/plain; charset=shift_jis",
];

fuzz_target!(|case: Case<'_>| {
    let from = FRAMINGS[usize::from(case.framing) % FRAMINGS.len()];
    let mut turn = Turn::new(from, OUTPUTS[0], case.hand.record_bytes_max());
    let content_type = CONTENT_TYPES.get(usize::from(case.content_type));
    turn.opening.content_type = content_type.copied().unwrap_or(from.sample_content_type);
    let stream = Stream {
        turn,
        event: Arc::new(settings(&case)),
        hand: case.hand,
    };
    let (whole, cut) = (stream.whole(case.stream), stream.cut(case.stream));
    if from.name != "chunks" {
        assert_eq!(cut, whole);
    }
});

fuzz_mutator!(
    |data: &mut [u8], size: usize, max_size: usize, noise: u32| {
        seed::mutate(data, size, max_size, noise, |number| {
            let framing = number % FRAMINGS.len();
            let mut head = [0xFF; HEAD_BYTES];
            head[Hand::BYTES] = u8::try_from(framing).expect("few framings");
            [&head, FRAMINGS[framing].sample].concat()
        })
    }
);

fn settings(case: &Case<'_>) -> mapping::Settings {
    let name = FieldValue::new("tick").expect("no line end in it");
    mapping::Settings {
        name: case.has_name.then_some(Field::Fixed(name)),
        ..mapping::Settings::default()
    }
}
