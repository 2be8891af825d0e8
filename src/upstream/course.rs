//! Which endpoint is asked next?

use std::rc::Rc;

use http::Request;

use super::{
    Upstream,
    endpoint::{Endpoint, Lease},
    key::Key,
    retry::Reason,
    upload::Upload,
};

/// How often a request is sent again that no endpoint has looked at.
const REPEATS_MAX: usize = 4;

/// The endpoints that one request may still go to.
pub(super) struct Choice {
    endpoints: Rc<[Rc<Endpoint>]>,
    is_tried: Vec<bool>,
    key: Option<Key>,
}

impl Choice {
    /// All endpoints that there are now.
    pub(super) fn new(upstream: &Upstream, request: &Request<Upload>) -> Self {
        let endpoints = upstream.endpoints();
        Self {
            is_tried: vec![false; endpoints.len()],
            endpoints,
            key: request.extensions().get::<Key>().copied(),
        }
    }

    /// A place on the endpoint whose turn it is; `None` where all have been tried.
    pub(super) fn lease(&mut self, upstream: &Upstream) -> Option<Lease> {
        let is_open = self.open();
        let endpoints = self.endpoints.iter().zip(&is_open);
        let candidates: Vec<_> = endpoints
            .map(|(endpoint, is_open)| is_open.then(|| endpoint.member.candidate()))
            .collect();
        let index = upstream.shared.choose(&candidates, self.key)?;
        self.is_tried[index] = true;
        Some(Lease::new(Rc::clone(&self.endpoints[index])))
    }

    /// Which of the endpoints that have not been tried may take a stream; all of them where none may, since
    /// an endpoint that is probably ill is better than none.
    fn open(&self) -> Vec<bool> {
        let left = self.endpoints.iter().zip(&self.is_tried);
        let is_open = |(endpoint, is_tried): (&Rc<Endpoint>, &bool)| {
            !is_tried && endpoint.member.condition.is_open()
        };
        let open: Vec<bool> = left.map(is_open).collect();
        if open.contains(&true) {
            return open;
        }
        self.is_tried.iter().map(|is_tried| !is_tried).collect()
    }

    /// Lets all be tried again.
    fn reset(&mut self) {
        self.is_tried.fill(false);
    }
}

/// The endpoints that one request has been sent to.
pub(super) struct Course {
    pub(super) choice: Choice,
    /// How many may have seen it.
    attempts: usize,
    repeats: usize,
}

/// Why the next one is asked.
#[derive(Debug, Clone, Copy)]
pub(super) enum Why {
    /// The endpoint has not looked at the request, and may be asked once more.
    Stale,
    /// Another endpoint may do better.
    Retry(Reason),
}

impl Course {
    /// None yet.
    pub(super) fn new(choice: Choice) -> Self {
        Self {
            choice,
            attempts: 0,
            repeats: 0,
        }
    }

    /// A place on the endpoint to ask next; `None` where the request has had its share.
    pub(super) fn next(&mut self, upstream: &Upstream, why: Why) -> Option<Lease> {
        match why {
            Why::Stale if self.repeats < REPEATS_MAX => {
                self.repeats += 1;
                self.choice.reset();
                self.choice.lease(upstream)
            }
            Why::Stale => None,
            Why::Retry(reason) => {
                let retries = &upstream.shared.retries;
                self.attempts += usize::from(reason != Reason::Connect);
                let lease = retries
                    .allows(reason, self.attempts)
                    .then(|| self.choice.lease(upstream))??;
                retries.take(reason).then_some(lease)
            }
        }
    }
}
