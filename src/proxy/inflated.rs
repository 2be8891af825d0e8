//! What are the plain bytes of a reply that came compressed?

use std::task::{Context, Poll, ready};

use bytes::{Buf as _, Bytes};

use crate::{
    transcode::inflate::Inflater,
    upstream::source::{Fill, SharedSource, Source, SourceError},
};

/// The most plain bytes made in one step: a bomb fills this, and then waits for the client.
const PLAIN_BYTES_MAX: usize = 64 * 1024;

/// A source whose content coding is undone, flush by flush.
pub(super) struct Inflated {
    source: SharedSource,
    inflater: Inflater,
    coded: Bytes,
    /// Whether the last step filled its bound, so that more may come without further input.
    is_full: bool,
    /// What is wrong after the plain bytes that were given last.
    fault: Option<SourceError>,
}

impl Inflated {
    pub(super) fn new(source: SharedSource, inflater: Inflater) -> Self {
        Self {
            source,
            inflater,
            coded: Bytes::new(),
            is_full: false,
            fault: None,
        }
    }

    /// Undoes one piece. A fault that comes after plain bytes waits until they are taken.
    fn step(&mut self) -> Result<Bytes, SourceError> {
        let mut plain = Vec::new();
        let mut input = &self.coded[..];
        let pushed = self.inflater.push(&mut input, &mut plain, PLAIN_BYTES_MAX);
        let taken = self.coded.len() - input.len();
        self.coded.advance(taken);
        self.is_full = plain.len() >= PLAIN_BYTES_MAX;
        if let Err(error) = pushed {
            let reason = error.to_string();
            self.fault = Some(SourceError::Broken { reason });
        }
        match self.fault.take_if(|_| plain.is_empty()) {
            Some(fault) => Err(fault),
            None => Ok(plain.into()),
        }
    }
}

impl Source for Inflated {
    fn poll_fill(
        &mut self,
        cx: &mut Context<'_>,
        scratch: &mut [u8],
    ) -> Poll<Result<Fill, SourceError>> {
        loop {
            if let Some(fault) = self.fault.take() {
                return Poll::Ready(Err(fault));
            }
            if !self.coded.is_empty() || self.is_full {
                let plain = self.step()?;
                if !plain.is_empty() {
                    return Poll::Ready(Ok(Fill::Bytes(plain)));
                }
                continue;
            }
            self.coded = match ready!(self.source.borrow_mut().poll_fill(cx, scratch))? {
                Fill::Scratch(range) => Bytes::copy_from_slice(&scratch[range]),
                Fill::Bytes(coded) => coded,
                Fill::End { .. } if !self.inflater.is_finished() => {
                    return Poll::Ready(Err(SourceError::Truncated));
                }
                end @ Fill::End { .. } => return Poll::Ready(Ok(end)),
            };
        }
    }

    fn drive(&mut self, cx: &mut Context<'_>) {
        self.source.borrow_mut().drive(cx);
    }
}
