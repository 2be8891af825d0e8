//! What does a new connection speak?

use std::{io, net::SocketAddr, rc::Rc, sync::Arc};

use tokio::{sync::OwnedSemaphorePermit, time::timeout};
use tokio_rustls::TlsAcceptor;
use tracing::debug;

use super::{
    Connection, Settings, http1, http2,
    transport::{Duplex, Transport},
};
use crate::{
    proxy::{
        Proxy,
        link::{ConnectionLink, Peer},
    },
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
    pub(super) place: OwnedSemaphorePermit,
    pub(super) metrics: Arc<ListenerMetrics>,
}

impl Incoming {
    /// Agrees with the client on what to speak, and serves it.
    pub(super) async fn serve(self, io: Box<dyn Duplex>) {
        let Some((transport, is_http2)) = self.agree(io).await else {
            return;
        };
        let peer = self.peer();
        let (proxy, place) = (self.proxy, self.place);
        let counted = self.metrics.connected(is_http2);
        let link = ConnectionLink::new(peer, is_http2, (place, counted));
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
            tokio::task::spawn_local(http2::serve(connection));
        } else {
            tokio::task::spawn_local(http1::serve(connection));
        }
    }

    /// Agrees with the client on TLS and on the version of HTTP, in time.
    async fn agree(&self, io: Box<dyn Duplex>) -> Option<(Transport, bool)> {
        let timeouts = self.settings.timeouts;
        let Some(acceptor) = &self.tls else {
            let transport = Transport::new(io);
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
        Some((Transport::new(Box::new(stream)), is_http2))
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
