//! How do the counts reach Prometheus?
//!
//! As `OpenMetrics` text 1.0, written by Prometheus' own crate.

mod more;

use std::{fmt, sync::Arc};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeLabelSet, MetricEncoder, NoLabelSet, text},
    metrics::MetricType,
    registry::Registry,
};

use super::{Lane, Metrics, RouteMetrics, histogram::Histogram, histogram::Snapshot, lock};

/// The content type of [`text()`].
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// What is known of one endpoint.
#[derive(Debug, Clone)]
pub struct EndpointState {
    /// The upstream's name.
    pub upstream: String,
    /// The endpoint's address, as the file has it.
    pub endpoint: String,
    /// Streams open on it.
    pub streams: usize,
    /// Whether it is up.
    pub is_up: bool,
    /// How often it was ejected or taken down, by reason.
    pub ejections: Vec<(&'static str, u64)>,
    /// How many checks succeeded and failed.
    pub checks: (u64, u64),
}

/// What is known of one upstream as a whole.
#[derive(Debug, Clone)]
pub struct UpstreamState {
    /// Its name.
    pub upstream: String,
    /// How many requests wait until an endpoint has room.
    pub queued: usize,
    /// How often another endpoint was asked, for each reason.
    pub retries: Vec<(&'static str, u64)>,
    /// How often that was denied, because the budget was spent.
    pub retries_denied: u64,
}

/// What is known of the process's limits.
#[derive(Debug, Clone, Copy)]
pub struct LimitsState {
    /// Bytes that are allocated.
    pub allocated_bytes: u64,
    /// Bytes that may be before new streams are refused; `None` is no limit.
    pub budget_bytes: Option<u64>,
    /// Connections of clients that may be open at once; `None` is no limit.
    pub connections_max: Option<usize>,
}

/// All counts, as text.
#[must_use]
pub fn text(
    metrics: &Arc<Metrics>,
    upstreams: Vec<UpstreamState>,
    endpoints: Vec<EndpointState>,
    limits: LimitsState,
) -> String {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Scrape {
        metrics: Arc::clone(metrics),
        upstreams,
        endpoints,
        limits,
    }));
    let mut text = String::new();
    // A String takes all that is written.
    let _ = text::encode(&mut text, &registry);
    text
}

#[derive(Debug)]
struct Scrape {
    metrics: Arc<Metrics>,
    upstreams: Vec<UpstreamState>,
    endpoints: Vec<EndpointState>,
    limits: LimitsState,
}

type Route<'a> = (&'a str, &'a RouteMetrics);

impl Collector for Scrape {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let routes = lock(&self.metrics.routes).clone();
        let mut routes: Vec<Route<'_>> = routes
            .iter()
            .map(|(name, route)| (&**name, &**route))
            .collect();
        routes.push(("-", &self.metrics.unrouted));
        encode_streams(&mut encoder, &routes)?;
        encode_totals(&mut encoder, &routes)?;
        encode_faults(&mut encoder, &routes)?;
        encode_durations(&mut encoder, &routes)?;
        self.encode_endpoints(&mut encoder)?;
        self.encode_queues(&mut encoder)?;
        self.encode_retries(&mut encoder)?;
        self.encode_limits(&mut encoder)?;
        more::encode(&mut encoder, &self.metrics)
    }
}

fn encode_streams(encoder: &mut DescriptorEncoder<'_>, routes: &[Route<'_>]) -> fmt::Result {
    let mut open = family(
        encoder,
        "weir_streams_open",
        "Streams open now",
        MetricType::Gauge,
    )?;
    for (route, metrics) in routes {
        for (to, count) in sums(metrics, |lane| lock(&lane.streams).open.clone()) {
            gauge(&mut open, &[("route", *route), ("to", to)], count)?;
        }
    }
    let help = "Streams that have ended, by how they ended";
    let mut ended = family(encoder, "weir_streams", help, MetricType::Counter)?;
    for (route, metrics) in routes {
        for ((to, ending), count) in sums(metrics, |lane| lock(&lane.streams).ended.clone()) {
            counter(
                &mut ended,
                &[("route", *route), ("to", to), ("ending", ending)],
                count,
            )?;
        }
    }
    Ok(())
}

