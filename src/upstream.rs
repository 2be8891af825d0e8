//! Who can take this request?
//!
//! An [`Upstream`] is one worker's view of a named group of endpoints: their pools belong to the
//! worker, their loads are shared between the workers.

mod attempt;
mod bridge;
mod checks;
mod condition;
mod connect;
mod course;
mod endpoint;
mod http1;
mod http2;
mod joining;
pub mod key;
mod member;
pub mod poll;
mod queue;
mod reply;
mod resolve;
pub mod retry;
mod room;
mod settings;
mod shared;
pub mod source;
mod trailers;
pub mod upload;
pub mod websocket;

use std::{cell::RefCell, net::IpAddr, rc::Rc, sync::Arc, task::Context};

use http::Request;
use tokio::time::Instant;

pub(crate) use self::connect::Connector;
pub use self::{
    bridge::Bridge,
    checks::Checks,
    connect::{TrustError, trust},
    endpoint::Lease,
    http1::Rewind,
    member::Member,
    queue::Queue,
    reply::{Reply, UpgradeReply},
    retry::RetrySettings,
    settings::{
        CheckSettings, DnsMode, DnsSettings, EndpointAddress, EndpointSettings, HealthSettings,
        HttpVersion, QueueSettings, Settings, Target, TlsSettings,
    },
    shared::{Members, Shared},
};
use self::{endpoint::Endpoint, key::Key, source::Scratch};
use crate::{balance, limits::Limits, reactor::Reactor};

/// What a worker gives to its upstreams.
pub struct Means {
    /// What is read into.
    pub scratch: Scratch,
    /// Who is told where a connection finds no descriptor.
    pub limits: Arc<Limits>,
    /// What watches the connections.
    pub reactor: Arc<Reactor>,
}

/// One worker's view of an upstream.
pub struct Upstream {
    shared: Arc<Shared>,
    connector: Connector,
    view: RefCell<View>,
    scratch: Scratch,
}

impl Upstream {
    /// Makes one worker's view. Where `before` is the worker's view of the same upstream under earlier settings,
    /// connections that would be made just the same are kept.
    #[must_use]
    pub fn new(shared: Arc<Shared>, means: &Means, before: Option<&Self>) -> Self {
        let before = before.filter(|before| before.shared.connects_like(&shared));
        let before = before.map(|before| before.view.borrow());
        Self {
            view: RefCell::new(View::of(shared.members(), before.as_deref())),
            connector: Connector::new(&shared.settings, shared.trust.as_ref())
                .counting(Arc::clone(&shared.metrics))
                .with(means),
            // Polls are sent while their stream has been lent the worker's.
            scratch: match shared.settings.bridge {
                Some(Bridge::Poll(_)) => Scratch::default(),
                Some(Bridge::WebSocket(_)) | None => means.scratch.clone(),
            },
            shared,
        }
    }

    /// The name in `[upstream.NAME]`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.shared.settings.name
    }

    /// What makes the request's key; `None` where keys do not choose.
    #[must_use]
    pub fn key<B>(&self, request: &Request<B>, peer: Option<IpAddr>) -> Option<Key> {
        let settings = &self.shared.settings;
        if settings.balance != balance::Method::Hash {
            return None;
        }
        settings.hash_by.iter().find_map(|by| by.key(request, peer))
    }

    /// Whether this is a view of that upstream.
    #[must_use]
    pub fn is_of(&self, shared: &Arc<Shared>) -> bool {
        Arc::ptr_eq(&self.shared, shared)
    }

    /// Closes what has been idle for too long and what endpoints have closed; to be called every few seconds.
    pub fn sweep(&self, cx: &mut Context<'_>, now: Instant) {
        for endpoint in self.endpoints().iter() {
            endpoint.sweep(cx, now);
        }
    }

    /// Closes the connections that wait for a request, as their descriptors are needed.
    pub fn let_go(&self) {
        for endpoint in self.endpoints().iter() {
            endpoint.http1.clear();
        }
    }

    /// The endpoints as they are now, with this worker's connections to them.
    fn endpoints(&self) -> Rc<[Rc<Endpoint>]> {
        let members = self.shared.members();
        let mut view = self.view.borrow_mut();
        if !Arc::ptr_eq(&view.members, &members) {
            *view = View::of(members, Some(&view));
        }
        Rc::clone(&view.endpoints)
    }
}

/// One worker's view of the endpoints.
struct View {
    members: Members,
    endpoints: Rc<[Rc<Endpoint>]>,
}

impl View {
    /// The view of `members`, with the connections that there are to those that were in view `before`.
    fn of(members: Members, before: Option<&Self>) -> Self {
        let known = |member: &Arc<Member>| {
            let mut before = before.into_iter().flat_map(|view| view.endpoints.iter());
            before.find(|endpoint| Arc::ptr_eq(&endpoint.member, member))
        };
        let endpoint = |member: &Arc<Member>| match known(member) {
            Some(endpoint) => Rc::clone(endpoint),
            None => Rc::new(Endpoint::new(Arc::clone(member))),
        };
        Self {
            endpoints: members.iter().map(endpoint).collect(),
            members,
        }
    }
}
