//! Can each write be decoded at once, by those who did not write the encoders?

use super::*;
use crate::transcode::inflate::Inflater;

/// Who reads one stream, byte by byte as it comes.
struct Reader(Inflater);

impl Reader {
    fn of(coding: Coding) -> Self {
        Self(Inflater::for_coding(coding.name()).unwrap())
    }

    /// What can be told from all that has come until now.
    fn read(&mut self, mut coded: &[u8]) -> Vec<u8> {
        let mut plain = Vec::new();
        loop {
            let before = plain.len();
            self.0
                .push(&mut coded, &mut plain, before + 64 * 1024)
                .unwrap();
            if plain.len() == before {
                return plain;
            }
        }
    }
}

fn press() -> Rc<Press> {
    Rc::new(Press::new(Budget::new(usize::MAX)))
}

/// What writes look like: events that repeat themselves, heartbeats, and what comes in bursts.
fn writes() -> Vec<Vec<u8>> {
    let mut random = fastrand::Rng::with_seed(1);
    let mut noise = |length| -> Vec<u8> {
        let bytes = std::iter::repeat_with(|| random.u8(..));
        bytes.take(length).collect()
    };
    let event = |n: usize| {
        let words = ["weir", "water", "dam"][n % 3].repeat(n % 7);
        format!("data: {{\"n\":{n},\"text\":\"{words}\"}}\n\n").into_bytes()
    };
    let mut writes: Vec<Vec<u8>> = (0..300).map(event).collect();
    writes.insert(0, b":\n".to_vec());
    writes.push(b":\n".to_vec());
    writes.push(noise(1));
    writes.push((0..2000).flat_map(event).collect());
    writes.push(noise(100_000));
    writes.push(event(1));
    writes.push(vec![b'x'; 300_000]);
    writes.extend([1023, 1024, 1025, 4095, 4096, 4097, 32_768].map(&mut noise));
    writes.extend((0..10).map(event));
    writes
}

#[test]
fn each_write_can_be_decoded_at_once() {
    for coding in CODINGS {
        for window_log in WINDOW_LOG_MIN..=WINDOW_LOG_MAX {
            let mut compressor = press().compressor(coding, window_log).unwrap();
            let mut reader = Reader::of(coding);
            for (number, plain) in writes().iter().enumerate() {
                let mut out = b"before".to_vec();
                out.extend_from_slice(plain);
                compressor.flush(&mut out, 6);
                assert!(out.starts_with(b"before"));
                let read = reader.read(&out[6..]);
                assert!(read == *plain, "{coding:?} {window_log} {number}");
                assert!(!reader.0.is_finished(), "a cut would look whole");
            }
            let mut out = b"data: last\n\n".to_vec();
            compressor.finish(&mut out, 0);
            assert_eq!(reader.read(&out), b"data: last\n\n");
            assert!(reader.0.is_finished(), "{coding:?} {window_log}");
        }
    }
}

#[test]
fn an_end_needs_no_bytes_before_it() {
    for coding in CODINGS {
        for plain in [&b""[..], b"data: 1\n\n"] {
            let mut compressor = press().compressor(coding, 12).unwrap();
            let (mut reader, mut out) = (Reader::of(coding), Vec::new());
            if !plain.is_empty() {
                out.extend_from_slice(plain);
                compressor.flush(&mut out, 0);
            }
            let start = out.len();
            compressor.finish(&mut out, start);
            assert!(out.len() > start, "{coding:?}");
            assert_eq!(reader.read(&out), plain);
            assert!(reader.0.is_finished(), "{coding:?}");
        }
    }
}

/// The streams of a thread write in turn through what they share, and must not refer to one another.
#[test]
fn streams_in_turn_are_decoded_alone() {
    let press = press();
    let mut streams: Vec<_> = [
        Coding::Gzip,
        Coding::Gzip,
        Coding::Zstd,
        Coding::Brotli,
        Coding::Gzip,
    ]
    .map(|coding| (press.compressor(coding, 12).unwrap(), Reader::of(coding)))
    .into();
    // Each stream writes what the one before it wrote in the round before, and has not seen it itself.
    for round in 10..110 {
        for (number, (compressor, reader)) in streams.iter_mut().enumerate() {
            let mut random = fastrand::Rng::with_seed(round - number as u64);
            let length = if random.bool() { 100 } else { 3000 };
            let plain: Vec<u8> = std::iter::repeat_with(|| random.u8(b'a'..=b'z'))
                .take(length)
                .collect();
            let mut out = plain.clone();
            compressor.flush(&mut out, 0);
            assert!(reader.read(&out) == plain, "{round} {number}");
        }
    }
}

#[test]
fn repeated_events_become_short() {
    for coding in CODINGS {
        let mut compressor = press().compressor(coding, 12).unwrap();
        let mut lengths = (0..100).map(|number| {
            let mut out = format!(
                "data: {{\"model\":\"llama3.2\",\"created_at\":\"2026-01-01T00:00:00.{number:03}Z\",\
                 \"message\":{{\"role\":\"assistant\",\"content\":\" {number}\"}},\"done\":false}}\n\n"
            )
            .into_bytes();
            compressor.flush(&mut out, 0);
            out.len()
        });
        assert!(lengths.next().unwrap() < 180, "{coding:?}");
        assert!(lengths.all(|length| length < 50), "{coding:?}");
    }
}

#[test]
fn a_stream_holds_what_its_grant_says() {
    for window_log in WINDOW_LOG_MIN..=WINDOW_LOG_MAX {
        let mut zstd = Zstd::new(window_log).unwrap();
        let mut gzip = Gzip::new(window_log, Rc::default());
        for plain in writes() {
            zstd.write(&plain, Step::Flush, &mut Vec::new());
            gzip.write(&plain, Step::Flush, &mut Vec::new());
        }
        let (held, cost) = (zstd.held_bytes(), Coding::Zstd.cost_bytes(window_log));
        assert!(held <= cost && held > cost * 3 / 4, "{window_log} {held}");
        let (held, cost) = (gzip.held_bytes(), Coding::Gzip.cost_bytes(window_log));
        assert!(held <= cost && held > cost / 2, "{window_log} {held}");
    }
}

#[test]
fn the_budget_is_what_all_streams_hold_together() {
    for coding in CODINGS {
        let cost = coding.cost_bytes(12);
        let budget = Budget::new(2 * cost);
        let [one, other] = [(); 2].map(|()| Rc::new(Press::new(Arc::clone(&budget))));
        let first = one.compressor(coding, 12).unwrap();
        let second = other.compressor(coding, 12).unwrap();
        assert!(one.compressor(coding, 12).is_none(), "{coding:?}");
        drop(first);
        assert_eq!(budget.granted_bytes(), cost);
        second.finish(&mut Vec::new(), 0);
        assert_eq!(budget.granted_bytes(), 0);
    }
}
