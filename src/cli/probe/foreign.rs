//! What shows of a stream that is not the probe's own?

use http::header::{CONTENT_TYPE, LOCATION};

use super::{
    Pace, Report, Target,
    client::OpenError,
    finding::{Check, Finding, Said, ms},
    hop::{Hop, Trouble},
    measure::CODINGS,
    trace::{End, Trace},
};

/// Watches the stream at the URL for a while.
///
/// # Errors
/// It cannot be opened, or answers with an error or a redirect.
pub(super) async fn examine(target: &Target, pace: &Pace) -> Result<Report, OpenError> {
    let mut stream = target.open(None, &CODINGS, pace.reply).await?;
    let (status, headers) = (stream.head.status, &stream.head.headers);
    let text = |name| {
        let value = headers
            .get(name)
            .map(|value: &http::HeaderValue| value.as_bytes());
        String::from_utf8_lossy(value.unwrap_or_default()).into_owned()
    };
    if !status.is_success() {
        let to = text(LOCATION);
        let to = if to.is_empty() {
            to
        } else {
            format!(" to {to}")
        };
        return Err(OpenError::Status(format!("{status}{to}")));
    }
    let (content_type, hops) = (text(CONTENT_TYPE), Hop::find(&[headers]));
    stream
        .read(stream.trace.head_after + pace.watch, |_| false)
        .await;
    let trace = &stream.trace;
    Ok(Report {
        url: target.url().to_string(),
        backend: None,
        hops,
        findings: vec![
            head(trace, pace),
            buffering(trace, &content_type),
            compression(trace),
            silence(trace),
            untold(Check::Truncation),
            untold(Check::Cancellation),
            untold(Check::Request),
        ],
    })
}

fn head(trace: &Trace, pace: &Pace) -> Finding {
    let check = Check::Head;
    let after = trace.head_after;
    let body_after = trace.chunks.first().map(|chunk| chunk.after);
    let finding = match body_after {
        Some(body) if after > pace.late && body.saturating_sub(after) < pace.late / 10 => {
            let figure = format!("after {}, with the body", Said(after));
            let means = "The head came late and together with the body: a hop may hold it back, or the backend sends it only then.";
            Finding::unknown(check, figure, means)
        }
        _ => {
            let figure = format!("after {}", Said(after));
            Finding::ok(check, figure, "The head does not wait for the body.")
        }
    };
    finding
        .with("head_after_ms", ms(after))
        .with("body_after_ms", body_after.map(ms))
}

fn buffering(trace: &Trace, content_type: &str) -> Finding {
    let (events, chunks) = (trace.events.len(), trace.chunks.len());
    let gaps = trace
        .chunks
        .windows(2)
        .map(|pair| pair[1].after.saturating_sub(pair[0].after));
    let longest = gaps.max().unwrap_or_default();
    let figure = format!(
        "{events} events in {chunks} pieces, {} apart at most",
        Said(longest)
    );
    let means = if content_type.starts_with("text/event-stream") {
        "A stream whose events do not tell when they were sent does not show whether they are late."
            .to_owned()
    } else {
        format!(
            "The response is of the type {content_type:?}, not text/event-stream, so its events cannot be told."
        )
    };
    Finding::unknown(Check::Buffering, figure, means)
        .with("events", events)
        .with("pieces", chunks)
        .with("longest_gap_ms", ms(longest))
        .with("content_type", content_type)
}

fn compression(trace: &Trace) -> Finding {
    let check = Check::Compression;
    let Some(coding) = &trace.coding else {
        let means = "Nothing compresses the stream, although the client takes it.";
        return Finding::ok(check, "none", means);
    };
    let finding = if let Some(fault) = &trace.fault {
        let figure = format!("{coding}, which cannot be undone");
        let means = format!("What comes is no sound {coding}: {fault}.");
        Finding::problem(check, Trouble::Compresses, figure, means)
    } else if trace.events.is_empty() && trace.end == End::Open {
        let means = "The stream is compressed, and no event has come out of it yet: they may wait for more.";
        Finding::unknown(check, format!("{coding}, no event yet"), means)
    } else {
        let means =
            "The stream is compressed; whether each event is flushed at once does not show.";
        Finding::unknown(check, coding.as_str(), means)
    };
    finding.with("coding", coding.as_str())
}

fn silence(trace: &Trace) -> Finding {
    let ended = match trace.end {
        End::Open => "open",
        End::Whole => "ended whole",
        End::Broken => "cut",
    };
    let figure = format!("{ended} after {}", Said(trace.ended_after));
    let means = "It does not show how long a silence this stream would live through.";
    Finding::unknown(Check::Silence, figure, means).with("ended_after_ms", ms(trace.ended_after))
}

fn untold(check: Check) -> Finding {
    let means = "Only a probe backend at the other end can tell.";
    Finding::unknown(check, "not checked", means)
}
