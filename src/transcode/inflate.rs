//! How does a content coding come undone, flush by flush?

use thiserror::Error;

/// Undoes the `Content-Encoding` of one reply.
pub struct Inflater {}

/// Why coded bytes could not be undone.
#[derive(Debug, Error)]
#[error("the {coding} coding cannot be undone: {reason}")]
pub struct InflateError {
    /// The coding's name, as in `Content-Encoding`.
    pub coding: &'static str,
    /// What was wrong.
    pub reason: String,
}

impl Inflater {
    /// Makes the inflater for the value of `Content-Encoding` (gzip, x-gzip, deflate, br, zstd, in any case).
    /// `None` for `identity`'s absence of work is the caller's matter; `None` here is a coding we cannot undo
    /// (also: more than one).
    #[must_use]
    pub fn for_coding(content_encoding: &str) -> Option<Self> {
        let _ = content_encoding;
        None
    }

    /// Takes coded bytes off `input` and appends plain ones to `out`, until `input` is empty and all that can be
    /// told from it is out (a sender's flush is ours), or `out` holds `out_bytes_max` bytes (a hard bound).
    ///
    /// # Errors
    /// The bytes are not of this coding, or ask for a window of more than 8 MiB.
    pub fn push(
        &mut self,
        input: &mut &[u8],
        out: &mut Vec<u8>,
        out_bytes_max: usize,
    ) -> Result<(), InflateError> {
        let _ = (input, out, out_bytes_max);
        Ok(())
    }

    /// Whether the coding's own end has been seen; if not at the end of the input, it was cut.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        true
    }
}
