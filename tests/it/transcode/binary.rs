//! Do the binary framings say what a naive reader says, however the bytes are cut?

use proptest::{
    collection::vec,
    option,
    prelude::{Just, ProptestConfig, Strategy, any, prop_oneof},
    prop_assert_eq, proptest,
    sample::{Index, select},
};
use weir::transcode::framing::{DecodeError, Opening, Record, by_name};

use super::{
    Hand, hand,
    models::{Named, Read, Verdict, crc32, read},
};

/// What the decoder makes of `input`.
pub(super) fn decode(framing: &str, content_type: &str, input: &[u8], hand: &Hand) -> Read {
    let mut decoder = (by_name(framing).unwrap().decoder)(&Opening {
        record_bytes_max: hand.record_bytes_max,
        content_type,
    });
    let mut records = Vec::new();
    let mut own = |record: Record<'_>| {
        records.push((
            record.name.map(<[u8]>::to_vec),
            record.data.unwrap().to_vec(),
        ));
    };
    let mut fault = None;
    'stream: for mut chunk in hand.chunks(input) {
        loop {
            let mut rest = chunk;
            match decoder.next(&mut rest) {
                Ok(Some(record)) => own(record),
                Ok(None) => break,
                Err(error) => {
                    fault = Some(error);
                    break 'stream;
                }
            }
            chunk = &chunk[chunk.len() - rest.len()..];
        }
    }
    while fault.is_none() {
        match decoder.finish(hand.end) {
            Ok(Some(record)) => own(record),
            Ok(None) => break,
            Err(error) => fault = Some(error),
        }
    }
    let verdict = fault.map_or(Verdict::Complete, |error| match error {
        DecodeError::RecordTooLarge { .. } => Verdict::TooLarge,
        DecodeError::Truncated { .. } => Verdict::Truncated,
        DecodeError::BadFraming { .. } => Verdict::Bad,
        DecodeError::Reported { .. } => Verdict::Reported,
        DecodeError::Unended => panic!("no decoder says so"),
    });
    (records, verdict)
}

/// One message as it lies on the wire.
fn encode(framing: &str, (name, data): &Named) -> Vec<u8> {
    match framing {
        "recordio" => [data.len().to_string().as_bytes(), b"\n", data].concat(),
        "length-u32" => [&length(data.len()), &data[..]].concat(),
        "length-varint" => {
            let low = u8::try_from(data.len() % 128).unwrap();
            let high = u8::try_from(data.len() / 128).unwrap();
            [&[low | 0x80, high], &data[..]].concat()
        }
        "aws-eventstream" => {
            let name = name.as_deref().unwrap_or_default();
            message(&header(b":event-type", 7, &sized(name)), data)
        }
        "docker" => frame(name.as_deref().map_or(1, <[u8]>::len), data),
        _ => panic!("no encoder of {framing}"),
    }
}

fn length(bytes: usize) -> [u8; 4] {
    u32::try_from(bytes).unwrap().to_be_bytes()
}

fn sized(value: &[u8]) -> Vec<u8> {
    let bytes = u16::try_from(value.len()).unwrap().to_be_bytes();
    [&bytes, value].concat()
}

fn header(name: &[u8], kind: u8, value: &[u8]) -> Vec<u8> {
    let name_bytes = u8::try_from(name.len()).unwrap();
    [&[name_bytes], name, &[kind], value].concat()
}

fn message(headers: &[u8], payload: &[u8]) -> Vec<u8> {
    let total_bytes = 16 + headers.len() + payload.len();
    let prelude = sealed([length(total_bytes), length(headers.len())].concat());
    sealed([&prelude, headers, payload].concat())
}

/// With the checksum of all of it, so that what it says is looked at.
fn sealed(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes.extend(crc32(&bytes).to_be_bytes());
    bytes
}

fn frame(stream: usize, payload: &[u8]) -> Vec<u8> {
    let stream = u8::try_from(stream % 256).unwrap();
    [&[stream, 0, 0, 0], &length(payload.len())[..], payload].concat()
}

/// Any bytes, and those that hurt: line ends, digits, what looks like a length.
fn payload() -> impl Strategy<Value = Vec<u8>> {
    let hurting = b"\r\n\n019\0\x01\x80\xFFx".to_vec();
    prop_oneof![
        vec(select(hurting), 0..12),
        vec(any::<u8>(), 0..40),
        (0..400_usize).prop_map(|length| vec![b'x'; length]),
    ]
}

/// Headers of an Amazon event stream, right and wrong.
fn headers() -> impl Strategy<Value = Vec<u8>> {
    let names: [&[u8]; 7] = [
        b":message-type",
        b":message-type",
        b":event-type",
        b":exception-type",
        b":error-code",
        b":error-message",
        b"x",
    ];
    let texts: [&[u8]; 5] = [b"event", b"exception", b"error", b"a\n\xFF", b""];
    let string = select(texts.to_vec()).prop_map(|text| (7_u8, sized(text)));
    let fixed = select(vec![
        (0, 0),
        (1, 0),
        (2, 1),
        (3, 2),
        (4, 4),
        (5, 8),
        (8, 8),
        (9, 16),
    ])
    .prop_map(|(kind, length)| (kind, vec![7; length]));
    let odd = (0..12_u8, vec(any::<u8>(), 0..18));
    let value = prop_oneof![8 => string, 2 => fixed, 1 => odd];
    let header = (select(names.to_vec()), value)
        .prop_map(|(name, (kind, value))| header(name, kind, &value));
    vec(header, 0..4).prop_map(|headers| headers.concat())
}

