//! Does `proxy.toml.example` say what the program does?

use std::{fmt::Write, fs, path::Path};

use toml::de::{DeTable, DeValue};

use crate::config::{
    Loaded,
    keys::{END_WHEN, FILE},
    parse,
    schema::{Key, Kind, Presence, Schema},
};

const EXAMPLE: &str = include_str!("../../../proxy.toml.example");

/// Loads the text as if it stood beside the files that the example names.
fn load(text: &str) -> Loaded {
    let directory = tempfile::tempdir().unwrap();
    for name in ["cert.pem", "key.pem", "ca.pem"] {
        fs::write(directory.path().join(name), "").unwrap();
    }
    fs::write(directory.path().join("admin-token"), "0123456789abcdef\n").unwrap();
    parse(text, &directory.path().join("proxy.toml")).unwrap_or_else(|faults| panic!("{faults}"))
}

/// The example with all its keys in force: `#key` is a key, `# text` stays a comment.
fn uncommented() -> String {
    let mut text = String::new();
    for line in EXAMPLE.lines() {
        let is_key = |rest: &&str| rest.starts_with(|c: char| c.is_ascii_lowercase() || c == '[');
        let line = line.strip_prefix('#').filter(is_key).unwrap_or(line);
        writeln!(text, "{line}").unwrap();
    }
    text
}

#[test]
fn loads_as_it_stands() {
    let loaded = load(EXAMPLE);
    assert_eq!(loaded.warnings, [], "what we recommend needs no warning");
    assert_eq!(loaded.config.listeners.len(), 1);
}

#[test]
fn loads_with_every_key() {
    let loaded = load(&uncommented());
    assert_eq!(loaded.config.listeners.len(), 2);
    assert!(
        loaded
            .config
            .admin
            .is_some_and(|admin| admin.token.is_some())
    );
    let mut warnings = loaded.warnings.iter();
    assert!(warnings.any(|warning| warning.message.contains("token_file stands beside it")));
}

/// Each key of the table stands in the example with its default and its bounds.
#[test]
fn holds_each_key_with_its_default_and_range() {
    let text = uncommented();
    let tree = DeTable::parse(&text).unwrap();
    check_section(&[tree.get_ref()], &FILE, &text);
}

fn check_section(tables: &[&DeTable<'_>], schema: &Schema, text: &str) {
    for key in schema.keys {
        let values = tables.iter().filter_map(|table| table.get(key.name));
        let values: Vec<_> = values.collect();
        let place = format!("{} {}", schema.title, key.name);
        if matches!(key.kind, Kind::Later(_)) {
            assert!(values.is_empty(), "{place} is not available");
            continue;
        }
        assert!(!values.is_empty(), "{place} is missing");
        if let Some(below) = key.section() {
            // A condition is described once, where a stream ends.
            if names(below) == names(&END_WHEN) && key.name != "when" {
                continue;
            }
            let tables: Vec<&DeTable<'_>> = values
                .iter()
                .flat_map(|value| tables_of(key, value.get_ref()))
                .collect();
            check_section(&tables, below, text);
            continue;
        }
        let is_right = values
            .iter()
            .any(|value| is_described(key, value.span(), text));
        assert!(is_right, "{place}: {:?}, {}", key.presence, key.allowed());
    }
}

fn names(schema: &Schema) -> Vec<&str> {
    schema.keys.iter().map(|key| key.name).collect()
}

fn tables_of<'a>(key: &Key, value: &'a DeValue<'a>) -> Vec<&'a DeTable<'a>> {
    if matches!(key.kind, Kind::Named(_)) {
        let named = value.as_table().unwrap();
        return named
            .values()
            .filter_map(|value| value.get_ref().as_table())
            .collect();
    }
    match value.as_array() {
        Some(array) => array
            .iter()
            .filter_map(|value| value.get_ref().as_table())
            .collect(),
        None => value.as_table().into_iter().collect(),
    }
}

