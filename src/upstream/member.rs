//! What do all workers know of one endpoint?

use std::{
    net::IpAddr,
    sync::{
        Arc,
        atomic::{
            AtomicU16, AtomicU64, AtomicUsize,
            Ordering::{Relaxed, SeqCst},
        },
    },
    time::Duration,
};

use tokio::{sync::watch, time::Instant};

use super::{
    EndpointAddress, Settings,
    condition::Condition,
    joining::{Joining, Signals},
    key,
};
use crate::{
    balance::Candidate,
    health::{Pass, Summary},
};

/// One endpoint, as all workers share it.
#[derive(Debug)]
pub struct Member {
    /// Where it listens.
    pub address: EndpointAddress,
    /// What a certificate must name instead of the address' host.
    pub(super) server_name: Option<String>,
    label: String,
    /// What tells it from the others in every process.
    id: u64,
    addresses: Addresses,
    /// The bits of a number.
    weight: AtomicU64,
    priority: AtomicU16,
    /// How many streams may be open; all bits set is any number.
    streams_max: AtomicUsize,
    open_streams: AtomicUsize,
    joining: Arc<Joining>,
    pub(super) condition: Condition,
}

/// What makes an endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Identity {
    pub(super) address: EndpointAddress,
    /// The one address of the host that it is; `None` is whichever answers.
    pub(super) ip: Option<IpAddr>,
    pub(super) server_name: Option<String>,
}

/// How much an endpoint takes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Terms {
    /// More than 0.
    pub(super) weight: f64,
    pub(super) priority: u16,
    /// `None` is any number.
    pub(super) streams_max: Option<usize>,
}

/// The addresses of an endpoint's host.
#[derive(Debug)]
enum Addresses {
    /// The system is asked at each connection.
    System,
    /// This one.
    One(Arc<[IpAddr]>),
    /// Those that were found last; `None` while nobody has looked.
    Found(watch::Sender<Option<Resolved>>),
}

/// What looking a name up came to: at least one address, or what went wrong.
pub(super) type Resolved = Result<Arc<[IpAddr]>, Arc<str>>;

impl Identity {
    /// The endpoint at this address.
    pub(super) fn at(address: EndpointAddress) -> Self {
        Self {
            address,
            ip: None,
            server_name: None,
        }
    }

    /// What it is called in logs and metrics.
    pub(super) fn label(&self) -> String {
        match self.ip {
            Some(ip) => format!("{} ({ip})", self.address),
            None => self.address.to_string(),
        }
    }
}

impl Member {
    /// An endpoint without streams, which is up until something else shows.
    pub(super) fn new(
        identity: Identity,
        terms: Terms,
        signals: Arc<Signals>,
        settings: &Settings,
    ) -> Self {
        let label = identity.label();
        let joining = Arc::new(Joining::new(signals));
        let health = settings.health.of_endpoint();
        let member = Self {
            condition: Condition::new(health, &settings.name, label.clone(), Arc::clone(&joining)),
            joining,
            id: key::hash(label.as_bytes()),
            label,
            addresses: match identity.ip {
                Some(ip) => Addresses::One(Arc::new([ip])),
                None if identity.address.name().is_some() => {
                    Addresses::Found(watch::Sender::new(None))
                }
                None => Addresses::System,
            },
            address: identity.address,
            server_name: identity.server_name,
            weight: AtomicU64::default(),
            priority: AtomicU16::default(),
            streams_max: AtomicUsize::default(),
            open_streams: AtomicUsize::new(0),
        };
        member.agree(terms);
        member
    }

    /// What it is called in logs and metrics.
    #[must_use]
    pub fn label(&self) -> &str {
        &self.label
    }

    /// Whether it is that endpoint, however much it takes.
    pub(super) fn is(&self, identity: &Identity) -> bool {
        self.server_name == identity.server_name && self.label == identity.label()
    }

    /// How many streams are open on it.
    #[must_use]
    pub fn open_streams(&self) -> usize {
        self.open_streams.load(SeqCst)
    }

