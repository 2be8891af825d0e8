//! What is logged, as the command line says?

use std::env;

use super::{LogArgs, LogFormat};
use crate::telemetry::{self, FilterError, Log};

impl LogArgs {
    /// Begins to log: `--log`, else `RUST_LOG`, else what matters to operators.
    ///
    /// # Errors
    /// The filter cannot be read.
    pub fn start(&self) -> Result<Log, FilterError> {
        let from_environment = || env::var("RUST_LOG").ok();
        let filter = self.level.clone().or_else(from_environment);
        let format = match self.format {
            LogFormat::Text => telemetry::LogFormat::Text,
            LogFormat::Json => telemetry::LogFormat::Json,
        };
        telemetry::begin_log(filter.as_deref().unwrap_or("info"), format)
    }
}
