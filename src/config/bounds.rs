//! How do the limits on streams, rates and memory become settings?

use std::{num::NonZeroU32, time::Duration};

use super::{section::Section, values};
use crate::limits::{Admission, MemoryBudget, Rate, Settings};

/// What a rate must be.
pub(super) const RATE: &str =
    r#"a number of requests from 1 to 1000000 and a time, s, m or h, such as "10/s" or "600/m""#;

/// What a budget of memory must be.
pub(super) const MEMORY: &str = r#""auto", "off", or a size from 16MiB to 1024GiB"#;

/// Reads what `[process]` says.
pub(super) fn process(section: &Section<'_>) -> Settings {
    Settings {
        streams_max: section.count("streams"),
        connections_max: section.count("connections"),
        memory: section.text("memory", memory).unwrap_or_default(),
    }
}

/// Reads what `[route.limits]` says of who is let in.
pub(super) fn admission(section: &Section<'_>) -> Admission {
    let burst = section.count("burst");
    let burst = burst.and_then(|burst| NonZeroU32::new(u32::try_from(burst).ok()?));
    let rate = section.text("rate", rate).map(|rate| Rate {
        burst: burst.unwrap_or(rate.burst),
        ..rate
    });
    Admission {
        streams_max: section.count("streams"),
        streams_per_peer_max: section.count("streams_per_peer"),
        rate,
    }
}

/// The rate of `"10/s"`, whose burst is that number.
fn rate(text: &str) -> Result<Rate, String> {
    let parse = |(number, unit): (&str, &str)| {
        let unit = match unit.trim() {
            "s" => Duration::from_secs(1),
            "m" => Duration::from_mins(1),
            "h" => Duration::from_hours(1),
            _ => return None,
        };
        let number: NonZeroU32 = number.trim().parse().ok()?;
        (number.get() <= REQUESTS_MAX).then(|| Rate {
            every: unit / number.get(),
            burst: number,
        })
    };
    let rate = text.split_once('/').and_then(parse);
    rate.ok_or_else(|| format!("it must be {RATE}"))
}

/// The budget of `"auto"`, `"off"` or a size.
fn memory(text: &str) -> Result<MemoryBudget, String> {
    match text {
        "auto" => return Ok(MemoryBudget::Auto),
        "off" => return Ok(MemoryBudget::Off),
        _ => {}
    }
    let bytes = values::size(text).filter(|bytes| (MEMORY_MIN..=MEMORY_MAX).contains(bytes));
    bytes
        .map(|bytes| MemoryBudget::Bytes(bytes as u64))
        .ok_or_else(|| format!("it must be {MEMORY}"))
}

/// The most requests of a rate.
const REQUESTS_MAX: u32 = 1_000_000;
/// The least budget: what the process needs to serve anybody.
const MEMORY_MIN: usize = 16 << 20;
/// The greatest budget.
const MEMORY_MAX: usize = 1 << 40;
