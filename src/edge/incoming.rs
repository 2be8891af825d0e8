//! What does a new connection speak?

use std::{io, net::SocketAddr, rc::Rc, sync::Arc, task::Poll};

use tokio::time::{sleep_until, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_util::either::Either;
use tracing::debug;

use super::{Connection, Settings, guard::NEWCOMER, http1, http2, transport::Transport};
use crate::{
    drain,
    limits::ConnectionPlace,
    proxy::{
        Proxy,
        link::{ConnectionLink, Peer},
    },
    reactor::Watched,
    telemetry::metrics::listener::ListenerMetrics,
};

/// What an HTTP/2 client sends first (RFC 9113 §3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A connection that was accepted and speaks no HTTP yet.
pub(super) struct Incoming {
    pub(super) settings: Arc<Settings>,
    pub(super) tls: Option<TlsAcceptor>,
    pub(super) proxy: Rc<Proxy>,
    pub(super) peer: Option<SocketAddr>,
    pub(super) place: ConnectionPlace,
    pub(super) metrics: Arc<ListenerMetrics>,
}

impl Incoming {
    /// Agrees with the client on what to speak, and serves it. A drain waits for it as long as `watch` is
    /// held.
    pub(super) async fn serve(self, io: Watched, mut watch: drain::Watch) {
        let agreed = tokio::select! {
            agreed = self.agree(io) => agreed,
            () = dismissed(&mut watch) => None,
        };
        let Some((transport, is_http2)) = agreed else {
            return;
        };
        let peer = self.peer();
        let (proxy, place) = (self.proxy, self.place);
        let counted = self.metrics.connected(is_http2);
        let link = ConnectionLink::new(peer, is_http2, (place, counted));
        // The connection's own: a watch wakes the task that polled it first.
        let watch = proxy.drain.watch();
        // A task of its own, for either protocol: this one is as big as a handshake, and one for both would
        // be as big as the bigger of them.
        let connection = Connection {
            transport,
            link,
            proxy,
            settings: self.settings,
            has_served: false,
        };
        if is_http2 {
            tokio::task::spawn_local(http2::serve(connection, watch));
        } else {
            tokio::task::spawn_local(http1::serve(connection, watch));
        }
    }

    /// Agrees with the client on TLS and on the version of HTTP, in time.
    async fn agree(&self, io: Watched) -> Option<(Transport, bool)> {
        let timeouts = self.settings.timeouts;
        let Some(acceptor) = &self.tls else {
            let transport = Transport::new(Either::Left(io));
            let is_http2 = timeout(timeouts.header, self.sniff(&transport))
                .await
                .ok()?;
            return Some((transport, is_http2));
        };
        let handshake = timeout(timeouts.handshake, acceptor.accept(io)).await;
        let stream = handshake
            .map_err(io::Error::from)
            .and_then(|stream| stream)
            .inspect_err(|error| debug!(peer = ?self.peer, %error, "A TLS handshake failed."))
            .ok()?;
        let alpn = stream.get_ref().1.alpn_protocol();
        let is_http2 = alpn == Some(b"h2") || !self.settings.http.is_http1;
        Some((Transport::new(Either::Right(Box::new(stream))), is_http2))
    }

    /// Whether a cleartext client speaks HTTP/2 by prior knowledge.
    async fn sniff(&self, transport: &Transport) -> bool {
        let http = self.settings.http;
        if !(http.is_http1 && http.is_http2) {
            return http.is_http2;
        }
        let is_decided = |ahead: &[u8]| ahead.len() >= PREFACE.len() || !PREFACE.starts_with(ahead);
        transport.read_ahead(is_decided).await;
        transport.ahead_starts_with(PREFACE)
    }

    fn peer(&self) -> Peer {
        let trusted = &self.settings.trusted_proxies;
        let address = self.peer.map(|peer| peer.ip().to_canonical());
        Peer {
            address,
            is_tls: self.tls.is_some(),
            // Who can open the socket's file was let in by whoever owns it.
            is_trusted: address
                .is_none_or(|ip| trusted.iter().any(|network| network.contains(&ip))),
        }
    }
}

/// Waits until a drain has begun and has waited for newcomers.
async fn dismissed(watch: &mut drain::Watch) {
    let window = std::future::poll_fn(|cx| watch.poll(cx).map_or(Poll::Pending, Poll::Ready)).await;
    sleep_until(window.begun + NEWCOMER).await;
}
