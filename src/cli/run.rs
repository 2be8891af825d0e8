//! How does the proxy serve until it is told to stop?

mod manager;
mod upgrade;
mod watch;

use std::{
    io::Write,
    path::{Path, PathBuf},
    thread,
};

use tokio::{
    runtime,
    signal::unix::{Signal, SignalKind, signal},
    sync::oneshot,
    task::JoinHandle,
};
use tracing::{error, info, warn};

use self::{upgrade::Program, watch::Changes};
use super::{Exit, RunArgs};
use crate::{
    app::{App, Running, StartError},
    collector::CollectorError,
    config::{self, Config},
    edge::{inherited::Inherited, socket::BindError},
};

/// Serves as the file says; prints one line `listening` with each address once it accepts.
pub fn run(args: &RunArgs, output: &mut impl Write, errors: &mut impl Write) -> Exit {
    let inherited = Inherited::from_environment();
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
    let source = Source {
        file: Some(args.config.clone()),
        inherited,
    };
    serve(loaded.config, source, errors, |addresses| {
        let _ = writeln!(output, "listening {}", addresses.join(" "));
        let _ = output.flush();
    })
}

/// What a process serves from.
#[derive(Default)]
pub(super) struct Source {
    /// The file to read again; without one nothing is reloaded or upgraded.
    pub(super) file: Option<PathBuf>,
    /// The sockets that are open already.
    pub(super) inherited: Inherited,
}

/// Serves until SIGTERM or SIGINT, then drains; a second signal ends it at once. SIGHUP reads the file again,
/// and SIGUSR2 has another process take over. `announce` gets the listeners' addresses, and the admin
/// listener's last, once they accept.
pub(super) fn serve(
    config: Config,
    mut source: Source,
    errors: &mut impl Write,
    announce: impl FnOnce(&[String]),
) -> Exit {
    let program = Program::of_this_process();
    // A stream takes two descriptors, and the usual soft limit is 1024.
    if let Err(error) = rlimit::increase_nofile_limit(u64::MAX) {
        warn!(%error, "The limit of open files could not be raised.");
    }
    let watched = config.watch.then(|| config.files());
    let app = match App::bind_inheriting(config, &mut source.inherited) {
        Ok(app) => app,
        Err(error) => return failed(&error, errors),
    };
    let mut addresses = app.addresses();
    addresses.extend(
        app.admin_address()
            .map(|address| format!("admin={address}")),
    );
    let signals = runtime::Builder::new_current_thread().enable_all().build();
    let served = signals.map_err(StartError::from).and_then(|runtime| {
        let _entered = runtime.enter();
        let signals = Signals::new()?;
        let mut life = Life {
            running: app.start()?,
            file: source.file,
            program,
            changes: Changes::none(),
        };
        life.watch(watched);
        announce(&addresses);
        info!(addresses = addresses.join(" "), "Weir listens.");
        life.begin(&mut source.inherited);
        let living = tokio::spawn(manager::live(life.running.pulse()));
        Ok(runtime.block_on(life.lead(signals, &living)))
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
    upgrade: Signal,
}

impl Signals {
    fn new() -> Result<Self, StartError> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
            upgrade: signal(SignalKind::user_defined2())?,
        })
    }

    /// Waits until we are to stop.
    async fn stop(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// The process from its first connection to its last.
struct Life {
    running: Running,
    file: Option<PathBuf>,
    program: Program,
    changes: Changes,
}

/// How the process comes to its drain.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Leave {
    /// It was told to stop.
    Stop,
    /// Another process has taken over.
    HandOver,
}

impl Life {
    /// Tells whoever began this process that it serves.
    fn begin(&mut self, inherited: &mut Inherited) {
        match inherited.tell_ready() {
            // The process before this one tells the service manager, which listens to nobody else.
            Ok(true) => {}
            Ok(false) => manager::ready(),
            Err(error) => warn!(%error, "The process that began this one is gone."),
        }
        self.running.take_over();
    }

