//! What does the process take of the machine?
//!
//! Under the names that every process has for Prometheus, from `/proc`; on other systems there are fewer.

/// What the process takes now; `None` is not known.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Process {
    /// In user and kernel mode together.
    pub(super) cpu_seconds: Option<f64>,
    pub(super) resident_memory_bytes: Option<u64>,
    pub(super) virtual_memory_bytes: Option<u64>,
    pub(super) open_fds: Option<u64>,
    pub(super) max_fds: Option<u64>,
    /// Since 1970.
    pub(super) start_time_seconds: Option<f64>,
    pub(super) threads: Option<u64>,
}

/// How many descriptors the process may have open, and has now; `None` where that cannot be told.
#[must_use]
pub fn files() -> Option<(usize, usize)> {
    let process = Process::look();
    let most = usize::try_from(process.max_fds?).unwrap_or(usize::MAX);
    Some((most, usize::try_from(process.open_fds?).ok()?))
}

impl Process {
    /// Looks at the process.
    pub(super) fn look() -> Self {
        let limit = rlimit::getrlimit(rlimit::Resource::NOFILE);
        Self {
            max_fds: limit.ok().map(|(soft, _)| soft),
            ..Self::of_proc()
        }
    }

    #[cfg(target_os = "linux")]
    fn of_proc() -> Self {
        let Ok(process) = procfs::process::Process::myself() else {
            return Self::default();
        };
        let open_fds = process.fd_count().ok().map(|count| count as u64);
        let Ok(stat) = process.stat() else {
            return Self {
                open_fds,
                ..Self::default()
            };
        };
        let boot = procfs::boot_time_secs().ok();
        Self {
            cpu_seconds: Some(seconds(stat.utime + stat.stime)),
            resident_memory_bytes: Some(stat.rss * procfs::page_size()),
            virtual_memory_bytes: Some(stat.vsize),
            open_fds,
            max_fds: None,
            start_time_seconds: boot.map(|boot| seconds_of(boot) + seconds(stat.starttime)),
            threads: u64::try_from(stat.num_threads).ok(),
        }
    }

    #[cfg(not(target_os = "linux"))]
    fn of_proc() -> Self {
        Self::default()
    }
}

/// The kernel's clock ticks as seconds.
#[cfg(target_os = "linux")]
fn seconds(ticks: u64) -> f64 {
    seconds_of(ticks) / seconds_of(procfs::ticks_per_second())
}

/// Exact up to 2^53, which no time in seconds or ticks comes near.
#[cfg(target_os = "linux")]
#[expect(clippy::cast_precision_loss, reason = "exact up to 2^53")]
fn seconds_of(whole: u64) -> f64 {
    whole as f64
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::Process;
    use crate::telemetry::metrics::unix_time;

    #[test]
    fn the_kernel_tells_all_of_it() {
        let before = Process::look();
        let file = std::fs::File::open("/proc/self/stat").unwrap();
        let after = Process::look();
        drop(file);
        assert!(after.cpu_seconds >= before.cpu_seconds && before.cpu_seconds.is_some());
        // A test's binary alone has more than a MB, and maps far more than it touches.
        assert!(after.resident_memory_bytes.unwrap() > 1_000_000);
        assert!(after.virtual_memory_bytes > after.resident_memory_bytes);
        assert!(after.open_fds.unwrap() >= 4 && after.open_fds < after.max_fds);
        assert!(after.threads.unwrap() >= 1);
        let age = seconds_since(after.start_time_seconds.unwrap());
        assert!((-2.0..86_400.0).contains(&age), "{age} s old");
    }

    #[expect(clippy::cast_precision_loss, reason = "exact up to 2^53")]
    fn seconds_since(time: f64) -> f64 {
        unix_time() as f64 - time
    }
}
