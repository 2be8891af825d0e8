//! What comes of one stream, and does the transcoder keep its word at every step of it?

use std::sync::Arc;

use weir::transcode::{
    framing::DecodeError,
    mapping,
    transcoder::{Transcoder, Turn},
};

use crate::{client::Client, hand::Hand};

/// A way to turn streams.
#[derive(Debug)]
pub struct Stream<'a> {
    /// From what to what.
    pub turn: Turn<'a>,
    /// What becomes of records.
    pub event: Arc<mapping::Settings>,
    /// How the input is handed over.
    pub hand: Hand,
}

/// What came of one stream.
#[derive(Debug, PartialEq, Eq)]
pub struct Outcome {
    /// All output.
    pub out: Vec<u8>,
    /// Why it could not go on.
    pub error: Option<DecodeError>,
    /// Whether a record ended it.
    pub is_complete: bool,
    /// Whether its framing ended it.
    pub has_ended: bool,
}

/// One stream on its way.
struct Run<'a> {
    stream: &'a Stream<'a>,
    transcoder: Transcoder,
    client: Client,
    outcome: Outcome,
}

impl Stream<'_> {
    /// Turns the input in one piece.
    #[must_use]
    pub fn whole(&self, input: &[u8]) -> Outcome {
        Run::new(self).run(&[input], usize::MAX)
    }

    /// Turns the input in pieces, with heartbeats in between.
    #[must_use]
    pub fn cut(&self, input: &[u8]) -> Outcome {
        Run::new(self).run(&self.hand.pieces(input), self.hand.out_bytes_max())
    }
}

impl<'a> Run<'a> {
    fn new(stream: &'a Stream<'a>) -> Self {
        Self {
            stream,
            transcoder: Transcoder::new(&stream.turn, &stream.event),
            client: Client::of(stream.turn.to.format),
            outcome: Outcome {
                out: Vec::new(),
                error: None,
                is_complete: false,
                has_ended: false,
            },
        }
    }

    fn run(mut self, pieces: &[&[u8]], out_bytes_max: usize) -> Outcome {
        self.push(pieces, out_bytes_max);
        if self.outcome.error.is_none() {
            let mut out = Vec::new();
            let counted = self.transcoder.finish(self.stream.hand.end(), &mut out);
            self.take(&out, counted);
        }
        self.say_why_it_ends();
        self.outcome.is_complete = self.transcoder.is_complete();
        self.outcome.has_ended = self.transcoder.has_ended();
        self.outcome
    }

    fn push(&mut self, pieces: &[&[u8]], out_bytes_max: usize) {
        for mut piece in pieces.iter().copied() {
            while !piece.is_empty() && self.outcome.error.is_none() {
                let (before, mut out) = (piece.len(), Vec::new());
                let counted = self.transcoder.push(&mut piece, &mut out, out_bytes_max);
                if counted.is_ok() {
                    assert!(piece.is_empty() || out.len() >= out_bytes_max);
                    assert!(piece.len() < before || !out.is_empty(), "no progress");
                    self.check_carried_bytes();
                }
                self.take(&out, counted);
                self.beat();
            }
        }
    }

    fn take(&mut self, out: &[u8], counted: Result<u64, DecodeError>) {
        self.outcome.out.extend_from_slice(out);
        match counted {
            Ok(counted) => self.client.take(out, counted),
            Err(error) => {
                self.client.take_uncounted(out);
                self.outcome.error = Some(error);
            }
        }
    }

    /// Nothing torn stands before a heartbeat.
    fn beat(&mut self) {
        let mut out = Vec::new();
        self.transcoder.heartbeat(&mut out);
        self.client.take_heartbeat(&out);
    }

    /// Nothing torn stands before what tells the client that the stream breaks off.
    fn say_why_it_ends(&mut self) {
        let mut out = Vec::new();
        self.transcoder
            .error("idle_timeout", "nothing\ncame", &mut out);
        let said = self.client.take_one(&out);
        assert!(said.contains(r#"{"code":"idle_timeout","message":"nothing\ncame"}"#));
        out.clear();
        self.transcoder.retry(2000, &mut out);
        self.client.take(&out, 0);
    }

    /// What is carried is bounded by the record limit, and little more.
    fn check_carried_bytes(&self) {
        let record_bytes_max = self.stream.turn.opening.record_bytes_max;
        let carried_bytes_max = match self.stream.turn.from.name {
            // A message's headers, lengths and checksums.
            "aws-eventstream" => record_bytes_max + (128 << 10) + 16,
            // A line, with a CR, of each stream, and a frame's header.
            "docker" => 4 * (record_bytes_max + 1) + 8,
            // The fields of a part.
            "multipart" => record_bytes_max + (16 << 10),
            // What stands at the end, and the head of an envelope.
            "grpc-web" | "connect" => record_bytes_max.max(16 << 10) + 5,
            // A length of twenty digits and its CR LF; a field's name, a CR, the start of a BOM.
            _ => record_bytes_max + 22,
        };
        let carried_bytes = self.transcoder.carried_bytes();
        assert!(
            carried_bytes <= carried_bytes_max,
            "{carried_bytes} carried"
        );
    }
}
