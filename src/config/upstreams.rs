//! How do the `[upstream.NAME]` tables become settings?

use std::path::Path;

use http::{HeaderName, StatusCode};
use humantime::format_duration;

use super::{
    address, bridges, health, keys,
    listeners::readable,
    pattern,
    section::{Section, read::Element},
    values,
};
use crate::{
    balance::Method,
    upstream::{
        DnsMode, DnsSettings, EndpointSettings, HttpVersion, QueueSettings, RetrySettings,
        Settings, Target, TlsSettings, key::HashBy,
    },
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
    let endpoints = endpoints(section);
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
    let slow_start = section.duration_or_off("slow_start").unwrap_or_default();
    let queue = section.section("queue");
    let queue = QueueSettings {
        size: queue.count("size").unwrap_or_default(),
        timeout: queue.duration("timeout"),
    };
    let dns = dns(section);
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
        slow_start,
        queue,
        dns,
        connect_timeout,
        retry,
        tls,
        health,
        bridge,
    })
}

fn endpoints(section: &Section<'_>) -> Option<Vec<EndpointSettings>> {
    let streams_max = section.count("max_streams");
    let read = |element: Element<'_>| match element {
        Element::Text(text) => {
            let target = address::target(&text.value).map_err(|reason| {
                let message = format!("endpoints has {}; {reason}", values::shown(&text.value));
                section.fault(text.offset, &message);
            });
            Some(EndpointSettings {
                target: target.ok()?,
                weight: 1,
                streams_max,
            })
        }
        Element::Table(table) => endpoint(&table, streams_max),
    };
    let elements = section.elements("endpoints")?;
    Some(elements.into_iter().filter_map(read).collect())
}

fn endpoint(table: &Section<'_>, streams_max: Option<usize>) -> Option<EndpointSettings> {
    let target = table.text("url", address::target);
    let weight = table.count("weight");
    let streams_max = table.count("max_streams").or(streams_max);
    let is_service = matches!(target, Some(Target::Service { .. }));
    if is_service && table.value("weight").is_some() {
        let message = "weight has no effect, as the SRV records say the weights; leave it out";
        table.fault(table.offset("weight"), message);
    }
    Some(EndpointSettings {
        target: target?,
        weight: weight.and_then(|weight| u16::try_from(weight).ok())?,
        streams_max,
    })
}

fn dns(section: &Section<'_>) -> DnsSettings {
    let dns = section.section("dns");
    let settings = DnsSettings {
        mode: match dns.choice("mode") {
            "each" => DnsMode::Each,
            _ => DnsMode::Name,
        },
        server: dns.text("server", address::dns_server),
        ttl_min: dns.duration("min_ttl"),
        ttl_max: dns.duration("max_ttl"),
    };
    if settings.ttl_min > settings.ttl_max {
        let message = format!(
            "min_ttl is {}, which is more than max_ttl, {}",
            format_duration(settings.ttl_min),
            format_duration(settings.ttl_max)
        );
        dns.fault(dns.offset("min_ttl"), &message);
    }
    settings
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

fn check_endpoints(section: &Section<'_>, endpoints: &[EndpointSettings]) {
    let offset = section.offset("endpoints");
    if section.is_empty_list("endpoints") {
        let message =
            "endpoints is empty; it must name at least one, such as \"http://127.0.0.1:11434\"";
        section.fault(offset, message);
    }
    let is_repeated = |index: &usize| {
        let mut before = endpoints[..*index].iter();
        before.any(|before| before.target == endpoints[*index].target)
    };
    if let Some(index) = (0..endpoints.len()).find(is_repeated) {
        let message = format!(
            "endpoints has one twice (number {}); write each once",
            index + 1
        );
        section.fault(offset, &message);
    }
}
