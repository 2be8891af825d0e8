//! What does a stream cost in GB/s, beside memchr and a tree of the same bytes in the same run?
//!
//! Each figure is the best of many short rounds, in which all sides take turns: what else the machine does
//! then slows them alike, or not at all. A table comes out; nothing is judged.

#![expect(
    clippy::cast_precision_loss,
    reason = "counts and times are far below 2^52"
)]
#![expect(clippy::disallowed_methods, reason = "what is measured is time")]

#[path = "streams/wire.rs"]
mod wire;

use std::{
    hint::black_box,
    io::{self, Write},
    time::{Duration, Instant},
};

use weir::transcode::json::{self, Pointer};

use self::wire::{
    CHUNK_BYTES, DELTA, RECORD_BYTES, Stream, Wire, lookups_of, record, scan, scan_json, tree,
    watch_event, wires,
};

/// How long a case is measured.
const CASE_TIME: Duration = Duration::from_millis(600);

fn main() -> io::Result<()> {
    // Cargo has every bench run as a test, too, where nothing is to be measured.
    if std::env::args().any(|arg| arg == "--test") {
        return Ok(());
    }
    let mut out = io::stdout().lock();
    framings(&mut out)?;
    lookups(&mut out)
}

fn framings(out: &mut impl Write) -> io::Result<()> {
    writeln!(
        out,
        "{:<11} {:<7} {:>9} {:>7} {:>9} {:>7} {:>10}",
        "framing", "record", "ns/record", "GB/s", "memchr x", "tree x", "ns by byte"
    )?;
    let mut records: Vec<(String, String)> = RECORD_BYTES
        .iter()
        .map(|bytes| (bytes.to_string(), record(*bytes)))
        .collect();
    records.push(("delta".to_owned(), DELTA.to_owned()));
    records.push(("watch".to_owned(), watch_event()));
    for wire in wires() {
        for (name, record) in &records {
            let stream = wire.stream(record);
            let [turned, by_byte, scanned, treed] = best([
                &mut || turn(&wire, &stream, CHUNK_BYTES),
                &mut || turn(&wire, &stream, 1),
                &mut || _ = black_box(scan(black_box(&stream.chunk))),
                &mut || (0..stream.count).for_each(|_| drop(black_box(tree(&stream.record)))),
            ]);
            let bytes = stream.chunk.len() as f64;
            writeln!(
                out,
                "{:<11} {name:<7} {:>9.1} {:>7.2} {:>9.2} {:>7.2} {:>10.1}",
                wire.framing,
                turned / stream.count as f64,
                bytes / turned,
                turned / scanned,
                treed / turned,
                by_byte / bytes,
            )?;
        }
    }
    Ok(())
}

fn lookups(out: &mut impl Write) -> io::Result<()> {
    writeln!(
        out,
        "\n{:<13} {:>6} {:>9} {:>7}",
        "lookup", "ns", "memchr3 x", "tree x"
    )?;
    for (name, text, pointer) in lookups_of() {
        let text = text.as_bytes();
        let at = Pointer::parse(pointer).expect("a JSON Pointer");
        let found = json::at(text, &at).expect("a value");
        let before = &text[..found.as_ptr() as usize - text.as_ptr() as usize];
        // A thousand times, so that the clock does not count.
        let [looked, scanned, treed] = best([
            &mut || (0..1000).for_each(|_| _ = black_box(json::at(black_box(text), &at))),
            &mut || (0..1000).for_each(|_| _ = black_box(scan_json(black_box(before)))),
            &mut || (0..1000).for_each(|_| _ = black_box(tree(text).pointer(pointer))),
        ]);
        writeln!(
            out,
            "{name:<13} {:>6.0} {:>9.2} {:>7.2}",
            looked / 1000.0,
            looked / scanned,
            treed / looked
        )?;
    }
    Ok(())
}

/// Turns the chunk in pieces of that many bytes.
fn turn(wire: &Wire, stream: &Stream, piece_bytes: usize) {
    let (mut transcoder, mut out) = (wire.transcoder(), Vec::with_capacity(4 * CHUNK_BYTES));
    for mut piece in black_box(&stream.chunk[..]).chunks(piece_bytes) {
        let turned = transcoder.push(&mut piece, &mut out, usize::MAX);
        turned.expect("whole records");
    }
    black_box(&out);
}

/// The shortest time of each, in nanoseconds.
fn best<const SIDES: usize>(mut sides: [&mut dyn FnMut(); SIDES]) -> [f64; SIDES] {
    let mut best = [f64::INFINITY; SIDES];
    let begun = Instant::now();
    while begun.elapsed() < CASE_TIME {
        for (side, best) in sides.iter_mut().zip(&mut best) {
            let begun = Instant::now();
            side();
            *best = best.min(begun.elapsed().as_nanos() as f64);
        }
    }
    best
}
