//! Where do logs go, and in which shape? What is counted is in [`metrics`], what is traced in [`traces`].
//!
//! To standard error, through a queue of bounded length and a thread of their own: a pipe that nobody
//! empties costs log lines, never a stream.

pub mod metrics;
pub mod traces;

use std::io::{self, IsTerminal as _};

use thiserror::Error;
use tracing::{Dispatch, dispatcher};
use tracing_appender::non_blocking::{ErrorCounter, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::{
    EnvFilter, Layer, Registry, filter::ParseError, fmt, layer::SubscriberExt as _,
    util::SubscriberInitExt as _,
};

/// The shape of the log's lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// Lines for people.
    Text,
    /// One JSON object a line.
    Json,
}

/// The log's filter cannot be read.
#[derive(Debug, Error)]
#[error(
    "the log filter {filter:?} cannot be read: {source}; use error, warn, info, debug or trace, or parts such as info,weir=debug"
)]
pub struct FilterError {
    filter: String,
    source: ParseError,
}

/// How many lines may wait to be written; further ones are lost.
const LINES_MAX: usize = 16 * 1024;

/// Keeps the log going; what still waits is written when it is dropped.
#[must_use = "the log ends when this is dropped"]
pub struct Log(#[expect(dead_code, reason = "it is there to be dropped")] WorkerGuard);

/// Sends the logs of the whole process to standard error from here on; only the first call counts.
///
/// `filter` is a level, or a list of `target=level` (the form of `RUST_LOG`).
///
/// # Errors
/// The filter cannot be read.
pub fn begin_log(filter: &str, format: LogFormat) -> Result<Log, FilterError> {
    let env_filter = EnvFilter::try_new(filter).map_err(|source| FilterError {
        filter: filter.to_owned(),
        source,
    })?;
    let is_terminal = io::stderr().is_terminal();
    let (log, guard) = log_to(io::stderr(), env_filter, format, is_terminal);
    // Where it has begun already, its first settings stay.
    let _ = log.try_init();
    Ok(Log(guard))
}

/// How many lines of the log that is in force here were lost because nobody took them in time.
#[must_use]
pub fn lines_lost() -> u64 {
    let lost = |log: &Dispatch| {
        let counter = log.downcast_ref::<LinesLost>();
        counter.map_or(0, |counter| counter.0.dropped_lines() as u64)
    };
    dispatcher::get_default(lost)
}

/// A log's own count of the lines that it lost, which is asked for through the log itself.
struct LinesLost(ErrorCounter);

impl<S: tracing::Subscriber> Layer<S> for LinesLost {}

fn log_to(
    to: impl io::Write + Send + 'static,
    filter: EnvFilter,
    format: LogFormat,
    is_terminal: bool,
) -> (Dispatch, WorkerGuard) {
    let (writer, guard) = NonBlockingBuilder::default()
        .buffered_lines_limit(LINES_MAX)
        .lossy(true)
        .finish(to);
    let log = Registry::default()
        .with(filter)
        .with(LinesLost(writer.error_counter()));
    let lines = fmt::layer()
        .with_writer(writer)
        .with_ansi(is_terminal)
        .with_target(false);
    let log = match format {
        LogFormat::Text => log.with(lines).into(),
        LogFormat::Json => log.with(lines.json().flatten_event(true)).into(),
    };
    (log, guard)
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    /// Takes nothing until it may.
    struct Stuck(mpsc::Receiver<()>);

    impl io::Write for Stuck {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            // Whoever could let it go on has done so once nobody is left.
            let _ = self.0.recv();
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn lines_that_nobody_takes_are_lost_and_counted() {
        let (free, stuck) = mpsc::sync_channel(1);
        let filter = EnvFilter::new("info");
        let (log, guard) = log_to(Stuck(stuck), filter, LogFormat::Json, false);
        dispatcher::with_default(&log, || {
            tracing::info!("One line is taken, and the queue has room.");
            tracing::debug!("What the filter leaves out is not lost.");
            assert_eq!(lines_lost(), 0);
            // One more may be in the writer's hand.
            for _ in 0..=LINES_MAX {
                tracing::info!("A line.");
            }
            assert!((1..=2).contains(&lines_lost()), "{}", lines_lost());
        });
        drop(free);
        drop((log, guard));
    }
}
