//! What can the command line do? One file a subcommand.

pub mod check;
mod conversion;
pub mod convert;
pub mod demo;
pub mod log;
pub mod probe;
pub mod progress;
pub mod run;
mod serving;

use std::{
    ffi::OsString,
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    process::ExitCode,
    str::FromStr as _,
    time::Duration,
};

use clap::{
    Args, CommandFactory, Parser, Subcommand, ValueEnum,
    builder::{PossibleValuesParser, TypedValueParser},
    error::ErrorKind,
};
use http::{HeaderName, HeaderValue, Uri};

use crate::transcode::{
    framing::{self, Framing},
    output::{self, Output},
};

/// A reverse proxy that turns the streams of legacy backends into Server-Sent Events.
#[derive(Debug, Parser)]
#[command(name = "weir", version, after_help = EXAMPLES)]
pub struct Cli {
    /// What is logged, and how.
    #[command(flatten)]
    pub log: LogArgs,
    /// The subcommand; `run` where there is none.
    #[command(subcommand)]
    command: Option<Command>,
    /// Read this file, where there is no subcommand
    #[arg(long, value_name = "FILE", default_value = CONFIG)]
    config: PathBuf,
}

/// What to log, and how.
#[derive(Debug, Args)]
pub struct LogArgs {
    /// Log this and what is worse: error, warn, info, debug, trace, or parts: weir=debug [default: `$RUST_LOG`, else info]
    #[arg(long = "log", value_name = "LEVEL", global = true, display_order = 90)]
    pub level: Option<String>,
    /// Write the log as text for people, or as json for programs
    #[arg(
        long = "log-format",
        value_name = "FORMAT",
        global = true,
        display_order = 91,
        default_value = "text",
        hide_possible_values = true
    )]
    pub format: LogFormat,
}

/// How the log is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// Lines for people.
    Text,
    /// One JSON object a line.
    Json,
}

/// What to do.
#[derive(Debug, Clone, Subcommand)]
pub enum Command {
    /// Serve as the configuration says (this is also what `weir` alone does)
    #[command(after_help = RUN_SIGNALS)]
    Run(RunArgs),
    /// Tell all that is wrong or doubtful in a configuration
    Check(CheckArgs),
    /// Turn a stream from standard input into events on standard output
    #[command(after_help = CONVERT_EXAMPLES)]
    Convert(ConvertArgs),
    /// Find what the hops on the way to a stream do to it, and what to set there
    #[command(after_help = PROBE_EXAMPLES)]
    Probe(ProbeArgs),
    /// Show what it does: a proxy in front of a backend of its own, with nothing to set up
    Demo(DemoArgs),
}

/// `weir run`
#[derive(Debug, Clone, Args)]
pub struct RunArgs {
    /// Read this file
    #[arg(long, value_name = "FILE", default_value = CONFIG)]
    pub config: PathBuf,
}

/// `weir check`
#[derive(Debug, Clone, Args)]
pub struct CheckArgs {
    /// The configuration to check
    #[arg(value_name = "FILE", default_value = CONFIG)]
    pub file: PathBuf,
    /// Print the configuration with what each preset stands for in its place
    #[arg(long)]
    pub expand: bool,
}

/// `weir convert`
#[derive(Debug, Clone, Args)]
pub struct ConvertArgs {
    /// How the records of the input are delimited; may be left out where a route or a content type says it
    #[arg(long, value_name = "FRAMING", value_parser = framings())]
    pub from: Option<&'static Framing>,
    /// What to write [default: what the route says, else sse]
    #[arg(long, value_name = "OUTPUT", value_parser = outputs())]
    pub to: Option<&'static Output>,
    /// The content type that the input came with, for its boundary, charset or header
    #[arg(
        long,
        value_name = "TYPE",
        default_value = "",
        hide_default_value = true
    )]
    pub content_type: String,
    /// Convert as a route of this file says: its framing, mapping, end, charset and limits
    #[arg(long, value_name = "FILE", requires = "route")]
    pub config: Option<PathBuf>,
    /// The name of that route
    #[arg(long, value_name = "NAME", requires = "config")]
    pub route: Option<String>,
}

/// `weir probe`
#[derive(Debug, Clone, Args)]
pub struct ProbeArgs {
    /// Where a stream is reached through all hops; best one that leads to `weir probe --serve`
    #[arg(
        value_name = "URL",
        required_unless_present = "serve",
        conflicts_with = "serve"
    )]
    pub url: Option<Uri>,
    /// Be the backend, behind all hops, that a probe finds best
    #[arg(long)]
    pub serve: bool,
    /// With --serve, listen here
    #[arg(long, value_name = "ADDRESS", default_value_t = PROBE_ADDRESS)]
    pub address: SocketAddr,
    /// Tell what was found as a JSON document
    #[arg(long)]
    pub json: bool,
    /// How long a silence a stream is to live through, from 1s to 1h
    #[arg(long, value_name = "TIME", default_value = "65s", value_parser = silence)]
    pub silence: Duration,
    /// Send this field as well, as in 'Authorization: Bearer TOKEN'; may be given again
    #[arg(long = "header", value_name = "FIELD", value_parser = field)]
    pub fields: Vec<(HeaderName, HeaderValue)>,
    /// Trust the authorities in this PEM file instead of the system's
    #[arg(long, value_name = "FILE")]
    pub ca: Option<PathBuf>,
}

/// `weir demo`
#[derive(Debug, Clone, Args)]
pub struct DemoArgs {
    /// Listen here
    #[arg(long, value_name = "ADDRESS", default_value_t = DEMO_ADDRESS)]
    pub address: SocketAddr,
}

