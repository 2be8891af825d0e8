//! How far is it? A line on the terminal, where there is one.

use std::{io::IsTerminal as _, time::Duration};

use indicatif::{ProgressBar, ProgressStyle};

use crate::{
    tally::Counts,
    work::{Plan, Work},
};

/// Tells how far a run is.
#[derive(Debug)]
pub struct Progress(ProgressBar);

impl Progress {
    /// A bar on standard error, or nothing where that is no terminal or nothing is wanted.
    #[must_use]
    pub fn new(plan: &Plan, is_quiet: bool) -> Self {
        if is_quiet || !std::io::stderr().is_terminal() {
            return Self(ProgressBar::hidden());
        }
        let length = match plan.work {
            Work::Churn => plan.streams,
            Work::Idle
            | Work::Tick
            | Work::Llm
            | Work::Fire
            | Work::Big
            | Work::Slow
            | Work::Fanout => millis(plan.window),
        };
        let style = ProgressStyle::with_template("{prefix} {wide_bar} {percent}% {msg}")
            .unwrap_or_else(|_| ProgressStyle::default_bar());
        let bar = ProgressBar::new(length).with_style(style);
        bar.set_prefix(format!("{:?}", plan.work).to_lowercase());
        bar.set_message(format!("opening {} streams", plan.streams));
        Self(bar)
    }

    /// The window has been open for so long, and so much has come.
    pub fn watching(&self, since: Duration, counts: Counts) {
        self.0.set_position(millis(since));
        self.0.set_message(format!("{} events", counts.events));
    }

    /// So many short streams have ended.
    pub fn churning(&self, done: u64) {
        self.0.set_position(done);
        self.0.set_message(format!("{done} streams"));
    }

    /// Takes the line away.
    pub fn finish(&self) {
        self.0.finish_and_clear();
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
