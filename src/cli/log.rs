//! Where do the logs go?

use std::io::{self, IsTerminal};

use tracing_subscriber::{EnvFilter, filter::ParseError, fmt};

use super::{LogArgs, LogFormat};

impl LogArgs {
    /// Sends the logs of the whole process to standard error from here on; only the first call counts.
    ///
    /// # Errors
    /// The level is none.
    pub fn start(&self) -> Result<(), ParseError> {
        let from_environment = || std::env::var(EnvFilter::DEFAULT_ENV).ok();
        let level = self.level.clone().or_else(from_environment);
        let filter = EnvFilter::try_new(level.as_deref().unwrap_or("info"))?;
        let log = fmt().with_env_filter(filter).with_writer(io::stderr);
        let log = log.with_ansi(io::stderr().is_terminal());
        // Where it is started already, its first settings stay.
        let _ = match self.format {
            LogFormat::Text => log.try_init(),
            LogFormat::Json => log.json().try_init(),
        };
        Ok(())
    }
}
