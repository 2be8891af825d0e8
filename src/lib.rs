//! Weir: a reverse proxy that turns the streams of legacy backends into Server-Sent Events.

pub mod balance;
pub mod edge;
pub mod route;
pub mod transcode;
pub mod upstream;
