//! How are records delimited?
//!
//! [`FRAMINGS`] is the registry: configuration, `auto` selection, `--help`, the README's table, the
//! every-split test, the properties and the fuzz target all read it.

pub mod aws_eventstream;
pub mod chunks;
pub mod connect;
pub mod csv;
pub mod docker;
pub mod grpc_web;
pub mod json;
pub mod json_array;
pub mod json_seq;
pub mod length_u32;
pub mod length_varint;
pub mod lines;
pub mod multipart;
pub mod ndjson;
pub mod parcels;
pub mod recordio;
pub mod sse;

mod bom;
mod content_type;
mod cutter;
mod envelopes;
mod exact;
mod prefixed;
mod report;
mod values;

use thiserror::Error;

/// One framing: its names, its decoder, and a sample by which it is tested.
pub struct Framing {
    /// The name in `from = "…"`.
    pub name: &'static str,
    /// The media types (without parameters, lower case) that `auto` takes for this framing; an entry
    /// that begins with `+` stands for every type with that structured suffix (RFC 6839).
    pub content_types: &'static [&'static str],
    /// Whether `auto` takes it only where the client names what it wants instead: the protocols' own
    /// clients accept anything, and expect just this.
    pub is_for_its_own_clients: bool,
    /// Whether its bytes are text throughout, delimiters included, so that a charset is undone before
    /// records are cut; the lengths of other framings count bytes.
    pub is_text: bool,
    /// Makes a decoder for one stream.
    pub decoder: fn(opening: &Opening<'_>) -> Box<dyn Decoder>,
    /// The content type that `sample` came with; empty where it says nothing.
    pub sample_content_type: &'static str,
    /// A stream as a real sender writes it.
    pub sample: &'static [u8],
    /// The data of the records in `sample`.
    pub sample_records: &'static [&'static [u8]],
}

/// What is known of a stream before its first byte.
#[derive(Debug, Clone, Copy)]
pub struct Opening<'a> {
    /// The longest record, in bytes without its delimiter.
    pub record_bytes_max: usize,
    /// The reply's content type with its parameters, as it was written; empty where there is none.
    pub content_type: &'a str,
}

impl std::fmt::Debug for Framing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

/// Cuts a stream of bytes into records.
///
/// For every way to cut the bytes into chunks the records are the same (invariant 3; the framing
/// `chunks` is the exception, and says so), and each is lent at the earliest byte that proves it
/// complete (invariant 4).
pub trait Decoder {
    /// Takes bytes off the front of `input` until a record is complete, and lends it. One that was complete
    /// but for what follows it is lent without any.
    ///
    /// `None`: all of `input` is taken, and what is left of it is carried to the next call.
    ///
    /// # Errors
    /// The stream cannot go on; the decoder must not be called again.
    fn next<'a>(&'a mut self, input: &mut &'a [u8]) -> Result<Option<Record<'a>>, DecodeError>;

    /// Lends a record that the end of the input completes; `None` where there is none, or no more.
    /// Called until then, when the upstream has ended its message; never after a cut.
    ///
    /// # Errors
    /// What was carried is no whole record; the decoder must not be called again.
    fn finish(&mut self, end: EndOfInput) -> Result<Option<Record<'_>>, DecodeError>;

    /// How many bytes of an incomplete record are carried.
    fn carried_bytes(&self) -> usize;

    /// How many records were passed over since this was last asked, because they are malformed. Most framings
    /// pass over none.
    fn take_skipped(&mut self) -> u64 {
        0
    }

    /// Whether the framing's own end has come, after which no record can: a cut of the connection
    /// behind it takes nothing away (invariant 7). Framings without an end of their own never say so.
    fn has_ended(&self) -> bool {
        false
    }
}

/// How sure we are that the input ended where its sender meant it to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndOfInput {
    /// The message's own framing said so: a last chunk, a content length, `END_STREAM`.
    Verified,
    /// The connection was closed, which may be the end or a cut (RFC 9112 §8).
    Unverified,
}

/// One upstream message, borrowed from the chunk or from the decoder's carry.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Record<'a> {
    /// The payload; `None` for a record that only sets `id` or `retry`.
    pub data: Option<&'a [u8]>,
    /// The event's name, where the framing has one.
    pub name: Option<&'a [u8]>,
    /// The event's id, where the framing has one.
    pub id: Option<&'a [u8]>,
    /// The reconnection time in milliseconds, where the framing has one.
    pub retry_ms: Option<u64>,
}

