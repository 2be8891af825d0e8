//! What is counted besides streams: connections, the configuration, memory, the log, traces, the process.

use std::{fmt, sync::atomic::Ordering::Relaxed};

use prometheus_client::{
    encoding::{DescriptorEncoder, EncodeCounterValue, EncodeGaugeValue, NoLabelSet},
    metrics::MetricType,
};

use super::{counter, family, gauge, histogram};
use crate::telemetry::{
    self,
    metrics::{Metrics, lock, process::Process},
};

/// Appends all of it.
pub(super) fn encode(encoder: &mut DescriptorEncoder<'_>, metrics: &Metrics) -> fmt::Result {
    encode_upstreams(encoder, metrics)?;
    encode_listeners(encoder, metrics)?;
    encode_configuration(encoder, metrics)?;
    let compression = &metrics.compression;
    let help = "What compressed streams hold of their codings";
    let granted = compression.granted_bytes() as u64;
    one_gauge(encoder, "weir_compress_bytes", help, Some(granted))?;
    let help = "What compressed streams may hold of their codings";
    let limit = compression.bytes_max() as u64;
    one_gauge(encoder, "weir_compress_limit_bytes", help, Some(limit))?;
    let spans = &metrics.spans;
    let help = "Spans that the collector of traces has taken";
    let sent = spans.sent.load(Relaxed);
    one_counter(encoder, "weir_trace_spans_sent", help, Some(sent))?;
    let help = "Spans that were lost, since the collector of traces did not take them in time";
    let dropped = spans.dropped.load(Relaxed);
    one_counter(encoder, "weir_trace_spans_dropped", help, Some(dropped))?;
    let help = "Lines of the log that were lost, since nobody took them in time";
    let lost = telemetry::lines_lost();
    one_counter(encoder, "weir_log_dropped", help, Some(lost))?;
    family(encoder, "weir_build", "What is at work", MetricType::Info)?
        .encode_info(&[("version", env!("CARGO_PKG_VERSION"))])?;
    encode_process(encoder)
}

fn encode_upstreams(encoder: &mut DescriptorEncoder<'_>, metrics: &Metrics) -> fmt::Result {
    let upstreams = lock(&metrics.upstreams).clone();
    let help = "How long requests waited that found no endpoint with room, whether one came or not";
    let mut queue = family(encoder, "weir_queue_seconds", help, MetricType::Histogram)?;
    for (name, upstream) in &upstreams {
        histogram(&mut queue, &[("upstream", &**name)], &upstream.queues())?;
    }
    let help = "From an attempt to connect to an endpoint to its success, TLS included";
    let mut connect = family(encoder, "weir_connect_seconds", help, MetricType::Histogram)?;
    for (name, upstream) in &upstreams {
        histogram(&mut connect, &[("upstream", &**name)], &upstream.connects())?;
    }
    let help = "Attempts to connect to an endpoint that failed, by reason";
    let mut failed = family(encoder, "weir_connect_failures", help, MetricType::Counter)?;
    for (name, upstream) in &upstreams {
        for ((endpoint, reason), count) in upstream.failures() {
            let labels = [
                ("upstream", &**name),
                ("endpoint", &endpoint),
                ("reason", reason),
            ];
            counter(&mut failed, &labels, count)?;
        }
    }
    Ok(())
}

fn encode_listeners(encoder: &mut DescriptorEncoder<'_>, metrics: &Metrics) -> fmt::Result {
    let listeners = lock(&metrics.listeners).clone();
    let help = "Connections of clients open now";
    let mut open = family(encoder, "weir_connections_open", help, MetricType::Gauge)?;
    for (address, listener) in &listeners {
        gauge(&mut open, &[("listener", &**address)], listener.open())?;
    }
    let help = "Connections of clients, by version of HTTP";
    let mut total = family(encoder, "weir_connections", help, MetricType::Counter)?;
    for (address, listener) in &listeners {
        for (version, count) in listener.totals() {
            let labels = [("listener", &**address), ("version", version)];
            counter(&mut total, &labels, count)?;
        }
    }
    let help = "When a certificate ends, or the first of its chain, in seconds since 1970";
    let name = "weir_certificate_expiry_seconds";
    let mut expiry = family(encoder, name, help, MetricType::Gauge)?;
    for (address, listener) in &listeners {
        for certificate in listener.certificates() {
            let labels = [("listener", &**address), ("name", &certificate.name)];
            gauge(&mut expiry, &labels, certificate.ends_at)?;
        }
    }
    Ok(())
}

fn encode_configuration(encoder: &mut DescriptorEncoder<'_>, metrics: &Metrics) -> fmt::Result {
    let help = "Readings of the configuration";
    let mut reloads = family(encoder, "weir_reloads", help, MetricType::Counter)?;
    for (result, count) in [
        ("done", &metrics.reloads),
        ("refused", &metrics.reloads_refused),
    ] {
        counter(&mut reloads, &[("result", result)], count.load(Relaxed))?;
    }
    let help = "Generations of the configuration that streams use";
    let generations = metrics.generations.load(Relaxed);
    one_gauge(encoder, "weir_generations", help, Some(generations))?;
    let help = "The number of the generation of the configuration at work, from 1";
    let number = metrics.generation.load(Relaxed);
    one_gauge(encoder, "weir_config_generation", help, Some(number))?;
    let help = "When the configuration at work was read, in seconds since 1970";
    let name = "weir_config_loaded_timestamp_seconds";
    one_gauge(encoder, name, help, Some(metrics.loaded_at.load(Relaxed)))
}

/// What every process has, by the names that Prometheus' own clients give.
fn encode_process(encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
    let process = Process::look();
    let help = "User and system CPU time spent";
    one_counter(encoder, "process_cpu_seconds", help, process.cpu_seconds)?;
    for (name, help, value) in [
        (
            "process_resident_memory_bytes",
            "Resident memory size",
            process.resident_memory_bytes,
        ),
        (
            "process_virtual_memory_bytes",
            "Virtual memory size",
            process.virtual_memory_bytes,
        ),
        (
            "process_open_fds",
            "Open file descriptors",
            process.open_fds,
        ),
        (
            "process_max_fds",
            "Most file descriptors that may be open",
            process.max_fds,
        ),
        ("process_threads", "Threads", process.threads),
    ] {
        one_gauge(encoder, name, help, value)?;
    }
    let help = "When the process started, in seconds since 1970";
    let name = "process_start_time_seconds";
    one_gauge(encoder, name, help, process.start_time_seconds)
}

/// Appends a gauge without labels, where its value is known.
fn one_gauge(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    value: Option<impl EncodeGaugeValue>,
) -> fmt::Result {
    let Some(value) = value else { return Ok(()) };
    family(encoder, name, help, MetricType::Gauge)?.encode_gauge(&value)
}

/// Appends a counter without labels, where its value is known.
fn one_counter(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    value: Option<impl EncodeCounterValue>,
) -> fmt::Result {
    let Some(value) = value else { return Ok(()) };
    family(encoder, name, help, MetricType::Counter)?
        .encode_counter::<NoLabelSet, _, u64>(&value, None)
}
