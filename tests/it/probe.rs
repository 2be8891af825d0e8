//! Does the probe find what hops do to streams, and nothing where they do nothing?

use std::{net::SocketAddr, time::Duration};

use http::HeaderMap;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    time::timeout,
};
use weir::cli::probe::{Backend, Check, OpenError, Pace, Report, Target, Verdict, examine};

use crate::support::{Weir, backend, soon};

/// What a hop does wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// It passes bytes on once 4 KiB have come, or the response has ended.
    Gathers,
    /// It passes a head on with the first bytes of the body.
    HoldsHead,
    /// It cuts what is silent for a second.
    CutsSilence,
    /// It ends what was cut as if it were whole.
    Completes,
    /// It reads on when its client has left.
    ReadsOn,
}

/// Quick enough for a test, and patient with a machine that does much else.
fn pace() -> Pace {
    Pace {
        hold: Duration::from_secs(2),
        every: Duration::from_millis(100),
        late: Duration::from_millis(700),
        settle: Duration::from_secs(2),
        silence: Duration::from_secs(3),
        heartbeat: Duration::from_millis(300),
        quiet: Duration::from_secs(2),
        leave: Duration::from_secs(4),
        watch: Duration::from_secs(1),
        ..Pace::default()
    }
}

async fn probe_backend() -> SocketAddr {
    let backend = Backend::bind(([127, 0, 0, 1], 0).into()).await.unwrap();
    let address = backend.address().unwrap();
    tokio::spawn(backend.serve());
    address
}

async fn probe(url: &str) -> Result<Report, OpenError> {
    let target = Target::new(url.parse().unwrap(), None, HeaderMap::new()).unwrap();
    soon("the report", examine(&target, &pace(), &|_| {})).await
}

/// Asserts that these checks found a problem, and no others did.
fn check(report: &Report, problems: &[Check]) {
    assert!(report.backend.is_some(), "{report}");
    let found = report.findings.iter();
    let found = found.filter(|finding| finding.verdict == Verdict::Problem);
    let found: Vec<_> = found.map(|finding| finding.check).collect();
    assert_eq!(found, problems, "{report}");
    assert_eq!(report.has_problem(), !problems.is_empty());
    assert_eq!(report.findings.len(), Check::ALL.len());
}

fn measured(report: &Report, check: &str, name: &str) -> serde_json::Value {
    report.to_json()["checks"][check]["measured"][name].clone()
}

#[tokio::test]
async fn nothing_is_wrong_without_a_hop() {
    let backend = probe_backend().await;
    let report = probe(&format!("http://{backend}/any/path?query=1")).await;
    let report = report.unwrap();
    check(&report, &[]);
    let oks = report.findings.iter();
    assert!(oks.map(|f| f.verdict).all(|v| v == Verdict::Ok), "{report}");
    assert!(report.hops.is_empty(), "{report}");
}

#[tokio::test]
async fn nothing_is_wrong_through_weir() {
    let backend = probe_backend().await;
    let weir = Weir::route(
        &format!("http://{backend}"),
        "[route.heartbeat]\nevery = \"1s\"",
    );
    let url = format!("http://{}/a", weir.address());
    let report = probe(&url).await.unwrap();
    check(&report, &[]);
    assert_eq!(report.to_json()["hops"][0], "Weir");
    let beats = measured(&report, "silence", "heartbeats_of_hops");
    assert!(beats.as_u64() > Some(0), "{report}");
}

#[tokio::test]
async fn a_hop_that_gathers_is_found() {
    let report = through(Fault::Gathers).await;
    let found = report
        .findings
        .iter()
        .filter(|f| f.verdict == Verdict::Problem);
    let found: Vec<_> = found.map(|finding| finding.check).collect();
    assert!(
        found.starts_with(&[Check::Head, Check::Buffering]),
        "{report}"
    );
    let bytes = measured(&report, "buffering", "bytes_at_once").as_u64();
    assert!((4096..8192).contains(&bytes.unwrap()), "{report}");
    let helps = measured(&report, "buffering", "response_fields_help");
    assert_eq!(helps, false, "{report}");
    assert!(
        report.to_string().contains("response buffering off"),
        "{report}"
    );
}

#[tokio::test]
async fn a_hop_that_holds_the_head_is_found() {
    check(&through(Fault::HoldsHead).await, &[Check::Head]);
}

