//! How is a work done and measured? Warm up, open, wait until all is steady, watch a while, close.

pub mod churn;
pub mod steady;

use std::{io, rc::Rc, time::Duration};

use hdrhistogram::Histogram;
use tokio::time::Instant;

use self::steady::{Reading, Streams};
use crate::{
    cli::RunOptions,
    client::Client,
    connect::Connector,
    process::Processes,
    progress::Progress,
    report::{Measured, Report, Spent},
    target::Target,
    work::{Plan, Work},
};

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// What was asked for is not possible.
    #[error("{0}")]
    Usage(String),
    /// It was tried and did not work.
    #[error("{0}")]
    Failed(String),
}

impl From<io::Error> for RunError {
    fn from(error: io::Error) -> Self {
        Self::Failed(error.to_string())
    }
}

/// Does a work and returns its figures, and the latencies in nanoseconds.
///
/// # Errors
/// When the options contradict each other, the proxy's process is not there, or the streams do not open.
pub async fn run(options: &RunOptions) -> Result<(Report, Histogram<u64>), RunError> {
    let plan = Plan::new(options).map_err(RunError::Usage)?;
    let target = Target::parse(&options.target.url).map_err(RunError::Usage)?;
    let (is_tls, paths) = (target.is_tls, Paths::new(&target, &plan));
    let client = Rc::new(client(options, &plan, target)?);
    let processes = Processes::find(&options.target.proxy_pids)
        .map_err(|error| RunError::Usage(format!("--proxy-pid: {error}")))?;
    let run = Run {
        progress: Progress::new(&plan, options.target.quiet),
        client: Rc::clone(&client),
        plan,
        paths,
        processes,
    };
    let (plan, measured) = run.measure().await?;
    let report = {
        let tally = client.tally.borrow();
        let whole = (tally.counts, tally.faults.clone());
        Report::new(&plan, is_tls, &measured, whole)
    };
    Ok((report, measured.latency_ns))
}

fn client(options: &RunOptions, plan: &Plan, target: Target) -> io::Result<Client> {
    let mut connector = Connector::new(target, options.target.trust(), plan.http.alpn())?;
    let mut window_bytes = None;
    if plan.work == Work::Slow {
        connector = connector.with_receive_buffer(SLOW_RECEIVE_BYTES);
        window_bytes = Some(SLOW_WINDOW_BYTES);
    }
    let accept = options.target.accept.clone();
    let mut client = Client::new(connector, plan.http, accept, plan.size_bytes);
    client.is_shared = plan.work == Work::Fanout;
    client.window_bytes = window_bytes.unwrap_or(client.window_bytes);
    Ok(client)
}

/// The paths that ask the backend for what the run needs.
struct Paths {
    work: String,
    once: String,
    healthy: String,
}

impl Paths {
    fn new(target: &Target, plan: &Plan) -> Self {
        Self {
            work: target.path_with(&plan.query()),
            once: target.path_with(&plan.query_once()),
            healthy: target.path_with(&format!(
                "size={}&rate=100&records={HEALTHY_RECORDS}",
                plan.size_bytes
            )),
        }
    }
}

struct Run {
    plan: Plan,
    paths: Paths,
    client: Rc<Client>,
    processes: Processes,
    progress: Progress,
}

impl Run {
    async fn measure(mut self) -> Result<(Plan, Measured), RunError> {
        self.warm_up().await?;
        self.processes.find_more();
        let pss_kib_before = self.processes.pss_kib();
        let measured = match self.plan.work {
            Work::Churn => self.churn(pss_kib_before).await?,
            Work::Idle
            | Work::Tick
            | Work::Llm
            | Work::Fire
            | Work::Big
            | Work::Slow
            | Work::Fanout => self.steady(pss_kib_before).await?,
        };
        self.progress.finish();
        Ok((self.plan, measured))
    }

    /// Opens and closes a few streams, so that what the proxy sets up once is not counted as theirs.
    async fn warm_up(&self) -> Result<(), RunError> {
        let mut streams = Streams::new(Rc::clone(&self.client), Reading::On);
        let ramp = Duration::ZERO;
        streams
            .open(
                WARM_UP_STREAMS,
                self.plan.per_connection,
                ramp,
                &self.paths.once,
            )
            .await?;
        streams.wait_live().await?;
        streams.close();
        if !self.processes.is_empty() {
            tokio::time::sleep(WARM_UP_REST).await;
        }
        Ok(())
    }

    async fn steady(&mut self, pss_kib_before: u64) -> Result<Measured, RunError> {
        let reading = match self.plan.work {
            Work::Slow => Reading::Stops,
            Work::Idle => Reading::On,
            Work::Tick | Work::Llm | Work::Fire | Work::Big | Work::Churn | Work::Fanout => {
                match self.plan.records {
                    0 => Reading::On,
                    records => Reading::Until(records),
                }
            }
        };
        let mut streams = Streams::new(Rc::clone(&self.client), reading);
        let plan = &self.plan;
        streams
            .open(
                plan.streams,
                plan.per_connection,
                plan.ramp,
                &self.paths.work,
            )
            .await?;
        streams.wait_live().await?;
        self.settle().await;
        self.processes.find_more();
        let mut measured = self.window(pss_kib_before).await;
        if let Some(spent) = &mut measured.spent {
            spent.pss_kib_during = self.processes.pss_kib();
        }
        if self.plan.work == Work::Slow {
            self.healthy().await;
        }
        streams.close();
        Ok(measured)
    }

