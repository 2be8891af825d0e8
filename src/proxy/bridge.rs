//! Which requests go over a bridge, where their upstream does not stream?

use std::{pin::pin, rc::Rc, sync::Arc, time::Duration};

use http::{Method, Request};

use super::{
    Exchange,
    asking::{Answer, within_first_byte},
    negotiate::Wants,
};
use crate::{
    error::{Kind, Refusal},
    route::{Policy, To},
    upstream::{Bridge, Upstream, poll::Polls, upload::Upload},
};

/// The bridge that a request goes over; `None` where it goes to its upstream as any other does, since only
/// the reply as it is can answer it.
///
/// # Errors
/// There is a bridge, and it cannot carry the request.
pub(super) fn of(
    upstream: &Upstream,
    request: &Request<Upload>,
    wants: &Wants,
    policy: &Policy,
) -> Result<Option<Bridge>, Refusal> {
    let Some(bridge) = upstream.bridge() else {
        return Ok(None);
    };
    if matches!(policy.to, To::AsIs) || wants.is_plain() {
        return Ok(None);
    }
    let is_polled = matches!(bridge, Bridge::Poll(_));
    let Some(chosen) = wants.output(policy) else {
        if is_polled {
            return Ok(None);
        }
        let detail = "what this upstream says can only be sent as a stream of events";
        return Err(Refusal::new(Kind::NotAcceptable, detail));
    };
    let is_negotiated = matches!(policy.to, To::Auto);
    if is_polled && is_negotiated && wants.prefers("application/json", chosen) {
        return Ok(None);
    }
    if *request.method() != Method::GET {
        let detail = "this upstream is asked by GET alone";
        return Err(Refusal::new(Kind::MethodNotAllowed, detail));
    }
    if !request.body().is_empty() {
        let detail = "this upstream is asked without a body";
        return Err(Refusal::new(Kind::BadRequest, detail));
    }
    Ok(Some(bridge.clone()))
}

/// What comes back over the bridge.
pub(super) fn answer(
    bridge: &Bridge,
    upstream: Rc<Upstream>,
    request: Box<Request<Upload>>,
    exchange: &Exchange,
) -> Answer {
    let upload = request.body().watch();
    let policy = &exchange.route.policy;
    let record_bytes_max = policy.limits.record_bytes_max;
    match bridge {
        Bridge::WebSocket(settings) => {
            let settings = Arc::clone(settings);
            let limit = policy.timeouts.first_byte;
            Box::pin(async move {
                let reply = upstream.open_websocket(request, &settings, record_bytes_max);
                within_first_byte(limit, &upload, pin!(reply)).await
            })
        }
        Bridge::Poll(settings) => {
            let polls = Polls::new(request, settings, &upstream);
            // To hold it back is what a long poll is for.
            let limit = policy.timeouts.idle;
            Box::pin(async move {
                let first = pin!(upstream.send(polls.request()));
                let first = within_first_byte(limit, &upload, first).await?;
                Ok(polls.stream(first, record_bytes_max))
            })
        }
    }
}

/// How long the client's head waits for the reply's; `None` is as long as that takes.
pub(super) fn patience(bridge: Option<&Bridge>, policy: &Policy) -> Option<Duration> {
    let is_held_back = matches!(bridge, Some(Bridge::Poll(_)));
    let patience = policy.heartbeat.before_reply;
    patience.or(is_held_back.then_some(POLL_PATIENCE))
}

/// How long the first poll may show the client its own failure by a status.
const POLL_PATIENCE: Duration = Duration::from_secs(2);
