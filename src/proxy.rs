//! What happens to one request?
//!
//! Read [`Proxy::handle`] from top to bottom: that is the order of events.

mod admission;
mod asking;
pub mod body;
mod bridge;
mod coding;
mod conversion;
mod ending;
mod headers;
pub mod idle;
mod inflated;
pub mod link;
mod moment;
mod negotiate;
mod output;
mod record;
pub mod relay;
mod request;
pub mod streams;
mod timers;
mod tunnel;

use std::{
    cell::RefCell, collections::HashMap, convert::Infallible, future::Future, rc::Rc, sync::Arc,
};

use http::{HeaderMap, HeaderValue, Request, Response, Version, header, response};
use hyper::body::Incoming;
use ipnet::IpNet;
use tokio::time::Instant;

use self::{
    asking::{Answer, Asking, Outcome, send, upgrade},
    body::{Buffers, ResponseBody},
    conversion::{Conversion, any_framing, open_late, plain},
    ending::{Ending, Fault},
    idle::IdleConnections,
    link::StreamLink,
    negotiate::{Chosen, Plan, Wants},
    record::Record,
    relay::{Feed, Parts, Relay},
    streams::{Streams, Written},
};
use crate::{
    drain::Drain,
    error::{Kind, Refusal},
    limits::Limits,
    reactor::Reactor,
    route::{
        self, To,
        table::{Asked, Table},
    },
    telemetry::traces::Tracer,
    transcode::compress::{Coding, Press},
    upstream::{Reply, Upstream, upload::UploadWatch},
};

/// One worker's proxy: everything that requests are answered with.
pub struct Proxy {
    /// What requests that come now are answered by; open streams keep what they began with.
    pub serving: RefCell<Rc<Serving>>,
    /// Whether we stop.
    pub drain: Rc<Drain>,
    /// What this worker lends to the stream it polls.
    pub buffers: Rc<Buffers>,
    /// The streams that it serves, and where it counts.
    pub streams: Rc<Streams>,
    /// What this worker compresses streams with.
    pub press: Rc<Press>,
    /// What all workers' streams are held to.
    pub limits: Arc<Limits>,
    /// The connections of its clients that wait for a request.
    pub idle: Rc<IdleConnections>,
    /// What watches the sockets of its connections.
    pub reactor: Arc<Reactor>,
}

/// One generation, as one worker serves it.
pub struct Serving {
    /// The routes.
    pub table: Arc<Table>,
    /// This worker's view of the upstreams, by name.
    pub upstreams: HashMap<String, Rc<Upstream>>,
    /// What decides which requests are traced; `None` is none of them.
    pub tracer: Option<Arc<Tracer>>,
}

/// What of a request is needed once its reply comes.
struct Exchange {
    route: Arc<route::Settings>,
    wants: Wants,
    /// What the client had best be compressed for.
    coding: Option<Coding>,
    version: Version,
    link: Rc<StreamLink>,
    upload: Rc<UploadWatch>,
}

impl Proxy {
    /// Answers one request. `trusted` are the proxies whose word counts on who asks, where the peer's does.
    ///
    /// # Errors
    /// Never: every fault becomes a response.
    pub fn handle(
        self: Rc<Self>,
        mut request: Request<Incoming>,
        link: Rc<StreamLink>,
        trusted: &[IpNet],
    ) -> impl Future<Output = Result<Response<ResponseBody>, Infallible>> + use<> {
        let client = admission::client(request.headers(), &link.connection.peer, trusted);
        let mut record = request::record(&request, client, Instant::now(), &self.streams);
        let tracer = self.serving.borrow().tracer.clone();
        record.trace = tracer.and_then(|tracer| tracer.begin(request.headers_mut()));
        // What needs no waiting is done by then, so that what waits is small.
        let asked = self.ask(request, link, &mut record);
        async move {
            let (exchange, asked) = match asked {
                Ok(asked) => asked,
                Err(refusal) => return Ok(refuse(&refusal, record)),
            };
            Ok(match asked.outcome().await {
                Ok(Outcome::Reply(reply)) => self.respond(&exchange, reply, record),
                Ok(Outcome::Silence(chosen, answer)) => {
                    self.commit(&exchange, chosen, answer, record)
                }
                Ok(Outcome::Tunnel(client, reply)) => {
                    let (link, watch) = (exchange.link, self.drain.watch());
                    tunnel::open(client, reply, record, watch, link)
                }
                Err(refusal) => refuse(&refusal, record),
            })
        }
    }

