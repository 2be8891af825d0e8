//! Does Weir do what it says, seen from outside?
#![allow(
    clippy::panic,
    clippy::unwrap_used,
    clippy::missing_panics_doc,
    missing_docs,
    unreachable_pub,
    reason = "tests fail by panicking, and are their own documentation"
)]

mod admin;
mod bombs;
mod clients;
mod compressed;
mod compressing;
mod dashboards;
mod descriptors;
mod draining;
mod edge;
mod failing_polls;
mod forwarding;
mod handover;
mod health;
mod http2_upstreams;
mod leaving;
mod limits;
mod members;
mod memory;
mod metrics;
mod outputs;
mod polled_upstreams;
mod presets;
mod probe;
mod process;
mod reload;
mod replies;
mod requests;
mod retrying;
mod reuse;
mod sse_reader;
mod streams;
mod support;
mod takeover;
mod tidy;
mod tls;
mod traces;
mod trailers;
mod transcode;
mod upgrades;
mod uploads;
mod upstreams;
mod watchdog;
mod watching;
mod websocket_upstreams;
