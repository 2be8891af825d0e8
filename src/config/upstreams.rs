//! How do the `[upstream.NAME]` tables become settings?

use std::path::Path;

use http::{HeaderName, StatusCode};

use super::{address, bridges, health, keys, listeners::readable, pattern, section::Section};
use crate::{
    balance::Method,
    upstream::{EndpointAddress, HttpVersion, RetrySettings, Settings, TlsSettings, key::HashBy},
};

/// Reads all upstreams in the order of the file, each with its section.
pub(super) fn read<'a>(file: &Section<'a>, directory: &Path) -> Vec<(Section<'a>, Settings)> {
    let mut upstreams = Vec::new();
    for (name, place) in file.named("upstream") {
        let section = file.open(place, &keys::UPSTREAM, format!("upstream {name:?}"));
        if let Err(reason) = pattern::name(&name) {
            section.fault(place.offset, &format!("its name is {name:?}; {reason}"));
        }
        if let Some(settings) = upstream(name, &section, directory) {
            upstreams.push((section, settings));
        }
    }
    upstreams
}

fn upstream(name: String, section: &Section<'_>, directory: &Path) -> Option<Settings> {
    let endpoints = section.texts("endpoints", address::endpoint);
    check_endpoints(section, endpoints.as_deref().unwrap_or_default());
    let http = match section.choice("http") {
        "2" => HttpVersion::Http2,
        "auto" => HttpVersion::Auto,
        _ => HttpVersion::Http1,
    };
    let balance = match section.choice("balance") {
        "round-robin" => Method::RoundRobin,
        "p2c" => Method::PowerOfTwo,
        "hash" => Method::Hash,
        _ => Method::LeastStreams,
    };
    let hash_by = hash_by(section);
    let connect_timeout = section.duration("connect_timeout");
    let retry = retry(&section.section("retry"));
    let tls = section.section("tls");
    let tls = TlsSettings {
        ca: tls.text("ca", readable(directory)),
        server_name: tls.text("server_name", address::server_name),
    };
    let health = health::read(&section.section("health"));
    let bridge = bridges::read(section);
    Some(Settings {
        name,
        endpoints: endpoints?,
        http,
        balance,
        hash_by,
        connect_timeout,
        retry,
        tls,
        health,
        bridge,
    })
}

/// What makes the key, in the order in which it is looked for.
fn hash_by(section: &Section<'_>) -> Vec<HashBy> {
    let hash = section.section("hash");
    let name = |text: &str| match text {
        "" => Err("it must not be empty".to_owned()),
        _ => Ok(text.to_owned()),
    };
    let header = hash.text("header", |text| {
        HeaderName::from_bytes(text.as_bytes()).map_err(|_| "that is no name of a field".to_owned())
    });
    let chosen = [
        header.map(HashBy::Header),
        hash.text("cookie", name).map(HashBy::Cookie),
        hash.text("query", name).map(HashBy::Query),
    ];
    let mut chosen: Vec<_> = chosen.into_iter().flatten().collect();
    if chosen.is_empty() {
        chosen.push(HashBy::Peer);
    }
    chosen
}

fn retry(section: &Section<'_>) -> RetrySettings {
    let mut settings = RetrySettings::default();
    if let Some(attempts) = section.count("attempts") {
        settings.attempts_max = attempts;
    }
    if let Some(percent) = section.count("budget") {
        settings.budget_percent = u8::try_from(percent).unwrap_or(100);
    }
    if let Some(occasions) = section.texts("on", occasion) {
        settings.is_after_reset = occasions.contains(&None);
        settings.statuses = occasions.into_iter().flatten().collect();
    }
    settings
}

/// A status in whose place another endpoint is asked; `None` for a connection that is closed before.
fn occasion(text: &str) -> Result<Option<StatusCode>, String> {
    if text == "reset" {
        return Ok(None);
    }
    let status = text.parse().ok().and_then(|status: StatusCode| {
        let is_error = status.is_client_error() || status.is_server_error();
        is_error.then_some(status)
    });
    let reason = || r#"it must be "reset" or a status from "400" to "599""#.to_owned();
    status.map(Some).ok_or_else(reason)
}

fn check_endpoints(section: &Section<'_>, endpoints: &[EndpointAddress]) {
    let offset = section.offset("endpoints");
    if section.is_empty_list("endpoints") {
        let message =
            "endpoints is empty; it must name at least one, such as \"http://127.0.0.1:11434\"";
        section.fault(offset, message);
    }
    let is_repeated = |index: &usize| endpoints[..*index].contains(&endpoints[*index]);
    if let Some(index) = (0..endpoints.len()).find(is_repeated) {
        let message = format!(
            "endpoints has one twice (number {}); write each once",
            index + 1
        );
        section.fault(offset, &message);
    }
}
