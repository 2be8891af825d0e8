//! What does `weir convert` convert, as the command line says?

use std::{io::Write, path::Path, sync::Arc};

use super::{ConvertArgs, Exit, convert::Conversion};
use crate::{
    config,
    route::{From, Limits, Policy, To},
    transcode::{framing, mapping, output::OUTPUTS},
};

impl ConvertArgs {
    /// Gathers the settings from the command line and, where it names one, the route; what the command
    /// line says counts. Tells `errors` why that fails.
    ///
    /// # Errors
    /// How the process is to end.
    pub fn conversion(&self, errors: &mut impl Write) -> Result<Conversion, Exit> {
        let policy = match (&self.config, &self.route) {
            (Some(file), Some(route)) => Some(policy(file, route, errors)?),
            _ => None,
        };
        let routes = policy.as_ref().and_then(|policy| match policy.from {
            From::Framing(framing) => Some(framing),
            From::Auto => None,
        });
        let media_type = self.content_type.split(';').next().unwrap_or_default();
        let media_type = media_type.trim().to_ascii_lowercase();
        let typed = || framing::by_content_type(&media_type);
        let Some(from) = self.from.or(routes).or_else(typed) else {
            // The exit code tells as well, should no one read this.
            let _ = writeln!(
                errors,
                "--from is missing: nothing else says how the records are delimited; try \
                 --from ndjson"
            );
            return Err(Exit::Usage);
        };
        let routes = policy.as_ref().and_then(|policy| match policy.to {
            To::Output(output) => Some(output),
            To::Auto | To::AsIs => None,
        });
        let limits = policy.as_ref().map_or_else(Limits::default, |p| p.limits);
        Ok(Conversion {
            from,
            to: self.to.or(routes).unwrap_or(OUTPUTS[0]),
            content_type: self.content_type.clone(),
            charset: policy.as_ref().and_then(|policy| policy.charset),
            record_bytes_max: limits.record_bytes_max,
            event: policy.map_or_else(Arc::<mapping::Settings>::default, |policy| policy.event),
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
