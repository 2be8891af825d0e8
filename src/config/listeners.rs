//! How do the `[[listener]]` tables become settings?

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
};

use ipnet::IpNet;

use super::{
    address, keys,
    section::{Place, Section},
    trusted_proxies,
};
use crate::edge::{
    CertificateSettings, HeadLimits, HttpVersions, ListenerAddress, Settings, Timeouts,
};

/// Reads all listeners, each with its section; reports duplicates and that there is none.
pub(super) fn read<'a>(
    file: &Section<'a>,
    directory: &Path,
    trusted: &[IpNet],
) -> Vec<(Section<'a>, Settings)> {
    let places = file.list("listener");
    if places.is_empty() && file.value("listener").is_none() {
        let example = "address = \"127.0.0.1:8080\"";
        file.absence(&format!("there is no [[listener]]; add one with {example}"));
    }
    let mut listeners: Vec<(Section<'a>, Settings)> = Vec::new();
    for (index, place) in places.into_iter().enumerate() {
        let section = file.open(place, &keys::LISTENER, title(place, index + 1));
        let Some(settings) = listener(&section, directory, trusted) else {
            continue;
        };
        let is_same = |(_, other): &&(Section<'_>, Settings)| {
            other.address == settings.address && !is_any_port(&other.address)
        };
        if let Some((other, _)) = listeners.iter().find(is_same) {
            let line = other.line("address");
            let message = format!("address is taken by the listener in line {line}; take another");
            section.fault(section.offset("address"), &message);
        }
        listeners.push((section, settings));
    }
    listeners
}

/// A check that the file can be read; gives its path, relative to `directory`.
pub(super) fn readable(directory: &Path) -> impl Fn(&str) -> Result<PathBuf, String> {
    move |text| {
        let path = directory.join(text);
        let is_readable = fs::metadata(&path).and_then(|metadata| {
            if metadata.is_dir() {
                return Err(std::io::ErrorKind::IsADirectory.into());
            }
            // Opening a pipe would wait for its writer.
            if metadata.is_file() {
                File::open(&path)?;
            }
            Ok(())
        });
        match is_readable {
            Ok(()) => Ok(path),
            Err(error) => Err(format!("{} cannot be read: {error}", path.display())),
        }
    }
}

fn listener(section: &Section<'_>, directory: &Path, trusted: &[IpNet]) -> Option<Settings> {
    let address = section.text("address", address::listener);
    let http = http_versions(section);
    let certificates = section.sections("tls");
    if section.is_empty_list("tls") {
        let message = "tls is an empty list; leave it out for cleartext";
        section.fault(section.offset("tls"), message);
    }
    let certificate = |tls: &Section<'_>| {
        let certificate = tls.text("certificate", readable(directory));
        let key = tls.text("key", readable(directory));
        Some(CertificateSettings {
            certificate: certificate?,
            key: key?,
        })
    };
    let tls = certificates.iter().filter_map(certificate).collect();
    let trusted_proxies = trusted_proxies(section).map_or_else(|| trusted.into(), Into::into);
    let timeouts = section.section("timeouts");
    let timeouts = Timeouts {
        handshake: timeouts.duration("handshake"),
        header: timeouts.duration("header"),
        idle: timeouts.duration("idle"),
        unacknowledged: timeouts.duration("unacknowledged"),
    };
    let limits = section.section("limits");
    let connections_max = limits.count("connections");
    let (bytes_max, fields_max) = (limits.bytes("header"), limits.count("headers"));
    Some(Settings {
        address: address?,
        http,
        tls,
        trusted_proxies,
        timeouts,
        connections_max: connections_max?,
        heads: HeadLimits {
            bytes_max,
            fields_max: fields_max?,
        },
    })
}

fn http_versions(section: &Section<'_>) -> HttpVersions {
    let version = |text: &str| match text {
        "1.1" | "2" => Ok(text == "2"),
        _ => Err("each must be \"1.1\" or \"2\"".to_owned()),
    };
    let versions = section.texts("http", version).unwrap_or_default();
    if section.is_empty_list("http") {
        let message = "http is an empty list; it must hold \"1.1\", \"2\" or both";
        section.fault(section.offset("http"), message);
    }
    HttpVersions {
        is_http1: versions.contains(&false),
        is_http2: versions.contains(&true),
    }
}

fn title(place: Place<'_>, number: usize) -> String {
    let address = place.table.get("address");
    match address.and_then(|address| address.get_ref().as_str()) {
        Some(address) => format!("listener {address}"),
        None => format!("listener number {number}"),
    }
}

/// Port 0 takes a free one each time, so it may be written twice.
fn is_any_port(address: &ListenerAddress) -> bool {
    matches!(address, ListenerAddress::Tcp(address) if address.port() == 0)
}
