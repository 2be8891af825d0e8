//! Which endpoint is asked next?

use std::sync::Arc;

use http::Request;

use super::{
    Upstream, endpoint::Lease, key::Key, member::Member, retry::Reason, room::Standing,
    upload::Upload,
};
use crate::error::Refusal;

/// How often a request is sent again that no endpoint has looked at.
const REPEATS_MAX: usize = 4;

/// The endpoints that one request may still go to.
pub(super) struct Choice {
    pub(super) tried: Vec<Arc<Member>>,
    pub(super) key: Option<Key>,
    /// Its turn, once it has had one: what is sent again moves nobody else's.
    pub(super) turn: Option<usize>,
}

impl Choice {
    /// All endpoints.
    pub(super) fn new(request: &Request<Upload>) -> Self {
        Self {
            tried: Vec::new(),
            key: request.extensions().get::<Key>().copied(),
            turn: None,
        }
    }

    /// A place on the endpoint whose turn it is, in line for one if need be; `None` where all have been tried.
    pub(super) async fn lease(&mut self, upstream: &Upstream) -> Result<Option<Lease>, Refusal> {
        let lease = upstream.lease(self, Standing::New).await?;
        Ok(self.tries(lease))
    }

    /// A place on any endpoint again, before all others that wait for one.
    async fn lease_again(&mut self, upstream: &Upstream) -> Result<Option<Lease>, Refusal> {
        self.tried.clear();
        let lease = upstream.lease(self, Standing::Again).await?;
        Ok(self.tries(lease))
    }

    /// The same, but only where nobody has to wait for it.
    fn lease_now(&mut self, upstream: &Upstream) -> Option<Lease> {
        let lease = upstream.lease_now(self);
        self.tries(lease)
    }

    fn tries(&mut self, lease: Option<Lease>) -> Option<Lease> {
        let member = lease.as_ref().map(|lease| &lease.endpoint.member);
        self.tried.extend(member.map(Arc::clone));
        lease
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
    ///
    /// # Errors
    /// There was no room in time, where only that would have helped.
    pub(super) async fn next(
        &mut self,
        upstream: &Upstream,
        why: Why,
    ) -> Result<Option<Lease>, Refusal> {
        let reason = match why {
            Why::Stale if self.repeats < REPEATS_MAX => {
                self.repeats += 1;
                return self.choice.lease_again(upstream).await;
            }
            Why::Stale => return Ok(None),
            Why::Retry(reason) => reason,
        };
        let retries = &upstream.shared.retries;
        self.attempts += usize::from(reason != Reason::Connect);
        if !retries.allows(reason, self.attempts) {
            return Ok(None);
        }
        let lease = match reason {
            Reason::Connect => self.choice.lease(upstream).await?,
            // There is an answer already, which is better than none later.
            Reason::Reset | Reason::Status => self.choice.lease_now(upstream),
        };
        Ok(lease.filter(|_| retries.take(reason)))
    }
}
