//! How does a request's body reach the upstream?
//!
//! An [`Upload`] passes the client's body on as it comes. When the upstream stops taking it (it
//! answered early, or left), the rest stays within reach of its [`UploadWatch`], which reads and
//! forgets it: an unread request body would hide the client's departure from HTTP/1.1.

use std::{
    cell::{Cell, RefCell},
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use thiserror::Error;
use tokio::time::Instant;

/// The most of a refused body that is read and forgotten for one request, in bytes.
const DISCARD_BYTES_MAX: usize = 64 * 1024 * 1024;

/// The body of one request, on its way.
#[derive(Debug)]
pub struct Upload {
    /// What was taken off the body and could not be sent.
    ahead: Bytes,
    body: Option<Incoming>,
    /// How much more may come, in bytes.
    room_bytes: u64,
    watch: Rc<UploadWatch>,
}

/// Why the body cannot be passed on to its end.
#[derive(Debug, Error)]
pub enum UploadError {
    /// It broke off, or is malformed.
    #[error(transparent)]
    Broken(#[from] hyper::Error),
    /// It is longer than it may be.
    #[error("the body is longer than it may be")]
    TooLarge,
}

/// What is known of a request's body while the reply is awaited and streamed.
#[derive(Debug)]
pub struct UploadWatch {
    moved_at: Cell<Instant>,
    is_done: Cell<bool>,
    is_broken: Cell<bool>,
    is_given_up: Cell<bool>,
    is_too_large: Cell<bool>,
    leftover: RefCell<Option<Incoming>>,
    discarded_bytes: Cell<usize>,
}

impl Upload {
    /// Takes over the client's body.
    #[must_use]
    pub fn new(body: Incoming, now: Instant) -> Self {
        let is_empty = body.is_end_stream();
        Self {
            ahead: Bytes::new(),
            body: (!is_empty).then_some(body),
            room_bytes: u64::MAX,
            watch: Rc::new(UploadWatch {
                moved_at: Cell::new(now),
                is_done: Cell::new(is_empty),
                is_broken: Cell::new(false),
                is_given_up: Cell::new(false),
                is_too_large: Cell::new(false),
                leftover: RefCell::new(None),
                discarded_bytes: Cell::new(0),
            }),
        }
    }

    /// Breaks off where more than so many bytes come; `None` is no limit.
    #[must_use]
    pub fn at_most(mut self, bytes_max: Option<u64>) -> Self {
        self.room_bytes = bytes_max.unwrap_or(u64::MAX);
        self
    }

    /// No body, of a request of our own.
    pub(crate) fn none() -> Self {
        let watch = Rc::new(UploadWatch {
            moved_at: Cell::new(Instant::now()),
            is_done: Cell::new(true),
            is_broken: Cell::new(false),
            is_given_up: Cell::new(false),
            is_too_large: Cell::new(false),
            leftover: RefCell::new(None),
            discarded_bytes: Cell::new(0),
        });
        Self::empty_again(&watch)
    }

    /// What is known of this body from elsewhere.
    #[must_use]
    pub fn watch(&self) -> Rc<UploadWatch> {
        Rc::clone(&self.watch)
    }

    /// Whether there is no body at all, so that the request can be sent again.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ahead.is_empty() && self.body.is_none() && self.watch.is_done.get()
    }

    /// An empty body with the same watch, for sending the request again.
    pub(crate) fn empty_again(watch: &Rc<UploadWatch>) -> Self {
        Self {
            ahead: Bytes::new(),
            body: None,
            room_bytes: 0,
            watch: Rc::clone(watch),
        }
    }

    /// Gives back what was taken last, where it was not sent.
    pub(crate) fn put_back(&mut self, ahead: Bytes) {
        self.ahead = ahead;
    }

    fn finish(&mut self) {
        self.body = None;
        self.watch.is_done.set(true);
        self.watch.moved_at.set(Instant::now());
    }
}

impl Body for Upload {
    type Data = Bytes;
    type Error = UploadError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, UploadError>>> {
        let upload = &mut *self;
        if !upload.ahead.is_empty() {
            let ahead = std::mem::take(&mut upload.ahead);
            return Poll::Ready(Some(Ok(Frame::data(ahead))));
        }
        let Some(body) = upload.body.as_mut() else {
            return Poll::Ready(None);
        };
        let frame = std::task::ready!(Pin::new(&mut *body).poll_frame(cx));
        let is_last = !matches!(frame, Some(Ok(_))) || body.is_end_stream();
        let bytes = match &frame {
            Some(Ok(frame)) => frame.data_ref().map_or(0, Bytes::len),
            Some(Err(_)) | None => 0,
        };
        let Some(room_bytes) = upload.room_bytes.checked_sub(bytes as u64) else {
            upload.watch.is_too_large.set(true);
            upload.watch.is_broken.set(true);
            upload.finish();
            return Poll::Ready(Some(Err(UploadError::TooLarge)));
        };
        upload.room_bytes = room_bytes;
        if is_last {
            upload.watch.is_broken.set(matches!(frame, Some(Err(_))));
            upload.finish();
        } else {
            upload.watch.moved_at.set(Instant::now());
        }
        Poll::Ready(frame.map(|frame| frame.map_err(UploadError::Broken)))
    }

    fn is_end_stream(&self) -> bool {
        self.ahead.is_empty() && self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        let ahead = self.ahead.len() as u64;
        let body = self.body.as_ref();
        let rest = body.map_or_else(|| SizeHint::with_exact(0), Body::size_hint);
        let mut hint = SizeHint::new();
        hint.set_lower(rest.lower().saturating_add(ahead));
        if let Some(upper) = rest.upper() {
            hint.set_upper(upper.saturating_add(ahead));
        }
        hint
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        if let Some(body) = self.body.take() {
            self.watch.leftover.replace(Some(body));
        }
    }
}

impl UploadWatch {
    /// When the body last moved: the reply's time limit counts from here.
    #[must_use]
    pub fn moved_at(&self) -> Instant {
        self.moved_at.get()
    }

    /// Whether the client's body has come, and gone, to its end.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.is_done.get() && !self.is_broken.get()
    }

    /// Whether the client's body broke off or was malformed.
    #[must_use]
    pub fn is_broken(&self) -> bool {
        self.is_broken.get()
    }

    /// The reply has not come in time, and is waited for no longer.
    pub fn give_up(&self) {
        self.is_given_up.set(true);
    }

    /// Whether the reply has not come in time.
    pub(crate) fn is_given_up(&self) -> bool {
        self.is_given_up.get()
    }

    /// Whether the body was cut because more came than it may have.
    #[must_use]
    pub fn is_too_large(&self) -> bool {
        self.is_too_large.get()
    }

    /// Whether all of the body was taken, so that nothing will be left over.
    pub(crate) fn is_done(&self) -> bool {
        self.is_done.get()
    }

    /// Reads and forgets what the upstream does not take any more, if there is such a rest.
    pub fn poll_discard(&self, cx: &mut Context<'_>) {
        let mut leftover = self.leftover.borrow_mut();
        while let Some(body) = leftover.as_mut() {
            let Poll::Ready(frame) = Pin::new(body).poll_frame(cx) else {
                return;
            };
            let bytes = match frame {
                Some(Ok(frame)) => frame.data_ref().map_or(0, Bytes::len),
                Some(Err(_)) | None => DISCARD_BYTES_MAX,
            };
            let discarded = self.discarded_bytes.get().saturating_add(bytes);
            self.discarded_bytes.set(discarded);
            if discarded >= DISCARD_BYTES_MAX {
                *leftover = None;
            }
        }
    }
}
