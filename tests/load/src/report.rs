//! What came out? The same figures as JSON for scripts and as a table for people.

use std::io::{self, Write};

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::{
    client::Http,
    tally::Counts,
    work::{Plan, Work},
};

/// The figures of one run. One that does not apply is `null`.
#[derive(Debug, Serialize)]
#[expect(missing_docs, reason = "the README says what each figure is")]
pub struct Report {
    pub work: String,
    pub http: &'static str,
    pub tls: bool,
    pub streams: u64,
    pub per_connection: u64,
    pub seconds: f64,
    pub events: u64,
    pub events_per_s: f64,
    pub payload_bytes: u64,
    pub wire_bytes: u64,
    pub wire_bytes_per_event: Option<f64>,
    pub heartbeats: u64,
    pub gaps: u64,
    pub duplicates: u64,
    pub reordered: u64,
    pub errors: u64,
    pub ended_early: u64,
    pub latency_us: Option<Latency>,
    pub proxy: Option<Proxy>,
    pub faults: Vec<String>,
}

/// Microseconds from a record's emission to its receipt.
#[derive(Debug, Serialize)]
#[expect(missing_docs, reason = "the README says what each figure is")]
pub struct Latency {
    pub p50: f64,
    pub p90: f64,
    pub p99: f64,
    pub p999: f64,
    pub max: f64,
}

impl Latency {
    /// `None` where no record came.
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
    fn of(latency_ns: &Histogram<u64>) -> Option<Self> {
        let at = |quantile| rounded(latency_ns.value_at_quantile(quantile) as f64 / 1e3);
        (!latency_ns.is_empty()).then(|| Self {
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p999: at(0.999),
            max: at(1.0),
        })
    }
}

/// What the proxy spent.
#[derive(Debug, Serialize)]
#[expect(missing_docs, reason = "the README says what each figure is")]
pub struct Proxy {
    pub cpu_us: f64,
    pub cpu_us_per_s: f64,
    pub cpu_us_per_event: Option<f64>,
    pub cpu_ms_per_mb: Option<f64>,
    pub cpu_us_per_stream: Option<f64>,
    pub pss_kb_before: u64,
    pub pss_kb_during: u64,
    pub kb_per_stream: Option<f64>,
}

/// What was measured over the window.
#[derive(Debug)]
pub struct Measured {
    /// How long it was.
    pub seconds: f64,
    /// What was counted in it.
    pub counts: Counts,
    /// The latencies in it, in nanoseconds.
    pub latency_ns: Histogram<u64>,
    /// What came over the wire in it.
    pub wire_bytes: u64,
    /// What the proxy spent, where it is known.
    pub spent: Option<Spent>,
}

/// What the proxy spent over the window.
#[derive(Debug, Clone, Copy)]
pub struct Spent {
    /// Processor time, in nanoseconds.
    pub cpu_ns: u64,
    /// Memory before the streams were opened, in KiB.
    pub pss_kib_before: u64,
    /// Memory while they were open, in KiB.
    pub pss_kib_during: u64,
}

