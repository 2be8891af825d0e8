//! The whole turn of one stream: chunk → text → records → events.

use std::{borrow::Cow, sync::Arc};

use encoding_rs::Encoding;

use super::{
    charset::{self, Undoing},
    framing::{DecodeError, Decoder, EndOfInput, Framing, Opening, Record},
    mapping::{self, Mapping, Written, end::Meaning},
    output::{Encoder, Format, Output, json_seq::JsonSeq, ndjson::Ndjson, sse::Sse},
};

/// What one stream is turned from, and into.
#[derive(Debug, Clone, Copy)]
pub struct Turn<'a> {
    /// How its records are cut.
    pub from: &'static Framing,
    /// What its reply says of itself.
    pub opening: Opening<'a>,
    /// The charset of its bytes, whatever its content type says of that.
    pub charset: Option<&'static Encoding>,
    /// What is written.
    pub to: &'static Output,
}

impl Turn<'_> {
    /// From `from` to `to`, of a reply that says nothing of itself.
    #[must_use]
    pub fn new(from: &'static Framing, to: &'static Output, record_bytes_max: usize) -> Self {
        Self {
            from,
            opening: Opening {
                record_bytes_max,
                content_type: "",
            },
            charset: None,
            to,
        }
    }
}

/// Calls with the encoder of the format, so that the compiler sees which it is.
macro_rules! with_encoder {
    ($format:expr, |$encoder:ident| $call:expr) => {
        match $format {
            Format::Sse => {
                let $encoder = &Sse;
                $call
            }
            Format::Ndjson => {
                let $encoder = &Ndjson;
                $call
            }
            Format::JsonSeq => {
                let $encoder = &JsonSeq;
                $call
            }
        }
    };
}

/// Turns the chunks of one reply into the events of one response.
///
/// After every call `out` ends at an event's end (invariant 5), so whatever is appended next stands
/// between events.
pub struct Transcoder {
    from: &'static Framing,
    decoder: Box<dyn Decoder>,
    writer: Writer,
}

/// A charset that is not UTF-8.
enum Charset {
    /// Of a stream whose framing is one of text.
    Stream(Undoing),
    /// Of each record by itself.
    Records(&'static Encoding),
}

impl Charset {
    fn is_of_stream(&self) -> bool {
        matches!(self, Self::Stream(_))
    }
}

/// What makes events of records.
struct Writer {
    /// What makes the stream UTF-8, where it is not.
    charset: Option<Box<Charset>>,
    mapping: Mapping,
    format: Format,
    /// Whether the format has something that means nothing.
    has_heartbeats: bool,
    /// What the last record meant for the stream.
    meaning: Meaning,
    /// How many records were left out because they are not JSON, until that is asked for.
    skipped: u32,
}

impl Transcoder {
    /// Makes the transcoder of one stream.
    #[must_use]
    pub fn new(turn: &Turn<'_>, event: &Arc<mapping::Settings>) -> Self {
        let named = || charset::of_content_type(turn.opening.content_type);
        let charset = turn.charset.or_else(named);
        let charset = charset.map(|charset| {
            Box::new(if turn.from.is_text {
                Charset::Stream(Undoing::new(charset))
            } else {
                Charset::Records(charset)
            })
        });
        Self {
            from: turn.from,
            decoder: (turn.from.decoder)(&turn.opening),
            writer: Writer {
                charset,
                mapping: Mapping::new(Arc::clone(event)),
                format: turn.to.format,
                has_heartbeats: turn.to.has_heartbeats,
                meaning: Meaning::GoesOn,
                skipped: 0,
            },
        }
    }

    /// Appends the events that `input` completes to `out` and takes their bytes off `input`, until
    /// `input` is empty or `out` holds `out_bytes_max` bytes or more. Returns how many events it wrote
    /// (a block that only sets `id` or `retry` is none). What it leaves of `input` must come again, before
    /// anything else.
    ///
    /// `out` passes its bound by at most the events of one record. Behind the record that ends the stream
    /// all input is dropped; see [`Self::is_complete`].
    ///
    /// # Errors
    /// The stream cannot go on. Events before the fault are in `out`, whole.
    pub fn push(
        &mut self,
        input: &mut &[u8],
        out: &mut Vec<u8>,
        out_bytes_max: usize,
    ) -> Result<u64, DecodeError> {
        if let Some(charset) = self
            .writer
            .charset
            .take_if(|charset| charset.is_of_stream())
        {
            return self.push_undone(charset, input, out, out_bytes_max);
        }
        let decoder = &mut *self.decoder;
        self.writer.write_all(decoder, input, out, out_bytes_max)
    }

