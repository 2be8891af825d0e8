//! What can be asked for on the command line?

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::{client::Http, connect::Trust, work::Work};

/// Loads a streaming proxy on this machine, and measures what it does and spends.
#[derive(Debug, Parser)]
#[command(name = "weir-load", version, arg_required_else_help = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serve streams of records until killed; prints "listening ADDRESS" first
    Backend(BackendOptions),
    /// Open streams, read them, and tell what came, how late, and what the proxy spent on it
    Run(Box<RunOptions>),
    /// Keep a mixed load up for long, and tell whether anything was lost or kept
    Soak(SoakOptions),
}

/// The options of `backend`.
#[derive(Debug, Args)]
pub struct BackendOptions {
    /// Where to listen; a loopback address
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0")]
    pub listen: std::net::SocketAddr,
}

/// Where the streams are and how to get at them.
#[derive(Debug, Args)]
pub struct TargetOptions {
    /// The proxy's URL, of a loopback address; the work's own keys are added to its query
    #[arg(long)]
    pub url: String,
    /// Which HTTP to speak
    #[arg(long, value_enum, default_value = "1.1")]
    pub http: HttpOption,
    /// The authority of the proxy's certificate, as PEM
    #[arg(long, value_name = "FILE", conflicts_with = "insecure")]
    pub ca: Option<PathBuf>,
    /// Trust any certificate
    #[arg(long)]
    pub insecure: bool,
    /// What the request accepts
    #[arg(long, value_name = "TYPE", default_value = "text/event-stream")]
    pub accept: String,
    /// A process of the proxy, measured with its children; may be given more than once
    #[arg(long = "proxy-pid", value_name = "PID", value_parser = clap::value_parser!(i32).range(1..))]
    pub proxy_pids: Vec<i32>,
    /// Write the figures here, as JSON
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// No progress, and no table at the end
    #[arg(long)]
    pub quiet: bool,
}

/// The options of `run`.
///
/// Memory is the proxy's Pss (its own pages and its share of those it has in common), read before the streams open, after
/// ten that were opened and closed, and while all are open; `kb_per_stream` is the difference in kB of 1,000 bytes.
/// Processor time is the kernel's own count for the proxy's processes, over the same window as the events.
#[derive(Debug, Args)]
pub struct RunOptions {
    /// Where the streams are.
    #[command(flatten)]
    pub target: TargetOptions,
    /// What to ask of the proxy
    #[arg(long, value_enum)]
    pub work: Work,
    /// How many streams
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    pub streams: Option<u64>,
    /// How many streams share a connection of HTTP/2
    #[arg(long, value_name = "M", value_parser = clap::value_parser!(u64).range(1..=10_000))]
    pub per_connection: Option<u64>,
    /// How long opening the streams takes
    #[arg(long, value_name = "SECONDS", value_parser = seconds_from_zero)]
    pub ramp: Option<f64>,
    /// How long to measure once all are open
    #[arg(long, value_name = "S", value_parser = seconds)]
    pub seconds: Option<f64>,
    /// Bytes of a record, with its line feed
    #[arg(long, value_name = "B")]
    pub size: Option<usize>,
    /// Records a second of each stream; 0 is as fast as it goes
    #[arg(long, value_name = "R", value_parser = rate)]
    pub rate: Option<f64>,
    /// Records of a chunk
    #[arg(long, value_name = "B", value_parser = clap::value_parser!(u64).range(1..=100_000))]
    pub batch: Option<u64>,
    /// Records of a stream; 0 is without end
    #[arg(long, value_name = "R")]
    pub records: Option<u64>,
    /// How many streams of churn are open at once
    #[arg(long, value_name = "C", value_parser = clap::value_parser!(u64).range(1..=10_000))]
    pub concurrency: Option<u64>,
    /// Churn keeps its connections
    #[arg(long)]
    pub keep: bool,
    /// Draw the latencies here, as SVG
    #[arg(long, value_name = "FILE")]
    pub svg: Option<PathBuf>,
}

/// The options of `soak`.
#[derive(Debug, Args)]
pub struct SoakOptions {
    /// Where the streams are.
    #[command(flatten)]
    pub target: TargetOptions,
    /// How long to keep the load up
    #[arg(long, value_name = "S", default_value = "900", value_parser = seconds)]
    pub seconds: f64,
    /// A process that gets SIGHUP every few seconds
    #[arg(long, value_name = "PID", value_parser = clap::value_parser!(i32).range(1..))]
    pub reload_pid: Option<i32>,
}

impl TargetOptions {
    /// Whom to trust; without a word nobody could be, as no certificate for this machine is public.
    #[must_use]
    pub fn trust(&self) -> Trust<'_> {
        match &self.ca {
            Some(file) => Trust::Authority(file),
            None => Trust::Anyone,
        }
    }
}

/// Which HTTP to speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum HttpOption {
    /// One stream a connection
    #[value(name = "1.1")]
    One,
    /// Many streams a connection; without TLS by prior knowledge
    #[value(name = "2")]
    Two,
}

impl From<HttpOption> for Http {
    fn from(option: HttpOption) -> Self {
        match option {
            HttpOption::One => Self::One,
            HttpOption::Two => Self::Two,
        }
    }
}

fn seconds(text: &str) -> Result<f64, String> {
    between(text, 0.1, SECONDS_MAX)
}

fn seconds_from_zero(text: &str) -> Result<f64, String> {
    between(text, 0.0, SECONDS_MAX)
}

fn rate(text: &str) -> Result<f64, String> {
    between(text, 0.0, 1_000_000.0)
}

fn between(text: &str, min: f64, max: f64) -> Result<f64, String> {
    text.parse()
        .ok()
        .filter(|number| (min..=max).contains(number))
        .ok_or_else(|| format!("it must be a number from {min} to {max}"))
}

const SECONDS_MAX: f64 = 86_400.0;