    /// Answers a request that breaks the rules of the listener, which trusts these proxies.
    pub fn refuse(
        &self,
        request: &Request<Incoming>,
        link: &StreamLink,
        trusted: &[IpNet],
        refusal: &Refusal,
    ) -> Response<ResponseBody> {
        let client = admission::client(request.headers(), &link.connection.peer, trusted);
        let record = request::record(request, client, Instant::now(), &self.streams);
        refuse(refusal, record)
    }

    /// How the upstream is asked, if the request may go there.
    fn ask(
        &self,
        mut request: Request<Incoming>,
        link: Rc<StreamLink>,
        record: &mut Record,
    ) -> Result<(Exchange, Asking), Refusal> {
        let host = request::check(&request)?;
        let (route, upstream) = self.find(&request, &host)?;
        record.set_route(Arc::clone(&route));
        record.place = Some(admission::admit(&request, &route, record.peer)?);
        let wants = Wants::of(request.method(), request.headers());
        let coding = coding::choose(&route.policy.compress, request.headers());
        let version = request.version();
        let protocol = headers::upgrade(request.headers()).filter(|_| version == Version::HTTP_11);
        let client = protocol.is_some().then(|| hyper::upgrade::on(&mut request));
        let key = upstream.key(&request, record.peer);
        let peer = &link.connection.peer;
        let mut request = request::to_upstream(request, &route.policy, peer, &host)?;
        if let Some(key) = key {
            request.extensions_mut().insert(key);
        }
        record.sent();
        let exchange = Exchange {
            upload: request.body().watch(),
            route,
            wants,
            coding,
            version,
            link,
        };
        let policy = &exchange.route.policy;
        if let (Some(protocol), Some(client)) = (protocol, client) {
            headers::upgrade_to(request.headers_mut(), protocol);
            let answer = upgrade(upstream, request, policy.timeouts.first_byte);
            return Ok((exchange, Asking::Upgrade(answer, client)));
        }
        if exchange.wants.expects_conversion(policy) {
            headers::ask_for_stream(request.headers_mut());
        }
        let bridge = bridge::of(&upstream, &request, &exchange.wants, policy)?;
        let patience = bridge::patience(bridge.as_ref(), policy).zip(exchange.wants.output(policy));
        let answer = match &bridge {
            Some(bridge) => bridge::answer(bridge, upstream, request, &exchange),
            None => send(upstream, request, policy.timeouts.first_byte),
        };
        let asking = match patience {
            None => Asking::Plain(answer),
            Some((patience, chosen)) => Asking::Patient(answer, patience, chosen),
        };
        Ok((exchange, asking))
    }

    fn find(
        &self,
        request: &Request<Incoming>,
        host: &str,
    ) -> Result<(Arc<route::Settings>, Rc<Upstream>), Refusal> {
        let asked = Asked {
            host,
            path: request.uri().path(),
            method: request.method(),
            headers: request.headers(),
        };
        let Serving {
            table, upstreams, ..
        } = &**self.serving.borrow();
        let route = table.find(asked);
        let found = route.and_then(|route| Some((route, upstreams.get(&route.upstream)?)));
        let (route, upstream) =
            found.ok_or_else(|| Refusal::new(Kind::NoRoute, "no route takes this request"))?;
        Ok((Arc::clone(route), Rc::clone(upstream)))
    }

    /// The response to a reply: its conversion, or the reply as it is.
    fn respond(
        &self,
        exchange: &Exchange,
        reply: Reply,
        mut record: Record,
    ) -> Response<ResponseBody> {
        let Reply {
            mut head,
            source,
            framing,
            endpoint,
            lease,
        } = reply;
        let policy = &exchange.route.policy;
        let negotiated = negotiate::plan(policy, &exchange.wants, &head, framing);
        let opened = match negotiated.plan {
            Plan::Pass => Err(source),
            Plan::Convert(framing, chosen) => {
                let conversion = Conversion::new(policy, framing, chosen, &head.headers);
                plain(&head.headers, source).map(|source| (source, conversion))
            }
        };
        headers::strip_hop_by_hop(&mut head.headers);
        if negotiated.is_by_accept {
            headers::vary_by_accept(&mut head.headers);
        }
        let (source, conversion, compressor) = match opened {
            Ok((source, conversion)) => {
                let media_type = conversion.media_type;
                let compressor = self.converted(exchange, media_type, &mut head.headers);
                (source, Some(conversion), compressor)
            }
            Err(source) => (source, None, None),
        };
        record.status.set(Some(head.status));
        record.answered(endpoint);
        let feed = match source {
            Some(source) => Feed::Open(source),
            None if conversion.is_some() => Feed::EMPTY,
            None => {
                record.ending = Ending::Complete;
                return exchange.response(head, ResponseBody::empty());
            }
        };
        let length = headers::content_length(&head.headers);
        if conversion.is_none() && length.is_none() && exchange.version == Version::HTTP_10 {
            exchange.link.connection.end_by_close();
        }
        let relay = self.relay(exchange, feed, conversion, record);
        let relay = relay.compressing(compressor).holding(lease, length);
        exchange.response(head, self.stream(exchange, relay))
    }

