//! Are streams found by what they are asked for, and told from what is none?

use std::time::Duration;

use bytes::Bytes;
use http::{Method, Version};

use super::*;
use crate::telemetry::metrics::Metrics;

fn streams() -> (Rc<Streams>, crate::drain::Watch) {
    let drain = Rc::new(Drain::default());
    let watch = drain.watch();
    (
        Streams::new(
            Metrics::new(4, crate::transcode::compress::Budget::new(0)).of_worker(3),
            drain,
        ),
        watch,
    )
}

fn begin(streams: &Streams, peer: &str) -> Rc<Live> {
    let asked = Asked {
        method: &Method::GET,
        host: "test",
        path: "/a",
        version: Version::HTTP_2,
    };
    let live = streams.begin(asked, peer.parse().ok(), Instant::now());
    streams.enter(&live, 0);
    live
}

#[test]
fn an_id_is_read_as_it_is_written_and_in_no_other_way() {
    let id = StreamId {
        worker: 3,
        number: 0x1a2b,
    };
    assert_eq!(id.to_string(), "3-1a2b");
    assert_eq!("3-1a2b".parse::<StreamId>().unwrap(), id);
    for text in [
        "", "3", "-", "3-", "-1", "+3-1", "3-+1", "03-1", "3-1A", "3-01", "3-g", "3-1-2",
    ] {
        assert!(text.parse::<StreamId>().is_err(), "{text}");
    }
}

#[tokio::test]
async fn streams_are_listed_oldest_first_whatever_ended_between() {
    let (streams, _watch) = streams();
    let lives: Vec<_> = (0..1000).map(|_| begin(&streams, "192.0.2.1")).collect();
    for live in lives.iter().step_by(2) {
        streams.leave(live, "client_gone");
    }
    let other = begin(&streams, "");
    let listed = streams.list(&Filter::default(), 3).await;
    assert_eq!(listed.total, 501);
    let ids: Vec<_> = listed
        .streams
        .iter()
        .map(|listing| listing.id.to_string())
        .collect();
    assert_eq!(ids, ["3-1", "3-3", "3-5"]);
    let streams = &streams;
    let by = |filter| async move { streams.list(&filter, 9999).await };
    let unix = Filter {
        peer: Some(None),
        ..Filter::default()
    };
    let listed = by(unix).await;
    assert_eq!(
        (listed.total, listed.streams[0].id),
        (1, streams.id(&other))
    );
    let one = |number| Filter {
        number: Some(number),
        ..Filter::default()
    };
    assert_eq!(by(one(5)).await.total, 1);
    assert_eq!(by(one(4)).await.total, 0, "it has ended");
    let route = Filter {
        route: Some("none".to_owned()),
        ..Filter::default()
    };
    assert_eq!(by(route).await.total, 0);
}

#[test]
fn only_so_many_endings_are_remembered() {
    let (streams, _watch) = streams();
    for _ in 0..ENDINGS_MAX + 10 {
        streams.leave(&begin(&streams, "192.0.2.1"), "complete");
    }
    let endings = streams.endings.borrow();
    assert_eq!(endings.len(), ENDINGS_MAX);
    assert_eq!(endings[0].id.number, 10);
}

#[tokio::test(start_paused = true)]
async fn a_tap_copies_as_many_events_as_it_may_and_counts_the_rest() {
    let (mut tap, mut tapping) = tap(2);
    let event = |text: &'static str| Piece::Event(Bytes::from_static(text.as_bytes()));
    tap.copy(
        b":\ndata: 1\n\ndata: 2\n\ndata: 3\n\n",
        true,
        Instant::now(),
    )
    .unwrap();
    assert_eq!(tapping.pieces.recv().await, Some(event(":\ndata: 1\n\n")));
    assert_eq!(tapping.pieces.recv().await, Some(event("data: 2\n\n")));
    assert!(tapping.pieces.try_recv().is_err());
    let missed = || tapping.missed.load(std::sync::atomic::Ordering::Relaxed);
    assert_eq!(missed(), 1);
    tokio::time::advance(Duration::from_secs(1)).await;
    let huge = vec![b'x'; 100_000];
    tap.copy(&huge, false, Instant::now()).unwrap();
    assert_eq!(missed(), 2, "what is huge is left out");
    tap.copy(b"as it is", false, Instant::now()).unwrap();
    let bytes = Piece::Bytes(Bytes::from_static(b"as it is"));
    assert_eq!(tapping.pieces.recv().await, Some(bytes));
    tap.end("complete");
    assert_eq!(tapping.pieces.recv().await, None);
    assert_eq!(tapping.ended.await, Ok("complete"));
}

/// A watcher that does not read costs a queue, and the stream goes on.
#[test]
fn a_tap_never_waits_and_ends_with_its_watcher() {
    let (streams, _watch) = streams();
    let live = begin(&streams, "192.0.2.1");
    let (one, tapping) = tap(1_000_000);
    assert_eq!(streams.put(live.number, one), Tapped::Begun);
    for _ in 0..1000 {
        streams.copy(&live, b"bytes");
    }
    let missed = tapping.missed.load(std::sync::atomic::Ordering::Relaxed);
    assert_eq!(missed, 1000 - 64);
    drop(tapping);
    streams.copy(&live, b"bytes");
    assert!(!live.is_tapped.get() && streams.taps.borrow().is_empty());
}

#[test]
fn there_are_only_so_many_taps_and_those_of_the_gone_do_not_count() {
    let (streams, _watch) = streams();
    let live = begin(&streams, "192.0.2.1");
    let mut tappings = Vec::new();
    for _ in 0..TAPS_MAX {
        let (one, tapping) = tap(1);
        assert_eq!(streams.put(live.number, one), Tapped::Begun);
        tappings.push(tapping);
    }
    assert_eq!(streams.put(live.number, tap(1).0), Tapped::TooMany);
    tappings.pop();
    assert_eq!(streams.put(live.number, tap(1).0), Tapped::Begun);
    assert_eq!(streams.put(99, tap(1).0), Tapped::Unknown);
}
