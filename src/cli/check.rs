//! What is wrong or doubtful in a configuration?

use std::{fs, io::Write, path::Path};

use super::{CheckArgs, Exit};
use crate::{
    config::{self, Config},
    edge::tls,
    upstream,
};

/// Writes the faults, or else the warnings, to `errors`, and that all is well to `output`.
///
/// Warnings alone leave the exit code at 0.
pub fn run(args: &CheckArgs, output: &mut impl Write, errors: &mut impl Write) -> Exit {
    // A reader that went away has seen enough; the exit code still tells.
    match config::load(&args.file) {
        Ok(loaded) => {
            let faults = certificate_faults(&loaded.config);
            if !faults.is_empty() {
                for fault in faults {
                    let _ = writeln!(errors, "{}: {fault}", args.file.display());
                }
                return Exit::Config;
            }
            for warning in &loaded.warnings {
                let _ = writeln!(errors, "{}", warning.as_warning());
            }
            if args.expand {
                return expand(&args.file, output, errors);
            }
            let _ = writeln!(
                output,
                "{}: ok ({})",
                args.file.display(),
                count(&loaded.config)
            );
            Exit::Ok
        }
        Err(faults) => {
            let _ = writeln!(errors, "{faults}");
            Exit::Config
        }
    }
}

/// Writes the file with its presets written out.
fn expand(file: &Path, output: &mut impl Write, errors: &mut impl Write) -> Exit {
    let text = fs::read_to_string(file).map_err(|error| error.to_string());
    let expanded = text.and_then(|text| config::expand(&text).map_err(|error| error.to_string()));
    match expanded {
        Ok(expanded) => {
            let _ = output.write_all(expanded.as_bytes());
            Exit::Ok
        }
        Err(error) => {
            let _ = writeln!(errors, "{}: {error}", file.display());
            Exit::Failure
        }
    }
}

/// What is wrong inside the files of certificates and keys, which only those who use them can tell.
fn certificate_faults(config: &Config) -> Vec<String> {
    let listeners = config
        .listeners
        .iter()
        .filter(|listener| !listener.tls.is_empty());
    let served = listeners.filter_map(|listener| {
        let fault = tls::server_config(&listener.tls, listener.http).err()?;
        Some(format!("listener {}: {fault}", listener.address))
    });
    let trusted = config.upstreams.iter();
    let trusted = trusted.filter_map(|settings| Some(upstream::trust(settings).err()?.to_string()));
    served.chain(trusted).collect()
}

fn count(config: &Config) -> String {
    let of = |count: usize, name: &str| match count {
        1 => format!("1 {name}"),
        _ => format!("{count} {name}s"),
    };
    let listeners = of(config.listeners.len(), "listener");
    let upstreams = of(config.upstreams.len(), "upstream");
    let routes = of(config.routes.len(), "route");
    format!("{listeners}, {upstreams}, {routes}")
}
