//! What does `weir convert` convert, as the command line says?

use std::{io::Write, path::Path};

use super::{ConvertArgs, Exit, convert::Conversion};
use crate::{
    config,
    route::{Limits, Policy},
    transcode::mapping,
};

impl ConvertArgs {
    /// Gathers the settings from the command line and, where it names one, the route. Tells
    /// `errors` why that fails.
    ///
    /// # Errors
    /// How the process is to end.
    pub fn conversion(&self, errors: &mut impl Write) -> Result<Conversion, Exit> {
        let (event, limits) = match (&self.config, &self.route) {
            (Some(file), Some(route)) => {
                let policy = policy(file, route, errors)?;
                (policy.event, policy.limits)
            }
            _ => (mapping::Settings::default(), Limits::default()),
        };
        Ok(Conversion {
            from: self.from,
            event,
            record_bytes_max: limits.record_bytes_max,
        })
    }
}

fn policy(file: &Path, name: &str, errors: &mut impl Write) -> Result<Policy, Exit> {
    // The exit code tells as well, should no one read this.
    let loaded = config::load(file).map_err(|faults| {
        let _ = writeln!(errors, "{faults}");
        Exit::Config
    })?;
    let routes = loaded.config.routes;
    if let Some(route) = routes.iter().find(|route| route.name == name) {
        return Ok(route.policy.clone());
    }
    let names: Vec<String> = routes
        .iter()
        .map(|route| format!("{:?}", route.name))
        .collect();
    let (file, names) = (file.display(), names.join(", "));
    let _ = writeln!(
        errors,
        "--route {name:?}: {file} has no such route, but {names}"
    );
    Err(Exit::Usage)
}