    /// Serves until it is to leave, and leaves. The manager is shown by `living` that all is well.
    async fn lead(mut self, mut signals: Signals, living: &JoinHandle<()>) -> Exit {
        match self.serve(&mut signals).await {
            Leave::HandOver => {
                info!("Another process serves; streams of this one end within the drain's time.");
                // It is the other one's life that the manager wants to see.
                living.abort();
                self.running.hand_over();
            }
            Leave::Stop => {
                manager::stopping();
                info!(
                    "Weir stops: streams end within the drain's time; a second signal ends them at once."
                );
                let delay = self.running.announce();
                tokio::select! {
                    () = tokio::time::sleep(delay) => {}
                    () = signals.stop() => {
                        warn!("Weir is ended at once.");
                        return Exit::Ok;
                    }
                }
                self.running.stop();
            }
        }
        let (ended, is_ended) = oneshot::channel();
        let running = self.running;
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

    /// Serves until it is to leave.
    async fn serve(&mut self, signals: &mut Signals) -> Leave {
        loop {
            tokio::select! {
                _ = signals.terminate.recv() => return Leave::Stop,
                _ = signals.interrupt.recv() => return Leave::Stop,
                _ = signals.hang_up.recv() => {
                    self.changes.look();
                    self.reload().await;
                }
                () = self.changes.changed() => {
                    info!("The file has changed, or one that it names.");
                    self.reload().await;
                }
                _ = signals.upgrade.recv() => tokio::select! {
                    is_done = self.upgrade() => if is_done { return Leave::HandOver },
                    () = signals.stop() => return Leave::Stop,
                },
            }
        }
    }

    /// Has another process of this program take over; true once it serves.
    async fn upgrade(&self) -> bool {
        if self.file.is_none() {
            warn!("There is no file for another process to serve from.");
            return false;
        }
        manager::reloading();
        info!("Another process is started to take over.");
        let bequests = self.running.bequests();
        let next = bequests
            .map_err(upgrade::UpgradeError::Sockets)
            .and_then(|bequests| self.program.start(bequests));
        let served = match next {
            Ok(next) => next.serves().await,
            Err(error) => Err(error),
        };
        match served {
            Ok(id) => {
                info!(id, "The other process serves.");
                manager::succeeded_by(id);
                true
            }
            Err(error) => {
                error!(%error, "The upgrade failed; this process goes on.");
                manager::ready();
                false
            }
        }
    }

    /// Serves as the file says now; where that is wrong, everything stays as it is.
    async fn reload(&mut self) {
        let Some(file) = self.file.clone() else {
            return warn!("There is no file to read again.");
        };
        manager::reloading();
        self.read_again(&file).await;
        manager::ready();
    }

    async fn read_again(&mut self, file: &Path) {
        let loaded = match config::load(file) {
            Ok(loaded) => loaded,
            Err(faults) => {
                for fault in faults.0 {
                    error!("{fault}");
                }
                error!("Reload refused; the old configuration stays.");
                self.running.refuse_reload();
                return;
            }
        };
        for warning in &loaded.warnings {
            warn!("{warning}");
        }
        let watched = loaded.config.watch.then(|| loaded.config.files());
        match self.running.reload(loaded.config).await {
            Ok(reloaded) => {
                for key in reloaded.waiting {
                    warn!(key, "This change takes a restart.");
                }
                info!(
                    generation = reloaded.generation,
                    alive = reloaded.alive,
                    addresses = self.running.addresses().join(" "),
                    "The configuration is reloaded."
                );
                self.watch(watched);
            }
            Err(error) => {
                error!(%error, "Reload refused; the old configuration stays.");
                self.running.refuse_reload();
            }
        }
    }

    /// Watches the file and these that it names, or nothing.
    fn watch(&mut self, named: Option<Vec<PathBuf>>) {
        let (Some(named), Some(file)) = (named, &self.file) else {
            return self.changes.stop();
        };
        let files = [file.clone()].into_iter().chain(named);
        if let Err(error) = self.changes.watch(files.collect()) {
            warn!(%error, "The file cannot be watched; send SIGHUP after a change.");
        }
    }
}
