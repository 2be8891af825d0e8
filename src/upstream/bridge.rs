//! What stands between an upstream that does not stream and a client that wants a stream?

use std::sync::Arc;

use super::{Upstream, poll, websocket};

/// How endpoints that do not stream are made to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Bridge {
    /// They speak WebSocket: each message becomes a record.
    WebSocket(Arc<websocket::Settings>),
    /// They are asked again and again: each reply with news becomes a record.
    Poll(Arc<poll::Settings>),
}

impl Upstream {
    /// How its endpoints are made to stream, where they do not.
    #[must_use]
    pub fn bridge(&self) -> Option<&Bridge> {
        self.shared.settings.bridge.as_ref()
    }
}
