//! How do the backends that we bring along serve their connections?

use std::{convert::Infallible, error::Error, time::Duration};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};

/// Answers every request of every connection by `respond`, until it is dropped.
pub(super) async fn serve<R, B>(listener: TcpListener, respond: R)
where
    R: Fn(&Request<Incoming>) -> Response<B> + Clone + Send + 'static,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    loop {
        match listener.accept().await {
            Ok((socket, _)) => {
                tokio::spawn(serve_one(socket, respond.clone()));
            }
            Err(error) => {
                // Out of file descriptors, most likely: give the open streams time to return some.
                tracing::warn!(%error, "The backend could not accept a connection.");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Serves one connection. A client that leaves drops the body of its stream, and with it the stream.
async fn serve_one<R, B>(socket: TcpStream, respond: R)
where
    R: Fn(&Request<Incoming>) -> Response<B> + Send,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    // Without it a small record may wait for the acknowledgement of the one before.
    if socket.set_nodelay(true).is_err() {
        return;
    }
    let service = service_fn(move |request: Request<Incoming>| {
        let response = respond(&request);
        async move { Ok::<_, Infallible>(response) }
    });
    // An error is a client that left, or our own cut: both are on purpose.
    let _ = http1::Builder::new()
        .timer(TokioTimer::new())
        .serve_connection(TokioIo::new(socket), service)
        .await;
}

const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
