//! How does a content coding come undone, flush by flush?

#[cfg(test)]
mod tests;

use compression_codecs::{
    BrotliDecoder, DecodeV2, DeflateDecoder, GzipDecoder, ZlibDecoder, ZstdDecoder,
    zstd::params::DParameter,
};
use compression_core::util::{PartialBuffer, WriteBuffer};
use thiserror::Error;

/// Undoes the `Content-Encoding` of one reply.
pub struct Inflater {
    coding: Coding,
    /// `None` only until it is known what `deflate` means here.
    decoder: Option<Box<dyn DecodeV2 + Send>>,
    /// The byte that alone did not tell what `deflate` means.
    first_byte: Option<u8>,
    state: State,
    /// Whether there may be output that had no room: then the decoder is asked again without input.
    is_pending: bool,
}

/// Why coded bytes could not be undone.
#[derive(Debug, Error)]
#[error("the {coding} coding cannot be undone: {reason}")]
pub struct InflateError {
    /// The coding's name, as in `Content-Encoding`.
    pub coding: &'static str,
    /// What was wrong.
    pub reason: String,
}

/// Where in the coding's own framing the input stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Before the first byte. An empty body is whole whatever its coding.
    Fresh,
    /// Inside a member (gzip) or frame (zstd), or in the only one.
    Inside,
    /// After the end of one.
    Finished,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Coding {
    /// RFC 1952; members may follow each other.
    Gzip,
    /// zlib (RFC 1950) as RFC 9110 §8.4.1.2 has it, or bare deflate (RFC 1951) as some senders do.
    Deflate,
    /// RFC 7932.
    Brotli,
    /// RFC 8878, RFC 9659; frames may follow each other.
    Zstd,
}

impl Inflater {
    /// Makes the inflater for the value of `Content-Encoding` (gzip, x-gzip, deflate, br, zstd, in any case).
    /// `None` for `identity`'s absence of work is the caller's matter; `None` here is a coding we cannot undo
    /// (also: more than one).
    #[must_use]
    pub fn for_coding(content_encoding: &str) -> Option<Self> {
        let coding = match content_encoding.trim().to_ascii_lowercase().as_str() {
            "gzip" | "x-gzip" => Coding::Gzip,
            "deflate" => Coding::Deflate,
            "br" => Coding::Brotli,
            "zstd" => Coding::Zstd,
            _ => return None,
        };
        Some(Self {
            coding,
            decoder: coding.decoder(),
            first_byte: None,
            state: State::Fresh,
            is_pending: false,
        })
    }

    /// Takes coded bytes off `input` and appends plain ones to `out`, until `input` is empty and all that can be
    /// told from it is out (a sender's flush is ours), or `out` holds `out_bytes_max` bytes (a hard bound).
    ///
    /// Where `out` came back full, call again, also with an empty `input`, before waiting for more.
    ///
    /// # Errors
    /// The bytes are not of this coding, go on after its end, or ask for a window of more than 8 MiB (zstd;
    /// RFC 9659) or 16 MiB (br; RFC 7932). What was told before the fault is in `out`.
    pub fn push(
        &mut self,
        input: &mut &[u8],
        out: &mut Vec<u8>,
        out_bytes_max: usize,
    ) -> Result<(), InflateError> {
        while out.len() < out_bytes_max && (self.is_pending || !input.is_empty()) {
            if !input.is_empty() {
                self.enter(input)?;
            }
            let wanted = (input.len() * RATIO).clamp(STEP_BYTES_MIN, STEP_BYTES_MAX);
            let room = wanted.min(out_bytes_max - out.len());
            match &mut self.decoder {
                Some(_) => self.step(input, out, room)?,
                None => self.choose(input, out, room)?,
            }
        }
        Ok(())
    }

