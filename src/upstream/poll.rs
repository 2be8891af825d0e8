//! How does an upstream answer that holds each reply back until there is news (long polling, RFC 6202)?
//!
//! The client's request is repeated with the cursor that the last reply gave; each reply with news is a
//! record, whose id is its cursor. So a client that comes back with `Last-Event-ID` goes on where it was.

mod backoff;
mod cursor;
mod source;
mod template;

use std::{cell::RefCell, rc::Rc, sync::Arc, time::Duration};

use http::{Request, StatusCode, header};

pub use self::{backoff::Backoff, cursor::Place};
use self::{cursor::Cursor, source::PollSource, template::Template};
use super::{Reply, Upstream, upload::Upload};
use crate::transcode::framing::parcels;

/// What the configuration says of an upstream that is polled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Where each reply says how far it goes.
    pub cursor: Place,
    /// The query parameter that takes the cursor to the next reply.
    pub query: String,
    /// The cursor of a client that brings none; the first request goes without where `None`.
    pub initial: Option<String>,
    /// From one poll to the next, where the first brought no news.
    pub every: Duration,
    /// From a failed poll to the next.
    pub backoff: Backoff,
}

/// A request that is about to be repeated.
pub struct Polls {
    upstream: Rc<Upstream>,
    settings: Arc<Settings>,
    template: Template,
    cursor: Cursor,
}

impl Polls {
    /// Takes over a request (GET, target in origin form, with `Host`, without a body).
    #[must_use]
    pub fn new(
        request: Box<Request<Upload>>,
        settings: &Arc<Settings>,
        upstream: &Rc<Upstream>,
    ) -> Self {
        let (template, came_with) = Template::new(*request, &settings.query);
        Self {
            upstream: Rc::clone(upstream),
            settings: Arc::clone(settings),
            template,
            cursor: Cursor::new(came_with.or_else(|| settings.initial.clone())),
        }
    }

    /// The next request.
    #[must_use]
    pub fn request(&self) -> Box<Request<Upload>> {
        Box::new(self.template.request(self.cursor.value()))
    }

    /// Goes on from the first reply: a stream of parcels, where a stream can begin with it.
    #[must_use]
    pub fn stream(self, first: Reply, record_bytes_max: usize) -> Reply {
        if !source::is_success(first.head.status) {
            return first;
        }
        let mut head = first.head.clone();
        head.status = StatusCode::OK;
        head.headers.remove(header::CONTENT_ENCODING);
        let endpoint = Arc::clone(&first.endpoint);
        let source = PollSource::new(self, first, record_bytes_max);
        Reply {
            head,
            source: Some(Rc::new(RefCell::new(source))),
            framing: Some(&parcels::FRAMING),
            endpoint,
            lease: None,
        }
    }
}
