//! Is a charset undone piece by piece as it would be in one go?
#![no_main]

use std::sync::Arc;

use arbitrary::Arbitrary;
use libfuzzer_sys::{fuzz_mutator, fuzz_target};
use weir::transcode::{
    charset,
    framing::{FRAMINGS, Framing},
    output::OUTPUTS,
    transcoder::Turn,
};
use weir_fuzz::{hand::Hand, seed, stream::Stream};

#[derive(Debug, Arbitrary)]
struct Case<'a> {
    hand: Hand,
    framing: u8,
    charset: u8,
    /// Whether the stream is UTF-8 that is put into the charset first.
    is_encoded: bool,
    stream: &'a [u8],
}

/// How many bytes stand before the stream.
const HEAD_BYTES: usize = Hand::BYTES + 3;

/// The names of the standard; there are more of the kind of the first.
const CHARSETS: &[&str] = &[
    "windows-1252",
    "iso-8859-2",
    "koi8-r",
    "macintosh",
    "windows-874",
    "iso-8859-8-i",
    "x-user-defined",
    "gbk",
    "gb18030",
    "big5",
    "euc-jp",
    "iso-2022-jp",
    "shift_jis",
    "euc-kr",
    "utf-16le",
    "utf-16be",
    "utf-8",
];

fuzz_target!(|case: Case<'_>| {
    let from = text_framings().nth(usize::from(case.framing) % text_framings().count());
    let from = from.expect("as many as were counted");
    let name = CHARSETS[usize::from(case.charset) % CHARSETS.len()];
    let charset = charset::by_name(name).expect("a name of the standard");
    let (text, encoded);
    let stream = if case.is_encoded {
        text = String::from_utf8_lossy(case.stream);
        (encoded, _, _) = charset.encode(&text);
        &encoded
    } else {
        case.stream
    };
    let mut turn = Turn::new(from, OUTPUTS[0], case.hand.record_bytes_max());
    let event = Arc::default();
    let plain = Stream {
        turn,
        event: Arc::clone(&event),
        hand: case.hand,
    };
    turn.charset = Some(charset);
    let undone = Stream {
        turn,
        event,
        hand: case.hand,
    };
    // The record limit, too, counts what was undone.
    let (text, _, _) = charset.decode(stream);
    let expected = plain.whole(text.as_bytes());
    if from.name != "chunks" {
        assert_eq!(undone.whole(stream), expected);
        assert_eq!(undone.cut(stream), expected);
    }
});

fuzz_mutator!(
    |data: &mut [u8], size: usize, max_size: usize, noise: u32| {
        seed::mutate(data, size, max_size, noise, |number| {
            let framing = number % text_framings().count();
            let mut head = [0xFF; HEAD_BYTES];
            head[Hand::BYTES] = u8::try_from(framing).expect("few framings");
            head[Hand::BYTES + 1] = u8::try_from(number / 16 % 256).expect("below 256");
            let sample = text_framings().nth(framing).map(|framing| framing.sample);
            [&head, sample.unwrap_or_default()].concat()
        })
    }
);

fn text_framings() -> impl Iterator<Item = &'static Framing> {
    FRAMINGS.iter().copied().filter(|framing| framing.is_text)
}
