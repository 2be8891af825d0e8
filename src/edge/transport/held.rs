//! How do many small writes become one?
//!
//! HTTP/2 writes and flushes frame by frame; what it writes in one turn goes out together at its end.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::io::AsyncWrite;

/// The most that is held for the end of a turn, in bytes, unless one write is longer.
const HELD_BYTES_MAX: usize = 64 * 1024;

/// What was written and is held for the end of the turn. Has no memory after that.
#[derive(Default)]
pub(super) struct Held {
    bytes: Vec<u8>,
    sent_bytes: usize,
}

impl Held {
    /// Takes all of `slices`; sends what came before, where that is too much to hold more.
    pub(super) fn poll_take(
        &mut self,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
        io: &mut (impl AsyncWrite + Unpin),
    ) -> Poll<io::Result<usize>> {
        let length = slices.iter().map(|slice| slice.len()).sum();
        if self.bytes.len() + length > HELD_BYTES_MAX {
            ready!(self.poll_send(cx, io))?;
        }
        for slice in slices {
            self.bytes.extend_from_slice(slice);
        }
        Poll::Ready(Ok(length))
    }

    /// Sends all that is held.
    pub(super) fn poll_send(
        &mut self,
        cx: &mut Context<'_>,
        io: &mut (impl AsyncWrite + Unpin),
    ) -> Poll<io::Result<()>> {
        if self.bytes.is_empty() {
            return Poll::Ready(Ok(()));
        }
        while self.sent_bytes < self.bytes.len() {
            let rest = &self.bytes[self.sent_bytes..];
            match ready!(Pin::new(&mut *io).poll_write(cx, rest))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                bytes => self.sent_bytes += bytes,
            }
        }
        *self = Self::default();
        Pin::new(io).poll_flush(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::io::{AsyncReadExt as _, duplex};

    use super::*;

    #[tokio::test]
    async fn writes_of_every_size_go_whole_and_in_order_through_a_narrow_pipe() {
        let (mut near, mut far) = duplex(1000);
        let sizes = [1, 9, 16_000, 50_000, 64 * 1024, 64 * 1024 + 1, 200_000, 3];
        let sent: Vec<u8> = (0..sizes.iter().sum::<usize>())
            .map(|at| u8::try_from(at % 251).unwrap())
            .collect();
        let expected = sent.clone();
        let writing = tokio::spawn(async move {
            let (mut held, mut at) = (Held::default(), 0);
            for size in sizes {
                let (left, right) = sent[at..at + size].split_at(size / 3);
                let slices = [io::IoSlice::new(left), io::IoSlice::new(right)];
                let taken = poll_fn(|cx| held.poll_take(cx, &slices, &mut near)).await;
                assert_eq!(taken.unwrap(), size);
                assert!(held.bytes.len() <= HELD_BYTES_MAX.max(size));
                at += size;
            }
            poll_fn(|cx| held.poll_send(cx, &mut near)).await.unwrap();
            assert_eq!(held.bytes.capacity(), 0);
        });
        let mut came = Vec::new();
        far.read_to_end(&mut came).await.unwrap();
        writing.await.unwrap();
        assert!(came == expected, "{} bytes", came.len());
    }
}
