//! May an endpoint take a stream, after what became of the others?
//!
//! Sans-IO: outcomes and the time are arguments (invariant 1); time is what has passed since the endpoint is
//! known. An endpoint is up until so many failures in a
//! row eject it, for a while that grows each time; then one stream at a time tries it until one is answered.
//! Where it is checked besides, its checks take it down and let it come back.

use std::time::Duration;

/// When an endpoint is ejected, and when it comes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// So many failures in a row eject it; 0: none do.
    pub failures: u32,
    /// A failure that is older than this when the next one comes is forgotten.
    pub within: Duration,
    /// How long it is ejected for the first time; the second time it is twice as long, and so on.
    pub eject: Duration,
    /// But no longer than this. Once it has been up for as long, the count begins anew.
    pub eject_max: Duration,
    /// How its checks decide; `None` where it is not checked.
    pub streaks: Option<Streaks>,
}

/// How many checks in a row decide. The very first decides by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Streaks {
    /// So many that succeed bring it back.
    pub rise: u32,
    /// So many that fail take it down.
    pub fall: u32,
}

/// How a stream failed because of its endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// It could not be connected to: refused, unreachable, too slow, or not trusted.
    ConnectFailed,
    /// It closed or reset the connection before its reply, or what it sent was none.
    NoReply,
    /// It did not reply in time.
    FirstByteTimeout,
    /// Its reply's status said that it cannot serve.
    Status,
    /// It broke its reply off midway.
    Cut,
}

/// What an endpoint is not up for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// Streams failed.
    Streams(Failure),
    /// Checks failed.
    Check,
}

/// What became of an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// It is ejected.
    Ejected {
        /// What the last failure was.
        failure: Failure,
        /// How long no stream goes there.
        lasts: Duration,
    },
    /// Its checks have failed.
    Down,
    /// It is up again.
    Up,
}

/// The last number of a state, after which they begin anew.
const EPOCH_MAX: u32 = u32::MAX >> 1;

/// What a stream knows of its endpoint's state when it began.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Pass(
    /// Which state it was, doubled, and one more where the stream tries an endpoint that was ejected; 0
    /// where the endpoint was up, which no other state has. Every open stream holds one.
    u32,
);

impl Pass {
    fn new(epoch: u32, is_trial: bool) -> Self {
        Self(epoch << 1 | u32::from(is_trial))
    }

    fn epoch(self) -> u32 {
        self.0 >> 1
    }

    fn is_trial(self) -> bool {
        self.0 & 1 == 1
    }
}

/// What operators are told of an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Summary {
    /// `up`, `ejected`, `trying` (the ejection's time is over, but nothing has succeeded yet) or `down`.
    pub state: &'static str,
    /// Why it is not up.
    pub reason: Option<Reason>,
    /// How long it has been up, or not.
    pub lasts: Duration,
    /// How many failures have come in a row, as far as they are remembered.
    pub failures: u32,
    /// How much longer no stream goes there, where it is ejected.
    pub ejected_for: Option<Duration>,
}

/// The state of one endpoint.
#[derive(Debug)]
pub struct Health {
    settings: Settings,
    state: State,
    /// Since when it has been up, or not.
    since: Duration,
    /// Which state this is: counts up with each change.
    epoch: u32,
    /// Failures to begin a stream.
    unserved: Run,
    /// Streams that were cut. Counted apart, since each of them began well.
    cut: Run,
    /// How often it has been ejected in a row.
    ejections: u32,
    checks: Checks,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Up,
    Ejected {
        failure: Failure,
        until: Duration,
        /// When a stream may try it; later than `until` while one does.
        next_trial: Duration,
    },
    Down,
}

/// Failures in a row.
#[derive(Debug, Clone, Copy, Default)]
struct Run {
    count: u32,
    forgotten_at: Option<Duration>,
    moment_ends: Option<Duration>,
}

/// Checks in a row: only one of the two is not 0.
#[derive(Debug, Clone, Copy, Default)]
struct Checks {
    is_begun: bool,
    succeeded: u32,
    failed: u32,
}

