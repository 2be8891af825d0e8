//! When may another endpoint be asked?
//!
//! An endpoint that cannot be connected to has not seen the request, so that another one takes its place
//! at no cost. Every other retry is load that the upstream has not asked for: it takes a request that may
//! be seen twice, and a place in the budget, so that an upstream in trouble is not asked three times as much.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use http::StatusCode;
use tower::retry::budget::{Budget as _, TpsBudget};

/// Over how long requests and retries are weighed against each other.
const BUDGET_WINDOW: Duration = Duration::from_secs(10);
/// How many retries a second are allowed however few requests there are.
const BUDGET_LEAST: u32 = 5;

/// What the configuration says of retries: `[upstream.NAME.retry]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetrySettings {
    /// How many endpoints may see one request; at least 1, which is no retry.
    pub attempts_max: usize,
    /// Whether another endpoint is asked where one closes the connection before its reply.
    pub is_after_reset: bool,
    /// The statuses of replies in whose place another endpoint is asked.
    pub statuses: Vec<StatusCode>,
    /// How many retries there may be for a hundred requests.
    pub budget_percent: u8,
}

impl Default for RetrySettings {
    fn default() -> Self {
        Self {
            attempts_max: 3,
            is_after_reset: true,
            statuses: Vec::new(),
            budget_percent: 20,
        }
    }
}

/// Why another endpoint is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// The endpoint could not be connected to.
    Connect,
    /// It closed the connection before its reply.
    Reset,
    /// It replied with one of the statuses.
    Status,
}

impl Reason {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Connect, Self::Reset, Self::Status];

    /// The stable name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Reset => "reset",
            Self::Status => "status",
        }
    }
}

/// The retries of one upstream, over all workers.
#[derive(Debug)]
pub struct Retries {
    settings: RetrySettings,
    budget: TpsBudget,
    /// Those under earlier settings are counted on.
    counts: Arc<Counts>,
}

/// What became of retries.
#[derive(Debug, Default)]
struct Counts {
    /// By [`Reason`].
    done: [AtomicU64; 3],
    denied: AtomicU64,
}

impl Retries {
    /// None yet.
    pub(super) fn new(settings: &RetrySettings) -> Self {
        let share = f32::from(settings.budget_percent) / 100.0;
        Self {
            budget: TpsBudget::new(BUDGET_WINDOW, BUDGET_LEAST, share),
            counts: Arc::default(),
            settings: settings.clone(),
        }
    }

    /// Counts on from what was counted under earlier settings of the same upstream.
    pub(super) fn count_on(&mut self, before: &Self) {
        self.counts = Arc::clone(&before.counts);
    }

    /// How often another endpoint was asked for that reason.
    #[must_use]
    pub fn done(&self, reason: Reason) -> u64 {
        self.counts.done[reason as usize].load(Relaxed)
    }

    /// How often it would have been, had the budget allowed it.
    #[must_use]
    pub fn denied(&self) -> u64 {
        self.counts.denied.load(Relaxed)
    }

    /// Counts a request towards the budget.
    pub(super) fn begin(&self) {
        self.budget.deposit();
    }

    /// Whether another endpoint is to be asked in place of a reply with this status.
    pub(super) fn is_for(&self, status: StatusCode) -> bool {
        self.settings.statuses.contains(&status)
    }

    /// Whether a request may go to another endpoint that `attempts` have seen, as far as the policy says.
    pub(super) fn allows(&self, reason: Reason, attempts: usize) -> bool {
        let is_asked_for = match reason {
            Reason::Connect => return true,
            Reason::Reset => self.settings.is_after_reset,
            Reason::Status => true,
        };
        is_asked_for && attempts < self.settings.attempts_max
    }

    /// Takes a retry out of the budget; `false` where it is spent.
    pub(super) fn take(&self, reason: Reason) -> bool {
        let is_free = reason == Reason::Connect;
        let is_allowed = is_free || self.budget.withdraw();
        let count = if is_allowed {
            &self.counts.done[reason as usize]
        } else {
            &self.counts.denied
        };
        count.fetch_add(1, Relaxed);
        is_allowed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_policy_says_what_is_tried_again() {
        let retries = Retries::new(&RetrySettings {
            attempts_max: 2,
            is_after_reset: false,
            statuses: vec![StatusCode::SERVICE_UNAVAILABLE],
            budget_percent: 20,
        });
        assert!(retries.allows(Reason::Connect, 9));
        assert!(!retries.allows(Reason::Reset, 1));
        assert!(retries.allows(Reason::Status, 1));
        assert!(!retries.allows(Reason::Status, 2));
        assert!(retries.is_for(StatusCode::SERVICE_UNAVAILABLE));
        assert!(!retries.is_for(StatusCode::BAD_GATEWAY));
    }

    #[test]
    fn the_budget_is_a_share_of_the_requests() {
        let retries = Retries::new(&RetrySettings::default());
        let count = |reason| (0..2000).filter(|_| retries.take(reason)).count();
        let reserve = count(Reason::Reset);
        assert_eq!(reserve, 50, "five a second, over ten seconds");
        for _ in 0..1000 {
            retries.begin();
        }
        let earned = count(Reason::Status);
        assert!((190..=250).contains(&earned), "{earned}");
        assert_eq!(count(Reason::Connect), 2000, "nobody has seen those");
        assert_eq!(retries.done(Reason::Reset), reserve as u64);
        assert_eq!(retries.denied(), (4000 - reserve - earned) as u64);
    }
}