/// A piece of a stream that is right, nearly right, or wrong.
fn piece(framing: &'static str) -> impl Strategy<Value = Vec<u8>> {
    let named = (
        option::of(select(vec![b"a".to_vec(), b"bc".to_vec()])),
        payload(),
    );
    let right = named.prop_map(move |record| encode(framing, &record));
    let odd = match framing {
        "recordio" => prop_oneof![
            "[\r\n]{0,3}[0-9]{1,22}\r{0,2}\n?".prop_map(String::into_bytes),
            "0{0,22}3\r?\nabc".prop_map(String::into_bytes),
        ]
        .boxed(),
        "length-varint" => vec(select(b"\x80\x80\x80\xFF\0\x01".to_vec()), 0..12).boxed(),
        "aws-eventstream" => prop_oneof![
            4 => (headers(), payload()).prop_map(|(headers, payload)| message(&headers, &payload)),
            1 => (0..40_u8, 0..40_u8).prop_map(|(total, headers)| {
                sealed(vec![0, 0, 0, total, 0, 0, 0, headers])
            }),
        ]
        .boxed(),
        "docker" => (0..5_usize, payload())
            .prop_map(|(stream, payload)| frame(stream, &payload))
            .boxed(),
        _ => Just(Vec::new()).boxed(),
    };
    prop_oneof![6 => right, 5 => odd, 1 => vec(any::<u8>(), 0..10)]
}

/// A stream of such pieces, of which a byte may have changed, and the end may be missing.
fn stream(framing: &'static str) -> impl Strategy<Value = Vec<u8>> {
    let change = option::weighted(0.3, (any::<Index>(), 1..=255_u8));
    let cut = option::weighted(0.3, any::<Index>());
    (vec(piece(framing), 0..6), change, cut).prop_map(|(pieces, change, cut)| {
        let mut bytes = pieces.concat();
        if let Some((index, bits)) = change.filter(|_| !bytes.is_empty()) {
            let at = index.index(bytes.len());
            bytes[at] ^= bits;
        }
        if let Some(index) = cut {
            bytes.truncate(index.index(bytes.len() + 1));
        }
        bytes
    })
}

fn any_stream() -> impl Strategy<Value = (&'static str, Vec<u8>)> {
    select(BINARY.to_vec()).prop_flat_map(|framing| (Just(framing), stream(framing)))
}

/// The framings that are read here.
const BINARY: [&str; 5] = [
    "recordio",
    "length-u32",
    "length-varint",
    "aws-eventstream",
    "docker",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn a_naive_reader_says_the_same((framing, input) in any_stream(), hand in hand()) {
        let expected = read(framing, &input, hand.record_bytes_max);
        prop_assert_eq!(decode(framing, "", &input, &hand), expected, "{}", framing);
    }

    #[test]
    fn what_was_written_is_read(
        framing in select(BINARY.to_vec()),
        records in vec((option::of(Just(b"bc".to_vec())), payload()), 0..6),
        hand in hand(),
    ) {
        let hand = Hand { record_bytes_max: 1 << 20, ..hand };
        let input: Vec<u8> = records.iter().flat_map(|record| encode(framing, record)).collect();
        let (got, verdict) = decode(framing, "", &input, &hand);
        prop_assert_eq!(verdict, Verdict::Complete);
        match framing {
            "aws-eventstream" => {
                let expected: Vec<_> = records
                    .into_iter()
                    .map(|(name, data)| (Some(name.unwrap_or_default()), data))
                    .collect();
                prop_assert_eq!(got, expected);
            }
            "docker" => {
                // Of all frames of a stream, the lines.
                for (stream, name) in [(None, b"stdout"), (Some(b"bc".to_vec()), b"stderr")] {
                    let frames = records.iter().filter(|(name, _)| *name == stream);
                    let text: Vec<u8> = frames.flat_map(|(_, data)| data).copied().collect();
                    let mut lines: Vec<_> = text.split(|byte| *byte == b'\n').collect();
                    lines.pop_if(|last| last.is_empty());
                    let lines: Vec<_> = lines
                        .into_iter()
                        .map(|line| line.strip_suffix(b"\r").unwrap_or(line))
                        .collect();
                    let of_stream = got.iter().filter(|(of, _)| of.as_deref() == Some(&name[..]));
                    let of_stream: Vec<_> = of_stream.map(|(_, data)| &data[..]).collect();
                    prop_assert_eq!(of_stream, lines);
                }
            }
            _ => {
                let datas = records.into_iter().map(|(_, data)| data);
                let expected: Vec<_> = datas.filter(|data| !data.is_empty()).collect();
                let got: Vec<_> = got.into_iter().map(|(_, data)| data).collect();
                prop_assert_eq!(got, expected);
            }
        }
    }
}
