//! Does Weir do what it says, seen from outside?
#![allow(
    clippy::panic,
    clippy::unwrap_used,
    clippy::missing_panics_doc,
    missing_docs,
    unreachable_pub,
    reason = "tests fail by panicking, and are their own documentation"
)]

mod sse_reader;
mod support;
mod transcode;
mod bombs;
mod streams;
mod uploads;
mod forwarding;
mod trailers;
mod reuse;
mod upgrades;
mod edge;
mod tls;
mod upstreams;
mod replies;
mod requests;
mod http2_upstreams;
mod compressed;
mod process;
mod tidy;
