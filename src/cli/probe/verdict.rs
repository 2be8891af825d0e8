//! What do the times and ends of the probe's streams mean? Judged without sockets and clocks.

use std::{fmt::Write as _, time::Duration};

use serde_json::Value;

use super::{
    Pace,
    client::OpenError,
    finding::{Check, Finding, Said, Verdict, ms},
    hop::Trouble,
    trace::{End, Outcome, Trace},
};

/// What the greeting told, to which the other streams are compared.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Usual {
    /// How long a head takes.
    pub(super) head_after: Duration,
    /// [`Trace::least_shift_us`] of the greeting.
    pub(super) shift_us: i64,
}

/// Whether the head is held back until the first event, which comes `pace.hold` later.
pub(super) fn head(outcome: &Outcome, usual: Usual, pace: &Pace) -> Finding {
    let trace = match outcome {
        Ok(trace) if trace.is_ok() => trace,
        Err(OpenError::NoHead(limit)) => {
            let means = "The response's head never came, although the backend sends it at once: clients wait to connect, and give up.";
            let figure = format!("none within {}", Said(*limit));
            return Finding::problem(Check::Head, Trouble::Buffers, figure, means);
        }
        other => return unopened(Check::Head, other),
    };
    let held = trace.head_after.saturating_sub(usual.head_after);
    let finding = if held > pace.hold / 2 {
        let figure = format!("held back {}, until the body began", Said(held));
        let means = "The head is held back until the first event: EventSource does not open and clients time out while a stream is quiet at first.";
        Finding::problem(Check::Head, Trouble::Buffers, figure, means)
    } else {
        let figure = format!("after {}", Said(trace.head_after));
        Finding::ok(
            Check::Head,
            figure,
            "The head comes before there is a body.",
        )
    };
    finding.with("head_after_ms", ms(trace.head_after))
}

/// The streams by which buffering is judged.
#[derive(Debug)]
pub(super) struct Events<'a> {
    /// Small events, `count` of them.
    pub(super) small: &'a Outcome,
    pub(super) count: usize,
    /// The same with heads that ask not to be buffered, where the others were late.
    pub(super) hinted: Option<&'a Outcome>,
    /// Large events without a pause, where the others were late.
    pub(super) large: Option<&'a Outcome>,
}

/// How late the latest event of a whole stream is; `None` where events are missing.
pub(super) fn latest(trace: &Trace, count: usize, usual: Usual) -> Option<Duration> {
    let shift_us = trace
        .least_shift_us()
        .map_or(usual.shift_us, |least| least.min(usual.shift_us));
    let lateness = trace.lateness(shift_us);
    (lateness.len() >= count)
        .then(|| lateness.into_iter().max())
        .flatten()
}

/// Whether events come one by one.
pub(super) fn buffering(events: &Events<'_>, usual: Usual, pace: &Pace) -> Finding {
    let trace = match events.small {
        Ok(trace) if trace.is_ok() => trace,
        other => return unopened(Check::Buffering, other),
    };
    let count = events.count;
    let Some(late) = latest(trace, count, usual) else {
        let figure = format!("{} of {count} events came", trace.events.len());
        let means = "Events of a short stream are lost or held back for good.";
        return Finding::problem(Check::Buffering, Trouble::Buffers, figure, means);
    };
    if late <= pace.late {
        let figure = format!("{count} events, each within {}", Said(late));
        let means = "Events come one by one, as they are sent.";
        return Finding::ok(Check::Buffering, figure, means).with("late_ms", ms(late));
    }
    let mut figure = format!("{count} events up to {} late", Said(late));
    let bytes = match events.large {
        Some(Ok(large)) if large.is_ok() => Some(large.first_burst_bytes(pace.every / 2)),
        _ => None,
    };
    if let Some(bytes) = bytes.filter(|bytes| *bytes > 0) {
        let _ = write!(figure, ", about {} kB at once", bytes.div_ceil(1000));
    }
    let means =
        "A hop gathers events before it passes them on, so clients see them late and in lumps.";
    let mut finding = Finding::problem(Check::Buffering, Trouble::Buffers, figure, means)
        .with("late_ms", ms(late))
        .with("bytes_at_once", bytes);
    if let Some(hinted) = events.hinted {
        let hinted = hinted.as_ref().ok().filter(|trace| trace.is_ok());
        let late = hinted.and_then(|trace| latest(trace, count, usual));
        let helps = late.is_some_and(|late| late <= pace.late);
        finding = finding.with("response_fields_help", helps);
        finding.tried = Some(if helps {
            "backend: X-Accel-Buffering: no, Incremental: ?1 and Cache-Control: no-transform on the response (tried: with them \
             every event came at once)"
                .to_owned()
        } else {
            "backend: nothing (tried: X-Accel-Buffering: no, Incremental: ?1 and Cache-Control: no-transform on the \
             response change nothing here)"
                .to_owned()
        });
    }
    finding
}

