//! Which answer stands where?

use std::{rc::Rc, str::FromStr as _};

use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use hyper::body::Incoming;

use super::{
    Desk,
    access::For,
    config, feed, page,
    query::Parameters,
    reply::{self, Body},
    streams, tap, upstreams,
};
use crate::{
    proxy::streams::StreamId,
    telemetry::metrics::scrape::{self, LimitsState},
};

/// What is told where there is nothing.
const WHAT_THERE_IS: &str = "there are /, /livez, /readyz, /metrics, /streams, /streams/ID, \
                             /streams/ID/tap, /upstreams, /config and /events\n";

/// What a path stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Resource {
    Livez,
    Readyz,
    Metrics,
    Page(&'static page::Asset),
    Streams,
    Stream(StreamId),
    Tap(StreamId),
    Upstreams,
    Config,
    Events,
}

impl Resource {
    fn at(path: &str) -> Option<Self> {
        if let Some(asset) = page::ASSETS.iter().find(|asset| asset.path == path) {
            return Some(Self::Page(asset));
        }
        Some(match path {
            "/livez" => Self::Livez,
            "/readyz" => Self::Readyz,
            "/metrics" => Self::Metrics,
            "/streams" => Self::Streams,
            "/upstreams" => Self::Upstreams,
            "/config" => Self::Config,
            "/events" => Self::Events,
            _ => {
                let below = path.strip_prefix("/streams/")?;
                match below.strip_suffix("/tap") {
                    Some(id) => Self::Tap(StreamId::from_str(id).ok()?),
                    None => Self::Stream(StreamId::from_str(below).ok()?),
                }
            }
        })
    }

    fn whom(self) -> For {
        match self {
            Self::Livez | Self::Readyz => For::Everybody,
            Self::Metrics => For::Scrapers,
            Self::Page(_) => For::Visitors,
            Self::Streams
            | Self::Stream(_)
            | Self::Tap(_)
            | Self::Upstreams
            | Self::Config
            | Self::Events => For::Operators,
        }
    }
}

/// Answers one request.
pub(super) async fn answer(request: &Request<Incoming>, desk: &Rc<Desk>) -> Response<Body> {
    let Some(resource) = Resource::at(request.uri().path()) else {
        return reply::text(StatusCode::NOT_FOUND, WHAT_THERE_IS);
    };
    let served = desk.served();
    let token = served.token.as_ref();
    if let Err(denial) = desk.access.check(resource.whom(), token, request.headers()) {
        return *denial;
    }
    match (request.method(), resource) {
        (&Method::GET | &Method::HEAD, _) => {}
        (&Method::DELETE, Resource::Stream(id)) => return streams::close(id, desk).await,
        (_, resource) => return not_allowed(resource),
    }
    let parameters = match Parameters::of(request.uri().query().unwrap_or_default()) {
        Ok(parameters) => parameters,
        Err(fault) => return reply::text(StatusCode::BAD_REQUEST, format!("{fault}\n")),
    };
    match resource {
        Resource::Livez => reply::text(StatusCode::OK, "alive\n"),
        Resource::Readyz if desk.is_draining() => {
            reply::text(StatusCode::SERVICE_UNAVAILABLE, "draining\n")
        }
        Resource::Readyz => reply::text(StatusCode::OK, "ready\n"),
        Resource::Metrics => {
            let endpoints = upstreams::endpoints(&served.upstreams);
            let upstreams = upstreams::states(&served.upstreams);
            let limits = LimitsState {
                allocated_bytes: desk.limits.allocated_bytes(),
                budget_bytes: desk.limits.memory_budget_bytes(),
                connections_max: desk.limits.connections_max(),
            };
            let text = scrape::text(&desk.metrics, upstreams, endpoints, limits);
            reply::whole(scrape::CONTENT_TYPE, text)
        }
        Resource::Page(asset) => asset.response(),
        Resource::Streams => streams::list(&parameters, desk).await,
        Resource::Stream(id) => streams::one(id, desk).await,
        Resource::Upstreams => reply::json(&upstreams::document(&served.upstreams)),
        Resource::Config => reply::json(&config::document(&served)),
        // Nobody would watch.
        Resource::Tap(_) | Resource::Events if request.method() == Method::HEAD => {
            not_allowed(resource)
        }
        Resource::Tap(id) => tap::open(id, &parameters, desk).await,
        Resource::Events => feed::open(parameters, desk),
    }
}

fn not_allowed(resource: Resource) -> Response<Body> {
    let allowed = match resource {
        Resource::Stream(_) => "GET, HEAD, DELETE",
        Resource::Tap(_) | Resource::Events => "GET",
        Resource::Livez
        | Resource::Readyz
        | Resource::Metrics
        | Resource::Page(_)
        | Resource::Streams
        | Resource::Upstreams
        | Resource::Config => "GET, HEAD",
    };
    let text = format!("allowed are {allowed}\n");
    let mut response = reply::text(StatusCode::METHOD_NOT_ALLOWED, text);
    let allowed = HeaderValue::from_static(allowed);
    response.headers_mut().insert(header::ALLOW, allowed);
    response
}
