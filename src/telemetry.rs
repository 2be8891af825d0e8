//! Where do logs go, and in which shape?

use std::io::{self, IsTerminal as _};

use thiserror::Error;
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

/// Sends the logs of the whole process to standard error from here on; only the first call counts.
///
/// `filter` is a level, or a list of `target=level` (the form of `RUST_LOG`).
///
/// # Errors
/// The filter cannot be read.
pub fn begin_log(filter: &str, format: LogFormat) -> Result<(), FilterError> {
    let env_filter = EnvFilter::try_new(filter).map_err(|source| FilterError {
        filter: filter.to_owned(),
        source,
    })?;
    let log = fmt()
        .with_env_filter(env_filter)
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        .with_target(false);
    // Where it has begun already, its first settings stay.
    let _ = match format {
        LogFormat::Text => log.try_init(),
        LogFormat::Json => log.json().flatten_event(true).try_init(),
    };
    Ok(())
}
