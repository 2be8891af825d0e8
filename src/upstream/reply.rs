//! What has an endpoint answered?

use std::{cell::RefCell, rc::Rc, sync::Arc};

use http::response;

use super::{
    Lease, Member,
    http1::{self, Http1Source, Rewind},
    http2::Http2Source,
    source::SharedSource,
    upload::UploadWatch,
};
use crate::transcode::framing::Framing;

/// What an endpoint answered.
pub struct Reply {
    /// Status and fields.
    pub head: response::Parts,
    /// The body; `None` where the reply has none.
    pub source: Option<SharedSource>,
    /// How its records are cut, where a bridge made it; else the reply's type and the route say.
    pub framing: Option<&'static Framing>,
    /// The endpoint.
    pub endpoint: Arc<Member>,
    /// The place on the endpoint, to be kept until the reply's end; `None` where its source keeps it.
    pub lease: Option<Lease>,
}

/// What an endpoint answered to a request for an upgrade.
pub enum UpgradeReply {
    /// A 101: what follows on the connection is a protocol of its own.
    Switched {
        /// Status and fields.
        head: response::Parts,
        /// The connection from there on.
        io: Rewind,
        /// The place on the endpoint, to be kept until the tunnel's end.
        lease: Lease,
    },
    /// Anything else.
    Refused(Reply),
}

impl Reply {
    /// The reply that an answer is; its connection goes to `home` once it can.
    pub(super) fn over_http1(
        answer: http1::Answer,
        home: Rc<http1::Pool>,
        upload: Rc<UploadWatch>,
        lease: Lease,
    ) -> Self {
        let (head, source) = Http1Source::new(answer, home, upload);
        let is_empty = source.is_empty();
        Self::new(
            head,
            (!is_empty).then(|| Rc::new(RefCell::new(source)) as _),
            lease,
        )
    }

    /// The reply that came over a shared connection.
    pub(super) fn over_http2(head: response::Parts, source: Http2Source, lease: Lease) -> Self {
        let is_empty = source.is_empty();
        Self::new(
            head,
            (!is_empty).then(|| Rc::new(RefCell::new(source)) as _),
            lease,
        )
    }

    fn new(head: response::Parts, source: Option<SharedSource>, lease: Lease) -> Self {
        lease.answered(head.status);
        Self {
            head,
            source,
            framing: None,
            endpoint: lease.endpoint(),
            lease: Some(lease),
        }
    }
}
