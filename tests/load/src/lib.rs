//! What is in a load for a streaming proxy? A backend that emits records, and a client that counts and times them.
//!
//! Each record says when it left and which of its stream it is. So the client knows, without asking anyone, how long
//! a proxy held it and whether one was lost. It reads what the proxy spent from `/proc`.
//!
//! 1. Every wait, count and buffer has a bound.
//! 2. Nothing here talks to any address but the loopback.
//! 3. What the client does not understand is a fault, never skipped.

pub mod backend;
pub mod cli;
pub mod client;
pub mod clock;
pub mod connect;
pub mod http1;
pub mod plot;
pub mod process;
pub mod progress;
pub mod reader;
pub mod record;
pub mod report;
pub mod run;
pub mod soak;
pub mod stream;
pub mod tally;
pub mod target;
pub mod work;
