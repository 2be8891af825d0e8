//! What do all workers share of one upstream?

use std::{
    collections::HashSet,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, RwLock,
        atomic::{AtomicUsize, Ordering},
    },
};

use rustls::ClientConfig;
use tokio::{sync::watch, time::Instant};

use super::{
    EndpointSettings, Settings, Target, TrustError,
    course::Choice,
    joining::Signals,
    member::{Identity, Member, Terms},
    queue::Queue,
    retry::Retries,
    settings::DnsMode,
    trust,
};
use crate::{
    balance::{self, Candidate, Draw},
    telemetry::metrics::upstream::UpstreamMetrics,
};

/// The endpoints of an upstream at one time; another list takes its place where they change.
pub type Members = Arc<[Arc<Member>]>;

/// What all workers share of one upstream.
#[derive(Debug)]
pub struct Shared {
    pub(super) settings: Settings,
    pub(super) trust: Option<Arc<ClientConfig>>,
    /// What the file of authorities held when it was read.
    authorities: Option<Vec<u8>>,
    /// What is there now of each endpoint of the settings: one member, or those that DNS tells.
    present: Mutex<Vec<Vec<Arc<Member>>>>,
    /// All that is present, without what is there twice; the next settings have the same, where they
    /// connect alike.
    roster: Arc<RwLock<Roster>>,
    /// Which of the settings' endpoints have not been looked up yet, of those that must be.
    unknown: watch::Sender<Vec<bool>>,
    /// Counts the settings of one upstream.
    number: u64,
    signals: Arc<Signals>,
    turn: AtomicUsize,
    pub(super) retries: Retries,
    /// Where its connections are counted.
    pub(super) metrics: Arc<UpstreamMetrics>,
}

/// The list of endpoints, and which settings it follows.
#[derive(Debug, Default)]
struct Roster {
    number: u64,
    members: Members,
}

impl Shared {
    /// Sets up trust and loads; connections are counted in `metrics`.
    ///
    /// # Errors
    /// The certificates to trust cannot be used.
    pub fn new(settings: Settings, metrics: Arc<UpstreamMetrics>) -> Result<Self, TrustError> {
        let trust = trust(&settings)?;
        let authorities = settings.tls.ca.as_ref();
        let shared = Self {
            trust,
            authorities: authorities.and_then(|file| std::fs::read(file).ok()),
            present: Mutex::default(),
            roster: Arc::default(),
            unknown: watch::Sender::default(),
            number: 0,
            signals: Arc::default(),
            turn: AtomicUsize::new(0),
            retries: Retries::new(&settings.retry),
            metrics,
            settings,
        };
        shared.begin(None);
        shared.publish();
        Ok(shared)
    }

    /// The same upstream under other settings: endpoints that stay keep their loads, and counts go on.
    /// [`Shared::enter`] puts it in force.
    ///
    /// # Errors
    /// The certificates to trust cannot be used.
    pub fn after(
        settings: Settings,
        metrics: Arc<UpstreamMetrics>,
        before: &Self,
    ) -> Result<Self, TrustError> {
        let mut shared = Self::new(settings, metrics)?;
        shared.signals = Arc::clone(&before.signals);
        shared.number = before.number + 1;
        shared.retries.count_on(&before.retries);
        if shared.connects_like(before) {
            shared.roster = Arc::clone(&before.roster);
        }
        shared.begin(Some(before));
        Ok(shared)
    }

    /// Puts the settings in force, once nothing can fail any more.
    pub fn enter(&self) {
        for (endpoint, present) in self.settings.endpoints.iter().zip(self.present().iter()) {
            for member in present {
                member.condition.follow(self.settings.health.of_endpoint());
                let weight = match endpoint.target {
                    Target::Address(_) => f64::from(endpoint.weight),
                    Target::Service { .. } => member.terms().weight,
                };
                member.agree(Terms {
                    weight,
                    streams_max: endpoint.streams_max,
                    ..member.terms()
                });
            }
        }
        self.publish();
    }

