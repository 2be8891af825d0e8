//! What does the proxy spend? Processor time, memory and descriptors, as the kernel counts them.

use std::{fs, io, path::Path};

use nix::{
    time::{ClockId, clock_gettime},
    unistd::Pid,
};

/// The proxy's processes.
#[derive(Debug)]
pub struct Processes {
    roots: Vec<i32>,
    /// Each process and its processor time when last asked. One that is gone keeps its last.
    known: Vec<(i32, u64)>,
}

impl Processes {
    /// The processes given and their descendants.
    ///
    /// # Errors
    /// When one of those given cannot be read.
    pub fn find(roots: &[i32]) -> io::Result<Self> {
        let mut processes = Self {
            roots: roots.to_vec(),
            known: Vec::new(),
        };
        for &root in roots {
            cpu_ns(root)?;
        }
        processes.find_more();
        Ok(processes)
    }

    /// Whether none was given.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.roots.is_empty()
    }

    /// Looks for descendants that were born since.
    pub fn find_more(&mut self) {
        let parents = parents();
        let mut found: Vec<i32> = self.roots.clone();
        let mut at = 0;
        while at < found.len() {
            for &(pid, parent) in &parents {
                if parent == found[at] && !found.contains(&pid) {
                    found.push(pid);
                }
            }
            at += 1;
        }
        for pid in found {
            if !self.known.iter().any(|(known, _)| *known == pid) {
                self.known.push((pid, cpu_ns(pid).unwrap_or(0)));
            }
        }
    }

    /// The processor time of all of them so far, in nanoseconds, with that of threads that have ended.
    ///
    /// It is the clock of each process (`clock_getcpuclockid`): the sum of its threads' `schedstat`, of which
    /// no ended thread is lost.
    pub fn cpu_ns(&mut self) -> u64 {
        for (pid, known_ns) in &mut self.known {
            if let Ok(now_ns) = cpu_ns(*pid) {
                *known_ns = now_ns;
            }
        }
        self.known.iter().map(|(_, known_ns)| known_ns).sum()
    }

    /// The memory of all of them, in KiB: what is their own, and their share of what they have in common (Pss).
    #[must_use]
    pub fn pss_kib(&self) -> u64 {
        self.known.iter().filter_map(|(pid, _)| pss_kib(*pid)).sum()
    }

    /// How many descriptors they have open.
    #[must_use]
    pub fn descriptors(&self) -> usize {
        let count = |pid| fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count);
        self.known.iter().map(|(pid, _)| count(pid)).sum()
    }
}

fn cpu_ns(pid: i32) -> io::Result<u64> {
    let clock = ClockId::pid_cpu_clock_id(Pid::from_raw(pid))?;
    let spent = clock_gettime(clock)?;
    let (seconds, nanos) = (spent.tv_sec(), spent.tv_nsec());
    Ok(u64::try_from(seconds * 1_000_000_000 + nanos).unwrap_or(0))
}

fn pss_kib(pid: i32) -> Option<u64> {
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
    let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:"))?;
    line.trim().strip_suffix("kB")?.trim().parse().ok()
}

/// Every process of the machine and its parent.
fn parents() -> Vec<(i32, i32)> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries
        .filter_map(|entry| {
            let pid = entry.file_name().to_str()?.parse().ok()?;
            Some((pid, parent(&entry.path())?))
        })
        .collect()
}

/// The fourth field of `stat`; the second, the name, may itself hold spaces and brackets.
fn parent(process: &Path) -> Option<i32> {
    let stat = fs::read_to_string(process.join("stat")).ok()?;
    let (_, after_name) = stat.rsplit_once(')')?;
    after_name.split_ascii_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_spends_time_and_memory_also_in_threads_that_ended() {
        let pid = i32::try_from(std::process::id()).unwrap();
        let mut processes = Processes::find(&[pid]).unwrap();
        let before_ns = processes.cpu_ns();
        let spent = std::thread::spawn(|| {
            let start_ns = crate::clock::now_ns();
            while crate::clock::now_ns() < start_ns + 20_000_000 {}
        });
        spent.join().unwrap();
        assert!(processes.cpu_ns() > before_ns + 2_000_000);
        assert!(processes.pss_kib() > 100);
        assert!(processes.descriptors() > 2);
    }

    #[test]
    fn the_clock_of_a_process_is_the_sum_of_its_threads_schedstat() {
        let (burned, is_burned) = std::sync::mpsc::sync_channel(0);
        let thread = std::thread::spawn(move || {
            burn(50_000_000);
            burned.send(()).unwrap();
            // Stays until both counts are read, for `schedstat` ends with its thread.
            burned.send(()).ok();
        });
        burn(50_000_000);
        is_burned.recv().unwrap();
        let clock_ns = cpu_ns(i32::try_from(std::process::id()).unwrap()).unwrap();
        let threads_ns = schedstat_ns();
        drop(is_burned);
        thread.join().unwrap();
        assert!(clock_ns >= 100_000_000, "{clock_ns}");
        assert!(
            clock_ns.abs_diff(threads_ns) < clock_ns / 5,
            "{clock_ns}, {threads_ns}"
        );
    }

    /// Keeps this thread busy for so much of its own processor time.
    fn burn(duration_ns: i64) {
        let spent_ns = || {
            let spent = clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).unwrap();
            spent.tv_sec() * 1_000_000_000 + spent.tv_nsec()
        };
        let end_ns = spent_ns() + duration_ns;
        while spent_ns() < end_ns {}
    }

    /// The processor time of this process's living threads, which may lack the running time slice of each.
    fn schedstat_ns() -> u64 {
        let threads = fs::read_dir("/proc/self/task").unwrap();
        threads
            .map(|thread| {
                let schedstat = fs::read_to_string(thread.unwrap().path().join("schedstat"));
                let schedstat = schedstat.unwrap();
                let (spent_ns, _) = schedstat.split_once(' ').unwrap();
                spent_ns.parse::<u64>().unwrap()
            })
            .sum()
    }

    #[test]
    fn a_child_is_found() {
        let mut child = std::process::Command::new("sleep")
            .arg("30")
            .spawn()
            .unwrap();
        let pid = i32::try_from(std::process::id()).unwrap();
        let processes = Processes::find(&[pid]).unwrap();
        let child_pid = i32::try_from(child.id()).unwrap();
        assert!(processes.known.iter().any(|(known, _)| *known == child_pid));
        child.kill().unwrap();
        child.wait().unwrap();
    }
}
