//! How is each check measured? By streams that the backend is asked for, several at once.

use std::time::Duration;

use http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{ACCEPT, ACCEPT_ENCODING},
};
use tokio::time::{Instant, sleep};

use super::{
    Pace, Report, Target,
    client::OpenError,
    finding::{Check, Finding, Verdict},
    foreign,
    hop::Hop,
    request::{Greeting, request},
    script::{Ask, Plan},
    trace::Outcome,
    verdict::{self, Events, Left, Silence, Usual},
};

/// Probes the way to `target`; each check that is done is told to `done`.
///
/// # Errors
/// The URL cannot be opened at all, or answers with an error.
pub async fn examine(
    target: &Target,
    pace: &Pace,
    done: &dyn Fn(Check),
) -> Result<Report, OpenError> {
    let mut stream = target.open(Some(Ask::Hello), &GREETING, pace.reply).await?;
    let limit = stream.trace.head_after + pace.reply;
    stream.read(limit, |trace| !trace.events.is_empty()).await;
    let Some(told) = stream.trace.told() else {
        drop(stream);
        return Box::pin(foreign::examine(target, pace)).await;
    };
    let greeting = Greeting::read(&told);
    let probe = Probe {
        target,
        pace,
        usual: Usual {
            head_after: stream.trace.head_after,
            shift_us: stream.trace.least_shift_us().unwrap_or(i64::MAX),
        },
    };
    let told = |finding: Finding| {
        done(finding.check);
        finding
    };
    // Boxed, or together they would be tens of kilobytes on the stack.
    let (silence, head, events, truncation, cancellation) = tokio::join!(
        Box::pin(async { told(probe.silence().await) }),
        Box::pin(async { told(probe.head().await) }),
        Box::pin(async {
            let (buffering, compression) = probe.events().await;
            (told(buffering), told(compression))
        }),
        Box::pin(async { told(probe.truncation().await) }),
        Box::pin(async { told(probe.cancellation().await) }),
    );
    let (buffering, compression) = events;
    let request = told(request(&greeting, &sent(target)));
    Ok(Report {
        url: target.url().to_string(),
        hops: Hop::find(&[&stream.head.headers, &greeting.fields]),
        backend: Some(greeting.version),
        findings: vec![
            head,
            buffering,
            compression,
            silence,
            truncation,
            cancellation,
            request,
        ],
    })
}

/// What the greeting's request must not lose.
fn sent(target: &Target) -> HeaderMap {
    let mut sent = target.fields().clone();
    sent.insert(ACCEPT, HeaderValue::from_static("text/event-stream"));
    for (name, value) in GREETING {
        sent.insert(name, HeaderValue::from_static(value));
    }
    sent
}

/// The checks of one way.
struct Probe<'a> {
    target: &'a Target,
    pace: &'a Pace,
    usual: Usual,
}

