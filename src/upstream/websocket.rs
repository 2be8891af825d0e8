//! How does an upstream that speaks WebSocket (RFC 6455) answer an ordinary request?
//!
//! The request becomes a handshake, and each message that comes then a record.

mod ending;
mod handshake;
mod pipe;
mod source;

use std::{cell::RefCell, rc::Rc};

use http::{HeaderValue, Request, StatusCode};

use self::source::WebSocketSource;
use super::{Reply, UpgradeReply, Upstream, upload::Upload};
use crate::{
    error::{Kind, Refusal},
    transcode::framing::parcels,
};

/// What the configuration says of an upstream that speaks WebSocket.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Settings {
    /// The subprotocol to ask for, in place of what the client asks for.
    pub subprotocol: Option<HeaderValue>,
    /// Text messages to send as soon as the connection is open, in this order.
    pub send: Vec<String>,
}

impl Upstream {
    /// Sends a request (target in origin form, with `Host`, without a body) as a handshake. The reply is a
    /// stream of parcels where the endpoint agrees, else what it answered.
    ///
    /// # Errors
    /// No endpoint answered, or its handshake is not valid.
    pub async fn open_websocket(
        &self,
        mut request: Box<Request<Upload>>,
        settings: &Settings,
        record_bytes_max: usize,
    ) -> Result<Reply, Refusal> {
        let asked = handshake::ask(request.headers_mut(), settings.subprotocol.as_ref());
        let (mut head, io, lease) = match self.send_upgrade(request).await? {
            UpgradeReply::Refused(reply) => return Ok(reply),
            UpgradeReply::Switched { head, io, lease } => (head, io, lease),
        };
        asked.check(&head.headers).map_err(|reason| {
            let detail = format!("the upstream's WebSocket handshake is not valid: {reason}");
            Refusal::new(Kind::BadReply, detail)
        })?;
        head.status = StatusCode::OK;
        handshake::strip(&mut head.headers);
        let source = WebSocketSource::new(io, &settings.send, record_bytes_max);
        Ok(Reply {
            head,
            source: Some(Rc::new(RefCell::new(source))),
            framing: Some(&parcels::FRAMING),
            endpoint: lease.endpoint(),
            lease: Some(lease),
        })
    }
}