/// Whether events come at once where the client takes compressed ones; `plain` is what was found of
/// the same events without compression.
pub(super) fn compression(
    outcome: &Outcome,
    plain: &Finding,
    count: usize,
    usual: Usual,
    pace: &Pace,
) -> Finding {
    let trace = match outcome {
        Ok(trace) if trace.is_ok() => trace,
        other => return unopened(Check::Compression, other),
    };
    let Some(coding) = &trace.coding else {
        let means = "Nothing compresses the stream, although the client takes it.";
        return Finding::ok(Check::Compression, "none", means).with("coding", Value::Null);
    };
    if let Some(fault) = &trace.fault {
        let figure = format!("{coding}, which cannot be undone");
        let means = format!("What comes is no sound {coding}: {fault}.");
        return Finding::problem(Check::Compression, Trouble::Compresses, figure, means)
            .with("coding", coding.as_str());
    }
    let late = latest(trace, count, usual);
    let finding = match late {
        Some(late) if late <= pace.late => {
            let figure = format!("{coding}, each event within {}", Said(late));
            let means = "The stream is compressed, and every event is flushed.";
            Finding::ok(Check::Compression, figure, means)
        }
        _ if plain.verdict == Verdict::Problem => {
            let means = "The stream is compressed; whether it is flushed shows only once plain events are not held back.";
            Finding::unknown(
                Check::Compression,
                format!("{coding}, late as without"),
                means,
            )
        }
        _ => {
            let figure = late.map_or_else(
                || format!("{coding}, events missing"),
                |late| format!("{coding}, events up to {} late", Said(late)),
            );
            let means = "The stream is compressed, and events do not come out until more of them have been packed.";
            Finding::problem(Check::Compression, Trouble::Compresses, figure, means)
        }
    };
    finding
        .with("coding", coding.as_str())
        .with("late_ms", late.map(ms))
}

/// The streams by which silence is judged.
#[derive(Debug)]
pub(super) struct Silence<'a> {
    /// An event, silence, another.
    pub(super) bare: &'a Outcome,
    /// The same with comments this often, where the other was cut.
    pub(super) beating: Option<(Duration, &'a Outcome)>,
}

/// How long a silent stream lived; `None` where it was not cut.
pub(super) fn cut_after(outcome: &Outcome, silence: Duration) -> Option<Duration> {
    let (lived, is_cut) = match outcome {
        Ok(trace) => {
            let began = trace.first_after().unwrap_or_default();
            let lived = trace.ended_after.saturating_sub(began);
            (lived, trace.end != End::Open && trace.events.len() < 2)
        }
        Err(OpenError::Closed { after, .. }) => (*after, true),
        Err(_) => return None,
    };
    (is_cut && lived < silence).then_some(lived)
}

/// Whether a silent stream lives for `pace.silence`.
pub(super) fn silence(streams: &Silence<'_>, pace: &Pace) -> Finding {
    let (check, silence) = (Check::Silence, pace.silence);
    if let Some(cut) = cut_after(streams.bare, silence) {
        let mut means = format!(
            "A stream that is silent for {} is cut, so clients lose it and connect again.",
            Said(cut)
        );
        let mut figure = format!("cut after {}", Said(cut));
        let mut finding = Finding::problem(check, Trouble::CutsSilence, "", "");
        if let Ok(trace) = streams.bare {
            finding = finding
                .with("status", trace.status)
                .with("looks_whole", trace.end == End::Whole);
            if !trace.is_ok() {
                let _ = write!(figure, ", with status {}", trace.status);
            }
        }
        if let Some((every, outcome)) = streams.beating {
            let survives = outcome.as_ref().is_ok_and(|trace| trace.events.len() >= 2);
            let said = if survives {
                "keep it open"
            } else {
                "do not keep it open"
            };
            let _ = write!(means, " Heartbeats every {} {said} (tried).", Said(every));
            finding = finding
                .with("heartbeat_every_ms", ms(every))
                .with("heartbeats_help", survives);
        }
        finding.figure = figure;
        finding.means = means;
        return finding.with("cut_after_ms", ms(cut));
    }
    let trace = match streams.bare {
        Ok(trace) if trace.is_ok() => trace,
        other => return unopened(check, other),
    };
    let [first, second, ..] = trace.events[..] else {
        let means = "What the backend sent after the silence never came, and the stream did not end either.";
        return Finding::unknown(check, "neither an event nor an end", means);
    };
    let quiet = |after: Duration| first.after < after && after < second.after;
    let beats = trace.chunks.iter().filter(|c| quiet(c.after)).count();
    let mut figure = format!("{} survived", Said(silence));
    if beats > 0 {
        let _ = write!(figure, ", heartbeats of a hop: {beats}");
    }
    let means = "A stream lives through that much silence.";
    Finding::ok(check, figure, means)
        .with("survived_ms", ms(silence))
        .with("heartbeats_of_hops", beats)
}

