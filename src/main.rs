//! What is the life of the process?

use std::{
    env,
    io::{self, Write},
    process::ExitCode,
};

use weir::cli::{Cli, Command, Exit, check, demo, run};

fn main() -> ExitCode {
    let cli = match Cli::read(env::args_os()) {
        Ok(cli) => cli,
        Err(exit) => return exit.into(),
    };
    let (mut output, mut errors) = (io::stdout().lock(), io::stderr());
    if let Err(error) = cli.log.start() {
        let _ = writeln!(errors, "--log or RUST_LOG: {error}");
        return Exit::Usage.into();
    }
    let exit = match cli.command() {
        Command::Check(args) => check::run(&args, &mut output, &mut errors),
        Command::Convert(args) => match args.turn(&mut errors) {
            // To be joined: cli::convert::run(turn.from, &turn.event, turn.record_bytes_max, …).
            Ok(turn) => not_joined(&format!("convert --from {}", turn.from.name)),
            Err(exit) => exit,
        },
        Command::Demo(args) => demo::run(&args, &mut output, &mut errors),
        Command::Run(args) => run::run(&args, &mut output, &mut errors),
    };
    exit.into()
}

/// Stands in for the parts that are built apart from this one.
fn not_joined(command: &str) -> Exit {
    let _ = writeln!(io::stderr(), "weir {command}: this part is not joined yet");
    Exit::Failure
}
