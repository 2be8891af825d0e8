//! What do the tests of all framings share?

use super::{DecodeError, Decoder, EndOfInput, FRAMINGS, Framing, Opening};

/// A record that owns its bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Owned {
    pub(super) data: Option<Vec<u8>>,
    pub(super) name: Option<Vec<u8>>,
    pub(super) id: Option<Vec<u8>>,
    pub(super) retry_ms: Option<u64>,
}

/// All that a decoder said of one stream.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Outcome {
    pub(super) records: Vec<Owned>,
    pub(super) error: Option<DecodeError>,
}

impl Outcome {
    pub(super) fn datas(&self) -> Vec<&[u8]> {
        let datas = self.records.iter();
        datas.filter_map(|record| record.data.as_deref()).collect()
    }
}

/// A decoder as for the framing's sample.
pub(super) fn open(framing: &Framing, record_bytes_max: usize) -> Box<dyn Decoder> {
    (framing.decoder)(&Opening {
        record_bytes_max,
        content_type: framing.sample_content_type,
    })
}

/// Decodes `chunks` to the end or the first fault.
pub(super) fn decode(
    framing: &Framing,
    chunks: &[&[u8]],
    end: EndOfInput,
    record_bytes_max: usize,
) -> Outcome {
    let mut decoder = open(framing, record_bytes_max);
    let mut outcome = Outcome::default();
    let mut own = |record: super::Record<'_>| {
        outcome.records.push(Owned {
            data: record.data.map(<[u8]>::to_vec),
            name: record.name.map(<[u8]>::to_vec),
            id: record.id.map(<[u8]>::to_vec),
            retry_ms: record.retry_ms,
        });
    };
    for chunk in chunks {
        let mut chunk = *chunk;
        loop {
            let mut rest = chunk;
            match decoder.next(&mut rest) {
                Ok(Some(record)) => own(record),
                Ok(None) => {
                    assert!(rest.is_empty(), "None means that all is taken");
                    break;
                }
                Err(error) => {
                    outcome.error = Some(error);
                    return outcome;
                }
            }
            chunk = &chunk[chunk.len() - rest.len()..];
        }
        // A CR counts towards a line until it is known to end it.
        assert!(decoder.carried_bytes() <= carried_bytes_max(framing, record_bytes_max));
    }
    for count in 0.. {
        match decoder.finish(end) {
            Ok(Some(record)) => own(record),
            Ok(None) => break,
            Err(error) => {
                outcome.error = Some(error);
                return outcome;
            }
        }
        assert!(count < FINISH_RECORDS_MAX, "{framing:?} finds no end");
    }
    outcome
}

/// Cuts `input` into chunks of these lengths, over and over.
pub(super) fn cut<'a>(mut input: &'a [u8], lengths: &[usize]) -> Vec<&'a [u8]> {
    let mut chunks = Vec::new();
    for length in lengths.iter().cycle() {
        if input.is_empty() {
            break;
        }
        let (chunk, rest) = input.split_at(input.len().min(*length));
        chunks.push(chunk);
        input = rest;
    }
    chunks
}

/// Decodes `input` whole and in every cut, to these records.
pub(super) fn whole(framing: &Framing, input: &[u8], records: &[&[u8]]) {
    let outcome = decode(framing, &[input], EndOfInput::Verified, 1000);
    assert_eq!(outcome.error, None, "{}", input.escape_ascii());
    assert_eq!(outcome.datas(), records, "{}", input.escape_ascii());
    for end in [EndOfInput::Verified, EndOfInput::Unverified] {
        every_split(framing, input, end, 1000);
    }
}

/// Decodes `input` cut at every byte, at every pair of bytes, and byte by byte, to the same outcome.
pub(super) fn every_split(framing: &Framing, input: &[u8], end: EndOfInput, max: usize) {
    let expected = decode(framing, &[input], end, max);
    let check = |chunks: &[&[u8]]| {
        let outcome = decode(framing, chunks, end, max);
        if framing.name == "chunks" {
            assert_eq!(outcome.datas().concat(), expected.datas().concat());
        } else {
            assert_eq!(outcome, expected, "{} {chunks:?}", framing.name);
        }
    };
    for first in 0..=input.len() {
        check(&[&input[..first], &input[first..]]);
        let lasts = if input.len() <= PAIRS_BYTES_MAX {
            first..=input.len()
        } else {
            first..=first
        };
        for last in lasts {
            check(&[&input[..first], &input[first..last], &input[last..]]);
        }
    }
    check(&input.chunks(1).collect::<Vec<_>>());
}

