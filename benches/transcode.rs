//! How fast does a stream turn into events, compared with only looking for its line ends?
//!
//! Each figure is for one 64 KiB chunk of records, as the proxy reads them. `memchr` scans the very
//! same bytes in the same run, so that the ratio holds on any machine. Criterion's `elem/s` are
//! records: 1 s divided by it is the cost of one.

use std::{hint::black_box, sync::Arc};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use weir::transcode::{
    framing::by_name,
    output::OUTPUTS,
    transcoder::{Transcoder, Turn},
};

/// The whole length of a record's data, in bytes.
const RECORD_BYTES: [usize; 3] = [16, 200, 1024];

const CHUNK_BYTES: usize = 64 * 1024;

/// A JSON text of exactly this length.
fn record(bytes: usize) -> Vec<u8> {
    let filler = "x".repeat(bytes - "{\"text\":\"\"}".len());
    format!("{{\"text\":\"{filler}\"}}").into_bytes()
}

/// As many records as fit into a chunk, and how many.
fn stream(before: &[u8], record_bytes: usize, after: &[u8]) -> (Vec<u8>, u64) {
    let one = [before, &record(record_bytes), after].concat();
    let count = CHUNK_BYTES / one.len();
    (one.repeat(count), count as u64)
}

fn scan(input: &[u8]) -> usize {
    memchr::memchr_iter(b'\n', input).fold(0, |sum, at| sum ^ at)
}

fn turn(criterion: &mut Criterion, framing: &str, before: &[u8], after: &[u8]) {
    let units: &[&str] = if framing == "chunks" {
        &["bytes"]
    } else {
        &["bytes", "records"]
    };
    for unit in units {
        let mut group = criterion.benchmark_group(format!("{framing}/{unit}"));
        for record_bytes in RECORD_BYTES {
            let (input, count) = stream(before, record_bytes, after);
            group.throughput(match *unit {
                "bytes" => Throughput::Bytes(input.len() as u64),
                _ => Throughput::Elements(count),
            });
            let from = by_name(framing).expect("a framing of the registry");
            let mut transcoder =
                Transcoder::new(&Turn::new(from, OUTPUTS[0], 1 << 20), &Arc::default());
            let mut out = Vec::new();
            group.bench_function(BenchmarkId::new("events", record_bytes), |bencher| {
                bencher.iter(|| {
                    out.clear();
                    let mut rest = black_box(input.as_slice());
                    let events = transcoder.push(&mut rest, &mut out, usize::MAX);
                    assert!(framing == "chunks" || events == Ok(count));
                    black_box(&out);
                });
            });
            group.bench_function(BenchmarkId::new("memchr", record_bytes), |bencher| {
                bencher.iter(|| black_box(scan(black_box(&input))));
            });
        }
        group.finish();
    }
}

fn framings(criterion: &mut Criterion) {
    turn(criterion, "ndjson", b"", b"\n");
    turn(criterion, "lines", b"", b"\n");
    turn(criterion, "sse", b"data: ", b"\n\n");
    turn(criterion, "chunks", b"", b" ");
}

criterion_group!(benches, framings);
criterion_main!(benches);
