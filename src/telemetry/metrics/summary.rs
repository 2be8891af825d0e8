//! What do the counts of a route come to, for people?

use super::{Metrics, RouteMetrics, histogram::Snapshot, lock};

/// The counts of one route, over all workers and since the process began.
#[derive(Debug, Clone, PartialEq)]
pub struct RouteSummary {
    /// Its name; `-` for what no route took.
    pub route: String,
    /// Streams open now.
    pub open: u64,
    /// Streams that have ended.
    pub ended: u64,
    /// Events written.
    pub events: u64,
    /// Bytes of bodies from upstreams.
    pub bytes_in: u64,
    /// Bytes of bodies to clients.
    pub bytes_out: u64,
    /// Heartbeats written.
    pub heartbeats: u64,
    /// From a request to its first event.
    pub first_event: Quantiles,
    /// Between the events of a stream.
    pub gap: Quantiles,
}

/// Where the middle and the end of many durations lie, in seconds; `None` where there was none.
///
/// As exact as the buckets they are counted in.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Quantiles {
    /// Half of them are shorter.
    pub p50: Option<f64>,
    /// One in a hundred is longer.
    pub p99: Option<f64>,
}

impl Metrics {
    /// The counts of each route, in the order of their names; what no route took comes last.
    #[must_use]
    pub fn summaries(&self) -> Vec<RouteSummary> {
        let routes = lock(&self.routes).clone();
        let named = routes.iter().map(|(name, route)| summary(name, route));
        named.chain([summary("-", &self.unrouted)]).collect()
    }
}

fn summary(name: &str, route: &RouteMetrics) -> RouteSummary {
    let (mut open, mut ended) = (0, 0);
    for lane in &route.0 {
        let streams = lock(&lane.streams);
        open += streams.open.values().sum::<u64>();
        ended += streams.ended.values().sum::<u64>();
    }
    let first_event = Snapshot::of(route.0.iter().map(|lane| &lane.first_event));
    let gap = Snapshot::of(route.0.iter().map(|lane| &lane.gap));
    RouteSummary {
        route: name.to_owned(),
        open,
        ended,
        events: route.sum(|lane| &lane.events),
        bytes_in: route.sum(|lane| &lane.bytes_in),
        bytes_out: route.sum(|lane| &lane.bytes_out),
        heartbeats: route.sum(|lane| &lane.heartbeats),
        first_event: quantiles(&first_event),
        gap: quantiles(&gap),
    }
}

fn quantiles(all: &Snapshot) -> Quantiles {
    Quantiles {
        p50: quantile(all, 0.5),
        p99: quantile(all, 0.99),
    }
}

/// The duration that `fraction` of all are no longer than, as if those of a bucket lay evenly in it.
#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
fn quantile(all: &Snapshot, fraction: f64) -> Option<f64> {
    let rank = all.count as f64 * fraction;
    let (mut before, mut from) = (0.0, 0.0);
    for (to, count) in &all.buckets {
        let count = *count as f64;
        if count > 0.0 && before + count >= rank {
            // Nobody knows how far the last bucket reaches.
            let is_last = *to >= f64::MAX;
            let within = (to - from) * (rank - before) / count;
            return Some(if is_last { from } else { from + within });
        }
        (before, from) = (before + count, *to);
    }
    None
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn quantiles_lie_in_their_bucket() {
        let metrics = Metrics::new(2, crate::transcode::compress::Budget::new(0));
        let route = metrics.route("a");
        for (worker, ms) in [(0, 3), (0, 3), (1, 3), (1, 3), (0, 90_000_000)] {
            route.0[worker].first_event(Duration::from_millis(ms));
        }
        route.0[0].begun("sse");
        route.0[1].ended("sse", "complete", Duration::ZERO, false);
        let all = metrics.summaries();
        assert_eq!(all.len(), 2);
        let Quantiles { p50, p99 } = all[0].first_event;
        assert!(
            p50.is_some_and(|p50| (0.001..=0.005).contains(&p50)),
            "{p50:?}"
        );
        assert_eq!(p99, Some(86_400.0), "the last bound that there is");
        assert_eq!(all[0].gap, Quantiles::default());
        assert_eq!((all[0].open, all[0].ended), (1, 1));
        assert_eq!(all[1].route, "-");
    }
}