/// Each chunk completes so many records at once, not with the next chunk.
pub(super) fn prompt(framing: &Framing, chunks: &[(&[u8], usize)]) {
    let mut decoder = open(framing, 1000);
    for (chunk, expected) in chunks {
        let counted = count(&mut *decoder, chunk);
        assert_eq!(counted, *expected, "{}", chunk.escape_ascii());
    }
}

/// Hands over a chunk, and counts the records it completes.
pub(super) fn count(decoder: &mut dyn Decoder, mut chunk: &[u8]) -> usize {
    for counted in 0.. {
        let mut rest = chunk;
        if decoder.next(&mut rest).expect("a sound stream").is_none() {
            return counted;
        }
        chunk = &chunk[chunk.len() - rest.len()..];
    }
    unreachable!("a chunk has an end")
}

/// A record at the limit passes between `before` and `after`, and one byte more is refused as soon as
/// it has come, in every cut.
pub(super) fn limit(framing: &Framing, before: &[u8], after: &[u8]) {
    limit_of(framing, before, |length| vec![b'x'; length], after);
}

/// The same for records that `record` makes, of any length.
pub(super) fn limit_of(
    framing: &Framing,
    before: &[u8],
    record: impl Fn(usize) -> Vec<u8>,
    after: &[u8],
) {
    let end = EndOfInput::Verified;
    for max in [3, 64] {
        let fits = record(max);
        let input = [before, &fits, after].concat();
        let outcome = decode(framing, &[&input], end, max);
        assert_eq!(outcome.error, None, "{before:?} {after:?}");
        assert_eq!(outcome.datas().last(), Some(&&fits[..]));
        every_split(framing, &input, end, max);

        let long = [before, &record(max + 1)].concat();
        // Unverified, where the end of the input would otherwise be what finds it out.
        let outcome = decode(framing, &[&long], EndOfInput::Unverified, max);
        let error = DecodeError::RecordTooLarge {
            record_bytes_max: max,
        };
        assert_eq!(outcome.error, Some(error), "without its end already");
        every_split(framing, &long, end, max);
        every_split(framing, &[&long, after].concat(), end, max);
    }
}

/// The bytes break this rule of the framing's, in every cut and whatever follows.
pub(super) fn refused(framing: &Framing, input: &[u8], reason: &'static str) {
    let error = DecodeError::BadFraming {
        framing: framing.name,
        reason,
    };
    fails(framing, input, 1000, &error);
    fails(framing, &[input, b"\n1\n"].concat(), 1000, &error);
}

/// The bytes prove by themselves that a record is longer than `max`, in every cut.
pub(super) fn too_large(framing: &Framing, input: &[u8], max: usize) {
    let error = DecodeError::RecordTooLarge {
        record_bytes_max: max,
    };
    fails(framing, input, max, &error);
}

fn fails(framing: &Framing, input: &[u8], max: usize, error: &DecodeError) {
    for end in [EndOfInput::Verified, EndOfInput::Unverified] {
        let outcome = decode(framing, &[input], end, max);
        assert_eq!(
            outcome.error.as_ref(),
            Some(error),
            "{}",
            input.escape_ascii()
        );
        every_split(framing, input, end, max);
    }
}

/// A record as long as its limit passes, and one byte more is refused by its length alone; `head` is
/// what stands before a record of so many bytes.
pub(super) fn prefixed_limit(framing: &Framing, head: impl Fn(usize) -> Vec<u8>) {
    for max in [1, 3, 64, 300] {
        let fits = vec![b'x'; max];
        let input = [head(max), fits.clone()].concat();
        let outcome = decode(framing, &[&input], EndOfInput::Verified, max);
        assert_eq!(outcome.error, None);
        assert_eq!(outcome.datas(), [&fits[..]]);
        every_split(framing, &input, EndOfInput::Verified, max);
        too_large(framing, &head(max + 1), max);
        too_large(framing, &[&input, &head(max + 1)[..]].concat(), max);
    }
}

