//! Does a relay do what hyper alone does not show?

use std::{cell::RefCell, future::poll_fn, time::Duration};

use http::{Method, Version};
use tokio::time::advance;

use super::{pressing::COMPRESSED_BYTES_MAX, *};
use crate::{
    drain::Drain,
    proxy::{
        link::{ConnectionLink, Peer},
        streams::{Asked, Streams},
    },
    route::{From, Limits, PathPattern, Policy, Rewrite, Timeouts, To},
    telemetry::metrics::{Metrics, listener::ListenerMetrics},
    transcode::{
        compress::{self, Budget, Coding, Press},
        framing, heartbeat,
        inflate::Inflater,
        output::sse,
        transcoder::Turn,
    },
    upstream::source::{Source, SourceError},
};

/// An upstream that has begun its reply and says nothing.
struct Silent;

impl Source for Silent {
    fn poll_fill(&mut self, _: &mut Context<'_>, _: &mut [u8]) -> Poll<Result<Fill, SourceError>> {
        Poll::Pending
    }
}

/// An upstream that always has more.
struct Endless;

impl Source for Endless {
    fn poll_fill(
        &mut self,
        _: &mut Context<'_>,
        scratch: &mut [u8],
    ) -> Poll<Result<Fill, SourceError>> {
        let whole = scratch.len() / RECORD.len() * RECORD.len();
        for record in scratch[..whole].chunks_mut(RECORD.len()) {
            record.copy_from_slice(RECORD);
        }
        Poll::Ready(Ok(Fill::Scratch(0..whole)))
    }
}

const RECORD: &[u8] = b"{\"seq\":1}\n";

async fn connection() -> Rc<ConnectionLink> {
    let peer = Peer {
        address: None,
        is_tls: false,
        is_trusted: false,
    };
    let places = Arc::new(tokio::sync::Semaphore::new(1));
    let place = crate::limits::Limits::new(crate::limits::Settings::default())
        .connection(&places)
        .await
        .unwrap();
    let counted = Arc::<ListenerMetrics>::default().connected(false);
    ConnectionLink::new(peer, false, (place, counted))
}

/// A stream with a heartbeat every second.
fn relay(
    connection: &Rc<ConnectionLink>,
    drain: &Rc<Drain>,
    source: impl Source + 'static,
) -> Relay {
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
            compress: compress::Settings::default(),
        },
        metrics: Arc::default(),
        gate: Arc::default(),
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
    let streams = Streams::new(
        Metrics::new(1, Budget::new(0)).of_worker(0),
        Rc::clone(drain),
    );
    let parts = Parts {
        feed: Feed::Open(Rc::new(RefCell::new(source))),
        transcoder: Some(Transcoder::new(&turn, &route.policy.event)),
        route: Arc::new(route),
        link: StreamLink::new(Rc::clone(connection)),
        watch: drain.watch(),
        record: Record::new(asked, None, now, streams),
        lease: None,
        compressor: None,
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
    let (connection, drain) = (connection().await, Rc::<Drain>::default());
    let mut relay = relay(&connection, &drain, Silent);
    assert_eq!(look(&mut relay).await, None);
    pass_second(&drain).await;
    assert_eq!(look(&mut relay).await.as_deref(), Some(&b":\n"[..]));
    // Bytes wait for the client: another heartbeat would only wait behind them.
    connection.end_turn(true);
    for _ in 0..3 {
        pass_second(&drain).await;
        assert_eq!(look(&mut relay).await, None);
    }
    connection.end_turn(false);
    pass_second(&drain).await;
    assert_eq!(look(&mut relay).await.as_deref(), Some(&b":\n"[..]));
    assert_eq!(relay.parts.record.heartbeats.get(), 2);
}

/// After it, whoever set a time that has come may be asked.
async fn pass_second(drain: &Drain) {
    advance(Duration::from_secs(1)).await;
    let rung = tokio::time::timeout(Duration::ZERO, drain.ring()).await;
    assert!(rung.is_err(), "it rings for ever");
}

/// Compressing takes its time: little is taken at once, and then others have their turn.
#[tokio::test]
async fn a_compressed_stream_that_always_has_more_gives_way() {
    let connection = connection().await;
    let (scratch, big) = (Scratch::default(), 1024 * 1024);
    for is_compressed in [false, true] {
        let press = Rc::new(Press::new(Budget::new(big)));
        let compressor = press.compressor(Coding::Gzip, 12).filter(|_| is_compressed);
        let mut relay = relay(&connection, &Rc::default(), Endless).compressing(compressor);
        assert!(!relay.is_turn_over(), "nothing is written yet");
        let mut out = Vec::new();
        let given = poll_fn(|cx| {
            Poll::Ready(relay.poll_next(cx, &mut Write::new(&scratch, &mut out, big)))
        });
        assert!(matches!(given.await, Poll::Ready(Given::Bytes)));
        assert_eq!(relay.is_turn_over(), is_compressed);
        let mut plain = Vec::new();
        match Inflater::for_coding("gzip").filter(|_| is_compressed) {
            Some(mut inflater) => inflater.push(&mut &out[..], &mut plain, big).unwrap(),
            None => plain = out,
        }
        let event_bytes = "data: \n\n".len() + RECORD.len() - 1;
        assert_eq!(
            plain.len() / event_bytes,
            usize::try_from(relay.parts.record.events.get()).unwrap()
        );
        let most = if is_compressed {
            COMPRESSED_BYTES_MAX
        } else {
            256 * 1024
        };
        assert!(
            (most / 2..most + event_bytes).contains(&plain.len()),
            "{}",
            plain.len()
        );
    }
}