    /// Whether the coding's own end has been seen; if not at the end of the input, it was cut.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.state != State::Inside
    }

    /// Makes ready for the first byte of `input`.
    fn enter(&mut self, input: &[u8]) -> Result<(), InflateError> {
        match (self.state, self.coding) {
            (State::Inside, _) => return Ok(()),
            (State::Fresh, Coding::Brotli) if asks_for_large_window(input) => {
                return Err(self.fault("it asks for a window of more than 16 MiB"));
            }
            (State::Fresh, _) => {}
            (State::Finished, Coding::Gzip | Coding::Zstd) => {
                let reinit = self
                    .decoder
                    .as_mut()
                    .map_or(Ok(()), |decoder| decoder.reinit());
                reinit.map_err(|error| self.fault(&error))?;
            }
            (State::Finished, Coding::Deflate | Coding::Brotli) => {
                return Err(self.fault("bytes follow its end"));
            }
        }
        self.state = State::Inside;
        Ok(())
    }

    /// Finds out by two bytes what `deflate` means here.
    fn choose(
        &mut self,
        input: &mut &[u8],
        out: &mut Vec<u8>,
        room: usize,
    ) -> Result<(), InflateError> {
        if let Some((first, rest)) = input.split_first()
            && self.first_byte.is_none()
        {
            self.first_byte = Some(*first);
            *input = rest;
        }
        let (Some(first), Some(second)) = (self.first_byte, input.first()) else {
            return Ok(());
        };
        self.decoder = Some(if is_zlib(first, *second) {
            Box::new(ZlibDecoder::new())
        } else {
            Box::new(DeflateDecoder::new())
        });
        // Eight bits hold no symbol yet, so the decoder takes this byte and says nothing.
        self.step(&mut &[first][..], out, room)
    }

    /// Decodes once, into at most `room` bytes.
    fn step(
        &mut self,
        input: &mut &[u8],
        out: &mut Vec<u8>,
        room: usize,
    ) -> Result<(), InflateError> {
        let Some(decoder) = &mut self.decoder else {
            return Ok(());
        };
        let start = out.len();
        out.resize(start + room, 0);
        let mut coded = PartialBuffer::new(*input);
        let mut plain = WriteBuffer::new_initialized(&mut out[start..]);
        let outcome = decoder.decode(&mut coded, &mut plain);
        let (taken, written) = (coded.written_len(), plain.written_len());
        out.truncate(start + written);

        let had_input = !input.is_empty();
        *input = &input[taken..];
        self.is_pending = written > 0;
        match outcome {
            Ok(true) => {
                self.state = State::Finished;
                self.is_pending = false;
                Ok(())
            }
            Ok(false) if had_input && taken == 0 && written == 0 => {
                Err(self.fault("it makes no progress"))
            }
            Ok(false) => Ok(()),
            // Without input zlib calls it a fault that there is nothing to say; a true one comes
            // again with the next input, and at the end the coding is not finished.
            Err(_) if !had_input && self.coding.is_flate() => Ok(()),
            Err(error) => Err(self.fault(&error)),
        }
    }

    fn fault(&self, reason: &(impl ToString + ?Sized)) -> InflateError {
        InflateError {
            coding: self.coding.name(),
            reason: reason.to_string(),
        }
    }
}

impl Coding {
    fn decoder(self) -> Option<Box<dyn DecodeV2 + Send>> {
        Some(match self {
            Self::Gzip => Box::new(GzipDecoder::new()),
            Self::Deflate => return None,
            Self::Brotli => Box::new(BrotliDecoder::new()),
            Self::Zstd => {
                let window = DParameter::window_log_max(ZSTD_WINDOW_LOG_MAX);
                Box::new(ZstdDecoder::new_with_params(&[window]))
            }
        })
    }

    fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Deflate => "deflate",
            Self::Brotli => "br",
            Self::Zstd => "zstd",
        }
    }

    fn is_flate(self) -> bool {
        matches!(self, Self::Gzip | Self::Deflate)
    }
}

/// Whether these two bytes are a zlib header (RFC 1950 §2.2). Bare deflate would have to begin with a
/// stored block whose padding is not zero to be taken for one.
fn is_zlib(first: u8, second: u8) -> bool {
    let is_deflate = first & 0x0F == 8 && first >> 4 <= 7;
    is_deflate && u16::from_be_bytes([first, second]).is_multiple_of(31)
}

/// Whether a brotli stream begins with the pattern that RFC 7932 §9.1 reserves and encoders use for
/// windows of up to 1 GiB: the decoder would follow it.
fn asks_for_large_window(input: &[u8]) -> bool {
    input.first().is_some_and(|first| first & 0x7F == 0x11)
}

/// 8 MiB, which RFC 9659 §3 has as the most for a content coding.
const ZSTD_WINDOW_LOG_MAX: u32 = 23;

/// How much room is made at once: as much as so many times the input, in these bounds. Room is
/// zeroed before it is written, so a small input gets a small one.
const RATIO: usize = 8;
const STEP_BYTES_MIN: usize = 1024;
const STEP_BYTES_MAX: usize = 16 * 1024;
