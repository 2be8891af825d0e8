//! How do the `[[route]]` tables become settings?

use http::{HeaderName, HeaderValue};

use super::{
    keys, pattern,
    schema::{any_of, closest},
    section::{Place, Section},
};
use crate::{
    route::{From, Limits, Policy, Rewrite, Settings, Timeouts, To},
    transcode::{framing, heartbeat, mapping, output::FieldValue},
};

/// Reads all routes in the order of the file, each with its section; reports duplicates, upstreams
/// that do not exist, and that there is no route.
pub(super) fn read<'a>(file: &Section<'a>) -> Vec<(Section<'a>, Settings)> {
    let places = file.list("route");
    if places.is_empty() && file.value("route").is_none() {
        let example = "a name and an upstream";
        file.absence(&format!("there is no [[route]]; add one with {example}"));
    }
    let upstreams: Vec<String> = file.names("upstream");
    let mut routes: Vec<(Section<'a>, Settings)> = Vec::new();
    for (index, place) in places.into_iter().enumerate() {
        let section = file.open(place, &keys::ROUTE, title(place, index + 1));
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
    })
}

fn policy(section: &Section<'_>) -> Policy {
    let from = section.text("from", from).unwrap_or(From::Auto);
    let to = match section.choice("to") {
        "sse" => To::Sse,
        "as-is" => To::AsIs,
        _ => To::Auto,
    };
    let heartbeat = section.section("heartbeat");
    let timeouts = section.section("timeouts");
    let limits = section.section("limits");
    let rewrite = section.section("rewrite");
    Policy {
        from,
        to,
        event: event(&section.section("event")),
        heartbeat: heartbeat::Settings {
            every: heartbeat.duration_or_off("every"),
            before_reply: heartbeat.duration_or_off("before_reply"),
        },
        timeouts: Timeouts {
            first_byte: timeouts.duration("first_byte"),
            idle: timeouts.duration("idle"),
            total: timeouts.duration_or_off("total"),
            write: timeouts.duration("write"),
        },
        limits: Limits {
            record_bytes_max: limits.bytes("record"),
            buffer_bytes_max: limits.bytes("buffer"),
        },
        rewrite: Rewrite {
            strip_prefix: rewrite.text("strip_prefix", pattern::prefix),
            add_prefix: rewrite.text("add_prefix", pattern::prefix),
        },
    }
}

fn event(section: &Section<'_>) -> mapping::Settings {
    let is_pointer = section
        .value("name")
        .is_some_and(|name| name.get_ref().is_table());
    let name = if is_pointer {
        let message = "name is a table; JSON Pointers into records are not available in this \
                       version; write a string";
        section.fault(section.offset("name"), message);
        None
    } else {
        section.text("name", |text| match FieldValue::new(text) {
            Ok(_) if text.is_empty() => Err("leave it out for events without a name".to_owned()),
            Ok(name) => Ok(name),
            Err(_) => Err("it must hold no line break and no NUL".to_owned()),
        })
    };
    mapping::Settings {
        name,
        retry: section.duration_or_off("retry"),
    }
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
