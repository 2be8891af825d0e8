//! How does the proxy serve until it is told to stop?

use std::{io::Write, thread};

use tokio::{
    runtime,
    signal::unix::{Signal, SignalKind, signal},
    sync::oneshot,
};
use tracing::{info, warn};

use super::{Exit, RunArgs};
use crate::{
    app::{App, Running, StartError},
    config::{self, Config},
    edge::socket::BindError,
};

/// Serves as the file says; prints one line `listening` with each address once it accepts.
pub fn run(args: &RunArgs, output: &mut impl Write, errors: &mut impl Write) -> Exit {
    let loaded = match config::load(&args.config) {
        Ok(loaded) => loaded,
        Err(faults) => {
            // Nobody is left to be told where standard error is gone.
            let _ = writeln!(errors, "{faults}");
            return Exit::Config;
        }
    };
    for warning in &loaded.warnings {
        warn!("{warning}");
    }
    serve(loaded.config, errors, |addresses| {
        let _ = writeln!(output, "listening {}", addresses.join(" "));
        let _ = output.flush();
    })
}

/// Serves until SIGTERM or SIGINT, then drains; a second signal ends it at once. `announce` gets the
/// listeners' addresses, and the admin listener's last, once they accept.
pub(super) fn serve(
    config: Config,
    errors: &mut impl Write,
    announce: impl FnOnce(&[String]),
) -> Exit {
    // A stream takes two descriptors, and the usual soft limit is 1024.
    if let Err(error) = rlimit::increase_nofile_limit(u64::MAX) {
        warn!(%error, "The limit of open files could not be raised.");
    }
    let app = match App::bind(config) {
        Ok(app) => app,
        Err(error) => return failed(&error, errors),
    };
    let mut addresses = app.addresses();
    addresses.extend(
        app.admin_address()
            .map(|address| format!("admin={address}")),
    );
    let signals = runtime::Builder::new_current_thread().enable_all().build();
    let served = signals.map_err(StartError::from).and_then(|signals| {
        let _entered = signals.enter();
        let (terminate, interrupt) = (
            signal(SignalKind::terminate())?,
            signal(SignalKind::interrupt())?,
        );
        let running = app.start()?;
        announce(&addresses);
        info!(addresses = addresses.join(" "), "Weir listens.");
        Ok(signals.block_on(until_stopped(running, terminate, interrupt)))
    });
    served.unwrap_or_else(|error| failed(&error, errors))
}

fn failed(error: &StartError, errors: &mut impl Write) -> Exit {
    let _ = writeln!(errors, "weir: {error}");
    match error {
        StartError::Bind(BindError::Tls { .. }) | StartError::Trust(_) => Exit::Config,
        StartError::Bind(_) | StartError::Thread(_) => Exit::Failure,
    }
}

async fn until_stopped(running: Running, mut terminate: Signal, mut interrupt: Signal) -> Exit {
    either(&mut terminate, &mut interrupt).await;
    info!("Weir stops: streams end within the drain's time; a second signal ends them at once.");
    running.stop();
    let (ended, is_ended) = oneshot::channel();
    let joined = thread::Builder::new().spawn(move || {
        running.join();
        // Who waited may have been ended by a signal.
        let _ = ended.send(());
    });
    if joined.is_err() {
        return Exit::Failure;
    }
    tokio::select! {
        _ = is_ended => info!("Weir has ended."),
        () = either(&mut terminate, &mut interrupt) => warn!("Weir is ended at once."),
    }
    Exit::Ok
}

async fn either(terminate: &mut Signal, interrupt: &mut Signal) {
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}
