//! The whole proxy, in this process, on loopback.
#![allow(clippy::panic, clippy::missing_panics_doc, missing_docs, unreachable_pub, reason = "tests fail by panicking, and are their own documentation")]

mod process;
mod streams;
mod support;
mod uploads;
