//! How does `[upstream.NAME.health]` become settings?

use std::ops::RangeInclusive;

use http::{HeaderValue, uri::PathAndQuery};
use humantime::format_duration;

use super::section::Section;
use crate::{
    health::Streaks,
    upstream::{CheckSettings, HealthSettings},
};

/// Reads the section, or its defaults where it is not written.
pub(super) fn read(section: &Section<'_>) -> HealthSettings {
    let (eject, eject_max) = (section.duration("eject"), section.duration("eject_max"));
    if eject_max < eject {
        let message = format!(
            "eject_max is {}; it must be at least eject, which is {}",
            format_duration(eject_max),
            format_duration(eject)
        );
        section.fault(section.offset("eject_max"), &message);
    }
    HealthSettings {
        failures: count(section, "failures"),
        within: section.duration("within"),
        eject,
        eject_max,
        check: section.given("check").map(|check| self::check(&check)),
    }
}

fn check(section: &Section<'_>) -> CheckSettings {
    for name in ["host", "status"] {
        if section.value(name).is_some() && section.value("path").is_none() {
            let message = format!("{name} is of no use without a path to ask for; add path");
            section.fault(section.offset(name), &message);
        }
    }
    CheckSettings {
        path: section.text("path", path),
        host: section.text("host", host),
        status: section.text("status", status).unwrap_or(200..=399),
        every: section.duration("every"),
        timeout: section.duration("timeout"),
        streaks: Streaks {
            rise: count(section, "rise"),
            fall: count(section, "fall"),
        },
    }
}

fn count(section: &Section<'_>, name: &str) -> u32 {
    let count = section.count(name).unwrap_or_default();
    u32::try_from(count).unwrap_or(u32::MAX)
}

fn path(text: &str) -> Result<PathAndQuery, String> {
    let path = PathAndQuery::try_from(text).ok();
    let path = path.filter(|_| text.starts_with('/') && !text.contains('#'));
    path.ok_or_else(|| r#"it must be a path such as "/healthz""#.to_owned())
}

fn host(text: &str) -> Result<HeaderValue, String> {
    let is_host = text.parse::<http::uri::Authority>().is_ok() && !text.contains('@');
    let value = HeaderValue::from_str(text).ok().filter(|_| is_host);
    value.ok_or_else(|| "it must be a host, with its port where it has one".to_owned())
}

/// `"200"` or `"200-399"`.
fn status(text: &str) -> Result<RangeInclusive<u16>, String> {
    let (from, to) = text.split_once('-').unwrap_or((text, text));
    let code = |text: &str| {
        text.trim()
            .parse()
            .ok()
            .filter(|code| (100..=599).contains(code))
    };
    match (code(from), code(to)) {
        (Some(from), Some(to)) if from <= to => Ok(from..=to),
        _ => Err(r#"it must be from 100 to 599, such as "200" or "200-399""#.to_owned()),
    }
}
