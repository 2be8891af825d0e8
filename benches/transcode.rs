//! How fast does a stream turn into events, compared with only looking for its line ends?
//!
//! Each figure is for one 64 KiB chunk of records, as the proxy reads them; `by byte` hands it over in
//! chunks of one. `memchr` scans the very same bytes in the same run, and `tree` reads each record into a
//! `serde_json::Value`, so that the ratios hold on any machine. Criterion's `elem/s` are records: 1 s
//! divided by it is the cost of one.

use std::{hint::black_box, sync::Arc};

use criterion::{
    BenchmarkGroup, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main,
    measurement::WallTime,
};
use serde_json::Value;
use weir::transcode::{
    framing::by_name,
    json::{self, Pointer},
    output::OUTPUTS,
    transcoder::{Transcoder, Turn},
};

/// The whole length of a record's data, in bytes.
const RECORD_BYTES: [usize; 3] = [16, 200, 1024];

const CHUNK_BYTES: usize = 64 * 1024;

/// What a language model's backend sends, piece by piece.
const DELTA: &str = r#"{"model":"deepseek-r1:1.5b","created_at":"2025-07-30T09:45:03.537758Z","message":{"role":"assistant","content":"\n\n"},"done":false}"#;

/// How a framing's records stand in a stream.
struct Wire {
    framing: &'static str,
    /// What opens the stream, and the number of records in it.
    start: (&'static str, u64),
    before: &'static str,
    after: &'static str,
}

/// A chunk of records.
struct Stream {
    chunk: Vec<u8>,
    record: Vec<u8>,
    count: u64,
}

impl Wire {
    const fn new(framing: &'static str, before: &'static str, after: &'static str) -> Self {
        Self {
            framing,
            start: ("", 0),
            before,
            after,
        }
    }

    /// As many records like `record` as fit into a chunk.
    fn stream(&self, record: &str) -> Stream {
        let one = format!("{}{record}{}", self.before, self.after);
        let count = CHUNK_BYTES / one.len();
        Stream {
            chunk: one.repeat(count).into_bytes(),
            record: record.as_bytes().to_vec(),
            count: count as u64,
        }
    }

    fn transcoder(&self) -> Transcoder {
        let from = by_name(self.framing).expect("a framing of the registry");
        let mut transcoder =
            Transcoder::new(&Turn::new(from, OUTPUTS[0], 1 << 20), &Arc::default());
        let mut start = self.start.0.as_bytes();
        let events = transcoder.push(&mut start, &mut Vec::new(), usize::MAX);
        assert_eq!(events, Ok(self.start.1));
        transcoder
    }
}

/// A JSON text of exactly this length.
fn record(bytes: usize) -> String {
    let filler = "x".repeat(bytes - "{\"text\":\"\"}".len());
    format!("{{\"text\":\"{filler}\"}}")
}

/// An event of a watch, with the lists of fields that fill most of it.
fn watch_event() -> String {
    let managed = r#"{"manager":"kubelet","operation":"Update","apiVersion":"v1","time":"2024-01-01T00:00:00Z","fieldsType":"FieldsV1","fieldsV1":{"f:status":{"f:conditions":{"k:{\"type\":\"ContainersReady\"}":{".":{},"f:lastProbeTime":{},"f:status":{},"f:type":{}}},"f:phase":{}}}}"#;
    let managed = [managed; 8].join(",");
    format!(
        r#"{{"type":"ADDED","object":{{"kind":"Pod","apiVersion":"v1","metadata":{{"name":"web-5d","namespace":"default","uid":"c0ffee","labels":{{"app":"web","tier":"front"}},"managedFields":[{managed}],"resourceVersion":"10596"}},"spec":{{"containers":[{{"name":"a","image":"nginx:1.25","ports":[{{"containerPort":80}}]}}]}}}},"last":1}}"#
    )
}

fn scan(input: &[u8]) -> usize {
    memchr::memchr_iter(b'\n', input).fold(0, |sum, at| sum ^ at)
}

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
    records.push(("delta".to_owned(), DELTA.to_owned()));
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

fn tree(text: &[u8]) -> Value {
    serde_json::from_slice(black_box(text)).expect("a JSON text")
}

fn framings(criterion: &mut Criterion) {
    for wire in [
        Wire::new("ndjson", "", "\n"),
        Wire::new("lines", "", "\n"),
        Wire::new("sse", "data: ", "\n\n"),
        Wire::new("chunks", "", " "),
        Wire::new("json", "", ""),
        Wire {
            start: ("[[]", 1),
            ..Wire::new("json-array", ",", "")
        },
        Wire::new("json-seq", "\x1E", "\n"),
    ] {
        framing(criterion, &wire);
    }
}

/// Looks a field up: the bytes are those up to it.
fn lookups(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("pointer");
    let long = format!("{{\"text\":\"{}\",\"done\":true}}", "x".repeat(1000));
    for (name, text, pointer) in [
        ("short", "{\"a\":1,\"done\":1}", "/done"),
        ("delta", DELTA, "/done"),
        ("delta, deep", DELTA, "/message/content"),
        ("watch, first", &watch_event(), "/type"),
        (
            "watch, deep",
            &watch_event(),
            "/object/metadata/resourceVersion",
        ),
        ("long string", &long, "/done"),
    ] {
        let text = text.as_bytes();
        let at = Pointer::parse(pointer).expect("a JSON Pointer");
        let found = json::at(text, &at).expect("a value");
        let before = &text[..found.as_ptr() as usize - text.as_ptr() as usize];
        group.throughput(Throughput::Bytes(before.len() as u64));
        group.bench_function(BenchmarkId::new("at", name), |bencher| {
            bencher.iter(|| black_box(json::at(black_box(text), &at)));
        });
        group.bench_function(BenchmarkId::new("memchr3", name), |bencher| {
            bencher.iter(|| {
                let marks = memchr::memchr3_iter(b'"', b'{', b'}', black_box(before));
                black_box(marks.fold(0, |sum, at| sum ^ at))
            });
        });
        group.bench_function(BenchmarkId::new("tree", name), |bencher| {
            bencher.iter(|| black_box(tree(text).pointer(pointer).is_some()));
        });
    }
    group.finish();
}

criterion_group!(benches, framings, lookups);
criterion_main!(benches);
