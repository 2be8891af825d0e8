//! What do operators ask?
//!
//! For now whether the process lives (`/livez`) and whether it takes new streams (`/readyz`, which
//! fails as soon as a drain begins).

use std::{convert::Infallible, io, rc::Rc};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tracing::debug;

use crate::{
    drain::Drain,
    edge::{
        listener::ACCEPT_PAUSE,
        socket::{Accepting, BoundSocket},
    },
};

/// Answers operators as long as it is polled.
///
/// # Errors
/// The runtime cannot watch the socket.
pub async fn serve(socket: BoundSocket, drain: Rc<Drain>) -> io::Result<()> {
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
        let drain = Rc::clone(&drain);
        let service = service_fn(move |request: Request<Incoming>| {
            let response = answer(&request, drain.window().is_some());
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

fn answer(request: &Request<Incoming>, is_draining: bool) -> Response<Full<Bytes>> {
    let (status, text) = match (request.method(), request.uri().path()) {
        (&Method::GET | &Method::HEAD, "/livez") => (StatusCode::OK, "alive\n"),
        (&Method::GET | &Method::HEAD, "/readyz") if is_draining => {
            (StatusCode::SERVICE_UNAVAILABLE, "draining\n")
        }
        (&Method::GET | &Method::HEAD, "/readyz") => (StatusCode::OK, "ready\n"),
        _ => (StatusCode::NOT_FOUND, "there are /livez and /readyz\n"),
    };
    let mut response = Response::new(Full::new(Bytes::from_static(text.as_bytes())));
    *response.status_mut() = status;
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("text/plain; charset=utf-8"),
    );
    response
}
