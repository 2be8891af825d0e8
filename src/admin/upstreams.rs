//! What are the upstreams' endpoints worth now?

use std::sync::Arc;

use serde_json::{Map, Value, json};

use crate::{
    health,
    telemetry::metrics::scrape::{EndpointState, UpstreamState},
    upstream::{Member, Shared, retry::Reason},
};

/// Every upstream's state, in the order of names.
pub(super) fn states(upstreams: &[Arc<Shared>]) -> Vec<UpstreamState> {
    let states = by_name(upstreams).into_iter().map(|upstream| {
        let retries = upstream.retries();
        let done = |reason: Reason| (reason.name(), retries.done(reason));
        UpstreamState {
            upstream: upstream.name().to_owned(),
            queued: upstream.queue().length(),
            retries: Reason::ALL.map(done).to_vec(),
            retries_denied: retries.denied(),
        }
    });
    states.collect()
}

/// Every endpoint's state, in the order of their upstreams' names, as metrics tell it.
pub(super) fn endpoints(upstreams: &[Arc<Shared>]) -> Vec<EndpointState> {
    let mut endpoints = Vec::new();
    for upstream in by_name(upstreams) {
        for member in upstream.members().iter() {
            endpoints.push(EndpointState {
                upstream: upstream.name().to_owned(),
                endpoint: member.label().to_owned(),
                streams: member.open_streams(),
                is_up: member.is_up(),
                ejections: member.ejections(),
                checks: member.checks(),
            });
        }
    }
    endpoints
}

/// Every endpoint's state, in the order of their upstreams' names, as the page shows it.
pub(super) fn shown(upstreams: &[Arc<Shared>]) -> Vec<Value> {
    let mut shown = Vec::new();
    for upstream in by_name(upstreams) {
        shown.extend(
            upstream
                .members()
                .iter()
                .map(|member| endpoint(upstream, member)),
        );
    }
    shown
}

fn by_name(upstreams: &[Arc<Shared>]) -> Vec<&Shared> {
    let mut by_name: Vec<&Shared> = upstreams.iter().map(|upstream| &**upstream).collect();
    by_name.sort_by_key(|upstream| upstream.name());
    by_name
}

/// `GET /upstreams`
pub(super) fn document(upstreams: &[Arc<Shared>]) -> Value {
    let upstreams = by_name(upstreams).into_iter().map(|upstream| {
        let members = upstream.members();
        let endpoints = members.iter().map(|member| endpoint(upstream, member));
        let retries = upstream.retries();
        let done = |reason: Reason| (reason.name().to_owned(), retries.done(reason).into());
        json!({
            "upstream": upstream.name(),
            "endpoints": endpoints.collect::<Vec<_>>(),
            "queued": upstream.queue().length(),
            "retries": Reason::ALL.map(done).into_iter().collect::<Map<_, Value>>(),
            "retries_denied": retries.denied(),
        })
    });
    json!({ "upstreams": upstreams.collect::<Vec<_>>() })
}

/// One endpoint; whoever knows more of it puts that here.
fn endpoint(upstream: &Shared, member: &Member) -> Value {
    let summary = member.state();
    let (checks_ok, checks_failed) = member.checks();
    json!({
        "upstream": upstream.name(),
        "endpoint": member.label(),
        "streams": member.open_streams(),
        "up": member.is_up(),
        "state": summary.state,
        "reason": summary.reason.map(health::Reason::code),
        "state_seconds": summary.lasts.as_secs_f64(),
        "failures": summary.failures,
        "ejected_seconds": summary.ejected_for.map(|left| left.as_secs_f64()),
        "checks_ok": checks_ok,
        "checks_failed": checks_failed,
    })
}
