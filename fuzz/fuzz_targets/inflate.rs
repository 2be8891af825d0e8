//! Is a content coding undone the same however it is cut, within its bound, and at every flush of ours?
#![no_main]

use std::rc::Rc;

use arbitrary::Arbitrary;
use libfuzzer_sys::{fuzz_mutator, fuzz_target};
use weir::transcode::{
    compress::{Budget, Coding, Compressor, Press, WINDOW_LOG_MAX},
    framing::sse,
    inflate::Inflater,
};
use weir_fuzz::{hand::Hand, seed};

#[derive(Debug, Arbitrary)]
struct Case<'a> {
    hand: Hand,
    coding: u8,
    /// Whether the body is still to be coded.
    is_plain: bool,
    body: &'a [u8],
}

/// What came of one body.
#[derive(Debug, PartialEq, Eq)]
struct Outcome {
    plain: Vec<u8>,
    is_finished: bool,
    is_broken: bool,
}

fuzz_target!(|case: Case<'_>| {
    let name = NAMES[usize::from(case.coding) % NAMES.len()];
    let pieces = case.hand.pieces(case.body);
    match Coding::by_name(name) {
        Some(coding) if case.is_plain => check_flushes(coding, &pieces),
        _ => check_cut(name, case.body, &pieces, case.hand.out_bytes_max()),
    }
});

fuzz_mutator!(
    |data: &mut [u8], size: usize, max_size: usize, noise: u32| {
        seed::mutate(data, size, max_size, noise, |number| {
            let coding = number % NAMES.len();
            let mut head = [0xFF; Hand::BYTES + 2];
            head[Hand::BYTES..].copy_from_slice(&[u8::try_from(coding).expect("few codings"), 0]);
            [&head[..], &coded(NAMES[coding])].concat()
        })
    }
);

/// However the body is cut, the same comes of it.
fn check_cut(name: &str, body: &[u8], pieces: &[&[u8]], out_bytes_max: usize) {
    let whole = undo(name, &[body], usize::MAX);
    let cut = undo(name, pieces, out_bytes_max);
    let plain_bytes = whole.plain.len().min(cut.plain.len());
    assert_eq!(whole.plain[..plain_bytes], cut.plain[..plain_bytes]);
    // Of what is broken, or too much, how far it was read is nobody's business.
    if plain_bytes < PLAIN_BYTES_MAX {
        assert_eq!(cut.is_broken, whole.is_broken);
        assert!(cut.is_broken || cut == whole);
    }
}

/// What is flushed can be undone as soon as it has come.
fn check_flushes(coding: Coding, pieces: &[&[u8]]) {
    let mut compressor = compressor(coding);
    let mut inflater = Inflater::for_coding(coding.name()).expect("our own coding");
    for piece in pieces {
        let (mut coded, mut plain) = (piece.to_vec(), Vec::new());
        compressor.flush(&mut coded, 0);
        let undone = inflater.push(&mut &coded[..], &mut plain, usize::MAX);
        assert!(undone.is_ok() && plain == *piece && !inflater.is_finished());
    }
    let (mut coded, mut plain) = (Vec::new(), Vec::new());
    compressor.finish(&mut coded, 0);
    let undone = inflater.push(&mut &coded[..], &mut plain, usize::MAX);
    assert!(undone.is_ok() && plain.is_empty() && inflater.is_finished());
}

fn compressor(coding: Coding) -> Compressor {
    let press = Rc::new(Press::new(Budget::new(usize::MAX)));
    press
        .compressor(coding, WINDOW_LOG_MAX)
        .expect("room enough")
}

/// Undoes a coding piece by piece, as far as the bound on all of it.
fn undo(name: &str, pieces: &[&[u8]], out_bytes_max: usize) -> Outcome {
    let mut inflater = Inflater::for_coding(name).expect("a coding that there is");
    let mut outcome = Outcome {
        plain: Vec::new(),
        is_finished: false,
        is_broken: false,
    };
    for mut piece in pieces.iter().copied() {
        let mut is_full = false;
        while (is_full || !piece.is_empty()) && outcome.plain.len() < PLAIN_BYTES_MAX {
            let out_bytes_max = out_bytes_max.min(PLAIN_BYTES_MAX);
            let (before, mut out) = (piece.len(), Vec::new());
            let result = inflater.push(&mut piece, &mut out, out_bytes_max);
            assert!(out.len() <= out_bytes_max);
            outcome.plain.extend_from_slice(&out);
            if result.is_err() {
                outcome.is_broken = true;
                return outcome;
            }
            is_full = out.len() == out_bytes_max;
            assert!(is_full || piece.is_empty());
            assert!(
                piece.len() < before || !out.is_empty() || before == 0,
                "no progress"
            );
        }
    }
    outcome.is_finished = inflater.is_finished();
    outcome
}

/// A sound body, in two flushes.
fn coded(name: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let Some(coding) = Coding::by_name(name) else {
        return DEFLATED.to_vec();
    };
    let mut compressor = compressor(coding);
    out.extend_from_slice(sse::FRAMING.sample);
    compressor.flush(&mut out, 0);
    let end = out.len();
    out.extend_from_slice(sse::FRAMING.sample);
    compressor.finish(&mut out, end);
    out
}

const NAMES: [&str; 4] = ["gzip", "br", "zstd", "deflate"];
/// "hello\n" and "hello\n" in the zlib format (RFC 1950), with a flush in between.
const DEFLATED: &[u8] = b"x\xda\xcaH\xcd\xc9\xc9\xe7\x02\0\0\0\xff\xff\xcb\0\x93\0\x1dJ\x04=";
/// How much is undone of one body.
const PLAIN_BYTES_MAX: usize = 1 << 20;