/// Whether a stream that the backend cuts looks cut.
pub(super) fn truncation(outcome: &Outcome) -> Finding {
    let check = Check::Truncation;
    let trace = match outcome {
        Ok(trace) => trace,
        Err(OpenError::Closed { .. }) => {
            let means = "A cut stream ends in a way that clients can tell from its end.";
            return Finding::ok(check, "shown as cut, without a head", means);
        }
        Err(_) => return unopened(check, outcome),
    };
    if trace.status >= 500 {
        let figure = format!("shown as status {}", trace.status);
        return Finding::ok(
            check,
            figure,
            "A stream that is cut early is answered with an error.",
        );
    }
    if !trace.is_ok() {
        return unopened(check, outcome);
    }
    match trace.end {
        End::Broken => {
            let means = "A cut stream ends in a way that clients can tell from its end.";
            Finding::ok(check, "shown as cut", means)
        }
        End::Whole => {
            let means = "A stream that breaks off at the backend looks complete to clients: what is missing is never asked for again.";
            let figure = "a cut stream looks complete";
            Finding::problem(check, Trouble::HidesTruncation, figure, means)
        }
        End::Open => {
            let means = "A stream that breaks off at the backend stays open for clients, who wait for ever.";
            let figure = format!("still open after {}", Said(trace.ended_after));
            Finding::problem(check, Trouble::HidesTruncation, figure, means)
        }
    }
}

/// What became of a stream that its client left.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Left {
    /// The stream could not be opened.
    Unopened(OpenError),
    /// The backend does not know it, or could not be asked.
    Unknown,
    /// The backend was still sending this long after.
    Open(Duration),
    /// The backend saw it after this long.
    Closed(Duration),
}

/// Whether the backend hears, within `pace.quiet` of silence, that its client has left.
pub(super) fn cancellation(left: &Left, pace: &Pace) -> Finding {
    let (check, trouble) = (Check::Cancellation, Trouble::IgnoresCancellation);
    match left {
        Left::Unopened(error) => unopened(check, &Err(error.clone())),
        Left::Unknown => {
            let means = "The backend that was asked knows nothing of the stream: perhaps the hops lead to several backends, or answer from a cache.";
            Finding::unknown(check, "the backend did not say", means)
        }
        Left::Open(after) => {
            let means = "The backend works on for clients that have left, also when it writes.";
            let figure = format!("not seen within {}", Said(*after));
            Finding::problem(check, trouble, figure, means).with("seen_after_ms", Value::Null)
        }
        Left::Closed(after) if *after < pace.quiet * 3 / 4 => {
            let means = "The backend hears at once that a client has left.";
            Finding::ok(check, format!("seen after {}", Said(*after)), means)
                .with("seen_after_ms", ms(*after))
        }
        Left::Closed(after) => {
            let means = "The backend hears that a client has left only once it writes: silent work goes on for nobody.";
            let figure = format!("seen after {}, at a write", Said(*after));
            Finding::problem(check, trouble, figure, means).with("seen_after_ms", ms(*after))
        }
    }
}

/// A check whose stream could not be opened.
pub(super) fn unopened(check: Check, outcome: &Outcome) -> Finding {
    let reason = match outcome {
        Ok(trace) => format!("the response has status {}", trace.status),
        Err(error) => error.to_string(),
    };
    let means = format!("The stream of this check could not be opened: {reason}.");
    Finding::unknown(check, "not opened", means)
}

#[cfg(test)]
#[path = "verdict_tests.rs"]
mod tests;
