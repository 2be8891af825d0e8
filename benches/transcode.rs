//! How fast does a stream turn into events, compared with only looking for its line ends?
//!
//! Each figure is for one 64 KiB chunk of records, as the proxy reads them; `by byte` hands it over in
//! chunks of one. `memchr` scans the very same bytes in the same run, and `tree` reads each record into a
//! `serde_json::Value`, so that the ratios hold on any machine. Criterion's `elem/s` are records: 1 s
//! divided by it is the cost of one.

#[path = "streams/wire.rs"]
mod wire;

use std::hint::black_box;

use criterion::{
    BenchmarkGroup, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main,
    measurement::WallTime,
};
use weir::transcode::json::{self, Pointer};

use self::wire::{
    CHUNK_BYTES, RECORD_BYTES, Stream, Wire, lookups_of, record, scan, scan_json, tree, wires,
};

/// Turns the chunk in pieces of that many bytes.
fn turn(
    wire: &Wire,
    stream: &Stream,
    piece_bytes: usize,
    group: &mut BenchmarkGroup<'_, WallTime>,
    id: BenchmarkId,
) {
    let (mut transcoder, mut out) = (wire.transcoder(), Vec::new());
    let is_counted = wire.framing != "chunks";
    group.bench_function(id, |bencher| {
        bencher.iter(|| {
            out.clear();
            let mut events = 0;
            for mut piece in black_box(&stream.chunk[..]).chunks(piece_bytes) {
                let turned = transcoder.push(&mut piece, &mut out, usize::MAX);
                events += turned.expect("whole records");
            }
            assert!(!is_counted || events == stream.count);
            black_box(&out);
        });
    });
}

fn framing(criterion: &mut Criterion, wire: &Wire) {
    let units: &[&str] = if wire.framing == "chunks" {
        &["bytes"]
    } else {
        &["bytes", "records"]
    };
    let mut records: Vec<_> = RECORD_BYTES
        .iter()
        .map(|bytes| (bytes.to_string(), record(*bytes)))
        .collect();
    records.push(("delta".to_owned(), wire::DELTA.to_owned()));
    for unit in units {
        let mut group = criterion.benchmark_group(format!("{}/{unit}", wire.framing));
        for (name, record) in &records {
            let stream = wire.stream(record);
            group.throughput(match *unit {
                "bytes" => Throughput::Bytes(stream.chunk.len() as u64),
                _ => Throughput::Elements(stream.count),
            });
            let id = |what| BenchmarkId::new(what, name);
            turn(wire, &stream, CHUNK_BYTES, &mut group, id("events"));
            if *unit == "bytes" {
                turn(wire, &stream, 1, &mut group, id("by byte"));
                group.bench_function(id("memchr"), |bencher| {
                    bencher.iter(|| black_box(scan(black_box(&stream.chunk))));
                });
                group.bench_function(id("tree"), |bencher| {
                    bencher.iter(|| {
                        for _ in 0..stream.count {
                            black_box(tree(&stream.record));
                        }
                    });
                });
            }
        }
        group.finish();
    }
}

fn framings(criterion: &mut Criterion) {
    for wire in wires() {
        framing(criterion, &wire);
    }
}

/// Looks a field up: the bytes are those up to it.
fn lookups(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("pointer");
    for (name, text, pointer) in lookups_of() {
        let text = text.as_bytes();
        let at = Pointer::parse(pointer).expect("a JSON Pointer");
        let found = json::at(text, &at).expect("a value");
        let before = &text[..found.as_ptr() as usize - text.as_ptr() as usize];
        group.throughput(Throughput::Bytes(before.len() as u64));
        group.bench_function(BenchmarkId::new("at", name), |bencher| {
            bencher.iter(|| black_box(json::at(black_box(text), &at)));
        });
        group.bench_function(BenchmarkId::new("memchr3", name), |bencher| {
            bencher.iter(|| black_box(scan_json(black_box(before))));
        });
        group.bench_function(BenchmarkId::new("tree", name), |bencher| {
            bencher.iter(|| black_box(tree(text).pointer(pointer).is_some()));
        });
    }
    group.finish();
}

criterion_group!(benches, framings, lookups);
criterion_main!(benches);
