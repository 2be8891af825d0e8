//! How does the proxy serve until it is told to stop?

use std::{
    io::Write,
    path::{Path, PathBuf},
    thread,
};

use tokio::{
    runtime,
    signal::unix::{Signal, SignalKind, signal},
    sync::oneshot,
};
use tracing::{error, info, warn};

use super::{Exit, RunArgs};
use crate::{
    app::{App, Running, StartError},
    collector::CollectorError,
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
    serve(loaded.config, Some(&args.config), errors, |addresses| {
        let _ = writeln!(output, "listening {}", addresses.join(" "));
        let _ = output.flush();
    })
}

/// Serves until SIGTERM or SIGINT, then drains; a second signal ends it at once. SIGHUP reads `file` again.
/// `announce` gets the listeners' addresses, and the admin listener's last, once they accept.
pub(super) fn serve(
    config: Config,
    file: Option<&Path>,
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
        let signals_of_process = Signals {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
        };
        let running = app.start()?;
        announce(&addresses);
        info!(addresses = addresses.join(" "), "Weir listens.");
        let file = file.map(Path::to_owned);
        Ok(signals.block_on(until_stopped(running, file, signals_of_process)))
    });
    served.unwrap_or_else(|error| failed(&error, errors))
}

fn failed(error: &StartError, errors: &mut impl Write) -> Exit {
    let _ = writeln!(errors, "weir: {error}");
    match error {
        StartError::Bind(BindError::Tls { .. })
        | StartError::Trust(_)
        | StartError::Traces(CollectorError::Trust(_)) => Exit::Config,
        StartError::Bind(_) | StartError::Thread(_) | StartError::Traces(_) => Exit::Failure,
    }
}

/// The signals that mean something to us.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
}

impl Signals {
    /// Waits until we are to stop.
    async fn stop(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

async fn until_stopped(mut running: Running, file: Option<PathBuf>, mut signals: Signals) -> Exit {
    loop {
        tokio::select! {
            _ = signals.terminate.recv() => break,
            _ = signals.interrupt.recv() => break,
            _ = signals.hang_up.recv() => {
                if let Some(file) = &file {
                    reload(&mut running, file).await;
                } else {
                    warn!("There is no file to read again.");
                }
            }
        }
    }
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
        () = signals.stop() => warn!("Weir is ended at once."),
    }
    Exit::Ok
}

/// Serves as the file says now; where that is wrong, everything stays as it is.
async fn reload(running: &mut Running, file: &Path) {
    let loaded = match config::load(file) {
        Ok(loaded) => loaded,
        Err(faults) => {
            for fault in faults.0 {
                error!("{fault}");
            }
            error!("Reload refused; the old configuration stays.");
            running.refuse_reload();
            return;
        }
    };
    for warning in &loaded.warnings {
        warn!("{warning}");
    }
    match running.reload(loaded.config).await {
        Ok(reloaded) => {
            for key in reloaded.waiting {
                warn!(key, "This change takes a restart.");
            }
            info!(
                generation = reloaded.generation,
                alive = reloaded.alive,
                addresses = running.addresses().join(" "),
                "The configuration is reloaded."
            );
        }
        Err(error) => {
            error!(%error, "Reload refused; the old configuration stays.");
            running.refuse_reload();
        }
    }
}
