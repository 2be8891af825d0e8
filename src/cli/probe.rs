//! What do the hops on the way to a stream do to it?
//!
//! [`Backend`] is what `weir probe --serve` runs behind all of them; [`examine`] opens streams through
//! them, and tells what came of each as [`Report`]: how it is measured stands in `measure.rs`, what that
//! means in `verdict.rs`, and what to set where in `hop.rs`.

mod backend;
mod client;
mod finding;
mod foreign;
mod hop;
mod measure;
mod report;
mod request;
mod script;
mod trace;
mod verdict;

use std::{cell::Cell, io, io::Write, net::SocketAddr, time::Duration};

use http::HeaderMap;
use indicatif::{ProgressBar, ProgressStyle};
use tokio::{
    runtime::Builder,
    signal::unix::{SignalKind, signal},
};

pub use self::{
    backend::Backend,
    client::{OpenError, Target, TargetError},
    finding::{Check, Finding, Verdict},
    hop::{Hop, Trouble},
    measure::examine,
    report::Report,
};
use super::{Exit, ProbeArgs};

/// How long the checks take, and what they take for late.
#[derive(Debug, Clone)]
pub struct Pace {
    /// How long the body waits behind its head.
    pub hold: Duration,
    /// Between two events.
    pub every: Duration,
    /// What is late: more than a network alone does.
    pub late: Duration,
    /// How long a stream goes on after its last event, so that what is held back until then shows.
    pub settle: Duration,
    /// How long the longest silence is.
    pub silence: Duration,
    /// How often a heartbeat goes out, where silence is cut; more often where that is sooner.
    pub heartbeat: Duration,
    /// How long a stream that was left is silent, before the backend writes on it.
    pub quiet: Duration,
    /// How long the backend may take to see that.
    pub leave: Duration,
    /// How long a foreign stream is watched.
    pub watch: Duration,
    /// How much longer than planned anything may take.
    pub reply: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            hold: Duration::from_secs(2),
            every: Duration::from_millis(200),
            late: Duration::from_millis(300),
            settle: Duration::from_secs(2),
            silence: Duration::from_secs(65),
            heartbeat: Duration::from_secs(15),
            quiet: Duration::from_secs(4),
            leave: Duration::from_secs(10),
            watch: Duration::from_secs(10),
            reply: Duration::from_secs(15),
        }
    }
}

/// Serves as the backend, or probes; tells what it found, and whether that is a problem by how it ends.
pub fn run(args: &ProbeArgs, output: &mut impl Write, errors: &mut impl Write) -> Exit {
    let runtime = match Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return failed(&error, errors),
    };
    let Some(url) = &args.url else {
        return match runtime.block_on(serve(args.address, output)) {
            Ok(()) => Exit::Ok,
            Err(error) => failed(&error, errors),
        };
    };
    let fields: HeaderMap = args.fields.iter().cloned().collect();
    let target = match Target::new(url.clone(), args.ca.clone(), fields) {
        Ok(target) => target,
        Err(error @ TargetError::Url(_)) => {
            failed(&error, errors);
            return Exit::Usage;
        }
        Err(error @ TargetError::Trust(_)) => return failed(&error, errors),
    };
    let pace = Pace {
        silence: args.silence,
        ..Pace::default()
    };
    let progress = Progress::start(args.silence);
    let examined = runtime.block_on(examine(&target, &pace, &|_| progress.done()));
    drop(progress);
    let report = match examined {
        Ok(report) => report,
        Err(error) => {
            // Nobody is left to be told where standard error is gone.
            let _ = writeln!(errors, "weir probe: {url}: {error}");
            return Exit::Failure;
        }
    };
    let written = if args.json {
        writeln!(output, "{:#}", report.to_json())
    } else {
        write!(output, "{report}")
    };
    match written {
        Ok(()) if !report.has_problem() => Exit::Ok,
        _ => Exit::Failure,
    }
}

fn failed(error: &dyn std::error::Error, errors: &mut impl Write) -> Exit {
    let _ = writeln!(errors, "weir probe: {error}");
    Exit::Failure
}

/// Serves as the backend until SIGTERM or SIGINT; prints one line `listening` with its address.
async fn serve(address: SocketAddr, output: &mut impl Write) -> io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let backend = Backend::bind(address).await?;
    writeln!(output, "listening {}", backend.address()?)?;
    output.flush()?;
    tokio::select! {
        () = backend.serve() => {}
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}

/// A line on standard error that says what is still waited for, where that is a terminal.
struct Progress {
    bar: ProgressBar,
    silence: Duration,
    left: Cell<usize>,
}

impl Progress {
    fn start(silence: Duration) -> Self {
        let bar = ProgressBar::new_spinner();
        let style = ProgressStyle::with_template("{spinner} {elapsed}: {msg}");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
        bar.enable_steady_tick(TICK);
        let progress = Self {
            bar,
            silence,
            left: Cell::new(Check::ALL.len()),
        };
        progress.show();
        progress
    }

    fn done(&self) {
        self.left.set(self.left.get().saturating_sub(1));
        self.show();
    }

    fn show(&self) {
        let silence = humantime::format_duration(self.silence);
        let left = self.left.get();
        self.bar.set_message(format!(
            "{left} checks left; the silence takes {silence} (--silence)"
        ));
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

const TICK: Duration = Duration::from_millis(200);
