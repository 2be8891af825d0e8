//! Do times and ends mean what they should?

use std::time::Duration;

use super::{
    Events, Left, Silence, Usual, buffering, cancellation, compression, cut_after, head, silence,
    truncation,
};
use crate::cli::probe::{
    Pace,
    client::OpenError,
    finding::{Check, Finding, Verdict},
    hop::Trouble,
    trace::{Chunk, End, Event, Outcome, Trace},
};

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

const USUAL: Usual = Usual {
    head_after: ms(20),
    // The probe began 5 s before the backend, and events take 20 ms.
    shift_us: 5_020_000,
};

/// A stream asked for at 6 s of the probe, 1 s of the backend, whose events are each told by when they
/// were sent and when they came, in milliseconds after the request.
fn trace(events: &[(u64, u64)], end: End, ended_after: u64) -> Trace {
    let chunks = events.iter().map(|(_, came)| Chunk {
        after: ms(*came),
        bytes: 100,
    });
    let told = events.iter().map(|(sent, came)| Event {
        after: ms(*came),
        sent: Some(ms(1000 + sent)),
    });
    Trace {
        asked: ms(6000),
        status: 200,
        head_after: ms(20),
        chunks: chunks.collect(),
        events: told.collect(),
        end,
        ended_after: ms(ended_after),
        ..Trace::default()
    }
}

fn check(finding: &Finding, verdict: Verdict, figure: &str) {
    let found = (finding.verdict, finding.figure.as_str());
    assert_eq!(found, (verdict, figure), "{finding:?}");
    assert_eq!(finding.trouble.is_some(), verdict == Verdict::Problem);
    assert!(finding.means.ends_with(['.', ')']), "{finding:?}");
}

#[test]
fn heads() {
    let rows: &[(u64, Verdict, &str)] = &[
        (25, Verdict::Ok, "after 25 ms"),
        (900, Verdict::Ok, "after 900 ms"),
        (
            2020,
            Verdict::Problem,
            "held back 2.0 s, until the body began",
        ),
    ];
    for (after, verdict, figure) in rows {
        let trace = Trace {
            head_after: ms(*after),
            ..trace(&[(2000, 2020)], End::Whole, 2020)
        };
        check(&head(&Ok(trace), USUAL, &Pace::default()), *verdict, figure);
    }
    let never = head(&Err(OpenError::NoHead(ms(17_000))), USUAL, &Pace::default());
    check(&never, Verdict::Problem, "none within 17 s");
    let refused = head(
        &Err(OpenError::Connect("no".to_owned())),
        USUAL,
        &Pace::default(),
    );
    check(&refused, Verdict::Unknown, "not opened");
}

/// Three events 200 ms apart that came at these times, of a stream that ended at 2400 ms.
fn three(came: [u64; 3]) -> Trace {
    let sent = [0, 200, 400];
    let events: Vec<_> = sent.into_iter().zip(came).collect();
    trace(&events, End::Whole, 2400)
}

fn events<'a>(small: &'a Outcome, hinted: Option<&'a Outcome>) -> Events<'a> {
    Events {
        small,
        count: 3,
        hinted,
        large: None,
    }
}

fn judge(small: &Outcome) -> Finding {
    buffering(&events(small, None), USUAL, &Pace::default())
}

#[test]
fn events_that_are_late() {
    check(
        &judge(&Ok(three([20, 220, 420]))),
        Verdict::Ok,
        "3 events, each within 1 ms",
    );
    check(
        &judge(&Ok(three([20, 320, 420]))),
        Verdict::Ok,
        "3 events, each within 100 ms",
    );
    // All at the end; and each only with the next, which the greeting shows.
    check(
        &judge(&Ok(three([2400, 2400, 2400]))),
        Verdict::Problem,
        "3 events up to 2.4 s late",
    );
    check(
        &judge(&Ok(three([220, 420, 2400]))),
        Verdict::Problem,
        "3 events up to 2.0 s late",
    );
    let two = Ok(trace(&[(0, 20), (200, 220)], End::Whole, 2400));
    check(&judge(&two), Verdict::Problem, "2 of 3 events came");
}

#[test]
fn what_the_backend_can_do_was_tried() {
    let (late, punctual) = (Ok(three([2400; 3])), Ok(three([20, 220, 420])));
    for (hinted, helps) in [(&late, false), (&punctual, true)] {
        let finding = buffering(&events(&late, Some(hinted)), USUAL, &Pace::default());
        assert_eq!(finding.measured["response_fields_help"], helps);
        assert!(finding.tried.is_some());
    }
}