/// Adds the lanes' maps up.
fn sums<K: Ord>(
    metrics: &RouteMetrics,
    of: impl Fn(&Lane) -> std::collections::BTreeMap<K, u64>,
) -> std::collections::BTreeMap<K, u64> {
    let mut sums = std::collections::BTreeMap::new();
    for (key, count) in metrics.0.iter().flat_map(of) {
        *sums.entry(key).or_default() += count;
    }
    sums
}

fn encode_totals(encoder: &mut DescriptorEncoder<'_>, routes: &[Route<'_>]) -> fmt::Result {
    let mut events = family(
        encoder,
        "weir_events",
        "Events written",
        MetricType::Counter,
    )?;
    for (route, metrics) in routes {
        counter(
            &mut events,
            &[("route", *route)],
            metrics.sum(|lane| &lane.events),
        )?;
    }
    let help = "Bytes of bodies, in from upstreams and out to clients";
    let mut bytes = family(encoder, "weir_bytes", help, MetricType::Counter)?;
    for (route, metrics) in routes {
        let (r#in, out) = (
            metrics.sum(|lane| &lane.bytes_in),
            metrics.sum(|lane| &lane.bytes_out),
        );
        counter(&mut bytes, &[("route", *route), ("direction", "in")], r#in)?;
        counter(&mut bytes, &[("route", *route), ("direction", "out")], out)?;
    }
    let mut heartbeats = family(
        encoder,
        "weir_heartbeats",
        "Heartbeats written",
        MetricType::Counter,
    )?;
    for (route, metrics) in routes {
        counter(
            &mut heartbeats,
            &[("route", *route)],
            metrics.sum(|lane| &lane.heartbeats),
        )?;
    }
    Ok(())
}

/// What is wrong with the upstreams' records.
fn encode_faults(encoder: &mut DescriptorEncoder<'_>, routes: &[Route<'_>]) -> fmt::Result {
    let help = "Streams that could not be cut into records any more, by framing and reason";
    let mut errors = family(encoder, "weir_decode_errors", help, MetricType::Counter)?;
    for (route, metrics) in routes {
        let sums = sums(metrics, |lane| lock(&lane.streams).undecodable.clone());
        for ((framing, code), count) in sums {
            let labels = [("route", *route), ("framing", framing), ("code", code)];
            counter(&mut errors, &labels, count)?;
        }
    }
    let help = "Records passed over because they are malformed";
    let mut skipped = family(encoder, "weir_records_skipped", help, MetricType::Counter)?;
    for (route, metrics) in routes {
        let count = metrics.sum(|lane| &lane.skipped);
        counter(&mut skipped, &[("route", *route)], count)?;
    }
    Ok(())
}

fn encode_durations(encoder: &mut DescriptorEncoder<'_>, routes: &[Route<'_>]) -> fmt::Result {
    type Of = fn(&Lane) -> &Histogram;
    let families: [(&str, &str, Of); 4] = [
        (
            "weir_first_event_seconds",
            "From a request to its first event",
            |lane| &lane.first_event,
        ),
        (
            "weir_event_gap_seconds",
            "Between the events of a stream",
            |lane| &lane.gap,
        ),
        (
            "weir_stream_age_seconds",
            "From a request to the end of its response",
            |lane| &lane.age,
        ),
        (
            "weir_cancel_seconds",
            "From a client's leaving to its upstream's release",
            |lane| &lane.cancel,
        ),
    ];
    for (name, help, of) in families {
        let mut all = family(encoder, name, help, MetricType::Histogram)?;
        for (route, metrics) in routes {
            let times = Snapshot::of(metrics.0.iter().map(of));
            histogram(&mut all, &[("route", *route)], &times)?;
        }
    }
    Ok(())
}

