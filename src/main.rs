//! What is the life of the process?

use std::{
    env,
    io::{self, Write},
    process::ExitCode,
};

use tikv_jemallocator::Jemalloc;
use weir::cli::{Cli, Command, Exit, check, convert, demo, probe, progress, run};

/// Gives back to the system, within seconds, what streams that have ended held; the C library's keeps it.
#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

fn main() -> ExitCode {
    let cli = match Cli::read(env::args_os()) {
        Ok(cli) => cli,
        Err(exit) => return exit.into(),
    };
    let (mut output, mut errors) = (io::stdout().lock(), io::stderr());
    let _log = match cli.log.start() {
        Ok(log) => log,
        Err(error) => {
            let _ = writeln!(errors, "--log or RUST_LOG: {error}");
            return Exit::Usage.into();
        }
    };
    let exit = match cli.command() {
        Command::Check(args) => check::run(&args, &mut output, &mut errors),
        Command::Convert(args) => {
            let input = progress::standard_input();
            convert::command(&args, input, &mut output, &mut errors)
        }
        Command::Demo(args) => demo::run(&args, &mut output, &mut errors),
        Command::Probe(args) => probe::run(&args, &mut output, &mut errors),
        Command::Run(args) => run::run(&args, &mut output, &mut errors),
    };
    exit.into()
}
