//! How do spans reach their collector?
//!
//! Over HTTP, as OTLP in JSON, by a thread of its own: a collector that is slow or gone costs spans, which are
//! counted, and never a stream.

mod posting;

use std::{
    fmt, io,
    sync::{Arc, mpsc as std_mpsc},
    thread,
    time::Duration,
};

use http::{HeaderMap, uri::PathAndQuery};
use thiserror::Error;
use tokio::{
    runtime,
    sync::mpsc,
    time::{Instant, sleep, timeout_at},
};
use tracing::{error, info, warn};

use self::posting::{PostError, Poster};
use crate::{
    telemetry::{
        metrics::Metrics,
        traces::{Span, Tracer, document},
    },
    upstream::{EndpointAddress, TlsSettings, TrustError},
};

/// The most spans posted at once.
const BATCH_SPANS_MAX: usize = 512;
/// How long a span waits for others to go with it.
const GATHER: Duration = Duration::from_secs(1);
/// How often spans are posted again that the collector could not take.
const REPEATS_MAX: u32 = 4;
/// How long the first of these waits, at most; each further one twice as long.
const BACKOFF: Duration = Duration::from_secs(1);
/// How long the end of the process waits for the last spans.
const END_MAX: Duration = Duration::from_secs(3);

/// What the configuration says of traces.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// Where the collector is.
    pub endpoint: EndpointAddress,
    /// Where it takes traces.
    pub path: PathAndQuery,
    /// What it is sent besides the spans; values that are secret are marked so.
    pub headers: HeaderMap,
    /// How an `https://` collector is trusted.
    pub tls: TlsSettings,
    /// The share of requests that are traced where their sender has not decided it, from 0 to 1.
    pub sample: f64,
    /// The name by which this process goes in traces.
    pub service_name: String,
}

/// Why spans cannot be collected.
#[derive(Debug, Error)]
pub enum CollectorError {
    /// The certificates to trust cannot be used.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// The thread cannot be started.
    #[error("a thread for traces could not be started: {0}")]
    Thread(#[from] io::Error),
}

/// The collectors that spans go to: the one of the newest configuration, and those of streams that
/// began before it.
#[derive(Default)]
pub struct Collectors {
    newest: Option<(Settings, Arc<Tracer>)>,
    /// What each one's thread drops at its end.
    threads: Vec<std_mpsc::Receiver<()>>,
}

impl fmt::Debug for Collectors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} collectors", self.threads.len())
    }
}

impl Collectors {
    /// The tracer for these settings: the one there is where they have not changed.
    ///
    /// # Errors
    /// The certificates to trust cannot be used, or a thread cannot be started.
    pub fn tracer(
        &mut self,
        settings: Option<&Settings>,
        metrics: &Arc<Metrics>,
    ) -> Result<Option<Arc<Tracer>>, CollectorError> {
        let Some(settings) = settings else {
            self.newest = None;
            return Ok(None);
        };
        if let Some((newest, tracer)) = &self.newest
            && newest == settings
        {
            return Ok(Some(Arc::clone(tracer)));
        }
        let (tracer, spans) = Tracer::new(settings.sample, Arc::clone(metrics));
        let (ended, is_ended) = std_mpsc::sync_channel(0);
        let exporter = Exporter {
            spans,
            poster: Poster::new(settings)?,
            service_name: settings.service_name.clone(),
            metrics: Arc::clone(metrics),
            is_failing: false,
            _ended: ended,
        };
        let thread = thread::Builder::new().name("weir-traces".to_owned());
        thread.spawn(move || exporter.run())?;
        self.threads
            .retain(|thread| matches!(thread.try_recv(), Err(std_mpsc::TryRecvError::Empty)));
        self.threads.push(is_ended);
        self.newest = Some((settings.clone(), Arc::clone(&tracer)));
        Ok(Some(tracer))
    }

    /// Waits until the last spans are posted, for at most 3 s; all who had a tracer have let go of it.
    pub fn end(self) {
        drop(self.newest);
        let began = Instant::now();
        for thread in self.threads {
            // That its other end is gone is what is waited for.
            let _ = thread.recv_timeout(END_MAX.saturating_sub(began.elapsed()));
        }
    }
}

/// The thread of one collector.
struct Exporter {
    spans: mpsc::Receiver<Span>,
    poster: Poster,
    service_name: String,
    metrics: Arc<Metrics>,
    /// Whether the last post failed: that is said once, and not for each.
    is_failing: bool,
    _ended: std_mpsc::SyncSender<()>,
}

impl Exporter {
    fn run(self) {
        match runtime::Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => runtime.block_on(self.work()),
            Err(error) => error!(%error, "The runtime for traces could not be started."),
        }
    }

    /// Posts spans until nobody is left to tell any.
    async fn work(mut self) {
        let mut batch = Vec::new();
        while self.spans.recv_many(&mut batch, BATCH_SPANS_MAX).await > 0 {
            let due = Instant::now() + GATHER;
            while batch.len() < BATCH_SPANS_MAX {
                let room = BATCH_SPANS_MAX - batch.len();
                let more = self.spans.recv_many(&mut batch, room);
                if !timeout_at(due, more).await.is_ok_and(|more| more > 0) {
                    break;
                }
            }
            self.export(&batch).await;
            batch.clear();
        }
    }

    async fn export(&mut self, batch: &[Span]) {
        let document = document(batch, &self.service_name);
        let count = batch.len() as u64;
        let posted = self.post(document).await;
        let spans = &self.metrics.spans;
        match posted {
            Ok(rejected) => {
                let rejected = rejected.min(count);
                spans.sent(count - rejected);
                spans.dropped(rejected);
                if std::mem::take(&mut self.is_failing) {
                    info!("The collector takes traces again.");
                }
            }
            Err(error) => {
                spans.dropped(count);
                if !std::mem::replace(&mut self.is_failing, true) {
                    warn!(%error, "The collector does not take traces; they are lost until it does.");
                }
            }
        }
    }

    /// Posts, again and again where that may help. Gives how many spans the collector refused.
    async fn post(&mut self, document: String) -> Result<u64, PostError> {
        let document = bytes::Bytes::from(document);
        let mut repeats = 0;
        loop {
            let error = match self.poster.post(document.clone()).await {
                Ok(rejected) => return Ok(rejected),
                Err(error) => error,
            };
            // The end of the process waits for nobody who does not answer.
            if !error.may_pass() || repeats == REPEATS_MAX || self.spans.is_closed() {
                return Err(error);
            }
            let most = BACKOFF * 2u32.pow(repeats);
            sleep(error.retry_after().unwrap_or(most.mul_f64(fastrand::f64()))).await;
            repeats += 1;
        }
    }
}