    /// The same, of a stream that is not UTF-8; the writer, which has its charset again afterwards, sees text.
    #[cold]
    fn push_undone(
        &mut self,
        mut charset: Box<Charset>,
        input: &mut &[u8],
        out: &mut Vec<u8>,
        out_bytes_max: usize,
    ) -> Result<u64, DecodeError> {
        let mut events = Ok(0);
        if let Charset::Stream(undoing) = &mut *charset {
            while let Ok(before) = events
                && !input.is_empty()
                && out.len() < out_bytes_max
            {
                let text = undoing.text(input);
                let mut rest = text;
                let decoder = &mut *self.decoder;
                let written = self
                    .writer
                    .write_all(decoder, &mut rest, out, out_bytes_max);
                let taken = text.len() - rest.len();
                *input = &input[undoing.take(taken)..];
                events = written.map(|written| before + written);
            }
        }
        self.writer.charset = Some(charset);
        events
    }

    /// Appends the events that the end of the input completes, and the end event where that is the
    /// stream's end. Returns how many.
    ///
    /// # Errors
    /// The input ended inside a record, of which nothing is written (events before it are in `out`), or
    /// without the record that ends the stream where nothing else says that it is whole.
    pub fn finish(&mut self, end: EndOfInput, out: &mut Vec<u8>) -> Result<u64, DecodeError> {
        let mut events = 0;
        if let Some(mut charset) = self
            .writer
            .charset
            .take_if(|charset| charset.is_of_stream())
            && let Charset::Stream(undoing) = &mut *charset
        {
            let mut text = undoing.finish();
            let decoder = &mut *self.decoder;
            events += self.writer.write_all(decoder, &mut text, out, usize::MAX)?;
        }
        // Behind the record that ends the stream there may be more that only the input's end completes.
        while !self.is_complete()
            && let Some(record) = self.decoder.finish(end)?
        {
            events += self.writer.write(&record, out)?;
        }
        // What a framing itself says of its end is as good as what HTTP says.
        let end = if self.decoder.has_ended() {
            EndOfInput::Verified
        } else {
            end
        };
        Ok(events + self.writer.finish(end, out)?)
    }

    /// Whether a heartbeat says nothing in this format.
    #[must_use]
    pub fn has_heartbeats(&self) -> bool {
        self.writer.has_heartbeats
    }

    /// Appends a heartbeat.
    pub fn heartbeat(&self, out: &mut Vec<u8>) {
        with_encoder!(self.writer.format, |encoder| encoder.heartbeat(out));
    }

    /// Appends the `stream-error` event that tells the client why the stream ends here.
    pub fn error(&self, code: &str, message: &str, out: &mut Vec<u8>) {
        with_encoder!(self.writer.format, |encoder| encoder
            .error(code, message, out));
    }

    /// Appends the reconnection time told to the client when the stream is drained.
    pub fn retry(&self, retry_ms: u64, out: &mut Vec<u8>) {
        with_encoder!(self.writer.format, |encoder| encoder.retry(retry_ms, out));
    }

    /// Whether a record has said that it is the stream's last.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.writer.meaning == Meaning::Complete
    }

    /// Whether the framing's own end has come, so that a cut takes nothing away any more.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.decoder.has_ended()
    }

    /// How records are cut.
    #[must_use]
    pub fn framing(&self) -> &'static Framing {
        self.from
    }

    /// How many records were passed over since this was last asked, because they are malformed.
    pub fn take_skipped(&mut self) -> u64 {
        let unmapped = std::mem::take(&mut self.writer.skipped);
        self.decoder.take_skipped() + u64::from(unmapped)
    }

    /// How many bytes of an incomplete record are carried.
    #[must_use]
    pub fn carried_bytes(&self) -> usize {
        self.decoder.carried_bytes()
    }
}

