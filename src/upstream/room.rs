//! Which endpoint has room for this request, and what if none has?

use std::{sync::Arc, time::Duration};

use tokio::time::{Instant, timeout};

use super::{Upstream, course::Choice, endpoint::Lease, member::Member, queue::Wants};
use crate::{
    error::{Kind, Refusal},
    telemetry::metrics::upstream::UpstreamMetrics,
};

/// When a client had better ask a full upstream again.
const RETRY_AFTER: Duration = Duration::from_secs(5);
/// How often who is first in line looks for room without being called.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// What the endpoints have for a request.
enum Offer {
    Lease(Lease),
    /// Those that it may go to have as many streams as they may.
    Full,
    /// There is none that it may go to.
    Nobody,
}

/// Where a request stands among others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// It has its turn after those that came before.
    New,
    /// It had a place already, on a connection that turned out to be closed.
    Again,
}

/// A request that waits in line. How long it did is counted when it is dropped: served, too late, or left by
/// its client.
struct Waits<'a> {
    metrics: &'a UpstreamMetrics,
    since: Instant,
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.metrics.queued(self.since.elapsed());
    }
}

impl Upstream {
    /// A place on the endpoint whose turn it is, of those that have not been tried; `None` where all have.
    /// Waits in line while they are full.
    ///
    /// # Errors
    /// There was no room in time or too many wait, or the upstream's names could not be resolved.
    pub(super) async fn lease(
        &self,
        choice: &mut Choice,
        standing: Standing,
    ) -> Result<Option<Lease>, Refusal> {
        let queue = &self.shared.signals().queue;
        if standing == Standing::Again || queue.is_passable() {
            if self.shared.members().is_empty() {
                self.named().await?;
            }
            match self.offer(choice) {
                Offer::Lease(lease) => return Ok(Some(lease)),
                Offer::Nobody => return Ok(None),
                Offer::Full => {}
            }
        }
        self.wait(choice, standing).await
    }

    /// The same, but only where nobody has to wait.
    pub(super) fn lease_now(&self, choice: &mut Choice) -> Option<Lease> {
        if !self.shared.signals().queue.is_passable() {
            return None;
        }
        match self.offer(choice) {
            Offer::Lease(lease) => Some(lease),
            Offer::Full | Offer::Nobody => None,
        }
    }

    /// Waits in line.
    async fn wait(
        &self,
        choice: &mut Choice,
        standing: Standing,
    ) -> Result<Option<Lease>, Refusal> {
        let full = |detail| Refusal::new(Kind::UpstreamFull, detail).retry_after(RETRY_AFTER);
        let settings = &self.shared.settings.queue;
        let wants = if choice.tried.is_empty() {
            Wants::Any
        } else {
            Wants::Some
        };
        let queue = &self.shared.signals().queue;
        let place = match standing {
            Standing::New => queue.enter(settings.size, wants),
            Standing::Again => Some(queue.enter_again(wants)),
        };
        let Some(place) = place else {
            let detail = "every endpoint of the upstream has as many streams as it may";
            return Err(full(detail));
        };
        let _waits = Waits {
            metrics: &self.shared.metrics,
            since: Instant::now(),
        };
        let turn = async {
            loop {
                if place.is_first() {
                    match self.offer(choice) {
                        Offer::Lease(lease) => return Some(lease),
                        Offer::Nobody => return None,
                        Offer::Full => place.pass_on(),
                    }
                }
                if place.is_first() {
                    // Time alone may let an endpoint be tried again, of which nobody tells.
                    let _ = timeout(LOOK_AGAIN, place.called()).await;
                } else {
                    place.called().await;
                }
            }
        };
        let detail = "no endpoint of the upstream had room for another stream in time";
        timeout(settings.timeout, turn)
            .await
            .map_err(|_| full(detail))
    }

    /// The best that there is without waiting.
    fn offer(&self, choice: &mut Choice) -> Offer {
        let endpoints = self.endpoints();
        let (now, slow_start) = (Instant::now(), self.shared.settings.slow_start);
        let tried = &choice.tried;
        let is_left = |member: &Arc<Member>| !tried.iter().any(|one| Arc::ptr_eq(one, member));
        let is_open: Vec<bool> = endpoints
            .iter()
            .map(|endpoint| is_left(&endpoint.member) && endpoint.member.condition.is_open())
            .collect();
        // An endpoint that is probably ill is better than none; one that is well and full is worth a wait.
        let has_open = is_open.contains(&true);
        let mut is_full = false;
        let candidates = endpoints.iter().zip(is_open).map(|(endpoint, is_open)| {
            let member = &endpoint.member;
            if !is_open && (has_open || !is_left(member)) {
                return None;
            }
            let has_room = member.has_room();
            is_full |= !has_room;
            has_room.then(|| member.candidate(now, slow_start))
        });
        let mut candidates: Vec<_> = candidates.collect();
        while let Some(index) = self.shared.choose(&candidates, choice) {
            if let Some(lease) = Lease::take(&endpoints[index]) {
                return Offer::Lease(lease);
            }
            // Another worker was quicker.
            candidates[index] = None;
            is_full = true;
        }
        if is_full { Offer::Full } else { Offer::Nobody }
    }

    /// Waits until there are endpoints, where their names have not been looked up yet.
    async fn named(&self) -> Result<(), Refusal> {
        let limit = self.shared.settings.connect_timeout;
        let detail = match timeout(limit, self.shared.looked_up()).await {
            Ok(true) => return Ok(()),
            Ok(false) => "the upstream's name could not be resolved",
            Err(_) => "the upstream's name could not be resolved in time",
        };
        Err(Refusal::new(Kind::NameFailed, detail))
    }
}