    /// The head of a response whose reply has not come: a 200, with heartbeats until it does.
    fn commit(
        &self,
        exchange: &Exchange,
        chosen: Chosen,
        answer: Answer,
        record: Record,
    ) -> Response<ResponseBody> {
        let (mut head, ()) = Response::new(()).into_parts();
        headers::converted(&mut head.headers, chosen.media_type);
        if matches!(exchange.route.policy.to, To::Auto) {
            headers::vary_by_accept(&mut head.headers);
        }
        let (route, wants) = (Arc::clone(&exchange.route), exchange.wants.clone());
        let opened = async move {
            let reply = answer
                .await
                .map_err(|refusal| Fault::new(Ending::UpstreamError, refusal.detail))?;
            open_late(&route.policy, &wants, chosen, reply)
        };
        record.status.set(Some(head.status));
        let feed = Feed::NotOpen(Some(Box::new(Box::pin(opened))));
        let policy = &exchange.route.policy;
        let heartbeats =
            Conversion::new(policy, any_framing(policy), chosen, &HeaderMap::default());
        let relay = self.relay(exchange, feed, Some(heartbeats), record);
        exchange.response(head, self.stream(exchange, relay.begun()))
    }

    fn relay(
        &self,
        exchange: &Exchange,
        feed: Feed,
        conversion: Option<Conversion>,
        record: Record,
    ) -> Relay {
        if let Some(conversion) = &conversion {
            record.write(Written::Events(conversion.output.format));
        }
        let parts = Parts {
            feed,
            transcoder: conversion.map(|conversion| conversion.transcoder),
            route: Arc::clone(&exchange.route),
            link: Rc::clone(&exchange.link),
            watch: self.drain.watch(),
            record,
            lease: None,
            compressor: None,
        };
        Relay::new(parts, Instant::now())
    }

    fn stream(&self, exchange: &Exchange, relay: Relay) -> ResponseBody {
        ResponseBody::stream(relay, Rc::clone(&self.buffers), &exchange.upload)
    }
}

impl Exchange {
    fn response(&self, mut head: response::Parts, body: ResponseBody) -> Response<ResponseBody> {
        head.version = Version::HTTP_11;
        let is_sized = head.headers.contains_key(header::CONTENT_LENGTH);
        if self.version == Version::HTTP_10 && !is_sized {
            // Only the connection's end can end this body, whatever the client asks for; hyper would
            // say keep-alive, too, to a client that asked for that, were this not of version 1.0.
            head.version = Version::HTTP_10;
            let close = HeaderValue::from_static("close");
            head.headers.insert(header::CONNECTION, close);
        }
        Response::from_parts(head, body)
    }
}

fn refuse(refusal: &Refusal, mut record: Record) -> Response<ResponseBody> {
    let mut response = refusal.response();
    record.status.set(Some(response.status()));
    record.ending = Ending::Refused(refusal.kind);
    let is_doubtful = matches!(refusal.kind, Kind::BadRequest | Kind::NotImplemented);
    if is_doubtful && !record.is_http2() {
        // Where such a request ends may be a matter of opinion, too.
        let close = HeaderValue::from_static("close");
        response.headers_mut().insert(header::CONNECTION, close);
    }
    if record.is_head() {
        // hyper leaves the body out by itself only over HTTP/1.
        let length = response.body().len().into();
        response
            .headers_mut()
            .insert(header::CONTENT_LENGTH, length);
        return response.map(|_| ResponseBody::empty());
    }
    record.bytes.set(response.body().len() as u64);
    response.map(ResponseBody::whole)
}
