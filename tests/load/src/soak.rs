//! Does it last? A mixed load for long, then everything is closed: nothing may be lost, and nothing kept.

mod load;

use std::{
    io::{self, Write},
    rc::Rc,
    time::Duration,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde::Serialize;
use tokio::time::Instant;

use self::load::Load;
use crate::{
    cli::SoakOptions,
    client::{Client, Http},
    connect::Connector,
    process::Processes,
    run::RunError,
    tally::Counts,
    target::Target,
};

/// What came out of a soak.
#[derive(Debug, Serialize)]
#[expect(missing_docs, reason = "the README says what each figure is")]
pub struct SoakReport {
    pub seconds: f64,
    pub streams_opened: u64,
    pub events: u64,
    pub heartbeats: u64,
    pub reloads: u64,
    pub lost: u64,
    pub gaps: u64,
    pub duplicates: u64,
    pub reordered: u64,
    pub errors: u64,
    pub pss_kb_start: u64,
    pub pss_kb_peak: u64,
    pub pss_kb_end: u64,
    pub descriptors_start: usize,
    pub descriptors_end: usize,
    pub faults: Vec<String>,
}

impl SoakReport {
    /// Whether nothing was lost and nothing was kept.
    #[must_use]
    pub fn is_faultless(&self) -> bool {
        self.faults.is_empty()
    }
}

/// Keeps the load up, and writes a line every ten seconds.
///
/// # Errors
/// When the options do not fit, or the streams do not open.
pub async fn soak(options: &SoakOptions, out: &mut dyn Write) -> Result<SoakReport, RunError> {
    let clients = Clients::new(options)?;
    let mut soak = Soak {
        processes: Processes::find(&options.target.proxy_pids)
            .map_err(|error| RunError::Usage(format!("--proxy-pid: {error}")))?,
        clients,
        reload_pid: options.reload_pid.map(Pid::from_raw),
        reloads: 0,
        streams_opened: 0,
        pss_kib_peak: 0,
        out,
    };
    let window = Duration::from_secs_f64(options.seconds);
    soak.load((window / 5).clamp(WARM_UP_MIN, WARM_UP_MAX), "warm-up")
        .await?;
    let (pss_kib_start, descriptors_start) = soak.rested().await;
    soak.pss_kib_peak = 0;
    soak.load(window, "soak").await?;
    let (pss_kib_end, descriptors_end) = soak.rested().await;

    let (counts, mut faults) = soak.clients.counted();
    if pss_kib_end > pss_kib_start + pss_kib_start / KEPT_PART_MAX {
        faults.push(format!(
            "the proxy kept memory: {pss_kib_start} KiB at the start, {pss_kib_end} KiB at the end"
        ));
    }
    Ok(SoakReport {
        seconds: options.seconds,
        streams_opened: soak.streams_opened,
        events: counts.events,
        heartbeats: counts.heartbeats,
        reloads: soak.reloads,
        lost: counts.ended_early,
        gaps: counts.gaps,
        duplicates: counts.duplicates,
        reordered: counts.reordered,
        errors: counts.errors,
        pss_kb_start: pss_kib_start,
        pss_kb_peak: soak.pss_kib_peak,
        pss_kb_end: pss_kib_end,
        descriptors_start,
        descriptors_end,
        faults,
    })
}

/// Those who read, and those who stop reading.
struct Clients {
    reading: Rc<Client>,
    slow: Rc<Client>,
}

impl Clients {
    fn new(options: &SoakOptions) -> Result<Self, RunError> {
        let target = Target::parse(&options.target.url).map_err(RunError::Usage)?;
        let http = Http::from(options.target.http);
        let connector = || Connector::new(target.clone(), options.target.trust(), http.alpn());
        let client =
            |connector| Client::new(connector, http, options.target.accept.clone(), SIZE_BYTES);
        let mut slow = client(connector()?.with_receive_buffer(SLOW_RECEIVE_BYTES));
        slow.window_bytes = SLOW_WINDOW_BYTES;
        Ok(Self {
            reading: Rc::new(client(connector()?)),
            slow: Rc::new(slow),
        })
    }

    fn counted(&self) -> (Counts, Vec<String>) {
        let (reading, slow) = (self.reading.tally.borrow(), self.slow.tally.borrow());
        let mut faults = reading.faults.clone();
        faults.extend_from_slice(&slow.faults);
        (reading.counts + slow.counts, faults)
    }
}

struct Soak<'a> {
    clients: Clients,
    processes: Processes,
    reload_pid: Option<Pid>,
    reloads: u64,
    streams_opened: u64,
    pss_kib_peak: u64,
    out: &'a mut dyn Write,
}

impl Soak<'_> {
    /// Keeps everything open for so long, then closes it.
    async fn load(&mut self, window: Duration, what: &str) -> Result<(), RunError> {
        let mut load = Load::start(&self.clients.reading, &self.clients.slow).await?;
        self.processes.find_more();
        let start = Instant::now();
        let (mut next_line, mut next_reload) = (start + LINE_EVERY, start + RELOAD_EVERY);
        let end = start + window;
        while Instant::now() < end {
            tokio::time::sleep_until(next_line.min(next_reload).min(end)).await;
            if Instant::now() >= next_reload {
                next_reload += RELOAD_EVERY;
                self.reload()?;
            }
            self.pss_kib_peak = self.pss_kib_peak.max(self.processes.pss_kib());
            if Instant::now() >= next_line {
                next_line += LINE_EVERY;
                self.line(what, start.elapsed(), load.open_now())?;
            }
        }
        self.streams_opened += load.opened();
        load.close();
        Ok(())
    }

    fn line(&mut self, what: &str, since: Duration, streams: usize) -> io::Result<()> {
        let (counts, _) = self.clients.counted();
        writeln!(
            self.out,
            "{what:<8}{:>6} s{streams:>6} streams{:>12} events{:>6} heartbeats{:>9} KiB Pss{:>6} descriptors{:>4} lost{:>4} gaps",
            since.as_secs(),
            counts.events,
            counts.heartbeats,
            self.processes.pss_kib(),
            self.processes.descriptors(),
            counts.ended_early,
            counts.gaps,
        )?;
        self.out.flush()
    }

    fn reload(&mut self) -> io::Result<()> {
        if let Some(pid) = self.reload_pid {
            kill(pid, Signal::SIGHUP)?;
            self.reloads += 1;
        }
        Ok(())
    }

    /// Memory and descriptors once they do not fall any more.
    async fn rested(&self) -> (u64, usize) {
        let mut before = (self.processes.pss_kib(), self.processes.descriptors());
        for _ in 0..REST_ROUNDS_MAX {
            tokio::time::sleep(REST).await;
            let now = (self.processes.pss_kib(), self.processes.descriptors());
            if now.0 >= before.0 && now.1 >= before.1 {
                return now;
            }
            before = now;
        }
        before
    }
}

/// Bytes of a record, of every stream.
const SIZE_BYTES: usize = 200;
const SLOW_RECEIVE_BYTES: usize = 16 * 1024;
const SLOW_WINDOW_BYTES: u32 = 65_535;
/// The slow readers have all come and gone once.
const WARM_UP_MIN: Duration = Duration::from_secs(20);
const WARM_UP_MAX: Duration = Duration::from_mins(3);
const LINE_EVERY: Duration = Duration::from_secs(10);
const RELOAD_EVERY: Duration = Duration::from_secs(5);
const REST: Duration = Duration::from_secs(5);
const REST_ROUNDS_MAX: u32 = 6;
/// A tenth may be left.
const KEPT_PART_MAX: u64 = 10;
