//! How is zstd written in as little memory as its encoder allows?

use zstd_safe::{
    CCtx, CParameter, InBuffer, OutBuffer, get_error_name, zstd_sys::ZSTD_EndDirective,
};

use super::{Coder, Step};

/// A zstd stream of one frame.
pub(super) struct Zstd(CCtx<'static>);

/// What a zstd stream with this window holds, in bytes.
pub(super) fn cost_bytes(window_log: u8) -> usize {
    // The window, and as much for the table of hashes.
    STATE_BYTES + 2 * (1 << window_log)
}

impl Zstd {
    /// Makes a stream; `None` where there is no memory for it.
    pub(super) fn new(window_log: u8) -> Option<Self> {
        let mut context = CCtx::try_create()?;
        let window_log = u32::from(window_log);
        for parameter in [
            CParameter::CompressionLevel(LEVEL),
            CParameter::WindowLog(window_log),
            // Four bytes an entry.
            CParameter::HashLog(window_log - 2),
            CParameter::MaxBlockSize(BLOCK_BYTES_MAX.min(1 << window_log)),
        ] {
            context.set_parameter(parameter).ok()?;
        }
        // All memory is taken by the first call, and only taking it can fail.
        context
            .compress_stream2(
                &mut OutBuffer::around(&mut [0; 64][..]),
                &mut InBuffer::around(&[]),
                ZSTD_EndDirective::ZSTD_e_flush,
            )
            .ok()?;
        Some(Self(context))
    }

    #[cfg(test)]
    pub(super) fn held_bytes(&self) -> usize {
        self.0.sizeof()
    }
}

impl Coder for Zstd {
    fn write(&mut self, plain: &[u8], step: Step, coded: &mut Vec<u8>) {
        let directive = match step {
            Step::Flush => ZSTD_EndDirective::ZSTD_e_flush,
            Step::Finish => ZSTD_EndDirective::ZSTD_e_end,
        };
        let plain_bytes = plain.len();
        let mut plain = InBuffer::around(plain);
        loop {
            let start = coded.len();
            coded.reserve(zstd_safe::compress_bound(BLOCK_BYTES_MAX as usize));
            let mut room = OutBuffer::around_pos(coded, start);
            let left = self
                .0
                .compress_stream2(&mut room, &mut plain, directive)
                .map_err(get_error_name)
                .expect("zstd takes any bytes");
            if left == 0 && plain.pos() == plain_bytes {
                return;
            }
        }
    }
}

/// More gains nothing in windows as small as ours.
const LEVEL: i32 = 1;

/// The longest block, in bytes: several of the state's buffers are as long, and by default it is the window.
const BLOCK_BYTES_MAX: u32 = 2048;

/// What a stream holds besides its window and its table of hashes, in bytes.
const STATE_BYTES: usize = 37 * 1024;
