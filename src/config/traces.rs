//! How does the `[traces]` table become settings?

use std::path::Path;

use http::{HeaderMap, HeaderName, HeaderValue, header, uri::PathAndQuery};
use toml::de::DeValue;

use super::{address, listeners::readable, section::Section};
use crate::{
    collector::Settings,
    upstream::{EndpointAddress, TlsSettings},
};

/// Where collectors take traces, unless a path is written (OTLP/HTTP).
const PATH: &str = "/v1/traces";

/// Reads the section; `None` where it is not there, or wrong.
pub(super) fn read(file: &Section<'_>, directory: &Path) -> Option<Settings> {
    let section = file.given("traces")?;
    let target = section.text("endpoint", target);
    let sample = section.parsed("sample", share);
    let service_name = section.text("service_name", |text| match text {
        "" => Err("it must not be empty".to_owned()),
        _ => Ok(text.to_owned()),
    });
    let headers = headers(&section);
    let tls = section.section("tls");
    let tls = TlsSettings {
        ca: tls.text("ca", readable(directory)),
        server_name: tls.text("server_name", address::server_name),
    };
    let (endpoint, path) = target?;
    Some(Settings {
        endpoint,
        path,
        headers,
        tls,
        sample: sample?,
        service_name: service_name?,
    })
}

/// The collector's address, and its path for traces.
fn target(text: &str) -> Result<(EndpointAddress, PathAndQuery), String> {
    let Some((scheme, rest)) = text.split_once("://") else {
        return Err("it must begin with http:// or https://".to_owned());
    };
    let (authority, path) = match rest.find('/') {
        Some(at) if rest.len() > at + 1 => rest.split_at(at),
        _ => (rest, PATH),
    };
    let path = path
        .parse()
        .map_err(|_| "what stands behind the host and port is no path".to_owned())?;
    Ok((address::endpoint(&format!("{scheme}://{authority}"))?, path))
}

/// A number from 0 to 1.
fn share(value: &DeValue<'_>) -> Option<f64> {
    let number = value
        .as_float()
        .and_then(|number| number.as_str().parse().ok());
    let whole = value
        .as_integer()
        .and_then(|number| number.as_str().parse().ok());
    number.or(whole).filter(|share| (0.0..=1.0).contains(share))
}

/// What the collector is sent besides the spans, such as who we are.
fn headers(section: &Section<'_>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in section.entries("headers") {
        let field = HeaderName::from_bytes(name.value.as_bytes());
        let field = field.ok().filter(|field| !is_ours(field));
        let Some(field) = field else {
            let message = format!(
                "headers has {:?}, which is no field that can be set",
                name.value
            );
            section.fault(name.offset, &message);
            continue;
        };
        if let Ok(mut value) = HeaderValue::from_str(&value.value) {
            value.set_sensitive(true);
            headers.append(field, value);
        } else {
            let message = format!("headers {field} holds what no field can hold");
            section.fault(value.offset, &message);
        }
    }
    headers
}

/// What the message itself decides.
fn is_ours(field: &HeaderName) -> bool {
    [
        header::CONNECTION,
        header::CONTENT_LENGTH,
        header::CONTENT_TYPE,
        header::TRANSFER_ENCODING,
        header::UPGRADE,
    ]
    .contains(field)
}
