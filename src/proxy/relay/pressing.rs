//! How is a stream compressed on its way to the client?

use super::{Phase, Relay};
use crate::transcode::compress::Compressor;

impl Relay {
    /// Has the stream compressed, and the log say so.
    pub(in crate::proxy) fn compressing(mut self, compressor: Option<Compressor>) -> Self {
        self.parts.record.coding = compressor.as_ref().map(Compressor::coding);
        self.parts.compressor = compressor.map(Box::new);
        self
    }

    /// Whether others had better have their turn before more is asked for: more may be ready, and will
    /// be compressed, which takes its time.
    #[must_use]
    pub fn is_turn_over(&self) -> bool {
        self.parts.compressor.is_some() && !self.is_dry && self.parts.record.bytes.get() > 0
    }

    /// How much may be gathered for one write, in bytes.
    pub(super) fn write_bytes_max(&self) -> usize {
        let allowed = self.parts.route.policy.limits.buffer_bytes_max;
        match self.parts.compressor {
            Some(_) => allowed.min(COMPRESSED_BYTES_MAX),
            None => allowed,
        }
    }

    /// Puts what was appended since `before` into its coding; the coding ends with a stream that is whole.
    pub(super) fn compress(&mut self, out: &mut Vec<u8>, before: usize) {
        let Phase::Closing { is_cut, .. } = self.phase else {
            if let Some(compressor) = &mut self.parts.compressor {
                compressor.flush(out, before);
            }
            return;
        };
        if let Some(mut compressor) = self.parts.compressor.take() {
            if is_cut {
                compressor.flush(out, before);
            } else {
                compressor.finish(out, before);
            }
        }
    }
}

/// How much is compressed at once, in bytes: half a millisecond's work, or twice that for brotli.
pub(super) const COMPRESSED_BYTES_MAX: usize = 64 * 1024;
