//! How is brotli written in as little memory as its encoder allows?

use compression_codecs::{BrotliEncoder, EncodeV2 as _, brotli::params::EncoderParams};
use compression_core::{
    Level,
    util::{PartialBuffer, WriteBuffer},
};

use super::{Coder, Step};

/// A brotli stream.
pub(super) struct Brotli(BrotliEncoder);

/// What a brotli stream with this window holds after its longest writes, in bytes.
pub(super) fn cost_bytes(window_log: u8) -> usize {
    let ring_log = window_log.max(BLOCK_LOG) + 1;
    STATE_BYTES + (1 << ring_log)
}

impl Brotli {
    pub(super) fn new(window_log: u8) -> Self {
        let params = EncoderParams::default()
            .quality(Level::Precise(QUALITY))
            .window_size(window_log.into())
            .text_mode();
        Self(BrotliEncoder::new(params))
    }
}

impl Coder for Brotli {
    fn write(&mut self, plain: &[u8], step: Step, coded: &mut Vec<u8>) {
        // What the encoder allocates for a block it keeps, so that no block may be long.
        for piece in plain.chunks(PIECE_BYTES_MAX) {
            let mut piece = PartialBuffer::new(piece);
            write(coded, |room| {
                self.0.encode(&mut piece, room).expect(ANY_BYTES);
                piece.unwritten().is_empty()
            });
            write(coded, |room| self.0.flush(room).expect(ANY_BYTES));
        }
        if step == Step::Finish {
            write(coded, |room| self.0.finish(room).expect(ANY_BYTES));
        }
    }
}

/// Has `step` write until it says that it is done.
fn write(coded: &mut Vec<u8>, mut step: impl FnMut(&mut WriteBuffer<'_>) -> bool) {
    loop {
        let start = coded.len();
        coded.resize(start + ROOM_BYTES, 0);
        let mut room = WriteBuffer::new_initialized(&mut coded[start..]);
        let is_done = step(&mut room);
        let written = room.written_len();
        coded.truncate(start + written);
        if is_done {
            return;
        }
    }
}

const ANY_BYTES: &str = "brotli takes any bytes";

/// The lowest that looks at what came before the flush with care: 2 leaves it half undone, and 4 takes
/// twice the memory.
const QUALITY: i32 = 3;
/// The encoder's blocks at this quality, 16 KiB, which its ring holds at least.
const BLOCK_LOG: u8 = 14;

/// What a stream holds besides its ring, in bytes: 256 KiB of it are the table of hashes.
const STATE_BYTES: usize = 336 * 1024;

/// How much is flushed at once, in bytes.
const PIECE_BYTES_MAX: usize = 4096;
/// How much room is made for coded bytes at once.
const ROOM_BYTES: usize = 1024;