#[test]
fn compressed_events() {
    let coded = |came| -> Outcome {
        Ok(Trace {
            coding: Some("gzip".to_owned()),
            ..three(came)
        })
    };
    let (punctual, late) = (Ok(three([20, 220, 420])), Ok(three([2400; 3])));
    let judge =
        |packed: &Outcome, plain| compression(packed, &judge(plain), 3, USUAL, &Pace::default());
    check(&judge(&punctual, &punctual), Verdict::Ok, "none");
    let flushed = coded([20, 220, 420]);
    check(
        &judge(&flushed, &punctual),
        Verdict::Ok,
        "gzip, each event within 1 ms",
    );
    let held = coded([2400; 3]);
    let figure = "gzip, events up to 2.4 s late";
    check(&judge(&held, &punctual), Verdict::Problem, figure);
    check(
        &judge(&held, &late),
        Verdict::Unknown,
        "gzip, late as without",
    );
    let broken = flushed.map(|trace| Trace {
        fault: Some("no".to_owned()),
        ..trace
    });
    let figure = "gzip, which cannot be undone";
    check(&judge(&broken, &punctual), Verdict::Problem, figure);
}

#[test]
fn silences() {
    fn judge<'a>(bare: &'a Outcome, beating: Option<(Duration, &'a Outcome)>) -> Finding {
        silence(&Silence { bare, beating }, &Pace::default())
    }
    let pace = Pace::default();
    let lives = Ok(trace(&[(0, 20), (65_000, 65_020)], End::Whole, 65_020));
    check(&judge(&lives, None), Verdict::Ok, "65 s survived");
    assert_eq!(cut_after(&lives, pace.silence), None);

    let mut beats = trace(&[(0, 20), (65_000, 65_020)], End::Whole, 65_020);
    let beat = Chunk {
        after: ms(15_000),
        bytes: 2,
    };
    beats.chunks.insert(1, beat);
    let figure = "65 s survived, heartbeats of a hop: 1";
    check(&judge(&Ok(beats), None), Verdict::Ok, figure);

    for end in [End::Broken, End::Whole] {
        let cut = Ok(trace(&[(0, 20)], end, 60_020));
        assert_eq!(cut_after(&cut, pace.silence), Some(ms(60_000)));
        let finding = judge(&cut, Some((ms(15_000), &lives)));
        check(&finding, Verdict::Problem, "cut after 60 s");
        assert!(
            finding
                .means
                .ends_with("Heartbeats every 15 s keep it open (tried).")
        );
        let finding = judge(&cut, Some((ms(15_000), &cut)));
        assert_eq!(finding.measured["heartbeats_help"], false);
        assert_eq!(finding.measured["looks_whole"], end == End::Whole);
    }
    let gateway = Trace {
        status: 504,
        ..trace(&[], End::Whole, 60_000)
    };
    check(
        &judge(&Ok(gateway), None),
        Verdict::Problem,
        "cut after 60 s, with status 504",
    );
    let mute = Ok(trace(&[(0, 20)], End::Open, 80_000));
    check(
        &judge(&mute, None),
        Verdict::Unknown,
        "neither an event nor an end",
    );
}

#[test]
fn truncations() {
    let rows = [
        (End::Broken, 200, Verdict::Ok, "shown as cut"),
        (End::Whole, 502, Verdict::Ok, "shown as status 502"),
        (
            End::Whole,
            200,
            Verdict::Problem,
            "a cut stream looks complete",
        ),
        (End::Open, 200, Verdict::Problem, "still open after 15 s"),
        (End::Whole, 403, Verdict::Unknown, "not opened"),
    ];
    for (end, status, verdict, figure) in rows {
        let trace = Trace {
            status,
            ..trace(&[(0, 20)], end, 15_000)
        };
        check(&truncation(&Ok(trace)), verdict, figure);
    }
}

#[test]
fn clients_that_leave() {
    let rows = [
        (Left::Closed(ms(3)), Verdict::Ok, "seen after 3 ms"),
        (
            Left::Closed(ms(4001)),
            Verdict::Problem,
            "seen after 4.0 s, at a write",
        ),
        (
            Left::Open(ms(10_100)),
            Verdict::Problem,
            "not seen within 10 s",
        ),
        (Left::Unknown, Verdict::Unknown, "the backend did not say"),
    ];
    for (left, verdict, figure) in rows {
        check(&cancellation(&left, &Pace::default()), verdict, figure);
    }
}

#[test]
fn the_first_burst_shows_the_size_of_a_buffer() {
    let mut trace = trace(&[(0, 50), (0, 55), (0, 60), (0, 300)], End::Whole, 400);
    assert_eq!(trace.first_burst_bytes(ms(100)), 300);
    trace.chunks.clear();
    assert_eq!(trace.first_burst_bytes(ms(100)), 0);
    assert_eq!(Trouble::Buffers.advice(&[]).len(), 1);
    assert_eq!(Check::ALL.len(), 7);
}
