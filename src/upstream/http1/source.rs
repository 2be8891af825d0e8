//! How does the body of a reply over HTTP/1.1 reach whoever forwards it?

use std::{
    rc::Rc,
    task::{Context, Poll, ready},
};

use bytes::{Bytes, BytesMut};
use http::response;

use super::{
    body::{Body, Progress},
    connection::{Answer, Connection, READS_MAX},
    pool::Pool,
};
use crate::upstream::{
    source::{Fill, Source, SourceError},
    upload::UploadWatch,
};

/// The body of a reply over HTTP/1.1, with the connection that brings it.
pub(crate) struct Http1Source {
    body: Body,
    /// `None` once it has gone home or is of no more use.
    connection: Option<Connection>,
    home: Rc<Pool>,
    beginning: Option<Box<Beginning>>,
}

/// What a silent stream has no more.
struct Beginning {
    /// What came with the head, until it is taken.
    rest: BytesMut,
    /// `None` where nothing of the request's body can be left over.
    upload: Option<Rc<UploadWatch>>,
}

impl Http1Source {
    /// Takes over the body of `answer`; the connection goes to `home` after its end.
    pub(crate) fn new(
        answer: Answer,
        home: Rc<Pool>,
        upload: Rc<UploadWatch>,
    ) -> (response::Parts, Self) {
        let Answer {
            head,
            rest,
            mut connection,
        } = answer;
        connection.keep_if(head.is_kept);
        let mut source = Self {
            body: head.body,
            connection: Some(connection),
            home,
            beginning: None,
        };
        let has_rest = !rest.is_empty();
        if has_rest || !upload.is_done() {
            source.beginning = Some(Box::new(Beginning {
                rest: BytesMut::from(&rest[..]),
                upload: (!upload.is_done()).then_some(upload),
            }));
        }
        if source.is_empty() {
            source.keep_if(!has_rest);
            source.go_home();
        }
        (head.parts, source)
    }

    /// Whether the reply has no body at all, to be asked before the first fill. Its connection has then gone home.
    pub(crate) fn is_empty(&self) -> bool {
        self.body.progress() == Progress::Done
    }

    /// Sends the connection home, if it can take another request.
    fn go_home(&mut self) {
        if let Some(connection) = self.connection.take().filter(Connection::is_kept) {
            self.home.put(connection);
        }
    }

    /// The connection takes another request only if so.
    fn keep_if(&mut self, is_kept: bool) {
        if let Some(connection) = &mut self.connection {
            connection.keep_if(is_kept);
        }
    }

    /// Sends what is left of the request, and forgets what is not wanted of it.
    fn poll_request(&mut self, cx: &mut Context<'_>) -> Result<(), SourceError> {
        if let Some(beginning) = &self.beginning
            && let Some(upload) = &beginning.upload
        {
            upload.poll_discard(cx);
        }
        let Some(connection) = &mut self.connection else {
            return Ok(());
        };
        if let Poll::Ready(Err(_)) = connection.poll_sending(cx) {
            self.connection = None;
            let reason = "the request's body broke off".to_owned();
            return Err(SourceError::Closed { reason });
        }
        Ok(())
    }

    /// What came with the head, decoded.
    fn take_rest(&mut self) -> Option<Bytes> {
        let beginning = self.beginning.as_mut()?;
        let mut rest = std::mem::take(&mut beginning.rest);
        if beginning.upload.is_none() {
            self.beginning = None;
        }
        if rest.is_empty() {
            return None;
        }
        let decoded = self.body.decode(&mut rest);
        self.keep_if(decoded.used == rest.len());
        if decoded.payload.is_empty() {
            return None;
        }
        Some(rest.freeze().slice(decoded.payload))
    }

    /// The end or the fault that the body has come to, if it has.
    fn outcome(&mut self) -> Option<Result<Fill, SourceError>> {
        let outcome = match self.body.progress() {
            Progress::Going => return None,
            Progress::Bad(reason) => Err(reason),
            Progress::Done => self.body.take_trailers(),
        };
        Some(match outcome {
            Ok(trailers) => {
                self.go_home();
                Ok(Fill::End {
                    trailers,
                    end: self.body.end(),
                })
            }
            Err(reason) => {
                self.connection = None;
                Err(SourceError::Broken {
                    reason: reason.to_owned(),
                })
            }
        })
    }

    /// What it means that the connection has ended while the body goes on.
    fn closed(&mut self) -> Result<Fill, SourceError> {
        self.connection = None;
        match self.body {
            Body::UntilClose => Ok(Fill::End {
                trailers: None,
                end: self.body.end(),
            }),
            Body::Length(_) | Body::Chunked(_) => Err(SourceError::Truncated),
        }
    }
}

impl Source for Http1Source {
    fn poll_fill(
        &mut self,
        cx: &mut Context<'_>,
        scratch: &mut [u8],
    ) -> Poll<Result<Fill, SourceError>> {
        self.poll_request(cx)?;
        if let Some(rest) = self.take_rest() {
            return Poll::Ready(Ok(Fill::Bytes(rest)));
        }
        // Again only where a read brought framing alone.
        for _ in 0..READS_MAX {
            if let Some(outcome) = self.outcome() {
                return Poll::Ready(outcome);
            }
            let Some(connection) = &mut self.connection else {
                return Poll::Ready(Err(SourceError::Truncated));
            };
            let length = match ready!(connection.poll_read(cx, scratch)) {
                Ok(0) => return Poll::Ready(self.closed()),
                Ok(length) => length,
                Err(error) => {
                    self.connection = None;
                    return Poll::Ready(Err(SourceError::classify(&error)));
                }
            };
            let decoded = self.body.decode(&mut scratch[..length]);
            connection.keep_if(decoded.used == length);
            if !decoded.payload.is_empty() {
                return Poll::Ready(Ok(Fill::Scratch(decoded.payload)));
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn drive(&mut self, cx: &mut Context<'_>) {
        if self.poll_request(cx).is_err() {
            // The next fill tells that the connection is gone.
            cx.waker().wake_by_ref();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::Http1Source;

    /// Every open stream holds one; what it takes is what the figures of an idle stream are made of.
    #[test]
    fn it_is_small() {
        let counted = 2 * size_of::<usize>();
        let bytes = counted + size_of::<RefCell<Http1Source>>();
        assert!(bytes <= 96, "{bytes}");
    }
}
