//! How does the page learn what happens?
//!
//! By Server-Sent Events: once a second, and only while somebody watches, all that the page shows.

use std::{rc::Rc, time::Duration};

use bytes::Bytes;
use http::{Response, StatusCode};
use serde_json::{Value, json};
use tokio::{
    sync::mpsc,
    time::{Instant, MissedTickBehavior, interval},
};

use super::{
    Desk,
    query::Parameters,
    reply::{self, Body},
    streams, upstreams,
};
use crate::telemetry::metrics::summary::{Quantiles, RouteSummary};

/// From one picture to the next.
const EVERY: Duration = Duration::from_secs(1);
/// How many open streams are shown where nothing is said.
const STREAMS: usize = 50;
/// The most open streams shown.
const STREAMS_MAX: usize = 500;
/// How many endings are shown.
const ENDINGS: usize = 30;

/// `GET /events`
pub(super) fn open(parameters: Parameters, desk: &Rc<Desk>) -> Response<Body> {
    let Ok(place) = desk.watchers.clone().try_acquire_owned() else {
        return too_many();
    };
    let (sender, pieces) = mpsc::channel(1);
    let desk = Rc::clone(desk);
    tokio::task::spawn_local(async move {
        let _place = place;
        let mut ticks = interval(EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                () = sender.closed() => return,
            }
            let picture = picture(&parameters, &desk).await;
            let event = Bytes::from(format!("data: {picture}\n\n"));
            if reply::give(&sender, event).await.is_err() {
                return;
            }
        }
    });
    reply::events(pieces)
}

/// As many watch as may.
pub(super) fn too_many() -> Response<Body> {
    let text = "as many watch as may; close another page or tap\n";
    reply::text(StatusCode::SERVICE_UNAVAILABLE, text)
}

/// All that the page shows.
async fn picture(parameters: &Parameters, desk: &Desk) -> Value {
    let limit = parameters.limit_up_to(STREAMS, STREAMS_MAX);
    let gathered = desk.workers.list(&parameters.filter, limit).await;
    let endings = desk.workers.endings(ENDINGS).await;
    let endings: Vec<Value> = endings.iter().map(streams::ended).collect();
    let routes: Vec<Value> = desk.metrics.summaries().iter().map(route).collect();
    let served = desk.served();
    let endpoints = upstreams::shown(&served.upstreams);
    let uptime = Instant::now().duration_since(desk.begun_at);
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "generation": served.generation,
        "uptime_seconds": uptime.as_secs_f64(),
        "draining": desk.is_draining(),
        "taps": served.has_taps,
        "routes": routes,
        "endpoints": endpoints,
        "open": streams::document(&gathered),
        "endings": endings,
    })
}

fn route(summary: &RouteSummary) -> Value {
    json!({
        "route": summary.route,
        "open": summary.open,
        "ended": summary.ended,
        "events": summary.events,
        "bytes_in": summary.bytes_in,
        "bytes_out": summary.bytes_out,
        "heartbeats": summary.heartbeats,
        "first_event_seconds": quantiles(summary.first_event),
        "gap_seconds": quantiles(summary.gap),
    })
}

fn quantiles(quantiles: Quantiles) -> Value {
    json!({ "p50": quantiles.p50, "p99": quantiles.p99 })
}