    /// Whether another stream may be opened on it.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.open_streams() < self.streams_max.load(Relaxed)
    }

    /// Says that it takes streams from now on, and did not until now.
    pub(super) fn restart(&self, now: Instant) {
        self.joining.restart(now);
    }

    /// Whether it is up: neither ejected nor taken down by its checks.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.condition.is_up()
    }

    /// What operators are told of its health.
    #[must_use]
    pub fn state(&self) -> Summary {
        self.condition.summary()
    }

    /// How often it was ejected or taken down, by reason.
    #[must_use]
    pub fn ejections(&self) -> Vec<(&'static str, u64)> {
        let ejections = self.condition.ejections().into_iter();
        ejections
            .map(|(reason, count)| (reason.code(), count))
            .collect()
    }

    /// How many checks succeeded, and how many failed.
    #[must_use]
    pub fn checks(&self) -> (u64, u64) {
        self.condition.checks()
    }

    /// What is chosen by.
    pub(super) fn candidate(&self, now: Instant, slow_start: Duration) -> Candidate {
        let weight = f64::from_bits(self.weight.load(Relaxed));
        Candidate {
            open_streams: self.open_streams(),
            weight: weight * self.joining.share(now, slow_start),
            priority: self.priority.load(Relaxed),
            id: self.id,
        }
    }

    /// Changes how much it takes.
    pub(super) fn agree(&self, terms: Terms) {
        self.weight.store(terms.weight.to_bits(), Relaxed);
        self.priority.store(terms.priority, Relaxed);
        let streams_max = terms.streams_max.unwrap_or(usize::MAX);
        if self.streams_max.swap(streams_max, Relaxed) < streams_max {
            self.joining.signals.queue.call();
        }
    }

    /// How much it takes now.
    pub(super) fn terms(&self) -> Terms {
        let streams_max = self.streams_max.load(Relaxed);
        Terms {
            weight: f64::from_bits(self.weight.load(Relaxed)),
            priority: self.priority.load(Relaxed),
            streams_max: (streams_max < usize::MAX).then_some(streams_max),
        }
    }

    /// Says where its host is, or why nobody knows.
    pub(super) fn resolve(&self, resolved: Resolved) {
        if let Addresses::Found(found) = &self.addresses {
            // What was found once stays until something else is.
            found.send_if_modified(|found| {
                let is_news = resolved.is_ok() || !matches!(found, Some(Ok(_)));
                if is_news {
                    *found = Some(resolved);
                }
                is_news
            });
        }
    }

    /// Where its host is; `None` where the system is to be asked. Waits for the first answer.
    pub(super) async fn addresses(&self) -> Option<Resolved> {
        match &self.addresses {
            Addresses::System => None,
            Addresses::One(one) => Some(Ok(Arc::clone(one))),
            Addresses::Found(found) => {
                let mut found = found.subscribe();
                let found = found.wait_for(Option::is_some).await;
                // The sender is the member's own.
                found.ok().and_then(|found| found.clone())
            }
        }
    }

    /// Says that it could not be connected to.
    pub(super) fn doubt(&self) {
        self.joining.signals.doubt.notify_waiters();
    }

    /// Counts a stream that begins on it; `None` where there is no room for it.
    pub(super) fn begin(&self) -> Option<Pass> {
        let streams_max = self.streams_max.load(Relaxed);
        let one_more = |open| (open < streams_max).then_some(open + 1);
        let counted = self.open_streams.fetch_update(SeqCst, SeqCst, one_more);
        counted.ok().map(|_| self.condition.begin())
    }

    /// Counts a stream that has ended on it.
    pub(super) fn end(&self, pass: Pass) {
        self.open_streams.fetch_sub(1, SeqCst);
        self.condition.left(pass);
        self.joining.signals.queue.call();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        health::{Failure, Streaks},
        upstream::{CheckSettings, TlsSettings},
    };

    fn member(streams_max: Option<usize>) -> Member {
        let address = EndpointAddress::Http {
            host: "a".to_owned(),
            port: 80,
        };
        let terms = Terms {
            weight: 4.0,
            priority: 1,
            streams_max,
        };
        let settings = Settings::of_one("test", address.clone(), TlsSettings::default());
        Member::new(Identity::at(address), terms, Arc::default(), &settings)
    }

    #[tokio::test(start_paused = true)]
    async fn an_endpoint_that_joins_takes_its_share_little_by_little() {
        let member = member(None);
        let slow_start = Duration::from_secs(30);
        let weight = |slow_start| member.candidate(Instant::now(), slow_start).weight;
        let is = |expected: f64| (weight(slow_start) - expected).abs() < 0.001;
        assert!(is(4.0), "it was there from the beginning");
        tokio::time::advance(Duration::from_secs(100)).await;
        member.restart(Instant::now());
        assert!(is(0.4), "{}", weight(slow_start));
        tokio::time::advance(Duration::from_secs(15)).await;
        assert!(is(2.2), "{}", weight(slow_start));
        assert!((weight(Duration::ZERO) - 4.0).abs() < 0.001);
        tokio::time::advance(Duration::from_secs(15)).await;
        assert!(is(4.0), "{}", weight(slow_start));
        tokio::time::advance(Duration::from_secs(1000)).await;
        assert!(is(4.0), "{}", weight(slow_start));
        member.restart(Instant::now());
        assert!(is(0.4), "each time that it comes back");
    }

    #[test]
    fn no_more_streams_begin_than_there_is_room_for() {
        let member = member(Some(2));
        let begins = || member.begin().is_some();
        let end = || member.end(Pass::default());
        assert!(member.has_room() && begins() && member.has_room() && begins());
        assert!(!member.has_room() && !begins());
        end();
        assert!(begins());
        // Fewer may be allowed from now on than there are.
        member.agree(Terms {
            streams_max: Some(1),
            ..member.terms()
        });
        end();
        assert!(!member.has_room() && !begins());
        end();
        assert!(begins());
        assert_eq!(member.open_streams(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn an_endpoint_that_comes_back_to_health_starts_slowly() {
        let member = member(None);
        let streaks = Streaks { rise: 1, fall: 1 };
        let mut health = crate::upstream::HealthSettings {
            check: Some(CheckSettings {
                path: None,
                host: None,
                status: 200..=299,
                every: Duration::from_secs(1),
                timeout: Duration::from_secs(1),
                streaks,
            }),
            ..Default::default()
        };
        member.condition.follow(health.of_endpoint());
        let weight = || {
            let now = Instant::now();
            member.candidate(now, Duration::from_secs(30)).weight
        };
        member.condition.checked(Err(&"no"));
        assert!(!member.is_up());
        member.condition.checked(Ok(()));
        assert!(member.is_up() && weight() < 0.5, "{}", weight());
        // Where nobody checks it any more, it is not left down.
        member.condition.checked(Err(&"no"));
        health.check = None;
        member.condition.follow(health.of_endpoint());
        assert!(member.is_up());
        member.condition.failed(Failure::Cut, Pass::default());
        assert!(member.is_up(), "no failure ejects it");
    }

    #[tokio::test]
    async fn what_was_found_stays_when_a_later_look_up_fails() {
        let member = member(None);
        let ip: IpAddr = "10.0.0.1".parse().unwrap();
        member.resolve(Err("no".into()));
        assert!(member.addresses().await.unwrap().is_err());
        member.resolve(Ok(Arc::new([ip])));
        member.resolve(Err("no".into()));
        assert_eq!(*member.addresses().await.unwrap().unwrap(), [ip]);
    }
}
