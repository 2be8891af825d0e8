//! A `weir` that runs as a process of its own.

use std::{
    io::{BufRead as _, BufReader, Read as _},
    os::unix::process::CommandExt as _,
    process::{Child, ChildStderr, ChildStdout, Command, ExitStatus, Stdio},
};

use super::LIMIT;

/// The program.
pub const WEIR: &str = env!("CARGO_BIN_EXE_weir");

/// A running `weir`, in a process group of its own, which is killed when this is dropped.
pub struct Process {
    group: u32,
    child: Option<Child>,
    output: BufReader<ChildStdout>,
    errors: Option<BufReader<ChildStderr>>,
}

impl Process {
    /// Starts it with its standard output and error read by us.
    pub fn start(command: &mut Command) -> Self {
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()
            .expect("the program starts");
        let output = BufReader::new(child.stdout.take().expect("a pipe"));
        let errors = child.stderr.take().map(BufReader::new);
        Self {
            group: child.id(),
            child: Some(child),
            output,
            errors,
        }
    }

    /// Serves as this file says.
    pub fn run(path: &str) -> Self {
        Self::start(Command::new(WEIR).args(["run", "--config", path]))
    }

    /// The next line of standard output.
    pub fn line(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).expect("a line");
        line
    }

    /// The lines of standard error up to one that holds `needle`.
    pub fn errors_until(&mut self, needle: &str) -> String {
        let errors = self.errors.as_mut().expect("it was not waited for");
        let mut lines = String::new();
        while !lines.contains(needle) {
            let read = errors.read_line(&mut lines).expect("a line");
            assert!(read > 0, "no {needle:?} in {lines}");
        }
        lines
    }

    /// The addresses that it listens on, from its line `listening`.
    pub fn addresses(&mut self) -> Vec<String> {
        let line = self.line();
        let addresses = line.trim().strip_prefix("listening ");
        let addresses = addresses.unwrap_or_else(|| panic!("{line:?}"));
        addresses.split(' ').map(str::to_owned).collect()
    }

    /// The first of them.
    pub fn address(&mut self) -> String {
        self.addresses().swap_remove(0)
    }

    /// Sends it this signal.
    pub fn signal(&self, name: &str) {
        signal(name, self.group);
    }

    /// Waits for the end of the process itself; others may have its standard error.
    pub async fn exited(&mut self) -> ExitStatus {
        let mut child = self.child.take().expect("it was not waited for");
        let id = child.id().to_string();
        let exited = tokio::task::spawn_blocking(move || child.wait().expect("a child"));
        if let Ok(exited) = tokio::time::timeout(LIMIT, exited).await {
            return exited.expect("no panic");
        }
        // Else the thread that waits would keep this test from ending.
        let killed = Command::new("kill").args(["-KILL", &id]).status();
        panic!("waited in vain for the process to end; killed: {killed:?}");
    }

    /// Waits for the end: how it ended, and what it wrote to standard error.
    pub async fn ended(mut self) -> (ExitStatus, String) {
        let mut pipe = self.errors.take().expect("a pipe");
        let read = tokio::task::spawn_blocking(move || {
            let mut errors = String::new();
            pipe.read_to_string(&mut errors).expect("text");
            errors
        });
        let status = self.exited().await;
        let errors = tokio::time::timeout(LIMIT, read).await;
        if errors.is_err() {
            self.kill();
        }
        let errors = errors.expect("nobody else has its standard error");
        (status, errors.expect("no panic"))
    }

    fn kill(&self) {
        // There may be nobody left.
        let _ = Command::new("kill")
            .args(["-KILL", "--", &format!("-{}", self.group)])
            .stderr(Stdio::null())
            .status();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
        if let Some(mut child) = self.child.take() {
            let _ = child.wait();
        }
    }
}

/// Sends a process this signal.
pub fn signal(name: &str, id: u32) {
    let status = Command::new("kill")
        .args([format!("-{name}"), id.to_string()])
        .status();
    assert!(status.expect("kill runs").success());
}
