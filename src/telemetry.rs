//! Where do logs go, and in which shape?

use thiserror::Error;
use tracing_subscriber::{EnvFilter, fmt};

/// The shape of the log's lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// One line of text a record, for people.
    #[default]
    Text,
    /// One JSON object a line, for machines.
    Json,
}

/// Why logging could not begin.
#[derive(Debug, Error)]
pub enum LogError {
    /// The level or filter cannot be read.
    #[error("log filter {filter:?}: {source}; use a level (error, warn, info, debug, trace) or a list such as info,weir=debug")]
    Filter {
        /// What was given.
        filter: String,
        /// What is wrong with it.
        source: tracing_subscriber::filter::ParseError,
    },
    /// Logging began already.
    #[error("logging began already: {0}")]
    Begun(Box<dyn std::error::Error + Send + Sync>),
}

/// Begins to write the log to standard error, for the whole process.
///
/// `filter` is a level or a list of `target=level` (the form of `RUST_LOG`).
///
/// # Errors
/// The filter cannot be read, or logging began already.
pub fn begin_log(filter: &str, format: LogFormat) -> Result<(), LogError> {
    let env_filter = EnvFilter::try_new(filter).map_err(|source| LogError::Filter {
        filter: filter.to_owned(),
        source,
    })?;
    let lines = fmt()
        .with_env_filter(env_filter)
        .with_writer(std::io::stderr)
        .with_target(false);
    match format {
        LogFormat::Text => lines.try_init(),
        LogFormat::Json => lines.json().flatten_event(true).try_init(),
    }
    .map_err(LogError::Begun)
}
