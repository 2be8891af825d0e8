//! What is told of streams, and how is one ended?

use http::{Response, StatusCode};
use serde_json::{Map, Value, json};
use tracing::info;

use super::{
    Desk,
    query::Parameters,
    reply::{self, Body},
    workers::Gathered,
};
use crate::proxy::streams::{Ended, Filter, Listing, Query, Requested, StreamId};

/// `GET /streams`
pub(super) async fn list(parameters: &Parameters, desk: &Desk) -> Response<Body> {
    let gathered = desk
        .workers
        .list(&parameters.filter, parameters.limit())
        .await;
    reply::json(&document(&gathered))
}

/// `GET /streams/ID`
pub(super) async fn one(id: StreamId, desk: &Desk) -> Response<Body> {
    let filter = Filter {
        number: Some(id.number),
        ..Filter::default()
    };
    let query = |reply| Query::List(filter, 1, reply);
    match desk.workers.ask(id.worker, query).await {
        Some(listed) => match listed.streams.first() {
            Some(listing) => reply::json(&open(listing)),
            None => unknown(),
        },
        None => unanswered(id, desk),
    }
}

/// `DELETE /streams/ID`
pub(super) async fn close(id: StreamId, desk: &Desk) -> Response<Body> {
    let query = |reply| Query::Close(id.number, reply);
    match desk.workers.ask(id.worker, query).await {
        Some(true) => {
            info!(stream = %id, "An operator ends a stream.");
            reply::done()
        }
        Some(false) => unknown(),
        None => unanswered(id, desk),
    }
}

/// There is no such stream.
pub(super) fn unknown() -> Response<Body> {
    let text = "no open stream has this id; GET /streams lists those that are open\n";
    reply::text(StatusCode::NOT_FOUND, text)
}

/// The worker does not answer: there is none, or it is busy.
pub(super) fn unanswered(id: StreamId, desk: &Desk) -> Response<Body> {
    if !desk.workers.has(id.worker) {
        return unknown();
    }
    let text = "the worker that serves this stream is too busy to answer; try again\n";
    reply::text(StatusCode::SERVICE_UNAVAILABLE, text)
}

/// A list of open streams.
pub(super) fn document(gathered: &Gathered) -> Value {
    let streams: Vec<Value> = gathered.streams.iter().map(open).collect();
    json!({
        "total": gathered.total,
        "silent_workers": gathered.silent,
        "streams": streams,
    })
}

/// An open stream.
fn open(listing: &Listing) -> Value {
    let mut stream = request(listing.id, &listing.request);
    stream.insert("state".to_owned(), listing.state.into());
    stream.insert("age_seconds".to_owned(), listing.age.as_secs_f64().into());
    stream.insert("idle_seconds".to_owned(), listing.idle.as_secs_f64().into());
    stream.insert("buffered".to_owned(), listing.unsent_bytes.into());
    stream.into()
}

/// A response that has ended.
pub(super) fn ended(ended: &Ended) -> Value {
    let mut stream = request(ended.id, &ended.request);
    let ago = ended.at.elapsed().as_secs_f64();
    stream.insert("ending".to_owned(), ended.ending.into());
    stream.insert("status".to_owned(), ended.status.into());
    stream.insert("age_seconds".to_owned(), ended.age.as_secs_f64().into());
    stream.insert("ended_seconds_ago".to_owned(), ago.into());
    stream.into()
}

fn request(id: StreamId, request: &Requested) -> Map<String, Value> {
    let peer = request
        .peer
        .map_or_else(|| "unix".to_owned(), |peer| peer.to_string());
    let first_event = request.first_event.map(|after| after.as_secs_f64());
    let fields = [
        ("id", Value::from(id.to_string())),
        ("route", request.route.as_str().into()),
        ("upstream", request.upstream.as_str().into()),
        ("endpoint", request.endpoint.as_deref().into()),
        ("peer", peer.into()),
        ("method", request.method.as_str().into()),
        ("host", request.host.as_str().into()),
        ("path", request.path.as_str().into()),
        ("version", request.version.into()),
        ("to", request.to.into()),
        ("events", request.events.into()),
        ("bytes", request.bytes.into()),
        ("heartbeats", request.heartbeats.into()),
        ("first_event_seconds", first_event.into()),
    ];
    let fields = fields
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value));
    fields.collect()
}
