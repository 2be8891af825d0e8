//! What is the life of the process? Read what is asked, do it on one thread, and say by the exit code whether all was well.

use std::{
    fs,
    io::{self, Write},
    path::Path,
    process::ExitCode,
};

use clap::Parser as _;
use serde::Serialize;
use tokio::{net::TcpListener, runtime::LocalRuntime};
use weir_load::{
    backend,
    cli::{BackendOptions, Cli, Command, RunOptions, SoakOptions},
    plot,
    run::{self, RunError},
    soak,
};

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            error.print().ok();
            return if error.use_stderr() {
                USAGE.into()
            } else {
                ExitCode::SUCCESS
            };
        }
    };
    let done = rlimit::increase_nofile_limit(DESCRIPTORS_MAX)
        .and_then(|_| LocalRuntime::new())
        .map_err(RunError::from)
        .and_then(|runtime| runtime.block_on(command(cli.command)));
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            writeln!(io::stderr(), "weir-load: {error}").ok();
            match error {
                RunError::Usage(_) => USAGE.into(),
                RunError::Failed(_) => ExitCode::FAILURE,
            }
        }
    }
}

/// Does it; `false` when something was wrong with what was seen.
async fn command(command: Command) -> Result<bool, RunError> {
    match command {
        Command::Backend(options) => serve(&options).await,
        Command::Run(options) => load(&options).await,
        Command::Soak(options) => soak(&options).await,
    }
}

async fn serve(options: &BackendOptions) -> Result<bool, RunError> {
    if !options.listen.ip().is_loopback() {
        let sentence = format!(
            "--listen {}: only loopback addresses are served",
            options.listen
        );
        return Err(RunError::Usage(sentence));
    }
    let listener = TcpListener::bind(options.listen).await?;
    writeln!(io::stdout(), "listening {}", listener.local_addr()?)?;
    io::stdout().flush()?;
    backend::serve(listener).await;
    Ok(true)
}

async fn load(options: &RunOptions) -> Result<bool, RunError> {
    let (report, latency_ns) = run::run(options).await?;
    write_json(options.target.json.as_deref(), &report)?;
    if let Some(file) = &options.svg {
        let title = format!(
            "{}, {} streams, HTTP/{}",
            report.work, report.streams, report.http
        );
        plot::draw(file, &title, &latency_ns)
            .map_err(|error| RunError::Failed(error.to_string()))?;
    }
    if !options.target.quiet {
        report.write_table(&mut io::stdout())?;
    }
    tell(&report.faults)?;
    Ok(report.is_faultless())
}

async fn soak(options: &SoakOptions) -> Result<bool, RunError> {
    let mut out: Box<dyn Write> = if options.target.quiet {
        Box::new(io::sink())
    } else {
        Box::new(io::stdout())
    };
    let report = soak::soak(options, &mut out).await?;
    write_json(options.target.json.as_deref(), &report)?;
    writeln!(
        out,
        "{}",
        serde_json::to_string_pretty(&report).map_err(io::Error::from)?
    )?;
    tell(&report.faults)?;
    Ok(report.is_faultless())
}

fn write_json(file: Option<&Path>, report: &impl Serialize) -> io::Result<()> {
    file.map_or(Ok(()), |file| {
        fs::write(file, serde_json::to_vec_pretty(report)?)
    })
}

fn tell(faults: &[String]) -> io::Result<()> {
    let mut out = io::stderr().lock();
    faults
        .iter()
        .try_for_each(|fault| writeln!(out, "fault: {fault}"))
}

/// `EX_USAGE` of sysexits.h.
const USAGE: u8 = 64;
/// Two for each of some 100,000 streams, where the system allows it.
const DESCRIPTORS_MAX: u64 = 262_144;