impl Probe<'_> {
    async fn head(&self) -> Finding {
        let plan = Plan {
            wait: self.pace.hold,
            count: 1,
            ..Plan::default()
        };
        verdict::head(&self.play(plan, &[]).await, self.usual, self.pace)
    }

    /// Buffering and compression, which is judged by it.
    async fn events(&self) -> (Finding, Finding) {
        let plan = Plan {
            count: EVENTS as u64,
            every: self.pace.every,
            rest: self.pace.settle,
            ..Plan::default()
        };
        let (small, packed) = tokio::join!(self.play(plan, &[]), self.play(plan, &CODINGS));
        let mut events = Events {
            small: &small,
            count: EVENTS,
            hinted: None,
            large: None,
        };
        let mut buffering = verdict::buffering(&events, self.usual, self.pace);
        let again;
        if buffering.verdict == Verdict::Problem {
            let hinted = Plan {
                has_hints: true,
                ..plan
            };
            let large = Plan {
                count: LARGE_EVENTS,
                every: self.pace.every / 4,
                bytes: LARGE_BYTES,
                ..plan
            };
            again = tokio::join!(self.play(hinted, &[]), self.play(large, &[]));
            (events.hinted, events.large) = (Some(&again.0), Some(&again.1));
            buffering = verdict::buffering(&events, self.usual, self.pace);
        }
        let compression = verdict::compression(&packed, &buffering, EVENTS, self.usual, self.pace);
        (buffering, compression)
    }

    async fn silence(&self) -> Finding {
        let silence = self.pace.silence;
        let plan = Plan {
            count: 2,
            every: silence,
            ..Plan::default()
        };
        let bare = self.play(plan, &[]).await;
        let Some(cut) = verdict::cut_after(&bare, silence) else {
            let streams = Silence {
                bare: &bare,
                beating: None,
            };
            return verdict::silence(&streams, self.pace);
        };
        let beat = self.pace.heartbeat.min(cut / 3).max(BEAT_MIN);
        let plan = Plan {
            every: silence.min(cut * 5 / 2),
            beat,
            ..plan
        };
        let beating = self.play(plan, &[]).await;
        let streams = Silence {
            bare: &bare,
            beating: Some((beat, &beating)),
        };
        verdict::silence(&streams, self.pace)
    }

    async fn truncation(&self) -> Finding {
        let plan = Plan {
            count: 3,
            every: self.pace.every / 2,
            rest: self.pace.every,
            is_cut: true,
            ..Plan::default()
        };
        verdict::truncation(&self.play(plan, &[]).await)
    }

    async fn cancellation(&self) -> Finding {
        verdict::cancellation(&self.leave().await, self.pace)
    }

    /// Leaves a stream that is silent, and then writes, and asks the backend when it saw that.
    async fn leave(&self) -> Left {
        let plan = Plan {
            id: fastrand::u64(1..),
            count: 2,
            every: self.pace.leave * 2,
            beat: self.pace.quiet,
            ..Plan::default()
        };
        let ask = Some(Ask::Stream(plan));
        // A hop may hold back the head; the backend has the request all the same.
        let came = self.target.open(ask, &[], self.pace.quiet / 2).await;
        match came {
            Ok(mut stream) => {
                let limit = self.pace.quiet / 2;
                stream.read(limit, |trace| !trace.events.is_empty()).await;
            }
            Err(OpenError::NoHead(_)) => {}
            Err(error) => return Left::Unopened(error),
        }
        let left = Instant::now();
        loop {
            let Some(seen) = self.seen(plan.id).await else {
                return Left::Unknown;
            };
            match seen {
                Seen::Open if left.elapsed() < self.pace.leave => sleep(SEEN_PAUSE).await,
                Seen::Open => return Left::Open(left.elapsed()),
                Seen::ClosedAgo(ago) => return Left::Closed(left.elapsed().saturating_sub(ago)),
            }
        }
    }

    /// What the backend knows of a stream; `None` where it knows nothing.
    async fn seen(&self, id: u64) -> Option<Seen> {
        let (ask, limit) = (Some(Ask::Seen(id)), self.pace.reply);
        let mut stream = self.target.open(ask, &[], limit).await.ok()?;
        stream.read(limit, |trace| !trace.events.is_empty()).await;
        let told = stream.trace.told()?;
        if told["known"] != true {
            return None;
        }
        Some(match told["closed_ago_us"].as_u64() {
            Some(ago) => Seen::ClosedAgo(Duration::from_micros(ago)),
            None => Seen::Open,
        })
    }

    /// Asks for a stream, and reads it to its end.
    async fn play(&self, plan: Plan, fields: &[(HeaderName, &'static str)]) -> Outcome {
        let limit = plan.duration() + self.pace.reply;
        let ask = Some(Ask::Stream(plan));
        let stream = self.target.open(ask, fields, limit).await?;
        Ok(stream.into_trace(limit).await)
    }
}

/// What became of a stream at the backend.
enum Seen {
    Open,
    ClosedAgo(Duration),
}

/// A field that hops are known to lose.
const GREETING: [(HeaderName, &str); 1] =
    [(HeaderName::from_static("last-event-id"), "weir-probe-7")];
/// What browsers take, but for what is of no use to a stream.
pub(super) const CODINGS: [(HeaderName, &str); 1] = [(ACCEPT_ENCODING, "gzip, br")];
const EVENTS: usize = 10;
/// 128 KiB by which the size of a buffer shows.
const LARGE_EVENTS: u64 = 128;
const LARGE_BYTES: u64 = 1024;
const BEAT_MIN: Duration = Duration::from_millis(100);
const SEEN_PAUSE: Duration = Duration::from_millis(200);
