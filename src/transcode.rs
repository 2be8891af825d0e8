//! How does one stream turn into the other?
//!
//! Sans-IO: bytes in, bytes out; clocks and randomness are arguments (invariant 1).

pub mod charset;
pub mod compress;
pub mod framing;
pub mod heartbeat;
pub mod inflate;
pub mod json;
pub mod mapping;
pub mod output;
pub mod transcoder;