impl Scrape {
    fn encode_endpoints(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let help = "Streams open on an endpoint";
        let mut streams = family(encoder, "weir_endpoint_streams", help, MetricType::Gauge)?;
        for state in &self.endpoints {
            gauge(&mut streams, &state.labels(), state.streams as u64)?;
        }
        let help = "Whether an endpoint is up: neither ejected nor taken down by its checks";
        let mut up = family(encoder, "weir_endpoint_up", help, MetricType::Gauge)?;
        for state in &self.endpoints {
            gauge(&mut up, &state.labels(), u64::from(state.is_up))?;
        }
        let help = "How often an endpoint was ejected or taken down by its checks";
        let name = "weir_endpoint_ejections";
        let mut ejections = family(encoder, name, help, MetricType::Counter)?;
        for state in &self.endpoints {
            for (reason, count) in &state.ejections {
                let labels = state.labels_and(("reason", reason));
                counter(&mut ejections, &labels, *count)?;
            }
        }
        let help = "Checks of an endpoint";
        let mut checks = family(encoder, "weir_endpoint_checks", help, MetricType::Counter)?;
        for state in &self.endpoints {
            let (succeeded, failed) = state.checks;
            for (result, count) in [("ok", succeeded), ("failed", failed)] {
                let labels = state.labels_and(("result", result));
                counter(&mut checks, &labels, count)?;
            }
        }
        Ok(())
    }

    fn encode_queues(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let help = "Requests that wait until an endpoint has room";
        let mut queued = family(encoder, "weir_upstream_queued", help, MetricType::Gauge)?;
        for state in &self.upstreams {
            let labels = [("upstream", &*state.upstream)];
            gauge(&mut queued, &labels, state.queued as u64)?;
        }
        Ok(())
    }

    fn encode_retries(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let help = "Requests sent to another endpoint";
        let mut retries = family(encoder, "weir_retries", help, MetricType::Counter)?;
        for state in &self.upstreams {
            for (reason, count) in &state.retries {
                let labels = [("upstream", &*state.upstream), ("reason", *reason)];
                counter(&mut retries, &labels, *count)?;
            }
        }
        let help = "Requests not sent to another endpoint because the budget was spent";
        let mut denied = family(encoder, "weir_retries_denied", help, MetricType::Counter)?;
        for state in &self.upstreams {
            let labels = [("upstream", &*state.upstream)];
            counter(&mut denied, &labels, state.retries_denied)?;
        }
        Ok(())
    }

    fn encode_limits(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let (name, help) = ("weir_memory_allocated_bytes", "Bytes allocated now");
        family(encoder, name, help, MetricType::Gauge)?
            .encode_gauge(&self.limits.allocated_bytes)?;
        let help = "Bytes that may be allocated before new streams are refused";
        let mut budget = family(encoder, "weir_memory_budget_bytes", help, MetricType::Gauge)?;
        if let Some(bytes) = self.limits.budget_bytes {
            budget.encode_gauge(&bytes)?;
        }
        let help = "Connections of clients that may be open at once";
        let mut most = family(encoder, "weir_connections_max", help, MetricType::Gauge)?;
        match self.limits.connections_max {
            Some(connections) => most.encode_gauge(&(connections as u64)),
            None => Ok(()),
        }
    }
}

impl EndpointState {
    fn labels(&self) -> [(&str, &str); 2] {
        [("upstream", &self.upstream), ("endpoint", &self.endpoint)]
    }

    fn labels_and<'a>(&'a self, label: (&'a str, &'a str)) -> [(&'a str, &'a str); 3] {
        let [upstream, endpoint] = self.labels();
        [upstream, endpoint, label]
    }
}

fn family<'a>(
    encoder: &'a mut DescriptorEncoder<'_>,
    name: &'a str,
    help: &str,
    kind: MetricType,
) -> Result<MetricEncoder<'a>, fmt::Error> {
    encoder.encode_descriptor(name, help, None, kind)
}

fn counter(
    family: &mut MetricEncoder<'_>,
    labels: &impl EncodeLabelSet,
    value: u64,
) -> fmt::Result {
    family
        .encode_family(labels)?
        .encode_counter::<NoLabelSet, _, u64>(&value, None)
}

fn histogram(
    family: &mut MetricEncoder<'_>,
    labels: &impl EncodeLabelSet,
    times: &Snapshot,
) -> fmt::Result {
    let Snapshot {
        buckets,
        count,
        sum,
    } = times;
    family
        .encode_family(labels)?
        .encode_histogram::<NoLabelSet>(*sum, *count, buckets, None)
}

fn gauge(family: &mut MetricEncoder<'_>, labels: &impl EncodeLabelSet, value: u64) -> fmt::Result {
    family.encode_family(labels)?.encode_gauge(&value)
}
