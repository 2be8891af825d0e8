//! Does a small reply that unpacks to a GiB stay in its bounds?
//!
//! Apart from the other tests of `inflate`, which must not read files, because it asks the system
//! how much memory the process has.

use std::{env, process::Command};

use compression_codecs::{
    BrotliEncoder, EncodeV2, GzipEncoder, ZstdEncoder, brotli::params::EncoderParams,
};
use compression_core::{Level, util::PartialBuffer};
use weir::transcode::inflate::Inflater;

use crate::support::coded::drain;

fn bomb(encoder: &mut dyn EncodeV2) -> Vec<u8> {
    let plain = vec![b'x'; 1 << 20];
    let mut coded = Vec::new();
    for _ in 0..BOMB_MIB {
        let mut plain = PartialBuffer::new(plain.as_slice());
        coded.extend(drain(|room| {
            encoder.encode(&mut plain, room).unwrap();
            plain.unwritten().is_empty()
        }));
    }
    coded.extend(drain(|room| encoder.finish(room).unwrap()));
    coded
}

/// Runs `test` again in a process of its own, where nobody else holds memory, and there undoes a bomb.
fn check(test: &str, coding: &str, encoder: &mut dyn EncodeV2) {
    if env::var_os(IS_ALONE).is_some() {
        return undo(coding, encoder);
    }
    let output = Command::new(env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(IS_ALONE, "")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let is_run = said.contains("1 passed");
    assert!(
        output.status.success() && is_run,
        "{said}{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

fn undo(coding: &str, encoder: &mut dyn EncodeV2) {
    let coded = bomb(encoder);
    let mut inflater = Inflater::for_coding(coding).unwrap();
    let (mut input, mut out, mut plain_bytes) = (coded.as_slice(), Vec::new(), 0_u64);
    let before = resident_kib();
    for push in 0_u64.. {
        out.clear();
        inflater.push(&mut input, &mut out, OUT_BYTES_MAX).unwrap();
        assert!(out.len() <= OUT_BYTES_MAX);
        assert!(out.capacity() <= 2 * OUT_BYTES_MAX);
        plain_bytes += out.len() as u64;
        if push.is_multiple_of(PUSHES_A_LOOK) {
            let grown = resident_kib().saturating_sub(before);
            assert!(
                grown < GROWTH_KIB_MAX,
                "{coding}: {grown} KiB after {plain_bytes} bytes"
            );
        }
        if out.len() < OUT_BYTES_MAX {
            break;
        }
    }
    assert!(input.is_empty() && inflater.is_finished());
    assert_eq!(plain_bytes, BOMB_MIB << 20);
}

/// What the process holds in memory; 0 where the system does not tell.
fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok())
        .unwrap_or(0)
}

#[test]
fn a_gzip_bomb() {
    check(
        "bombs::a_gzip_bomb",
        "gzip",
        &mut GzipEncoder::new(Level::Fastest.into()),
    );
}

#[test]
fn a_brotli_bomb() {
    check(
        "bombs::a_brotli_bomb",
        "br",
        &mut BrotliEncoder::new(EncoderParams::default().quality(Level::Fastest)),
    );
}

#[test]
fn a_zstd_bomb() {
    check("bombs::a_zstd_bomb", "zstd", &mut ZstdEncoder::new(1));
}

const OUT_BYTES_MAX: usize = 64 * 1024;

const BOMB_MIB: u64 = 1024;

/// The largest window of these senders (brotli's 4 MiB) several times over, and far below a GiB.
const GROWTH_KIB_MAX: u64 = 16 << 10;

/// How many pushes lie between two looks at the memory.
const PUSHES_A_LOOK: u64 = 64;

/// Set in the process that has one test to itself.
const IS_ALONE: &str = "WEIR_TEST_IS_ALONE";
