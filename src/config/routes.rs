//! How do the `[[route]]` tables become settings?

use std::sync::Arc;

use encoding_rs::Encoding;
use http::{HeaderName, HeaderValue};

use super::{
    bounds, events, keys, pattern,
    presets::Presets,
    schema::{any_of, closest},
    section::{Place, Section},
};
use crate::{
    route::{From, Limits, Policy, Rewrite, Settings, Timeouts, To},
    transcode::{
        charset,
        compress::{self, Coding},
        framing, heartbeat, output,
    },
};

/// Reads all routes in the order of the file, each with its section; reports duplicates, upstreams
/// that do not exist, and that there is no route.
pub(super) fn read<'a>(file: &Section<'a>, presets: &'a Presets) -> Vec<(Section<'a>, Settings)> {
    let places = file.list("route");
    if places.is_empty() && file.value("route").is_none() {
        let example = "a name and an upstream";
        file.absence(&format!("there is no [[route]]; add one with {example}"));
    }
    let upstreams: Vec<String> = file.names("upstream");
    let mut routes: Vec<(Section<'a>, Settings)> = Vec::new();
    for (index, place) in places.into_iter().enumerate() {
        let section = file.open(place, &keys::ROUTE, title(place, index + 1));
        let preset = section.text("preset", |name| {
            presets.get(name).ok_or_else(|| {
                let names = presets.names();
                let hint = did_you_mean(name, &names);
                format!("it must be {}{hint}", any_of(&names))
            })
        });
        let section = section.with_preset(preset);
        let Some(settings) = route(&section, &upstreams) else {
            continue;
        };
        if let Some((other, _)) = routes.iter().find(|(_, other)| other.name == settings.name) {
            let line = other.line("name");
            let message = format!("name is taken by the route in line {line}; take another");
            section.fault(section.offset("name"), &message);
        }
        routes.push((section, settings));
    }
    routes
}

fn route(section: &Section<'_>, upstreams: &[String]) -> Option<Settings> {
    let name = section.text("name", pattern::name);
    let host = section.text("host", pattern::host);
    let path = section.text("path", pattern::path);
    let methods = section.texts("methods", pattern::method);
    if section.is_empty_list("methods") {
        let message = "methods is empty; leave it out to take every method";
        section.fault(section.offset("methods"), message);
    }
    let headers = headers(section);
    let upstream = section.text("upstream", |name| known_upstream(name, upstreams));
    let policy = policy(section);
    Some(Settings {
        name: name?,
        host,
        path: path?,
        methods: methods.unwrap_or_default(),
        headers,
        upstream: upstream?,
        policy,
        metrics: Arc::default(),
        gate: Arc::default(),
    })
}

fn policy(section: &Section<'_>) -> Policy {
    let from = section.text("from", from).unwrap_or(From::Auto);
    let to = match section.choice("to") {
        "as-is" => To::AsIs,
        name => output::by_name(name).map_or(To::Auto, To::Output),
    };
    let heartbeat = section.section("heartbeat");
    let timeouts = section.section("timeouts");
    let limits = section.section("limits");
    let rewrite = section.section("rewrite");
    Policy {
        from,
        to,
        charset: section.text("charset", charset).flatten(),
        event: Arc::new(events::read(section)),
        heartbeat: heartbeat::Settings {
            every: heartbeat.duration_or_off("every"),
            is_asked_for: heartbeat.value("every").is_some(),
            before_reply: heartbeat.duration_or_off("before_reply"),
        },
        timeouts: Timeouts {
            first_byte: timeouts.duration("first_byte"),
            idle: timeouts.duration("idle"),
            total: timeouts.duration_or_off("total"),
            max_age: timeouts.duration_or_off("max_age"),
            write: timeouts.duration("write"),
        },
        limits: Limits {
            record_bytes_max: limits.bytes("record"),
            buffer_bytes_max: limits.bytes("buffer"),
            body_bytes_max: limits.size("body").map(|bytes| bytes as u64),
            admission: bounds::admission(&limits),
        },
        rewrite: Rewrite {
            strip_prefix: rewrite.text("strip_prefix", pattern::prefix),
            add_prefix: rewrite.text("add_prefix", pattern::prefix),
        },
        compress: compress(&section.section("compress")),
    }
}

fn compress(section: &Section<'_>) -> compress::Settings {
    let known = |name: &str| {
        let names = compress::CODINGS.map(Coding::name);
        Coding::by_name(name).ok_or_else(|| format!("it must be {}", any_of(&names)))
    };
    let codings = section.texts("codings", known).unwrap_or_default();
    for (index, coding) in codings.iter().enumerate() {
        if codings[..index].contains(coding) {
            let message = format!("codings has {:?} twice; write each once", coding.name());
            section.fault(section.offset("codings"), &message);
        }
    }
    compress::Settings {
        window_log: match section.choice("window") {
            "1KiB" => 10,
            "2KiB" => 11,
            "8KiB" => 13,
            "16KiB" => 14,
            "32KiB" => 15,
            _ => compress::Settings::default().window_log,
        },
        codings,
    }
}

fn charset(text: &str) -> Result<Option<&'static Encoding>, String> {
    if text == "auto" {
        return Ok(None);
    }
    let found = charset::by_name(text).map(Some);
    found.ok_or_else(|| "it must be \"auto\" or a charset of the Encoding Standard".to_owned())
}