impl Failure {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::ConnectFailed,
        Self::NoReply,
        Self::FirstByteTimeout,
        Self::Status,
        Self::Cut,
    ];

    /// The stable name in logs and metrics.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::ConnectFailed => "connect_failed",
            Self::NoReply => "no_reply",
            Self::FirstByteTimeout => "first_byte_timeout",
            Self::Status => "status",
            Self::Cut => "cut",
        }
    }

    /// Whether one fault of an endpoint, such as its process' end, fails all of its streams like that at once.
    fn is_shared(self) -> bool {
        matches!(self, Self::NoReply | Self::Cut)
    }
}

impl Reason {
    /// The stable name in logs and metrics.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Streams(failure) => failure.code(),
            Self::Check => "check",
        }
    }
}

impl Health {
    /// An endpoint that is up until something else shows.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            state: State::Up,
            since: Duration::ZERO,
            epoch: 1,
            unserved: Run::default(),
            cut: Run::default(),
            ejections: 0,
            checks: Checks::default(),
        }
    }

    /// From now on these settings hold. What nothing would undo any more is undone: an endpoint is up that
    /// its checks took down where there are none, or that was ejected where nothing ejects.
    pub fn follow(&mut self, settings: Settings, now: Duration) -> Option<Change> {
        self.settings = settings;
        let is_left = match self.state {
            State::Up => false,
            State::Ejected { .. } => settings.failures == 0,
            State::Down => settings.streaks.is_none(),
        };
        is_left.then(|| self.come_back(now))
    }

    /// Whether it is up.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.state == State::Up
    }

    /// Whether it is up and no failure is remembered.
    #[must_use]
    pub fn is_spotless(&self) -> bool {
        self.is_up() && self.unserved.count == 0 && self.cut.count == 0
    }

    /// Whether a stream may go there: it is up, or may be tried.
    #[must_use]
    pub fn is_open(&self, now: Duration) -> bool {
        match self.state {
            State::Up => true,
            State::Ejected { next_trial, .. } => {
                self.settings.streaks.is_none() && next_trial <= now
            }
            State::Down => false,
        }
    }

    /// Lets a stream begin there, whether it is open or not. What becomes of the stream is to be told with
    /// the pass.
    pub fn begin(&mut self, now: Duration) -> Pass {
        if self.is_up() {
            return Pass::default();
        }
        let is_trial = self.is_open(now);
        if let State::Ejected { next_trial, .. } = &mut self.state
            && is_trial
        {
            // Even a stream that nothing is ever heard of keeps the others away only for so long.
            *next_trial = now + self.settings.eject_max;
        }
        Pass::new(self.epoch, is_trial)
    }

    /// A stream failed.
    pub fn failed(&mut self, failure: Failure, pass: Pass, now: Duration) -> Option<Change> {
        match self.state {
            State::Up => self.count(failure, now),
            State::Ejected { .. } if pass.is_trial() && pass.epoch() == self.epoch => {
                Some(self.eject(failure, now))
            }
            State::Ejected { .. } | State::Down => None,
        }
    }

    /// A stream was answered, and not by a failure. This brings an ejected endpoint back, unless checks are
    /// to do that or the stream began before.
    pub fn answered(&mut self, pass: Pass, now: Duration) -> Option<Change> {
        self.unserved = Run::default();
        let State::Ejected { failure, .. } = self.state else {
            return None;
        };
        if self.settings.streaks.is_some() || pass.epoch() != self.epoch {
            return None;
        }
        if failure == Failure::Cut {
            // That a stream begins says nothing of how it ends: one more cut is enough.
            let count = self.settings.failures.saturating_sub(1);
            self.cut = Run::of(count, now + self.settings.within);
        }
        Some(self.come_back(now))
    }

    /// A stream that was answered ended as it should.
    pub fn completed(&mut self) {
        self.cut = Run::default();
    }

    /// A stream is over without a word on its endpoint: where it was to try it, another may.
    pub fn left(&mut self, pass: Pass) {
        if let State::Ejected {
            until, next_trial, ..
        } = &mut self.state
            && pass.is_trial()
            && pass.epoch() == self.epoch
        {
            *next_trial = *until;
        }
    }

    /// A check succeeded, or failed.
    pub fn checked(&mut self, is_good: bool, now: Duration) -> Option<Change> {
        let Streaks { rise, fall } = self.settings.streaks?;
        let is_first = !std::mem::replace(&mut self.checks.is_begun, true);
        self.checks = Checks {
            is_begun: true,
            succeeded: if is_good {
                self.checks.succeeded.saturating_add(1)
            } else {
                0
            },
            failed: if is_good {
                0
            } else {
                self.checks.failed.saturating_add(1)
            },
        };
        let has_risen = self.checks.succeeded >= rise;
        let has_fallen = self.checks.failed >= fall || (is_first && !is_good);
        match self.state {
            State::Up | State::Ejected { .. } if has_fallen => {
                if self.is_up() {
                    self.since = now;
                }
                self.change(State::Down);
                Some(Change::Down)
            }
            State::Ejected { until, .. } if has_risen && until <= now => Some(self.come_back(now)),
            State::Down if has_risen => Some(self.come_back(now)),
            State::Up | State::Ejected { .. } | State::Down => None,
        }
    }

    /// What operators are told.
    #[must_use]
    pub fn summary(&self, now: Duration) -> Summary {
        let (state, reason, ejected_for) = match self.state {
            State::Up => ("up", None, None),
            State::Down => ("down", Some(Reason::Check), None),
            State::Ejected { failure, until, .. } => {
                let left = until.saturating_sub(now);
                let state = if left.is_zero() { "trying" } else { "ejected" };
                (state, Some(Reason::Streams(failure)), Some(left))
            }
        };
        Summary {
            state,
            reason,
            lasts: now.saturating_sub(self.since),
            failures: self.unserved.at(now).max(self.cut.at(now)),
            ejected_for,
        }
    }

    /// Counts a failure of an endpoint that is up.
    fn count(&mut self, failure: Failure, now: Duration) -> Option<Change> {
        let run = match failure {
            Failure::Cut => &mut self.cut,
            Failure::ConnectFailed
            | Failure::NoReply
            | Failure::FirstByteTimeout
            | Failure::Status => &mut self.unserved,
        };
        run.count(failure, now, self.settings.within);
        let limit = self.settings.failures;
        (limit > 0 && run.count >= limit).then(|| self.eject(failure, now))
    }

    fn eject(&mut self, failure: Failure, now: Duration) -> Change {
        let Settings {
            eject, eject_max, ..
        } = self.settings;
        if self.is_up() {
            if now.saturating_sub(self.since) >= eject_max {
                self.ejections = 0;
            }
            self.since = now;
        }
        self.ejections = self.ejections.saturating_add(1);
        let lasts = eject.saturating_mul(self.ejections).min(eject_max);
        let until = now + lasts;
        self.checks.succeeded = 0;
        self.change(State::Ejected {
            failure,
            until,
            next_trial: until,
        });
        Change::Ejected { failure, lasts }
    }

    fn come_back(&mut self, now: Duration) -> Change {
        self.since = now;
        self.unserved = Run::default();
        self.change(State::Up);
        Change::Up
    }

    fn change(&mut self, state: State) {
        if state != State::Up {
            self.cut = Run::default();
        }
        self.state = state;
        self.epoch = ((self.epoch + 1) & EPOCH_MAX).max(1);
    }
}

impl Run {
    /// So many, to be forgotten at that time.
    fn of(count: u32, forgotten_at: Duration) -> Self {
        Self {
            count,
            forgotten_at: Some(forgotten_at),
            moment_ends: None,
        }
    }

    /// How many are not forgotten yet.
    fn at(&self, now: Duration) -> u32 {
        let is_forgotten = self.forgotten_at.is_some_and(|at| at <= now);
        if is_forgotten { 0 } else { self.count }
    }

    /// Counts one more, but one alone of those that have the same cause.
    fn count(&mut self, failure: Failure, now: Duration, within: Duration) {
        if failure.is_shared() && self.moment_ends.is_some_and(|end| now < end) {
            return;
        }
        *self = Self {
            count: self.at(now).saturating_add(1),
            forgotten_at: Some(now + within),
            moment_ends: Some(now + MOMENT),
        };
    }
}

/// Streams that break off within this time of one another do so for the same cause.
const MOMENT: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests;