impl Writer {
    /// [`Transcoder::push`] of UTF-8.
    #[inline]
    fn write_all(
        &mut self,
        decoder: &mut dyn Decoder,
        input: &mut &[u8],
        out: &mut Vec<u8>,
        out_bytes_max: usize,
    ) -> Result<u64, DecodeError> {
        with_encoder!(self.format, |encoder| self.write_all_as(
            encoder,
            decoder,
            input,
            (out, out_bytes_max)
        ))
    }

    #[inline]
    fn write_all_as(
        &mut self,
        encoder: &impl Encoder,
        decoder: &mut dyn Decoder,
        input: &mut &[u8],
        (out, out_bytes_max): (&mut Vec<u8>, usize),
    ) -> Result<u64, DecodeError> {
        let mut events = 0;
        // Once more behind the last byte, however full `out` is: what a decoder has lent it lets go of only
        // then, and an idle stream holds nothing.
        while (out.len() < out_bytes_max || input.is_empty()) && self.meaning == Meaning::GoesOn {
            // A borrow of its own for each record: `Decoder::next` ties its own borrow to the input's.
            let mut rest = *input;
            match decoder.next(&mut rest) {
                // By reference: to move a record costs more than to write a short one.
                Ok(Some(ref record)) => events += self.write_as(encoder, record, out)?,
                Ok(None) => {
                    *input = &[];
                    break;
                }
                Err(error) => return Err(error),
            }
            *input = &input[input.len() - rest.len()..];
        }
        if self.meaning != Meaning::GoesOn {
            *input = &[];
        }
        Ok(events)
    }

    fn write(&mut self, record: &Record<'_>, out: &mut Vec<u8>) -> Result<u64, DecodeError> {
        with_encoder!(self.format, |encoder| self.write_as(encoder, record, out))
    }

    #[inline]
    fn write_as(
        &mut self,
        encoder: &impl Encoder,
        record: &Record<'_>,
        out: &mut Vec<u8>,
    ) -> Result<u64, DecodeError> {
        match self.mapping.data_alone(record) {
            Some(data) if self.charset.is_none() => {
                encoder.data(data, out);
                Ok(1)
            }
            _ => self.write_mapped(encoder, record, out),
        }
    }

    #[inline(never)]
    fn write_mapped(
        &mut self,
        encoder: &impl Encoder,
        record: &Record<'_>,
        out: &mut Vec<u8>,
    ) -> Result<u64, DecodeError> {
        let undone = self.undone(record.data);
        let record = &Record {
            data: undone.as_deref().or(record.data),
            ..*record
        };
        let Written {
            events,
            meaning,
            is_bad,
        } = self.mapping.write(record, encoder, out)?;
        self.meaning = meaning;
        self.skipped = self.skipped.saturating_add(u32::from(is_bad));
        match meaning {
            Meaning::GoesOn => Ok(events),
            Meaning::Complete => Ok(events + self.mapping.settings().end.write(encoder, out)),
            Meaning::Failed => Err(DecodeError::Reported {
                report: "a failure, in its last record".to_owned(),
            }),
        }
    }

    fn undone<'a>(&self, data: Option<&'a [u8]>) -> Option<Cow<'a, [u8]>> {
        let Some(Charset::Records(charset)) = self.charset.as_deref() else {
            return None;
        };
        let (text, _) = charset.decode_without_bom_handling(data?);
        Some(match text {
            Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
            Cow::Owned(text) => Cow::Owned(text.into_bytes()),
        })
    }

    /// Appends the end event of a stream that no record has ended.
    fn finish(&mut self, end: EndOfInput, out: &mut Vec<u8>) -> Result<u64, DecodeError> {
        if self.meaning == Meaning::Complete {
            return Ok(0);
        }
        let settings = &self.mapping.settings().end;
        if settings.when.is_empty() {
            return Ok(with_encoder!(self.format, |encoder| settings.write(encoder, out)));
        }
        match end {
            EndOfInput::Verified => Ok(0),
            EndOfInput::Unverified => Err(DecodeError::Unended),
        }
    }
}
