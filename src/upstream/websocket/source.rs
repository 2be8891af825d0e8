//! How do the messages of a WebSocket become a stream of records?
//!
//! tungstenite speaks the protocol. It is given what we have read already, so that a silent WebSocket holds
//! no buffer, and not polling it is the back-pressure.

use std::{
    io::ErrorKind,
    pin::Pin,
    task::{Context, Poll, Waker, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tungstenite::{
    Error, Message,
    protocol::{CloseFrame, Role, WebSocketConfig, WebSocketContext, frame::coding::CloseCode},
};

use super::{
    ending,
    pipe::{Came, Pipe},
};
use crate::{
    transcode::framing::parcels,
    upstream::source::{Fill, Source, SourceError},
};

/// An open WebSocket, read as a stream of parcels.
pub(super) struct WebSocketSource<Io: AsyncRead + AsyncWrite + Unpin> {
    io: Io,
    codec: WebSocketContext,
    /// Records that came and are not taken yet; at most `AHEAD_BYTES_MAX`, and those of one read.
    ahead: Vec<u8>,
    /// What comes after them, once that is known.
    ending: Option<Result<Fill, SourceError>>,
    /// Whether the server knows that this is over, or is past being told.
    is_closed: bool,
    record_bytes_max: usize,
}

impl<Io: AsyncRead + AsyncWrite + Unpin> WebSocketSource<Io> {
    /// Takes over a connection behind its handshake; sends these messages first.
    pub(super) fn new(io: Io, send: &[String], record_bytes_max: usize) -> Self {
        let send_bytes: usize = send.iter().map(|text| text.len() + HEAD_BYTES_MAX).sum();
        let config = WebSocketConfig::default()
            .read_buffer_size(CODEC_BYTES)
            // So much is gathered until a flush writes it; of the pongs beyond, the last is kept.
            .write_buffer_size(send_bytes + CONTROL_BYTES_MAX)
            .max_write_buffer_size(send_bytes + 2 * CONTROL_BYTES_MAX)
            .max_message_size(Some(record_bytes_max))
            // Control frames have a limit of their own.
            .max_frame_size(Some(record_bytes_max.max(CONTROL_BYTES_MAX)));
        let mut source = Self {
            io,
            codec: WebSocketContext::new(Role::Client, Some(config)),
            ahead: Vec::new(),
            ending: None,
            is_closed: false,
            record_bytes_max,
        };
        for text in send {
            let message = Message::text(text.as_str());
            let mut cx = Context::from_waker(Waker::noop());
            source.write(&mut cx, |codec, pipe| codec.write(pipe, message));
        }
        source
    }

    /// Lets the codec write what the socket takes now; the rest goes with the next poll.
    fn write(
        &mut self,
        cx: &mut Context<'_>,
        act: impl FnOnce(&mut WebSocketContext, &mut Pipe<'_, '_, Io>) -> Result<(), Error>,
    ) {
        let mut pipe = Pipe {
            came: Came::Bytes(&[]),
            io: &mut self.io,
            cx,
        };
        // A socket that takes nothing any more says why when it is read.
        let _ = act(&mut self.codec, &mut pipe);
    }

    fn flush(&mut self, cx: &mut Context<'_>) {
        self.write(cx, |codec, pipe| codec.flush(pipe));
    }

    /// Tells the server why we leave, as far as the socket takes that now.
    fn close(&mut self, code: CloseCode, cx: &mut Context<'_>) {
        if std::mem::replace(&mut self.is_closed, true) {
            return;
        }
        let reason = "".into();
        let close = Some(CloseFrame { code, reason });
        self.write(cx, |codec, pipe| codec.close(pipe, close));
    }

    /// Reads once. What has come is in `ahead` and `ending` then.
    fn poll_read(&mut self, cx: &mut Context<'_>, scratch: &mut [u8]) -> Poll<()> {
        let mut buffer = ReadBuf::new(scratch);
        match ready!(Pin::new(&mut self.io).poll_read(cx, &mut buffer)) {
            Ok(()) if buffer.filled().is_empty() => self.take(Came::End, cx),
            Ok(()) => self.take(Came::Bytes(buffer.filled()), cx),
            Err(error) => self.end(Err(SourceError::classify(&error))),
        }
        Poll::Ready(())
    }

    /// Has the codec read all that came: messages become records, pings are answered.
    fn take(&mut self, came: Came<'_>, cx: &mut Context<'_>) {
        self.ahead.extend_from_slice(parcels::SIGN_OF_LIFE);
        let mut pipe = Pipe {
            came,
            io: &mut self.io,
            cx: &mut *cx,
        };
        let mut last = None;
        let error = loop {
            let message = self.codec.read(&mut pipe);
            // Not before: while a message lives, the codec cannot take its buffer for the next one, and keep
            // it however long it was.
            drop(last.take());
            match &message {
                Ok(Message::Text(text)) => parcels::record(text.as_bytes(), &mut self.ahead),
                Ok(Message::Binary(bytes)) => parcels::record(bytes, &mut self.ahead),
                Ok(Message::Close(close)) => {
                    self.end(ending::closed(close.as_ref()));
                    return self.flush(cx);
                }
                Err(Error::Io(error)) if error.kind() == ErrorKind::WouldBlock => return,
                Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_)) | Err(_) => {}
            }
            match message {
                Ok(message) => last = Some(message),
                Err(error) => break error,
            }
        };
        let (ending, code) = ending::broken(&error, self.record_bytes_max);
        if let Some(code) = code {
            self.close(code, cx);
        }
        self.end(ending);
    }

    fn end(&mut self, ending: Result<Fill, SourceError>) {
        self.ending = Some(ending);
        self.is_closed = true;
    }
}