/// Why a stream's bytes can no longer be cut into records.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum DecodeError {
    /// A record grew past its limit before its end came.
    #[error("a record is longer than {record_bytes_max} bytes")]
    RecordTooLarge {
        /// The limit it passed.
        record_bytes_max: usize,
    },
    /// The input ended inside a record.
    #[error("{framing}: the input ended inside a record, after {carried_bytes} bytes of it")]
    Truncated {
        /// The framing's name.
        framing: &'static str,
        /// How much of the record had come.
        carried_bytes: usize,
    },
    /// The bytes break the framing's rules.
    #[error("{framing}: {reason}")]
    BadFraming {
        /// The framing's name.
        framing: &'static str,
        /// Which rule, as the end of a sentence; never a payload.
        reason: &'static str,
    },
    /// The input ended without the record that says so, and nothing else told that it was whole.
    #[error("the input ended without the record that ends it")]
    Unended,
    /// The upstream itself said, in the framing's own way, that it failed.
    #[error("the upstream reported {report}")]
    Reported {
        /// What it said, in one line of bounded length.
        report: String,
    },
}

/// Every framing, in the order of the documentation.
pub const FRAMINGS: &[&Framing] = &[
    &ndjson::FRAMING,
    &lines::FRAMING,
    &chunks::FRAMING,
    &sse::FRAMING,
    &json_seq::FRAMING,
    &json::FRAMING,
    &json_array::FRAMING,
    &recordio::FRAMING,
    &length_u32::FRAMING,
    &length_varint::FRAMING,
    &aws_eventstream::FRAMING,
    &docker::FRAMING,
    &multipart::FRAMING,
    &grpc_web::FRAMING,
    &connect::FRAMING,
    &csv::FRAMING,
];

/// The framing of that name.
#[must_use]
pub fn by_name(name: &str) -> Option<&'static Framing> {
    FRAMINGS
        .iter()
        .copied()
        .find(|framing| framing.name == name)
}

/// The framing that claims this media type (lower case, without parameters).
#[must_use]
pub fn by_content_type(media_type: &str) -> Option<&'static Framing> {
    let claims = |claimed: &&str| {
        media_type == *claimed || (claimed.starts_with('+') && media_type.ends_with(claimed))
    };
    FRAMINGS
        .iter()
        .copied()
        .find(|framing| framing.content_types.iter().any(claims))
}

impl DecodeError {
    /// The stable name in metrics.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::RecordTooLarge { .. } => "record_too_large",
            Self::Truncated { .. } => "truncated",
            Self::BadFraming { .. } => "bad_framing",
            Self::Unended => "unended",
            Self::Reported { .. } => "reported",
        }
    }
}

#[cfg(test)]
#[path = "framing/check.rs"]
mod check;

#[cfg(test)]
mod mutants;

#[cfg(test)]
mod tests {
    use super::{FRAMINGS, by_content_type, by_name};

    #[test]
    fn names_and_types_are_claimed_once() {
        for (index, framing) in FRAMINGS.iter().enumerate() {
            assert_eq!(by_name(framing.name).unwrap().name, framing.name);
            for content_type in framing.content_types {
                assert_eq!(*content_type, content_type.to_ascii_lowercase());
                let others = &FRAMINGS[index + 1..];
                assert!(
                    others
                        .iter()
                        .all(|o| !o.content_types.contains(content_type))
                );
            }
        }
        assert!(by_name("NDJSON").is_none());
    }

    #[test]
    fn auto_takes_the_types_that_are_streams() {
        for (media_type, name) in [
            ("application/x-ndjson", Some("ndjson")),
            ("application/stream+json", Some("ndjson")),
            ("application/vnd.acme.events+ndjson", Some("ndjson")),
            ("application/vnd.neo4j.query+jsonl", Some("ndjson")),
            ("text/event-stream", Some("sse")),
            ("application/json-seq", Some("json-seq")),
            ("application/geo+json-seq", Some("json-seq")),
            ("application/recordio", Some("recordio")),
            (
                "application/vnd.amazon.eventstream",
                Some("aws-eventstream"),
            ),
            ("application/vnd.docker.multiplexed-stream", Some("docker")),
            ("application/vnd.docker.raw-stream", None),
            ("multipart/mixed", Some("multipart")),
            ("application/grpc-web", Some("grpc-web")),
            ("application/grpc-web-text+proto", Some("grpc-web")),
            ("application/grpc", None),
            ("application/connect+json", Some("connect")),
            ("text/csv", Some("csv")),
            ("text/plain", None),
            ("text/html", None),
            ("application/json", None),
            ("application/vnd.api+json", None),
            ("", None),
        ] {
            let found = by_content_type(media_type).map(|framing| framing.name);
            assert_eq!(found, name, "{media_type}");
        }
    }
}
