//! Where do logs go, and in which shape? What is counted is in [`metrics`].
//!
//! To standard error, through a queue of bounded length and a thread of their own: a pipe that nobody
//! empties costs log lines, never a stream.

pub mod metrics;

use std::io::{self, IsTerminal as _};

use thiserror::Error;
use tracing_appender::non_blocking::{NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::{EnvFilter, filter::ParseError, fmt};

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
    let (writer, guard) = NonBlockingBuilder::default()
        .buffered_lines_limit(LINES_MAX)
        .lossy(true)
        .finish(io::stderr());
    let log = fmt()
        .with_env_filter(env_filter)
        .with_writer(writer)
        .with_ansi(io::stderr().is_terminal())
        .with_target(false);
    // Where it has begun already, its first settings stay.
    let _ = match format {
        LogFormat::Text => log.try_init(),
        LogFormat::Json => log.json().flatten_event(true).try_init(),
    };
    Ok(Log(guard))
}