/// How the process ended, as its exit code tells (sysexits.h).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// All went well.
    Ok = 0,
    /// None of the others.
    Failure = 1,
    /// The command line makes no sense.
    Usage = 64,
    /// The input of `convert` is broken or cut.
    Data = 65,
    /// The configuration is wrong.
    Config = 78,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

impl Cli {
    /// Reads the command line. Where it asks for help, or makes no sense, prints what clap has to
    /// say of it.
    ///
    /// # Errors
    /// How the process is to end, where there is nothing to do.
    pub fn read(args: impl IntoIterator<Item = OsString>) -> Result<Self, Exit> {
        Self::parse_args(args).map_err(|error| {
            // There is no one left to tell that the terminal is gone.
            let _ = error.print();
            if error.use_stderr() {
                Exit::Usage
            } else {
                Exit::Ok
            }
        })
    }

    /// What to do: the subcommand, or `run`.
    #[must_use]
    pub fn command(&self) -> Command {
        let run = RunArgs {
            config: self.config.clone(),
        };
        self.command.clone().unwrap_or(Command::Run(run))
    }

    fn parse_args(args: impl IntoIterator<Item = OsString>) -> Result<Self, clap::Error> {
        let matches = Self::command_for_clap().try_get_matches_from(args)?;
        let is_config_given =
            matches.value_source("config") == Some(clap::parser::ValueSource::CommandLine);
        if is_config_given && matches.subcommand_name().is_some() {
            let message = "--config belongs behind the subcommand: weir run --config FILE";
            return Err(Self::command_for_clap().error(ErrorKind::ArgumentConflict, message));
        }
        <Self as clap::FromArgMatches>::from_arg_matches(&matches)
    }

    fn command_for_clap() -> clap::Command {
        <Self as CommandFactory>::command()
    }
}

/// Reads how long a silence is.
fn silence(text: &str) -> Result<Duration, String> {
    let silence = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    let bounds = Duration::from_secs(1)..=Duration::from_hours(1);
    if bounds.contains(&silence) {
        Ok(silence)
    } else {
        Err("it must be from 1s to 1h".to_owned())
    }
}

/// Reads a field of a request.
fn field(text: &str) -> Result<(HeaderName, HeaderValue), String> {
    let (name, value) = text.split_once(':').ok_or("it has no colon")?;
    let name = HeaderName::from_str(name.trim()).map_err(|error| error.to_string())?;
    let value = HeaderValue::from_str(value.trim()).map_err(|error| error.to_string())?;
    Ok((name, value))
}

/// Reads an output by its name; the registry says which there are.
fn outputs() -> impl TypedValueParser<Value = &'static Output> {
    let names = output::OUTPUTS.iter().map(|output| output.name);
    PossibleValuesParser::new(names)
        .try_map(|name| output::by_name(&name).ok_or("the registry of outputs changed meanwhile"))
}

/// Reads a framing by its name; the registry says which there are.
fn framings() -> impl TypedValueParser<Value = &'static Framing> {
    let names = framing::FRAMINGS.iter().map(|framing| framing.name);
    PossibleValuesParser::new(names)
        .try_map(|name| framing::by_name(&name).ok_or("the registry of framings changed meanwhile"))
}

const CONFIG: &str = "proxy.toml";

const DEMO_ADDRESS: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 8080);

const PROBE_ADDRESS: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

const EXAMPLES: &str = "\
Examples:
  weir demo                         try it, with nothing to set up
  weir check                        what is wrong in proxy.toml?
  weir run --config /etc/weir.toml  serve
  weir convert --from ndjson        turn standard input into events
  weir probe https://example.com/a  who buffers, cuts or compresses my streams?

`weir run` drains on SIGTERM, reads its file again on SIGHUP, and on SIGUSR2 has another process of the
program take over its sockets before it drains.

Every key of the configuration stands in proxy.toml.example with its default and range.
Exit codes: 0 done, 64 wrong usage, 65 broken input (convert), 78 wrong configuration, 1 else.";

const RUN_SIGNALS: &str = "\
Signals:
  SIGTERM, SIGINT  drain: /readyz fails, the listeners close, streams end at an event boundary;
                   a second one ends the process at once
  SIGHUP           read the file again; a bad one changes nothing
  SIGUSR2          start the program again, which takes over the sockets, then drain

Sockets from systemd are taken for the listeners that have their addresses.";

const CONVERT_EXAMPLES: &str = "\
Examples:
  printf '{\"n\":1}\\n{\"n\":2}\\n' | weir convert --from ndjson
  tail -f app.log | weir convert --from lines
  weir convert --config proxy.toml --route chat < reply.ndjson
  weir convert --from csv --to ndjson < table.csv
  weir convert --from multipart --content-type 'multipart/mixed; boundary=\"-\"' < reply

Ends with 65 where the input is broken or cut; the whole events before that are written.";

const PROBE_EXAMPLES: &str = "\
Examples:
  weir probe --serve --address 0.0.0.0:9000     in place of the backend, behind every hop
  weir probe https://example.com/events         from where clients are
  weir probe --silence 5m --json https://example.com/events

It checks whether a hop holds back the head or events, compresses without flushing, cuts silence and after
how long, makes cut streams look complete, reads on for clients that have left, or changes requests. It
asks over HTTP/1.1. The backend answers on every path and tells whoever asks the fields of its own request.

Ends with 0 where nothing is wrong, and with 1 where something is or the URL cannot be opened.";

#[cfg(test)]
mod tests;
