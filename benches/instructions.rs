//! How many instructions does the transcoder take, and is that still within its limit?
//!
//! Counted by Valgrind's Callgrind, so the figures are the same whatever else the machine does: a limit
//! that is passed is a change of ours, or of the compiler's. Each case turns 64 KiB of records, unless
//! it says otherwise. Whoever makes the transcoder leaner lowers the limits here.

#![allow(missing_docs, reason = "the macros make modules that cannot carry any")]

use std::{hint::black_box, sync::Arc};

use gungraun::{
    Callgrind, EventKind, LibraryBenchmarkConfig, library_benchmark, library_benchmark_group, main,
};
use weir::transcode::{
    framing::by_name,
    json::{self, Pointer},
    output::OUTPUTS,
    transcoder::{Transcoder, Turn},
};

/// How much one case turns, in bytes.
const INPUT_BYTES: usize = 64 * 1024;

struct Case {
    transcoder: Transcoder,
    input: Vec<u8>,
    /// As large as it gets, so that growing is not counted.
    out: Vec<u8>,
}

/// Records of `record_bytes` each, between `before` and `after`.
fn case(framing: &str, record_bytes: usize, before: &str, after: &str) -> Case {
    let filler = "x".repeat(record_bytes - "{\"text\":\"\"}".len());
    let one = format!("{before}{{\"text\":\"{filler}\"}}{after}");
    let from = by_name(framing).expect("a framing of the registry");
    Case {
        transcoder: Transcoder::new(&Turn::new(from, OUTPUTS[0], 1 << 20), &Arc::default()),
        input: one.repeat(INPUT_BYTES / one.len()).into_bytes(),
        out: Vec::with_capacity(4 * INPUT_BYTES),
    }
}

fn ndjson(record_bytes: usize) -> Case {
    case("ndjson", record_bytes, "", "\n")
}

fn lines(record_bytes: usize) -> Case {
    case("lines", record_bytes, "", "\n")
}

fn sse(record_bytes: usize) -> Case {
    case("sse", record_bytes, "data: ", "\n\n")
}

fn json(record_bytes: usize) -> Case {
    case("json", record_bytes, "", "")
}

/// Records in several lines, which go out in one.
fn json_lines(record_bytes: usize) -> Case {
    case("json", record_bytes, "{\n  \"a\": ", "\n}\n")
}

fn json_array(record_bytes: usize) -> Case {
    let mut case = case("json-array", record_bytes, ",", "");
    let begun = case.transcoder.push(&mut &b"[[]"[..], &mut Vec::new(), 1);
    begun.expect("an array");
    case
}

fn json_seq(record_bytes: usize) -> Case {
    case("json-seq", record_bytes, "\x1E", "\n")
}

/// Turns the input in pieces of that many bytes.
fn turn(mut case: Case, piece_bytes: usize) -> Case {
    for mut piece in black_box(&case.input[..]).chunks(piece_bytes) {
        let turned = case.transcoder.push(&mut piece, &mut case.out, usize::MAX);
        black_box(turned).expect("whole records");
    }
    case
}

/// At most so many instructions: about 5 % above what was counted last.
fn limit(instructions: u64) -> LibraryBenchmarkConfig {
    let mut callgrind = Callgrind::default();
    callgrind.hard_limits([(EventKind::Ir, instructions)]);
    let mut config = LibraryBenchmarkConfig::default();
    config.tool(callgrind);
    config
}

#[library_benchmark]
#[bench::ndjson_16(args = (16), setup = ndjson, config = limit(1_138_000))]
#[bench::ndjson_200(args = (200), setup = ndjson, config = limit(165_000))]
#[bench::ndjson_1024(args = (1024), setup = ndjson, config = limit(81_000))]
#[bench::lines_200(args = (200), setup = lines, config = limit(173_000))]
#[bench::sse_200(args = (200), setup = sse, config = limit(289_000))]
#[bench::json_16(args = (16), setup = json, config = limit(2_361_000))]
#[bench::json_200(args = (200), setup = json, config = limit(340_000))]
#[bench::json_1024(args = (1024), setup = json, config = limit(157_000))]
#[bench::json_lines_200(args = (200), setup = json_lines, config = limit(695_000))]
#[bench::json_array_200(args = (200), setup = json_array, config = limit(361_000))]
#[bench::json_seq_200(args = (200), setup = json_seq, config = limit(429_000))]
fn whole(case: Case) -> Case {
    turn(case, INPUT_BYTES)
}

#[library_benchmark]
#[bench::ndjson_200(args = (200), setup = ndjson, config = limit(16_030_000))]
#[bench::lines_200(args = (200), setup = lines, config = limit(16_780_000))]
#[bench::sse_200(args = (200), setup = sse, config = limit(22_130_000))]
#[bench::json_200(args = (200), setup = json, config = limit(25_060_000))]
#[bench::json_array_200(args = (200), setup = json_array, config = limit(25_870_000))]
#[bench::json_seq_200(args = (200), setup = json_seq, config = limit(30_670_000))]
fn byte_by_byte(case: Case) -> Case {
    turn(case, 1)
}

/// A text of this many bytes, and behind them the field `/done`.
fn text(bytes: usize) -> (Vec<u8>, Pointer) {
    let member = "\"message\":{\"role\":\"assistant\",\"content\":\"\\n\"},";
    let members = member.repeat(bytes / member.len());
    let pointer = Pointer::parse("/done").expect("a JSON Pointer");
    (format!("{{{members}\"done\":true}}").into_bytes(), pointer)
}

#[library_benchmark]
#[bench::bytes_0(args = (0), setup = text, config = limit(541))]
#[bench::bytes_200(args = (200), setup = text, config = limit(1_593))]
#[bench::bytes_4096(args = (4096), setup = text, config = limit(28_800))]
fn lookup((text, pointer): (Vec<u8>, Pointer)) -> (Vec<u8>, Pointer) {
    black_box(json::at(black_box(&text), &pointer)).expect("a value");
    (text, pointer)
}

library_benchmark_group!(name = transcode, benchmarks = [whole, byte_by_byte, lookup]);
main!(library_benchmark_groups = transcode);
