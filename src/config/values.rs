//! What does a string mean as a duration or a size?
//!
//! Errors are the end of a sentence that begins with the key's name.

use std::time::Duration;

use super::schema::{Key, Kind};

/// The duration, or `None` for `"off"` where the key takes it.
pub(super) fn duration(text: &str, key: &Key) -> Result<Option<Duration>, String> {
    let Kind::Duration {
        from,
        to,
        is_off_allowed,
    } = key.kind
    else {
        return Err(format!("is {text:?}; it must be {}", key.allowed()));
    };
    if is_off_allowed && text == "off" {
        return Ok(None);
    }
    let parse = humantime::parse_duration;
    let Ok(duration) = parse(text) else {
        let units = "a duration with its unit, such as \"15s\" or \"1m 30s\"";
        let off = if is_off_allowed { ", or \"off\"" } else { "" };
        return Err(format!("is {text:?}; it must be {units}{off}"));
    };
    match (parse(from), parse(to)) {
        (Ok(from), Ok(to)) if (from..=to).contains(&duration) => Ok(Some(duration)),
        _ => Err(format!("is {text}; it must be {}", key.allowed())),
    }
}

/// The size in bytes.
pub(super) fn bytes(text: &str, key: &Key) -> Result<usize, String> {
    let Kind::Bytes { from, to } = key.kind else {
        return Err(format!("is {text:?}; it must be {}", key.allowed()));
    };
    let Some(bytes) = size(text) else {
        let units =
            "a whole number and its unit (B, kB, MB, GB, KiB, MiB or GiB), such as \"64KiB\"";
        return Err(format!("is {text:?}; it must be {units}"));
    };
    match (size(from), size(to)) {
        (Some(from), Some(to)) if (from..=to).contains(&bytes) => Ok(bytes),
        _ => Err(format!("is {text}; it must be {}", key.allowed())),
    }
}

/// Whether the key takes this integer.
pub(super) fn is_count_allowed(count: usize, key: &Key) -> bool {
    matches!(key.kind, Kind::Count { from, to } if (from..=to).contains(&count))
}

/// The bytes of `"64KiB"`; more than can be counted are as many as can be.
pub(super) fn size(text: &str) -> Option<usize> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let unit_bytes: usize = match unit.trim_start() {
        "B" => 1,
        "kB" => 1000,
        "MB" => 1000 * 1000,
        "GB" => 1000 * 1000 * 1000,
        "KiB" => 1024,
        "MiB" => 1024 * 1024,
        "GiB" => 1024 * 1024 * 1024,
        _ => return None,
    };
    let number: u128 = number.parse().ok()?;
    let bytes = number.saturating_mul(unit_bytes as u128);
    Some(usize::try_from(bytes).unwrap_or(usize::MAX))
}

/// The text in quotes, without the credentials that a URL may hold.
pub(super) fn shown(text: &str) -> String {
    match (text.split_once("://"), text.rsplit_once('@')) {
        (Some((scheme, _)), Some((_, rest))) => format!("{:?}", format!("{scheme}://…@{rest}")),
        _ => format!("{text:?}"),
    }
}