    /// The name in `[upstream.NAME]`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.settings.name
    }

    /// How often another endpoint was asked.
    #[must_use]
    pub fn retries(&self) -> &Retries {
        &self.retries
    }

    /// Whether the other would do just the same.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        self.settings == other.settings && self.authorities == other.authorities
    }

    /// Whether the other's connections are just like ours.
    #[must_use]
    pub(super) fn connects_like(&self, other: &Self) -> bool {
        let how = |shared: &Self| (shared.settings.http, shared.settings.tls.clone());
        how(self) == how(other)
            && self.authorities == other.authorities
            && self.trust.is_some() == other.trust.is_some()
    }

    /// The endpoints as they are now.
    #[must_use]
    pub fn members(&self) -> Members {
        // Nothing is done under this lock that could leave the list half changed.
        let roster = self.roster.read().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&roster.members)
    }

    /// Who waits until an endpoint has room.
    #[must_use]
    pub fn queue(&self) -> &Queue {
        &self.signals.queue
    }

    pub(super) fn signals(&self) -> &Signals {
        &self.signals
    }

    /// The endpoint whose turn it is among `candidates`; for a key, the key's.
    pub(super) fn choose(
        &self,
        candidates: &[Option<Candidate>],
        choice: &mut Choice,
    ) -> Option<usize> {
        if candidates.iter().all(Option::is_none) {
            // Nobody has had a turn.
            return None;
        }
        let random = fastrand::u64(..);
        let draw = Draw {
            turn: *choice
                .turn
                .get_or_insert_with(|| self.turn.fetch_add(1, Ordering::Relaxed)),
            tried: choice.tried.len(),
            random,
            key: choice.key.map_or(random, |key| key.0),
        };
        balance::choose(self.settings.balance, candidates, draw)
    }

    /// What DNS tells of endpoint number `index` from now on: these, each with its weight and priority.
    /// Those that were there before stay as they are; streams on those that are gone go on.
    pub(super) fn found(&self, index: usize, found: Vec<(Identity, Terms)>) {
        let was_empty = self.members().is_empty();
        let now = Instant::now();
        let mut present = self.present();
        let before = std::mem::take(&mut present[index]);
        present[index] = found
            .into_iter()
            .map(|(identity, terms)| {
                let known = before.iter().find(|member| member.is(&identity));
                if let Some(member) = known {
                    member.agree(terms);
                    return Arc::clone(member);
                }
                let member = self.member(identity, terms);
                if !was_empty {
                    member.restart(now);
                }
                Arc::new(member)
            })
            .collect();
        drop(present);
        self.publish();
    }

    /// What there is of endpoint number `index` now.
    pub(super) fn present_at(&self, index: usize) -> Vec<Arc<Member>> {
        self.present()[index].clone()
    }

    /// Says that endpoint number `index` has been looked up, whatever came of it.
    pub(super) fn known(&self, index: usize) {
        self.unknown.send_modify(|unknown| unknown[index] = false);
    }

    /// Waits until there is an endpoint, or all have been looked up. Says whether there is one.
    pub(super) async fn looked_up(&self) -> bool {
        let is_there = || !self.members().is_empty();
        let mut unknown = self.unknown.subscribe();
        let is_over = |unknown: &Vec<bool>| !unknown.contains(&true) || is_there();
        // An error would mean that we are gone ourselves.
        let _ = unknown.wait_for(is_over).await;
        is_there()
    }

    /// Makes what is present at first, with the members that there are.
    fn begin(&self, before: Option<&Self>) {
        let old = before.map(Self::members).unwrap_or_default();
        let now = Instant::now();
        let one = |identity: Identity, terms| {
            if let Some(member) = old.iter().find(|member| member.is(&identity)) {
                return Arc::clone(member);
            }
            let member = self.member(identity, terms);
            if !old.is_empty() {
                member.restart(now);
            }
            Arc::new(member)
        };
        let present = self.settings.endpoints.iter().map(|endpoint| {
            match (self.lookup_of(endpoint), &endpoint.target) {
                (None | Some(Lookup::Name), Target::Address(address)) => {
                    vec![one(Identity::at(address.clone()), endpoint.terms())]
                }
                _ => before.map_or_else(Vec::new, |before| before.members_of(endpoint)),
            }
        });
        let present: Vec<_> = present.collect();
        let unknown = present.iter().map(Vec::is_empty).collect();
        self.unknown.send_replace(unknown);
        *self.present() = present;
    }

    fn member(&self, identity: Identity, terms: Terms) -> Member {
        Member::new(identity, terms, Arc::clone(&self.signals), &self.settings)
    }

    /// What DNS has told of this endpoint, where it is one of ours and looked up in the same way.
    fn members_of(&self, endpoint: &EndpointSettings) -> Vec<Arc<Member>> {
        let mut endpoints = self.settings.endpoints.iter();
        let is_it = |ours: &EndpointSettings| ours.target == endpoint.target;
        match endpoints.position(is_it) {
            Some(index) if self.lookup_of(endpoint) != Some(Lookup::Name) => self.present_at(index),
            _ => Vec::new(),
        }
    }

    /// Makes what is present the list of endpoints.
    fn publish(&self) {
        let mut labels = HashSet::new();
        let present = self.present();
        let members = present
            .iter()
            .flatten()
            .filter(|member| labels.insert(member.label()));
        let members: Members = members.cloned().collect();
        let mut roster = self.roster.write().unwrap_or_else(PoisonError::into_inner);
        // A look-up for earlier settings may still be at work.
        if roster.number <= self.number {
            roster.number = self.number;
            roster.members = members;
        }
        drop(roster);
        self.signals.queue.call();
    }

    fn present(&self) -> MutexGuard<'_, Vec<Vec<Arc<Member>>>> {
        self.present.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How an endpoint is looked up; `None` where it is not.
    pub(super) fn lookup_of(&self, endpoint: &EndpointSettings) -> Option<Lookup> {
        match &endpoint.target {
            Target::Service { .. } => Some(Lookup::Service),
            Target::Address(address) => address.name().map(|_| match self.settings.dns.mode {
                DnsMode::Name => Lookup::Name,
                DnsMode::Each => Lookup::Each,
            }),
        }
    }
}

/// What is to be found out about an endpoint of the settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lookup {
    /// The addresses of its one member.
    Name,
    /// Its members: one for each address of its name.
    Each,
    /// Its members: one for each of its service's places.
    Service,
}

impl EndpointSettings {
    /// What its members take where DNS says nothing about it.
    pub(super) fn terms(&self) -> Terms {
        Terms {
            weight: f64::from(self.weight),
            priority: 0,
            streams_max: self.streams_max,
        }
    }
}