/// Whether the value there, or the comment behind it, tells the key's default and what is allowed.
fn is_described(key: &Key, span: std::ops::Range<usize>, text: &str) -> bool {
    let value = &text[span.clone()];
    // The comment may go on in lines that are indented to its column.
    let mut lines = text[span.end..].lines();
    let mut comment = lines.next().unwrap_or_default().to_owned();
    for line in lines.take_while(|line| line.starts_with("     ")) {
        comment.push(' ');
        comment.push_str(line.trim_start().trim_start_matches("# "));
    }
    let is_default_told = match key.presence {
        Presence::Default(default) => {
            value == default || comment.contains(&format!("default {default}"))
        }
        Presence::Required => comment.contains("required"),
        Presence::Optional => true,
    };
    let is_range_told = if let Kind::Choice { now, .. } = key.kind {
        let told = format!("{value}{comment}");
        now.iter()
            .all(|choice| told.contains(&format!("{choice:?}")))
    } else {
        !has_range(&key.kind) || comment.contains(&key.allowed())
    };
    is_default_told && is_range_told
}

fn has_range(kind: &Kind) -> bool {
    matches!(
        kind,
        Kind::Duration { .. } | Kind::Bytes { .. } | Kind::Count { .. }
    )
}

#[test]
fn names_each_framing() {
    let lines = EXAMPLE
        .lines()
        .skip_while(|line| !line.starts_with("#from = "));
    let comment: String = lines
        .take_while(|line| !line.starts_with("#to = "))
        .collect();
    for framing in crate::transcode::framing::FRAMINGS {
        let name = format!("{:?}", framing.name);
        assert!(comment.contains(&name), "{name} is missing");
    }
}

#[test]
fn the_readme_and_the_example_name_each_framing_output_and_preset() {
    let readme = include_str!("../../../README.md");
    let framings = crate::transcode::framing::FRAMINGS.iter();
    let outputs = crate::transcode::output::OUTPUTS.iter();
    let presets = crate::config::presets::Presets::new().names();
    let names = framings
        .map(|framing| framing.name)
        .chain(outputs.map(|output| output.name))
        .chain(presets);
    for name in names {
        assert!(readme.contains(&format!("`{name}`")), "README: {name}");
        assert!(EXAMPLE.contains(&format!("{name:?}")), "example: {name}");
    }
}

/// The table of keys and the components' own defaults are the same.
#[test]
fn defaults_are_those_of_the_components() {
    let minimal = "[[listener]]\naddress = '[::1]:0'\n[upstream.a]\nendpoints = ['unix:/a']\n\
                   [[route]]\nname = 'r'\nupstream = 'a'\n";
    let config = parse(minimal, Path::new("proxy.toml")).unwrap().config;
    let (listener, policy) = (&config.listeners[0], &config.routes[0].policy);
    let pairs = [
        (
            format!("{:?}", listener.timeouts),
            format!("{:?}", crate::edge::Timeouts::default()),
        ),
        (
            format!("{:?}", policy.timeouts),
            format!("{:?}", crate::route::Timeouts::default()),
        ),
        (
            format!("{:?}", policy.limits),
            format!("{:?}", crate::route::Limits::default()),
        ),
        (
            format!("{:?}", policy.heartbeat),
            format!("{:?}", crate::transcode::heartbeat::Settings::default()),
        ),
        (
            format!("{:?}", policy.event),
            format!("{:?}", crate::transcode::mapping::Settings::default()),
        ),
        (
            format!("{:?}", policy.compress),
            format!("{:?}", crate::transcode::compress::Settings::default()),
        ),
        (
            format!("{:?}", config.upstreams[0].balance),
            format!("{:?}", crate::balance::Method::default()),
        ),
    ];
    for (configured, component) in pairs {
        assert_eq!(configured, component);
    }
    assert!(listener.http.is_http1 && listener.http.is_http2);
    assert!(config.threads >= 1);
}

/// A key that is listed but never read would be accepted in silence.
#[test]
fn each_key_is_read() {
    check_read(&FILE, &mut Vec::new());
}

/// Puts a date, which no key takes, under each key, and expects it to be refused.
fn check_read(schema: &'static Schema, path: &mut Vec<&'static Schema>) {
    path.push(schema);
    for key in schema.keys {
        let headers = path[1..]
            .iter()
            .map(|schema| schema.title.replace("NAME", "a"));
        let mut text: String = headers.map(|header| header + "\n").collect();
        writeln!(text, "{} = 1979-05-27", key.name).unwrap();
        let line = text.lines().count();
        let faults = parse(&text, Path::new("proxy.toml")).unwrap_err().0;
        let is_refused = |fault: &crate::config::Remark| {
            fault.line == Some(line) && fault.message.contains(&format!("{} is ", key.name))
        };
        assert!(faults.iter().any(is_refused), "{text}");
        if let Some(below) = key.section() {
            check_read(below, path);
        }
    }
    path.pop();
}
