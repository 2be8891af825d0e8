//! Does a relay do what hyper alone does not show?

use std::{cell::RefCell, future::poll_fn, time::Duration};

use http::{Method, Version};
use tokio::time::advance;

use super::*;
use crate::{
    drain::Drain,
    proxy::{
        link::{ConnectionLink, Peer},
        record::Asked,
    },
    route::{From, Limits, PathPattern, Policy, Rewrite, Timeouts, To},
    telemetry::metrics::Metrics,
    transcode::{framing, heartbeat, output::sse, transcoder::Turn},
    upstream::source::{Source, SourceError},
};

/// An upstream that has begun its reply and says nothing.
struct Silent;

impl Source for Silent {
    fn poll_fill(&mut self, _: &mut Context<'_>, _: &mut [u8]) -> Poll<Result<Fill, SourceError>> {
        Poll::Pending
    }
}

fn connection() -> Rc<ConnectionLink> {
    let peer = Peer {
        address: None,
        is_tls: false,
        is_trusted: false,
    };
    let places = Arc::new(tokio::sync::Semaphore::new(1));
    let place = places.try_acquire_owned().unwrap();
    ConnectionLink::new(peer, false, place)
}

/// A stream with a heartbeat every second.
fn relay(connection: &Rc<ConnectionLink>) -> Relay {
    let every = Some(Duration::from_secs(1));
    let route = route::Settings {
        name: "test".to_owned(),
        host: None,
        path: PathPattern::Prefix("/".to_owned()),
        methods: Vec::new(),
        headers: Vec::new(),
        upstream: "test".to_owned(),
        policy: Policy {
            from: From::Auto,
            to: To::Auto,
            charset: None,
            event: Arc::default(),
            heartbeat: heartbeat::Settings {
                every,
                is_asked_for: false,
                before_reply: None,
            },
            timeouts: Timeouts::default(),
            limits: Limits::default(),
            rewrite: Rewrite::default(),
        },
        metrics: Arc::default(),
    };
    let asked = Asked {
        method: &Method::GET,
        host: "test",
        path: "/",
        version: Version::HTTP_11,
    };
    let now = Instant::now();
    let ndjson = framing::by_name("ndjson").unwrap();
    let turn = Turn::new(ndjson, &sse::OUTPUT, 1024);
    let parts = Parts {
        feed: Feed::Open(Rc::new(RefCell::new(Silent))),
        has_heartbeats: true,
        transcoder: Some(Transcoder::new(&turn, &route.policy.event)),
        route: Arc::new(route),
        link: StreamLink::new(Rc::clone(connection)),
        watch: Rc::new(Drain::default()).watch(),
        record: Record::new(asked, None, now, Rc::new(Metrics::new(1).of_worker(0))),
        lease: None,
    };
    Relay::new(parts, now)
}

/// What the relay gives now; `None` where it waits.
async fn look(relay: &mut Relay) -> Option<Vec<u8>> {
    let (scratch, mut out) = (Scratch::default(), Vec::new());
    let given =
        poll_fn(|cx| Poll::Ready(relay.poll_next(cx, &mut Write::new(&scratch, &mut out, 1024))))
            .await;
    matches!(given, Poll::Ready(Given::Bytes)).then_some(out)
}

#[tokio::test(start_paused = true)]
async fn a_heartbeat_waits_for_a_client_that_takes_bytes() {
    let connection = connection();
    let mut relay = relay(&connection);
    assert_eq!(look(&mut relay).await, None);
    advance(Duration::from_secs(1)).await;
    assert_eq!(look(&mut relay).await.as_deref(), Some(&b":\n"[..]));
    // Bytes wait for the client: another heartbeat would only wait behind them.
    connection.end_turn(true);
    for _ in 0..3 {
        advance(Duration::from_secs(1)).await;
        assert_eq!(look(&mut relay).await, None);
    }
    connection.end_turn(false);
    advance(Duration::from_secs(1)).await;
    assert_eq!(look(&mut relay).await.as_deref(), Some(&b":\n"[..]));
    assert_eq!(relay.parts.record.heartbeats(), 2);
}
