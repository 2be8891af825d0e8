//! Weir: a reverse proxy that turns the streams of legacy backends into Server-Sent Events.

pub mod admin;
pub mod alarm;
pub mod app;
pub mod balance;
pub mod cli;
pub mod config;
pub mod drain;
pub mod edge;
pub mod error;
pub mod pem;
pub mod proxy;
pub mod route;
pub mod telemetry;
pub mod transcode;
pub mod upstream;