fn from(text: &str) -> Result<From, String> {
    if text == "auto" {
        return Ok(From::Auto);
    }
    framing::by_name(text).map(From::Framing).ok_or_else(|| {
        let names = framing::FRAMINGS.iter().map(|framing| framing.name);
        let names: Vec<&str> = std::iter::once("auto").chain(names).collect();
        format!(
            "it must be {}{}",
            any_of(&names),
            did_you_mean(text, &names)
        )
    })
}

fn headers(section: &Section<'_>) -> Vec<(HeaderName, HeaderValue)> {
    let mut headers: Vec<(HeaderName, HeaderValue)> = Vec::new();
    for (name, value) in section.entries("headers") {
        let Ok(field) = HeaderName::from_bytes(name.value.as_bytes()) else {
            let message = format!("headers has {:?}, which is no name of a field", name.value);
            section.fault(name.offset, &message);
            continue;
        };
        let Ok(content) = HeaderValue::from_str(&value.value) else {
            let message = format!(
                "headers {field} is {:?}, which no field can hold",
                value.value
            );
            section.fault(value.offset, &message);
            continue;
        };
        if headers.iter().any(|(other, _)| *other == field) {
            let message = format!("headers has {field} twice; upper and lower case are the same");
            section.fault(name.offset, &message);
        }
        headers.push((field, content));
    }
    headers
}

fn known_upstream(name: &str, upstreams: &[String]) -> Result<String, String> {
    if upstreams.iter().any(|upstream| upstream == name) {
        return Ok(name.to_owned());
    }
    if upstreams.is_empty() {
        return Err(format!(
            "there is none; add [upstream.{name}] with its endpoints"
        ));
    }
    let names: Vec<&str> = upstreams.iter().map(String::as_str).collect();
    Err(format!(
        "it must be {}{}",
        any_of(&names),
        did_you_mean(name, &names)
    ))
}

/// A hint to put behind the list of `names`, if one of several was probably meant.
fn did_you_mean(written: &str, names: &[&str]) -> String {
    match closest(written, names.iter().copied()) {
        Some(close) if names.len() > 1 => format!("; did you mean {close:?}?"),
        _ => String::new(),
    }
}

fn title(place: Place<'_>, number: usize) -> String {
    let name = place.table.get("name");
    match name.and_then(|name| name.get_ref().as_str()) {
        Some(name) => format!("route {name:?}"),
        None => format!("route number {number}"),
    }
}
