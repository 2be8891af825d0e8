//! What is asked of the proxy? Each work has its numbers, and each number can be given otherwise.

use std::time::Duration;

use clap::ValueEnum;

use crate::{
    backend::asked::CHUNK_BYTES_MAX, cli::RunOptions, client::Http, record::SIZE_BYTES_MIN,
};

/// The works.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Work {
    /// 4,000 silent streams after one record of 200 bytes
    Idle,
    /// 200 streams of 25 records a second
    Tick,
    /// 50 streams of 100 records of 120 bytes a second
    Llm,
    /// 4 streams as fast as they go, 64 records a chunk
    Fire,
    /// 4 streams of 65,000-byte records as fast as they go
    Big,
    /// 3,000 streams of 5 records, 32 at once
    Churn,
    /// 1,000 clients that read one record, and no more
    Slow,
    /// 500 streams of one path, 20 records a second, which a proxy may share
    Fanout,
}

/// A work with all its numbers.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Which work.
    pub work: Work,
    /// Which HTTP the client speaks.
    pub http: Http,
    /// How many streams, all in all.
    pub streams: u64,
    /// How many of them share a connection; 1 with HTTP/1.1.
    pub per_connection: u64,
    /// How long opening them takes.
    pub ramp: Duration,
    /// How long is measured; churn takes what it takes.
    pub window: Duration,
    /// Bytes of a record.
    pub size_bytes: usize,
    /// Records a second; 0 is as fast as it goes.
    pub rate_per_s: f64,
    /// Records of a chunk.
    pub batch: u64,
    /// Records of a stream; 0 is without end.
    pub records: u64,
    /// How many streams churn has open at once.
    pub concurrency: u64,
    /// Whether churn keeps its connections.
    pub is_kept: bool,
}

impl Plan {
    /// The work's own numbers, with those that were given in their place.
    ///
    /// # Errors
    /// A sentence, when two of them do not fit each other.
    pub fn new(options: &RunOptions) -> Result<Self, String> {
        let http = options.target.http.into();
        let own = Own::of(options.work);
        let plan = Self {
            work: options.work,
            http,
            streams: options.streams.unwrap_or(own.streams),
            per_connection: match http {
                Http::One => 1,
                Http::Two => options.per_connection.unwrap_or(own.per_connection),
            },
            ramp: Duration::from_secs_f64(options.ramp.unwrap_or(own.ramp_s)),
            window: Duration::from_secs_f64(options.seconds.unwrap_or(own.seconds)),
            size_bytes: options.size.unwrap_or(own.size_bytes),
            rate_per_s: options.rate.unwrap_or(own.rate_per_s),
            batch: options.batch.unwrap_or(own.batch),
            records: options.records.unwrap_or(own.records),
            concurrency: options.concurrency.unwrap_or(32),
            is_kept: options.keep,
        };
        if http == Http::One && options.per_connection.is_some_and(|number| number > 1) {
            return Err(
                "HTTP/1.1 carries one stream a connection; --per-connection needs --http 2".into(),
            );
        }
        if !(SIZE_BYTES_MIN..=CHUNK_BYTES_MAX).contains(&plan.size_bytes) {
            return Err(format!(
                "--size must be from {SIZE_BYTES_MIN} to {CHUNK_BYTES_MAX}"
            ));
        }
        if plan.batch > 100_000 || plan.batch * plan.size_bytes as u64 > CHUNK_BYTES_MAX as u64 {
            return Err(format!(
                "--batch times --size must not exceed {CHUNK_BYTES_MAX}"
            ));
        }
        if plan.records == 0 && plan.work == Work::Churn {
            return Err("churn needs streams that end: --records must not be 0".into());
        }
        Ok(plan)
    }

    /// Whether the streams stay silent after their records.
    #[must_use]
    pub fn is_held(&self) -> bool {
        self.work == Work::Idle
    }

    /// The query that asks the backend for one of the streams.
    #[must_use]
    pub fn query(&self) -> String {
        let mut query = format!(
            "size={}&rate={}&batch={}&records={}",
            self.size_bytes, self.rate_per_s, self.batch, self.records
        );
        if self.is_held() {
            query.push_str("&hold=1");
        }
        if self.work == Work::Slow {
            query.push_str(SLOW_QUERY);
        }
        query
    }

    /// The query for one record and then silence: a stream that does not measure, but warms up.
    #[must_use]
    pub fn query_once(&self) -> String {
        format!("size={}&records=1&hold=1", self.size_bytes)
    }
}

/// What is each work's own.
struct Own {
    streams: u64,
    per_connection: u64,
    ramp_s: f64,
    seconds: f64,
    size_bytes: usize,
    rate_per_s: f64,
    batch: u64,
    records: u64,
}

impl Own {
    fn of(work: Work) -> Self {
        let tick = Self {
            streams: 200,
            per_connection: 50,
            ramp_s: 1.0,
            seconds: 8.0,
            size_bytes: 200,
            rate_per_s: 25.0,
            batch: 1,
            records: 0,
        };
        let fire = Self {
            streams: 4,
            per_connection: 4,
            ramp_s: 0.5,
            seconds: 5.0,
            rate_per_s: 0.0,
            ..tick
        };
        match work {
            Work::Idle => Self {
                streams: 4_000,
                per_connection: 100,
                ramp_s: 4.0,
                rate_per_s: 0.0,
                records: 1,
                ..tick
            },
            Work::Tick => tick,
            Work::Llm => Self {
                streams: 50,
                rate_per_s: 100.0,
                size_bytes: 120,
                ..tick
            },
            Work::Fire => Self { batch: 64, ..fire },
            Work::Big => Self {
                size_bytes: 65_000,
                ..fire
            },
            Work::Churn => Self {
                streams: 3_000,
                records: 5,
                ..fire
            },
            Work::Slow => Self {
                streams: 1_000,
                per_connection: 1,
                ramp_s: 2.0,
                batch: 16,
                ..fire
            },
            Work::Fanout => Self {
                streams: 500,
                rate_per_s: 20.0,
                ..tick
            },
        }
    }
}

/// What the kernel holds for the backend of each slow stream, that thousands of them fit into its memory.
const SLOW_QUERY: &str = "&send_buffer=32768";