#[tokio::test]
async fn a_hop_that_cuts_silence_is_found() {
    let report = through(Fault::CutsSilence).await;
    let found = report.findings.iter().find(|f| f.check == Check::Silence);
    assert_eq!(found.unwrap().verdict, Verdict::Problem, "{report}");
    let cut = measured(&report, "silence", "cut_after_ms")
        .as_u64()
        .unwrap();
    assert!((900..2500).contains(&cut), "{report}");
    let helps = measured(&report, "silence", "heartbeats_help");
    assert_eq!(helps, true, "{report}");
}

#[tokio::test]
async fn a_hop_that_completes_what_was_cut_is_found() {
    check(&through(Fault::Completes).await, &[Check::Truncation]);
}

#[tokio::test]
async fn a_hop_that_reads_on_is_found() {
    check(&through(Fault::ReadsOn).await, &[Check::Cancellation]);
}

#[tokio::test]
async fn of_a_foreign_stream_it_says_what_it_cannot_tell() {
    let backend = backend::Backend::bind().await;
    let url = format!("{}/", backend.endpoint());
    let target = Target::new(url.parse().unwrap(), None, HeaderMap::new()).unwrap();
    let pace = pace();
    let (report, ()) = soon("the report", async {
        tokio::join!(examine(&target, &pace, &|_| {}), async {
            let mut greeted = backend.stream("text/event-stream").await;
            greeted.chunk("data: 1\n\n").await;
            let mut watched = backend.stream("text/event-stream").await;
            watched.chunk("data: 1\n\n").await;
            watched.chunk("data: 2\n\n").await;
            watched.end().await;
        })
    })
    .await;
    let report = report.unwrap();
    assert!(
        report.backend.is_none() && !report.has_problem(),
        "{report}"
    );
    assert_eq!(measured(&report, "buffering", "events"), 2, "{report}");
    let json = report.to_json();
    assert_eq!(json["checks"]["truncation"]["verdict"], "unknown");
    assert_eq!(json["checks"]["head"]["verdict"], "ok");
}

#[tokio::test]
async fn what_cannot_be_opened_is_an_error() {
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = free.local_addr().unwrap();
    drop(free);
    let error = probe(&format!("http://{address}/")).await.unwrap_err();
    assert!(matches!(error, OpenError::Connect(_)), "{error}");

    let weir = Weir::route(&format!("http://{address}"), "");
    let url = format!("http://{}/", weir.address());
    let error = probe(&url).await.unwrap_err().to_string();
    assert!(error.contains("502"), "{error}");
}

/// Probes a fresh backend through a hop with this fault.
async fn through(fault: Fault) -> Report {
    let backend = probe_backend().await;
    let hop = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = hop.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((client, _)) = hop.accept().await {
            tokio::spawn(relay(client, backend, fault));
        }
    });
    probe(&format!("http://{address}/a")).await.unwrap()
}

/// Relays one connection, which ends with either side but for the fault.
async fn relay(client: TcpStream, backend: SocketAddr, fault: Fault) {
    let Ok(upstream) = TcpStream::connect(backend).await else {
        return;
    };
    let (mut from_client, to_client) = client.into_split();
    let (from_upstream, mut to_upstream) = upstream.into_split();
    let requests = async {
        let _ = tokio::io::copy(&mut from_client, &mut to_upstream).await;
        if fault == Fault::ReadsOn {
            std::future::pending::<()>().await;
        }
    };
    tokio::select! {
        () = requests => {}
        () = replies(from_upstream, to_client, fault) => {}
    }
}

async fn replies(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin, fault: Fault) {
    let (mut held, mut chunk) = (Vec::new(), [0; 16 * 1024]);
    let silence_max = match fault {
        Fault::CutsSilence => Duration::from_secs(1),
        Fault::Gathers | Fault::HoldsHead | Fault::Completes | Fault::ReadsOn => {
            Duration::from_mins(1)
        }
    };
    loop {
        let Ok(Ok(length)) = timeout(silence_max, from.read(&mut chunk)).await else {
            return;
        };
        if length == 0 {
            if fault == Fault::Completes {
                held.extend_from_slice(b"0\r\n\r\n");
            }
            let _ = to.write_all(&held).await;
            return;
        }
        held.extend_from_slice(&chunk[..length]);
        let has_ended = held.ends_with(b"0\r\n\r\n") || held.ends_with(b"}\n\n");
        let is_held = match fault {
            Fault::Gathers => held.len() < 4096 && !has_ended,
            Fault::HoldsHead => held.starts_with(b"HTTP/1.1") && held.ends_with(b"\r\n\r\n"),
            Fault::CutsSilence | Fault::Completes | Fault::ReadsOn => false,
        };
        if is_held {
            continue;
        }
        if to.write_all(&held).await.is_err() && fault != Fault::ReadsOn {
            return;
        }
        held.clear();
    }
}
