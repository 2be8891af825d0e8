//! Which requests go over a bridge, where their upstream does not stream?

use std::rc::Rc;

use http::{Method, Request};

use super::{Answer, negotiate::Wants, within_first_byte};
use crate::{
    error::{Kind, Refusal},
    route::{Policy, To},
    upstream::{Bridge, Upstream, upload::Upload},
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
    if wants.output(policy).is_none() {
        let detail = "what this upstream says can only be sent as a stream of events";
        return Err(Refusal::new(Kind::NotAcceptable, detail));
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
    request: Request<Upload>,
    policy: &Policy,
) -> Answer {
    let upload = request.body().watch();
    let record_bytes_max = policy.limits.record_bytes_max;
    match bridge {
        Bridge::WebSocket(settings) => {
            let settings = settings.clone();
            let limit = policy.timeouts.first_byte;
            let reply = async move {
                upstream
                    .open_websocket(request, &settings, record_bytes_max)
                    .await
            };
            Box::pin(within_first_byte(limit, upload, reply))
        }
    }
}
