//! What is the life of the process? Read what is asked, do it on one thread, and say by the exit code whether all was well.

use std::{
    fs,
    io::{self, Write as _},
    process::ExitCode,
};

use clap::Parser as _;
use tokio::{net::TcpListener, runtime::LocalRuntime};
use weir_load::{
    backend,
    cli::{BackendOptions, Cli, Command, RunOptions},
    run::{self, RunError},
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
        Command::Soak(_) => Ok(true),
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
    backend::serve(listener).await?;
    Ok(true)
}

async fn load(options: &RunOptions) -> Result<bool, RunError> {
    let (report, _latency_ns) = run::run(options).await?;
    if let Some(file) = &options.target.json {
        fs::write(
            file,
            serde_json::to_vec_pretty(&report).map_err(io::Error::from)?,
        )?;
    }
    if !options.target.quiet {
        report.write_table(&mut io::stdout())?;
    }
    for fault in &report.faults {
        writeln!(io::stderr(), "fault: {fault}")?;
    }
    Ok(report.is_faultless())
}

/// `EX_USAGE` of sysexits.h.
const USAGE: u8 = 64;
/// Two for each of some 100,000 streams, where the system allows it.
const DESCRIPTORS_MAX: u64 = 262_144;