#[expect(
    clippy::cast_precision_loss,
    reason = "figures for people: three digits matter"
)]
impl Report {
    /// The figures of what was measured, and the faults of the whole run.
    #[must_use]
    pub fn new(plan: &Plan, tls: bool, measured: &Measured, whole: (Counts, Vec<String>)) -> Self {
        let (all, faults) = whole;
        let counts = measured.counts;
        let payload_bytes = counts.events * plan.size_bytes as u64;
        let per_event = |sum: f64| (counts.events > 0).then(|| rounded(sum / counts.events as f64));
        Self {
            work: format!("{:?}", plan.work).to_lowercase(),
            http: match plan.http {
                Http::One => "1.1",
                Http::Two => "2",
            },
            tls,
            streams: plan.streams,
            per_connection: plan.per_connection,
            seconds: rounded(measured.seconds),
            events: counts.events,
            events_per_s: rounded(counts.events as f64 / measured.seconds),
            payload_bytes,
            wire_bytes: measured.wire_bytes,
            wire_bytes_per_event: per_event(measured.wire_bytes as f64),
            heartbeats: counts.heartbeats,
            gaps: all.gaps,
            duplicates: all.duplicates,
            reordered: all.reordered,
            errors: all.errors,
            ended_early: all.ended_early,
            latency_us: Latency::of(&measured.latency_ns),
            proxy: measured.spent.map(|spent| {
                let cpu_us = spent.cpu_ns as f64 / 1e3;
                let grown_kib = spent.pss_kib_during as f64 - spent.pss_kib_before as f64;
                let is_churn = plan.work == Work::Churn;
                Proxy {
                    cpu_us: rounded(cpu_us),
                    cpu_us_per_s: rounded(cpu_us / measured.seconds),
                    cpu_us_per_event: per_event(cpu_us),
                    cpu_ms_per_mb: (payload_bytes > 0)
                        .then(|| rounded(cpu_us / 1e3 / (payload_bytes as f64 / 1e6))),
                    cpu_us_per_stream: is_churn.then(|| rounded(cpu_us / plan.streams as f64)),
                    pss_kb_before: spent.pss_kib_before,
                    pss_kb_during: spent.pss_kib_during,
                    kb_per_stream: (!is_churn)
                        .then(|| rounded(grown_kib * 1.024 / plan.streams as f64)),
                }
            }),
            faults,
        }
    }

    /// Whether every record came once, in order and whole, and no stream ended early.
    #[must_use]
    pub fn is_faultless(&self) -> bool {
        self.gaps + self.duplicates + self.reordered + self.errors + self.ended_early == 0
            && self.faults.is_empty()
    }

    /// Writes the table.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write_table(&self, out: &mut dyn Write) -> io::Result<()> {
        let tls = if self.tls { " over TLS" } else { "" };
        let mut row = |name: &str, value: String| writeln!(out, "{name:<22}{value}");
        row("work", format!("{}, HTTP/{}{tls}", self.work, self.http))?;
        row(
            "streams",
            format!("{} ({} a connection)", self.streams, self.per_connection),
        )?;
        row("measured", format!("{} s", self.seconds))?;
        row(
            "events",
            format!("{} ({}/s)", self.events, self.events_per_s),
        )?;
        row(
            "wire",
            format!(
                "{} B{}",
                self.wire_bytes,
                each(self.wire_bytes_per_event, "B", "event")
            ),
        )?;
        row("heartbeats", self.heartbeats.to_string())?;
        if let Some(Latency {
            p50,
            p90,
            p99,
            p999,
            max,
        }) = self.latency_us
        {
            row(
                "latency",
                format!("p50 {p50}, p90 {p90}, p99 {p99}, p99.9 {p999}, max {max} µs"),
            )?;
        }
        if let Some(proxy) = &self.proxy {
            row(
                "proxy's time",
                format!(
                    "{} µs a second{}{}{}",
                    proxy.cpu_us_per_s,
                    each(proxy.cpu_us_per_event, "µs", "event"),
                    each(proxy.cpu_ms_per_mb, "ms", "MB"),
                    each(proxy.cpu_us_per_stream, "µs", "stream"),
                ),
            )?;
            row(
                "proxy's memory",
                format!(
                    "{} KiB before, {} KiB during{}",
                    proxy.pss_kb_before,
                    proxy.pss_kb_during,
                    each(proxy.kb_per_stream, "kB", "stream"),
                ),
            )?;
        }
        row(
            "faults",
            format!(
                "{} gaps, {} duplicates, {} reordered, {} errors, {} ended early",
                self.gaps, self.duplicates, self.reordered, self.errors, self.ended_early
            ),
        )?;
        Ok(())
    }
}

fn each(figure: Option<f64>, unit: &str, of: &str) -> String {
    figure.map_or_else(String::new, |figure| format!(", {figure} {unit}/{of}"))
}

/// Three digits after the point: what is beyond is noise.
fn rounded(figure: f64) -> f64 {
    (figure * 1e3).round() / 1e3
}
