//! Does the load tool see what is there? Its client against its own backend, with nothing between, and against servers that do wrong.
#![allow(clippy::panic, clippy::unwrap_used, reason = "tests fail by panicking")]

mod server;

use std::future::Future;

use clap::Parser as _;
use tokio::{net::TcpListener, runtime::LocalRuntime};
use weir_load::{
    backend,
    cli::{Cli, Command},
    report::Report,
    run::{self, RunError},
};

/// Runs a work against a backend on a free port.
fn run_work(arguments: &str) -> Report {
    alone(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/any", listener.local_addr().unwrap());
        tokio::task::spawn_local(backend::serve(listener));
        run_at(&url, arguments).await.unwrap()
    })
}

fn alone<T>(test: impl Future<Output = T>) -> T {
    LocalRuntime::new().unwrap().block_on(test)
}

async fn run_at(url: &str, arguments: &str) -> Result<Report, RunError> {
    let line = format!("weir-load run --url {url} --quiet {arguments}");
    let cli = Cli::try_parse_from(line.split_ascii_whitespace()).unwrap();
    let Command::Run(options) = cli.command else {
        panic!("{line} is a run");
    };
    run::run(&options).await.map(|(report, _)| report)
}

#[track_caller]
fn check(arguments: &str, events: impl std::ops::RangeBounds<u64> + std::fmt::Debug) -> Report {
    let report = run_work(arguments);
    assert!(report.is_faultless(), "{report:?}");
    assert!(events.contains(&report.events), "{events:?}: {report:?}");
    assert_eq!(report.latency_us.is_some(), report.events > 0, "{report:?}");
    report
}

#[test]
fn idle_streams_are_silent() {
    let pid = std::process::id();
    let arguments = format!("--work idle --streams 20 --ramp 0.1 --seconds 0.3 --proxy-pid {pid}");
    let proxy = check(&arguments, 0..=0).proxy.unwrap();
    assert!(
        proxy.pss_kb_during > 0 && proxy.kb_per_stream.is_some(),
        "{proxy:?}"
    );
    assert!(
        proxy.cpu_us_per_event.is_none() && proxy.cpu_us_per_stream.is_none(),
        "{proxy:?}"
    );
}

#[test]
fn tick_streams_keep_their_rate() {
    let report = check(
        "--work tick --streams 20 --rate 50 --ramp 0.1 --seconds 1",
        950..=1_050,
    );
    // 200 bytes, `c8`, and two line ends.
    assert_eq!(report.wire_bytes_per_event, Some(206.0));
    assert_eq!(report.payload_bytes, report.events * 200);
}

#[test]
fn llm_streams_keep_their_size() {
    let report = check("--work llm --streams 5 --ramp 0.1 --seconds 0.5", 200..=300);
    assert_eq!(report.wire_bytes_per_event, Some(126.0));
}

#[test]
fn a_stream_may_end_after_its_records() {
    let arguments = "--work tick --streams 4 --rate 50 --records 60 --ramp 0.1 --seconds 1.2";
    check(arguments, 1..=4 * 60);
}

#[test]
fn fire_and_big_go_as_fast_as_they_can() {
    check("--work fire --ramp 0.1 --seconds 0.3", 10_000..);
    check("--work big --ramp 0.1 --seconds 0.3", 100..);
}

#[test]
fn churn_reads_every_stream_to_its_end() {
    check("--work churn --streams 60 --concurrency 8", 300..=300);
    check(
        "--work churn --streams 60 --concurrency 8 --keep",
        300..=300,
    );
}

#[test]
fn slow_readers_stop_and_a_healthy_one_flows() {
    check("--work slow --streams 10 --ramp 0.1 --seconds 0.3", 0..=0);
}

#[test]
fn fanout_streams_may_be_joined_on_their_way() {
    check(
        "--work fanout --streams 20 --ramp 0.1 --seconds 0.5",
        100..=300,
    );
}

#[test]
fn http2_streams_share_a_connection() {
    alone(async {
        let url = server::http2().await;
        let report = run_at(
            &url,
            "--work tick --http 2 --streams 30 --per-connection 10 --ramp 0.1 --seconds 0.5",
        );
        let report = report.await.unwrap();
        assert!(report.is_faultless() && report.events > 300, "{report:?}");
        assert_eq!(report.http, "2");
    });
}

#[test]
fn a_server_that_does_wrong_is_found_out() {
    // Records 0, 1 and 3, a heartbeat, an error event, and the connection's end in a chunk.
    alone(async {
        let url = server::wrong().await;
        let report = run_at(
            &url,
            "--work tick --size 80 --streams 1 --ramp 0 --seconds 0.5",
        )
        .await
        .unwrap();
        assert!(!report.is_faultless());
        let found = (
            report.gaps,
            report.errors,
            report.ended_early,
            report.duplicates,
        );
        assert_eq!(found, (1, 1, 1, 0), "{report:?}");
    });
}

#[test]
fn a_server_that_refuses_gives_no_report() {
    alone(async {
        let url = server::refusing().await;
        let failed = run_at(&url, "--work tick --streams 2").await.unwrap_err();
        assert!(failed.to_string().contains("503"), "{failed}");
        let usage = run_at("http://192.0.2.1/", "--work tick")
            .await
            .unwrap_err();
        assert!(matches!(usage, RunError::Usage(_)), "{usage}");
    });
}
