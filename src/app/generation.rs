//! What does one reading of the configuration come to?

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use crate::{
    config::Config,
    limits::Limits,
    route::{self, table::Table},
    telemetry::{metrics::Metrics, traces::Tracer},
    upstream::{self, Shared, TrustError},
};

/// One generation: built whole before anybody sees it, and never changed.
pub(super) struct Generation {
    pub(super) table: Arc<Table>,
    pub(super) upstreams: Vec<Arc<Shared>>,
    /// How long streams may take to end when the process stops.
    pub(super) drain: Duration,
    /// What decides which requests are traced; `None` is none of them.
    pub(super) tracer: Option<Arc<Tracer>>,
    /// How long before that `/readyz` fails while everything else goes on.
    pub(super) drain_delay: Duration,
}

/// What is left of a generation while streams that began with it are open.
pub(super) struct Trace(Vec<Weak<route::Settings>>);

impl Generation {
    /// Builds generation `number`, which traces nothing yet. Upstreams that are as they were in `before` keep
    /// their loads and their pools, and those that have changed the loads of the endpoints that stay.
    ///
    /// # Errors
    /// The certificates to trust cannot be used.
    pub(super) fn build(
        number: u64,
        config: &Config,
        before: Option<&Self>,
        metrics: &Metrics,
        limits: &Limits,
    ) -> Result<Self, TrustError> {
        let shared = |settings: &upstream::Settings| {
            let mut old = before.into_iter().flat_map(|before| &before.upstreams);
            let metrics = metrics.upstream(&settings.name);
            let Some(old) = old.find(|old| old.name() == settings.name) else {
                return Shared::new(settings.clone(), metrics).map(Arc::new);
            };
            let new = Shared::after(settings.clone(), metrics, old)?;
            let is_same = new.is_same(old);
            Ok(if is_same {
                Arc::clone(old)
            } else {
                Arc::new(new)
            })
        };
        let upstreams = config.upstreams.iter().map(shared);
        Ok(Self {
            upstreams: upstreams.collect::<Result<_, _>>()?,
            table: Arc::new(Table::new(number, config.routes.clone(), metrics, limits)),
            drain: config.drain,
            tracer: None,
            drain_delay: config.drain_delay,
        })
    }

    /// Puts its upstreams in force: it is going to be at work.
    pub(super) fn enter(&self) {
        for upstream in &self.upstreams {
            upstream.enter();
        }
    }

    /// What tells whether it is still used.
    pub(super) fn trace(&self) -> Trace {
        Trace(self.table.marks())
    }
}

impl Trace {
    /// Whether anybody still uses the generation.
    pub(super) fn is_alive(&self) -> bool {
        self.0.iter().any(|route| route.strong_count() > 0)
    }
}
