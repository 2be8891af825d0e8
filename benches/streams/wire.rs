//! Which streams are measured?

use std::{hint::black_box, sync::Arc};

use serde_json::Value;
use weir::transcode::{
    framing::by_name,
    output::OUTPUTS,
    transcoder::{Transcoder, Turn},
};

/// The whole length of a record's data, in bytes.
pub(crate) const RECORD_BYTES: [usize; 3] = [16, 200, 1024];

/// How much the proxy reads at once, in bytes.
pub(crate) const CHUNK_BYTES: usize = 64 * 1024;

/// What a language model's backend sends, piece by piece.
pub(crate) const DELTA: &str = r#"{"model":"deepseek-r1:1.5b","created_at":"2025-07-30T09:45:03.537758Z","message":{"role":"assistant","content":"\n\n"},"done":false}"#;

/// How a framing's records stand in a stream.
pub(crate) struct Wire {
    /// Its name.
    pub(crate) framing: &'static str,
    /// What opens the stream, and the number of records in it.
    start: (&'static str, u64),
    before: &'static str,
    after: &'static str,
}

/// A chunk of records.
pub(crate) struct Stream {
    /// All of them.
    pub(crate) chunk: Vec<u8>,
    /// One of them.
    pub(crate) record: Vec<u8>,
    /// How many they are.
    pub(crate) count: u64,
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
    pub(crate) fn stream(&self, record: &str) -> Stream {
        let one = format!("{}{record}{}", self.before, self.after);
        let count = CHUNK_BYTES / one.len();
        Stream {
            chunk: one.repeat(count).into_bytes(),
            record: record.as_bytes().to_vec(),
            count: count as u64,
        }
    }

    /// A transcoder to events, behind what opens the stream.
    pub(crate) fn transcoder(&self) -> Transcoder {
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
pub(crate) fn record(bytes: usize) -> String {
    let filler = "x".repeat(bytes - "{\"text\":\"\"}".len());
    format!("{{\"text\":\"{filler}\"}}")
}

/// An event of a watch, with the lists of fields that fill most of it.
pub(crate) fn watch_event() -> String {
    let managed = r#"{"manager":"kubelet","operation":"Update","apiVersion":"v1","time":"2024-01-01T00:00:00Z","fieldsType":"FieldsV1","fieldsV1":{"f:status":{"f:conditions":{"k:{\"type\":\"ContainersReady\"}":{".":{},"f:lastProbeTime":{},"f:status":{},"f:type":{}}},"f:phase":{}}}}"#;
    let managed = [managed; 8].join(",");
    format!(
        r#"{{"type":"ADDED","object":{{"kind":"Pod","apiVersion":"v1","metadata":{{"name":"web-5d","namespace":"default","uid":"c0ffee","labels":{{"app":"web","tier":"front"}},"managedFields":[{managed}],"resourceVersion":"10596"}},"spec":{{"containers":[{{"name":"a","image":"nginx:1.25","ports":[{{"containerPort":80}}]}}]}}}},"last":1}}"#
    )
}

/// Looks for line ends only.
pub(crate) fn scan(input: &[u8]) -> usize {
    memchr::memchr_iter(b'\n', input).fold(0, |sum, at| sum ^ at)
}

/// Looks for quotes and braces only.
pub(crate) fn scan_json(input: &[u8]) -> usize {
    memchr::memchr3_iter(b'"', b'{', b'}', input).fold(0, |sum, at| sum ^ at)
}

/// Reads a text into a tree.
pub(crate) fn tree(text: &[u8]) -> Value {
    serde_json::from_slice(black_box(text)).expect("a JSON text")
}

/// The framings that are measured.
pub(crate) fn wires() -> [Wire; 7] {
    [
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
    ]
}

/// The lookups that are measured: a name, a text, and the place of a field in it.
pub(crate) fn lookups_of() -> [(&'static str, String, &'static str); 6] {
    let long = format!("{{\"text\":\"{}\",\"done\":true}}", "x".repeat(1000));
    [
        ("short", "{\"a\":1,\"done\":1}".to_owned(), "/done"),
        ("delta", DELTA.to_owned(), "/done"),
        ("delta, deep", DELTA.to_owned(), "/message/content"),
        ("watch, first", watch_event(), "/type"),
        (
            "watch, deep",
            watch_event(),
            "/object/metadata/resourceVersion",
        ),
        ("long string", long, "/done"),
    ]
}
