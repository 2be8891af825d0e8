//! What did a check find?

use std::{fmt, time::Duration};

use serde_json::{Map, Value};

use super::hop::Trouble;

/// What is checked, in the order of the report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Check {
    /// Does the response's head come before its body?
    Head,
    /// Do events come one by one?
    Buffering,
    /// Does what is compressed come at once, too?
    Compression,
    /// Does a silent stream live?
    Silence,
    /// Does a cut stream look cut?
    Truncation,
    /// Does the backend hear that the client has left?
    Cancellation,
    /// Does the backend see what the client asked?
    Request,
}

/// How it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// As it should be.
    Ok,
    /// Something harms streams.
    Problem,
    /// It could not be found out.
    Unknown,
}

/// What one check found.
#[derive(Debug, Clone, PartialEq)]
pub struct Finding {
    /// What was checked.
    pub check: Check,
    /// How it stands.
    pub verdict: Verdict,
    /// The figure, for the table.
    pub figure: String,
    /// What that means, in a sentence.
    pub means: String,
    /// What kind of trouble it is, where it is one.
    pub trouble: Option<Trouble>,
    /// What the backend itself can do about it, where that was tried.
    pub tried: Option<String>,
    /// What was measured, by names that stay.
    pub measured: Map<String, Value>,
}

impl Finding {
    pub(super) fn ok(check: Check, figure: impl Into<String>, means: &str) -> Self {
        Self::new(check, Verdict::Ok, figure.into(), means.to_owned())
    }

    pub(super) fn unknown(
        check: Check,
        figure: impl Into<String>,
        means: impl Into<String>,
    ) -> Self {
        Self::new(check, Verdict::Unknown, figure.into(), means.into())
    }

    pub(super) fn problem(
        check: Check,
        trouble: Trouble,
        figure: impl Into<String>,
        means: impl Into<String>,
    ) -> Self {
        let finding = Self::new(check, Verdict::Problem, figure.into(), means.into());
        Self {
            trouble: Some(trouble),
            ..finding
        }
    }

    fn new(check: Check, verdict: Verdict, figure: String, means: String) -> Self {
        Self {
            check,
            verdict,
            figure,
            means,
            trouble: None,
            tried: None,
            measured: Map::new(),
        }
    }

    /// Notes what was measured.
    pub(super) fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.measured.insert(name.to_owned(), value.into());
        self
    }
}

impl Check {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Head,
        Self::Buffering,
        Self::Compression,
        Self::Silence,
        Self::Truncation,
        Self::Cancellation,
        Self::Request,
    ];

    /// The word for it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Head => "head",
            Self::Buffering => "buffering",
            Self::Compression => "compression",
            Self::Silence => "silence",
            Self::Truncation => "truncation",
            Self::Cancellation => "cancellation",
            Self::Request => "request",
        }
    }
}

impl Verdict {
    /// The word for it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Problem => "problem",
            Self::Unknown => "unknown",
        }
    }
}

/// A duration as people say it: `12 ms`, `2.0 s`, `65 s`; rounded up, as nothing takes no time.
pub(super) struct Said(pub(super) Duration);

impl fmt::Display for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_millis() {
            0..1000 => write!(f, "{} ms", self.0.as_micros().div_ceil(1000).max(1)),
            1000..10_000 => write!(f, "{:.1} s", self.0.as_secs_f64()),
            _ => write!(f, "{:.0} s", self.0.as_secs_f64()),
        }
    }
}

/// A duration as JSON has it here: whole milliseconds.
pub(super) fn ms(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
