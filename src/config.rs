//! What may a file say, and what is wrong with this one?
//!
//! [`load`] gives a whole [`Config`] or every fault at once, each with its line. The text becomes a
//! tree that knows its places (the `toml` crate's, which goes on after a syntax fault); `keys`
//! says which keys there are; `section` reads them; `listeners`, `upstreams` and `routes` fill the
//! settings that each component defines for itself.

mod address;
mod admin;
mod bounds;
mod bridges;
mod events;
mod fault;
mod health;
mod keys;
mod listeners;
mod pattern;
mod presets;
mod routes;
mod schema;
mod section;
mod shown;
mod traces;
mod upstreams;
mod values;
mod warnings;

#[cfg(test)]
mod tests;

use std::{
    fs,
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use ipnet::IpNet;
use toml::de::DeTable;

use self::{fault::Report, presets::Presets, section::Section};
pub use self::{
    fault::{Faults, Remark},
    presets::expand,
};
use crate::{collector, edge, limits, route, upstream};

/// All that a file says, checked: every route's upstream exists, every file can be read.
#[derive(Debug, Clone)]
pub struct Config {
    /// Worker threads; at least 1.
    pub threads: usize,
    /// How long streams may take to end after SIGTERM.
    pub drain: Duration,
    /// How long `/readyz` fails and everything else goes on before the drain begins.
    pub drain_delay: Duration,
    /// Whether the file is read again when it changes, or a file that it names.
    pub watch: bool,
    /// What all compressed streams may hold of their codings, in bytes.
    pub compression_bytes_max: usize,
    /// What the process's streams are held to.
    pub limits: limits::Settings,
    /// At least one; no two with the same address.
    pub listeners: Vec<edge::Settings>,
    /// In the order of the file; no two with the same name.
    pub upstreams: Vec<upstream::Settings>,
    /// At least one, in the order of the file; no two with the same name.
    pub routes: Vec<route::Settings>,
    /// Where operators ask; `None` is nowhere.
    pub admin: Option<crate::admin::Settings>,
    /// Where traces go; `None` is nowhere.
    pub traces: Option<collector::Settings>,
    /// The file's name.
    pub file: String,
    /// What it says, with presets written out and without secrets.
    pub shown: serde_json::Value,
}

/// A configuration, and what had better be said otherwise in its file.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// What the file says.
    pub config: Config,
    /// In the order of lines.
    pub warnings: Vec<Remark>,
}

/// Reads the file at `path`. Relative paths in it are relative to its directory.
///
/// # Errors
/// All faults of the file, or that it cannot be read.
pub fn load(path: &Path) -> Result<Loaded, Faults> {
    let unreadable = |reason: String| {
        let hint = "name another with --config, or run `weir demo`, which needs none";
        Faults(vec![Remark {
            file: path.display().to_string(),
            line: None,
            message: format!("the file cannot be read ({reason}); {hint}"),
        }])
    };
    let bytes = fs::read(path).map_err(|error| unreadable(error.to_string()))?;
    let text = String::from_utf8(bytes).map_err(|error| {
        let valid = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = valid.split(|byte| *byte == b'\n').count();
        Faults(vec![Remark {
            file: path.display().to_string(),
            line: Some(line),
            message: "the text is not UTF-8 from this line on".to_owned(),
        }])
    })?;
    parse(&text, path)
}

/// Reads `text` as if it stood in the file at `path`.
///
/// # Errors
/// All faults of the text.
pub fn parse(text: &str, path: &Path) -> Result<Loaded, Faults> {
    let report = Report::new(text, path.display().to_string());
    let (tree, errors) = DeTable::parse_recoverable(text);
    for error in &errors {
        report.syntax(error);
    }
    let presets = Presets::new();
    let directory = path.parent().unwrap_or(Path::new(""));
    let file = Section::file(tree.get_ref(), &report);
    let process = file.section("process");
    let threads = process.count("threads");
    let drain = process.duration("drain");
    let drain_delay = process.duration("drain_delay");
    let watch = process.flag("watch");
    let compression_bytes_max = process.bytes("compress_memory");
    let limits = bounds::process(&process);
    let trusted_proxies = trusted_proxies(&process).unwrap_or_default();
    let traces = traces::read(&file, directory);
    let admin = admin::read(&file, directory);
    let listeners = listeners::read(&file, directory, &trusted_proxies);
    let upstreams = upstreams::read(&file, directory);
    let mut routes = routes::read(&file, &presets);
    bridges::be_patient(&mut routes, &upstreams);
    if !report.is_clean() {
        return Err(report.into_faults());
    }
    let warnings = warnings::of(&file, &listeners, &upstreams, &routes);
    let config = Config {
        threads: threads.unwrap_or_else(cores),
        drain,
        drain_delay,
        watch,
        compression_bytes_max,
        limits,
        listeners: listeners
            .into_iter()
            .map(|(_, settings)| settings)
            .collect(),
        upstreams: upstreams
            .into_iter()
            .map(|(_, settings)| settings)
            .collect(),
        routes: routes.into_iter().map(|(_, settings)| settings).collect(),
        admin,
        traces,
        file: path.display().to_string(),
        shown: shown::without_secrets(text),
    };
    Ok(Loaded { config, warnings })
}

impl Config {
    /// The files that it names: certificates, their keys, and authorities to trust.
    #[must_use]
    pub fn files(&self) -> Vec<PathBuf> {
        let served = self.listeners.iter().flat_map(|listener| &listener.tls);
        let served = served.flat_map(|tls| [tls.certificate.clone(), tls.key.clone()]);
        let trusted = self
            .upstreams
            .iter()
            .map(|upstream| upstream.tls.ca.clone());
        served.chain(trusted.flatten()).collect()
    }
}

/// What is written as the networks that a section trusts.
fn trusted_proxies(section: &Section<'_>) -> Option<Vec<IpNet>> {
    section.texts("trusted_proxies", address::network)
}

fn cores() -> usize {
    thread::available_parallelism().map_or(1, |cores| cores.get().min(1024))
}