    /// Waits until nothing is left of the opening; for slow readers, until no buffer fills any more.
    async fn settle(&mut self) {
        tokio::time::sleep(SETTLE).await;
        if self.plan.work != Work::Slow {
            return;
        }
        let mut before = (self.processes.pss_kib(), self.processes.cpu_ns());
        for _ in 0..SETTLE_ROUNDS_MAX {
            tokio::time::sleep(SETTLE_ROUND).await;
            let now = (self.processes.pss_kib(), self.processes.cpu_ns());
            let is_at_rest = u128::from(now.1 - before.1) < SETTLE_ROUND.as_nanos() / 50;
            if is_at_rest && now.0.abs_diff(before.0) <= before.0 / 200 {
                break;
            }
            before = now;
        }
    }

    /// Watches for as long as the plan says.
    async fn window(&mut self, pss_kib_before: u64) -> Measured {
        let (start, opened) = (Instant::now(), self.client.tally.borrow_mut().open_window());
        let wire_bytes = self.client.connector.received_bytes();
        let cpu_ns = self.processes.cpu_ns();
        while start.elapsed() < self.plan.window {
            let left = self.plan.window.saturating_sub(start.elapsed());
            tokio::time::sleep(left.min(PROGRESS_EVERY)).await;
            // A child that ends meanwhile has been asked shortly before.
            self.processes.cpu_ns();
            self.progress
                .watching(start.elapsed(), self.client.tally.borrow().counts - opened);
        }
        self.processes.find_more();
        let cpu_ns = self.processes.cpu_ns() - cpu_ns;
        Measured {
            seconds: start.elapsed().as_secs_f64(),
            counts: self.client.tally.borrow().counts - opened,
            latency_ns: self.client.tally.borrow().latency_ns.clone(),
            wire_bytes: self.client.connector.received_bytes() - wire_bytes,
            spent: self.spent(cpu_ns, pss_kib_before),
        }
    }

    fn spent(&self, cpu_ns: u64, pss_kib_before: u64) -> Option<Spent> {
        (!self.processes.is_empty()).then(|| Spent {
            cpu_ns,
            pss_kib_before,
            pss_kib_during: self.processes.pss_kib(),
        })
    }

    async fn churn(&mut self, pss_kib_before: u64) -> Result<Measured, RunError> {
        let (start, opened) = (Instant::now(), self.client.tally.borrow_mut().open_window());
        let wire_bytes = self.client.connector.received_bytes();
        let cpu_ns = self.processes.cpu_ns();
        let churn = churn::Churn::new(Rc::clone(&self.client), &self.plan, self.paths.work.clone());
        let done = churn.done();
        let mut running = std::pin::pin!(churn.run());
        loop {
            tokio::select! {
                biased;
                () = &mut running => break,
                () = tokio::time::sleep(PROGRESS_EVERY) => self.progress.churning(done.get()),
            }
            if start.elapsed() > CHURN_TIME_MAX {
                return Err(RunError::Failed(format!(
                    "{} of {} streams in {CHURN_TIME_MAX:?}",
                    done.get(),
                    self.plan.streams
                )));
            }
        }
        self.processes.find_more();
        let cpu_ns = self.processes.cpu_ns() - cpu_ns;
        Ok(Measured {
            seconds: start.elapsed().as_secs_f64(),
            counts: self.client.tally.borrow().counts - opened,
            latency_ns: self.client.tally.borrow().latency_ns.clone(),
            wire_bytes: self.client.connector.received_bytes() - wire_bytes,
            spent: self.spent(cpu_ns, pss_kib_before),
        })
    }

    /// Beside all those that are stuck, one more stream must flow.
    async fn healthy(&self) {
        let flowed = async {
            let carrier = self.client.connect().await?;
            let stream = self.client.open(carrier, &self.paths.healthy).await?;
            steady::read_until(&self.client, stream, HEALTHY_RECORDS).await
        };
        let flowed = tokio::time::timeout(HEALTHY_TIME_MAX, flowed).await;
        let fault = match flowed {
            Ok(Ok(_)) => return,
            Ok(Err(cut)) => cut.0,
            Err(_) => format!("it did not end within {HEALTHY_TIME_MAX:?}"),
        };
        let mut tally = self.client.tally.borrow_mut();
        tally.error(|| format!("a healthy stream beside the slow ones: {fault}"));
    }
}

const WARM_UP_STREAMS: u64 = 10;
const WARM_UP_REST: Duration = Duration::from_millis(500);
const SETTLE: Duration = Duration::from_millis(500);
const SETTLE_ROUND: Duration = Duration::from_secs(1);
const SETTLE_ROUNDS_MAX: u32 = 30;
const PROGRESS_EVERY: Duration = Duration::from_millis(200);
const CHURN_TIME_MAX: Duration = Duration::from_mins(10);
const SLOW_RECEIVE_BYTES: usize = 16 * 1024;
const SLOW_WINDOW_BYTES: u32 = 65_535;
const HEALTHY_RECORDS: u64 = 50;
const HEALTHY_TIME_MAX: Duration = Duration::from_secs(10);