/// Ends the input at every byte, surely or not. `messages` are each a piece of the stream and the
/// records in it: of those that are whole they come, and what is not whole is truncated.
pub(super) fn cut_off(framing: &Framing, messages: &[(&[u8], &[&[u8]])]) {
    let input: Vec<u8> = messages
        .iter()
        .flat_map(|(wire, _)| *wire)
        .copied()
        .collect();
    for length in 0..=input.len() {
        let (mut whole_bytes, mut records) = (0, Vec::new());
        for (wire, datas) in messages {
            if whole_bytes + wire.len() > length {
                break;
            }
            whole_bytes += wire.len();
            records.extend_from_slice(datas);
        }
        let error = (whole_bytes < length).then_some(DecodeError::Truncated {
            framing: framing.name,
            carried_bytes: length - whole_bytes,
        });
        for end in [EndOfInput::Verified, EndOfInput::Unverified] {
            let outcome = decode(framing, &[&input[..length]], end, 1000);
            assert_eq!(outcome.error, error, "after {length} bytes");
            assert_eq!(outcome.datas(), records, "after {length} bytes");
            every_split(framing, &input[..length], end, 1000);
        }
    }
}

/// After these chunks nothing is carried.
pub(super) fn idle(framing: &Framing, chunks: &[&[u8]]) {
    let mut decoder = open(framing, 1000);
    for chunk in chunks {
        count(&mut *decoder, chunk);
    }
    assert_eq!(decoder.carried_bytes(), 0);
}

#[test]
fn every_sample_gives_its_records() {
    for framing in FRAMINGS {
        let outcome = decode(framing, &[framing.sample], EndOfInput::Verified, 1 << 20);
        assert_eq!(outcome.error, None, "{framing:?}");
        assert_eq!(outcome.datas(), framing.sample_records, "{framing:?}");
    }
}

#[test]
fn every_split_of_every_sample_gives_the_same_records() {
    for framing in FRAMINGS {
        for end in [EndOfInput::Verified, EndOfInput::Unverified] {
            every_split(framing, framing.sample, end, 1 << 20);
        }
    }
}

#[test]
fn every_start_of_every_sample_comes_to_an_end() {
    for framing in FRAMINGS {
        for length in 0..framing.sample.len() {
            for end in [EndOfInput::Verified, EndOfInput::Unverified] {
                decode(framing, &[&framing.sample[..length]], end, 1 << 20);
            }
        }
    }
}

#[test]
fn every_sample_is_refused_the_same_at_every_limit() {
    for framing in FRAMINGS.iter().filter(|framing| framing.name != "chunks") {
        for max in 0..framing.sample.len() {
            let by_byte = framing.sample.chunks(1).collect::<Vec<_>>();
            assert_eq!(
                decode(framing, &by_byte, EndOfInput::Verified, max),
                decode(framing, &[framing.sample], EndOfInput::Verified, max),
                "{framing:?} {max}"
            );
        }
    }
}

/// How much a decoder may carry.
fn carried_bytes_max(framing: &Framing, record_bytes_max: usize) -> usize {
    match framing.name {
        // A length of twenty digits and its CR LF.
        "recordio" => record_bytes_max + 22,
        // A message's headers, lengths and checksums.
        "aws-eventstream" => record_bytes_max + (128 << 10) + 16,
        // A line, with a CR, of each stream, and a frame's header.
        "docker" => 4 * (record_bytes_max + 1) + 8,
        // A delimiter behind a body, or a head.
        "multipart" => record_bytes_max + (16 << 10),
        // A head, and the end that may be longer than a record.
        "grpc-web" | "connect" => record_bytes_max.max(16 << 10) + 5,
        // A field's name, a CR, the start of a BOM, a length.
        _ => record_bytes_max + 10,
    }
}

/// More records than any of these streams leaves to its end.
const FINISH_RECORDS_MAX: usize = 8;

/// Inputs up to this length are cut at every pair of bytes.
const PAIRS_BYTES_MAX: usize = 64;