impl<Io: AsyncRead + AsyncWrite + Unpin> Source for WebSocketSource<Io> {
    fn poll_fill(
        &mut self,
        cx: &mut Context<'_>,
        scratch: &mut [u8],
    ) -> Poll<Result<Fill, SourceError>> {
        loop {
            if !self.ahead.is_empty() {
                let ahead = std::mem::take(&mut self.ahead);
                return Poll::Ready(Ok(Fill::Bytes(ahead.into())));
            }
            if let Some(ending) = self.ending.take() {
                return Poll::Ready(ending);
            }
            self.flush(cx);
            ready!(self.poll_read(cx, scratch));
        }
    }

    /// Answers pings although the client takes nothing, as long as what comes before them has room.
    fn drive(&mut self, cx: &mut Context<'_>) {
        if self.ending.is_some() {
            return;
        }
        self.flush(cx);
        let mut scratch = [0; DRIVEN_BYTES];
        while self.ahead.len() < AHEAD_BYTES_MAX && self.ending.is_none() {
            if self.poll_read(cx, &mut scratch).is_pending() {
                return;
            }
        }
    }
}

impl<Io: AsyncRead + AsyncWrite + Unpin> Drop for WebSocketSource<Io> {
    fn drop(&mut self) {
        self.close(CloseCode::Away, &mut Context::from_waker(Waker::noop()));
    }
}

/// How much the codec takes at once of what we have read: no more than the head of a frame. Beyond that it
/// makes room for what it has of a long message already, and the buffer that is left over it keeps.
const CODEC_BYTES: usize = HEAD_BYTES_MAX;
/// How much is read for a client that takes nothing.
const AHEAD_BYTES_MAX: usize = 64 * 1024;
/// How much of it at once.
const DRIVEN_BYTES: usize = 4 * 1024;
/// The longest head of a frame (RFC 6455 §5.2).
const HEAD_BYTES_MAX: usize = 14;
/// The longest control frame.
const CONTROL_BYTES_MAX: usize = HEAD_BYTES_MAX + 125;

#[cfg(test)]
mod tests;
