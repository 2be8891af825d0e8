//! What do operators ask?
//!
//! Whether the process lives (`/livez`), whether it takes new streams (`/readyz`, which fails as soon as
//! a drain begins), and what it counts (`/metrics`).

use std::{convert::Infallible, io, rc::Rc};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tracing::debug;

use crate::{
    edge::{
        listener::ACCEPT_PAUSE,
        socket::{Accepting, BoundSocket},
    },
    proxy::Proxy,
    telemetry::metrics::scrape::{self, EndpointState, MemoryState, UpstreamState},
    upstream::retry::Reason,
};

/// Answers operators as long as it is polled.
///
/// # Errors
/// The runtime cannot watch the socket.
pub async fn serve(socket: BoundSocket, proxy: Rc<Proxy>) -> io::Result<()> {
    let accepting = Accepting::new(socket)?;
    loop {
        let io = match accepting.accept().await {
            Ok((io, _)) => io,
            Err(error) => {
                debug!(%error, "An operator's connection could not be accepted.");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let proxy = Rc::clone(&proxy);
        let service = service_fn(move |request: Request<Incoming>| {
            let response = answer(&request, &proxy);
            async move { Ok::<_, Infallible>(response) }
        });
        tokio::task::spawn_local(async move {
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .serve_connection(TokioIo::new(io), service);
            if let Err(error) = connection.await {
                debug!(%error, "An operator's connection broke.");
            }
        });
    }
}

fn answer(request: &Request<Incoming>, proxy: &Proxy) -> Response<Full<Bytes>> {
    let is_draining = proxy.drain.window().is_some();
    match (request.method(), request.uri().path()) {
        (&Method::GET | &Method::HEAD, "/livez") => plain(StatusCode::OK, "alive\n"),
        (&Method::GET | &Method::HEAD, "/readyz") if is_draining => {
            plain(StatusCode::SERVICE_UNAVAILABLE, "draining\n")
        }
        (&Method::GET | &Method::HEAD, "/readyz") => plain(StatusCode::OK, "ready\n"),
        (&Method::GET | &Method::HEAD, "/metrics") => metrics(proxy),
        _ => plain(
            StatusCode::NOT_FOUND,
            "there are /livez, /readyz and /metrics\n",
        ),
    }
}

fn plain(status: StatusCode, text: &'static str) -> Response<Full<Bytes>> {
    response(
        status,
        "text/plain; charset=utf-8",
        Bytes::from_static(text.as_bytes()),
    )
}

fn metrics(proxy: &Proxy) -> Response<Full<Bytes>> {
    let serving = Rc::clone(&proxy.serving.borrow());
    let mut by_name: Vec<_> = serving.upstreams.iter().collect();
    by_name.sort_by_key(|(name, _)| *name);
    let (mut upstreams, mut endpoints) = (Vec::new(), Vec::new());
    for (name, upstream) in by_name {
        let retries = upstream.retries();
        let done = |reason: Reason| (reason.name(), retries.done(reason));
        upstreams.push(UpstreamState {
            upstream: name.clone(),
            retries: Reason::ALL.map(done).to_vec(),
            retries_denied: retries.denied(),
        });
        for member in upstream.members().iter() {
            endpoints.push(EndpointState {
                upstream: name.clone(),
                endpoint: member.address.to_string(),
                streams: member.open_streams(),
                is_up: member.is_up(),
                ejections: member.ejections(),
                checks: member.checks(),
            });
        }
    }
    let memory = MemoryState {
        allocated_bytes: proxy.limits.allocated_bytes(),
        budget_bytes: proxy.limits.memory_budget_bytes(),
    };
    let text = scrape::text(proxy.metrics.metrics(), upstreams, endpoints, memory);
    response(StatusCode::OK, scrape::CONTENT_TYPE, text.into())
}

fn response(status: StatusCode, content_type: &'static str, body: Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    let content_type = HeaderValue::from_static(content_type);
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, content_type);
    response
}
