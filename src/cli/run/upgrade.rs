//! How does another process of our program take over?
//!
//! It is started with duplicates of all listening sockets, so that connections that wait in their queues
//! wait on, and takes them as it would from a service manager ([`crate::edge::inherited`]).

use std::{
    env,
    ffi::OsString,
    io,
    os::{fd::OwnedFd, unix::net::UnixDatagram as StdUnixDatagram},
    path::PathBuf,
    process::{Command, ExitStatus},
    time::Duration,
};

use command_fds::{CommandFdExt as _, FdMapping};
use thiserror::Error;
use tokio::{net::UnixDatagram, process::Child, time::timeout};

use super::manager;
use crate::edge::inherited::{Bequest, READY, READY_NAME};

/// How long the next process may take until it serves.
const START_LIMIT: Duration = Duration::from_secs(30);
/// The first descriptor that is handed over (`SD_LISTEN_FDS_START`).
const FIRST_DESCRIPTOR: i32 = 3;

/// What this process was started as.
pub(super) struct Program {
    /// As it was called. The path of what runs would tell of a file that may have been replaced, or lie behind
    /// a link that leads elsewhere by now.
    called: PathBuf,
    /// Where that was found, for a caller that called it by another name.
    found: Option<PathBuf>,
    arguments: Vec<OsString>,
}

/// Why no other process has taken over.
#[derive(Debug, Error)]
pub(super) enum UpgradeError {
    #[error(
        "this is the first process of a container, which would end with it; replace the container instead"
    )]
    FirstProcess,
    #[error("the sockets cannot be handed over: {0}")]
    Sockets(#[source] io::Error),
    #[error("{} cannot be started: {source}", program.display())]
    Start { program: PathBuf, source: io::Error },
    #[error("the new process ended before it served ({0}); what it said stands above")]
    Ended(ExitStatus),
    #[error("the new process cannot be waited for: {0}")]
    Wait(#[source] io::Error),
    #[error(
        "the new process did not serve within {}; it has been killed",
        humantime::format_duration(START_LIMIT)
    )]
    Late,
}

/// Another process on its way; killed when dropped before it serves.
pub(super) struct Next {
    child: Child,
    ready: UnixDatagram,
    is_let_go: bool,
}

impl Program {
    /// What this process was started as; to be asked before the file is replaced.
    pub(super) fn of_this_process() -> Self {
        let mut arguments = env::args_os();
        let found = env::current_exe().ok();
        let called = arguments.next().map(PathBuf::from);
        Self {
            called: called.or_else(|| found.clone()).unwrap_or_default(),
            found,
            arguments: arguments.collect(),
        }
    }

    /// Starts it again, with these sockets.
    pub(super) fn start(&self, bequests: Vec<Bequest>) -> Result<Next, UpgradeError> {
        if std::process::id() == 1 {
            return Err(UpgradeError::FirstProcess);
        }
        let (ours, theirs) = StdUnixDatagram::pair().map_err(UpgradeError::Sockets)?;
        ours.set_nonblocking(true).map_err(UpgradeError::Sockets)?;
        let ready = UnixDatagram::from_std(ours).map_err(UpgradeError::Sockets)?;
        let mut descriptors: Vec<OwnedFd> = Vec::new();
        let mut names = Vec::new();
        for bequest in bequests {
            descriptors.push(bequest.descriptor);
            names.push(bequest.name);
        }
        descriptors.push(theirs.into());
        names.push(READY_NAME);
        let spawned = match self.spawn(&self.called, &descriptors, &names) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => match &self.found {
                Some(found) => self.spawn(found, &descriptors, &names),
                None => Err(error),
            },
            spawned => spawned,
        };
        let child = spawned.map_err(|source| UpgradeError::Start {
            program: self.called.clone(),
            source,
        })?;
        Ok(Next {
            child,
            ready,
            is_let_go: false,
        })
    }

    fn spawn(
        &self,
        program: &PathBuf,
        descriptors: &[OwnedFd],
        names: &[&str],
    ) -> io::Result<Child> {
        let mut command = Command::new(program);
        command
            .args(&self.arguments)
            .env("LISTEN_FDS", descriptors.len().to_string())
            .env("LISTEN_FDNAMES", names.join(":"))
            // They say to whom a service manager speaks: to this process.
            .env_remove("LISTEN_PID")
            .env_remove("LISTEN_FDS_FIRST_FD")
            .env_remove("WATCHDOG_PID");
        if manager::watchdog().is_none() {
            // It is not us who is watched, and without the id it would seem so.
            command.env_remove("WATCHDOG_USEC");
        }
        let duplicates = descriptors.iter().map(OwnedFd::try_clone);
        let duplicates = duplicates.collect::<io::Result<Vec<_>>>()?;
        let mappings = (FIRST_DESCRIPTOR..).zip(duplicates);
        let mappings = mappings.map(|(child_fd, parent_fd)| FdMapping {
            parent_fd,
            child_fd,
        });
        command
            .fd_mappings(mappings.collect())
            .map_err(io::Error::other)?;
        tokio::process::Command::from(command).spawn()
    }
}

impl Next {
    /// Waits until it serves, and lets it go on. Returns its id.
    pub(super) async fn serves(mut self) -> Result<u32, UpgradeError> {
        let served = timeout(START_LIMIT, self.says_so()).await;
        let id = served.unwrap_or(Err(UpgradeError::Late))?;
        self.is_let_go = true;
        Ok(id)
    }

    async fn says_so(&mut self) -> Result<u32, UpgradeError> {
        let id = self.child.id();
        let mut said = [0; 16];
        loop {
            tokio::select! {
                biased;
                length = self.ready.recv(&mut said) => {
                    let length = length.map_err(UpgradeError::Wait)?;
                    if let Some(id) = id && said[..length] == *READY {
                        return Ok(id);
                    }
                }
                status = self.child.wait() => {
                    return Err(UpgradeError::Ended(status.map_err(UpgradeError::Wait)?));
                }
            }
        }
    }
}

impl Drop for Next {
    fn drop(&mut self) {
        if !self.is_let_go {
            // It may have ended by itself; the runtime reaps it.
            let _ = self.child.start_kill();
        }
    }
}
