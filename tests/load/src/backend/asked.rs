//! What stream does a request ask for? Its query says it.

use std::{fmt::Display, ops::RangeInclusive, str::FromStr};

use crate::record::SIZE_BYTES_MIN;

/// A stream as its request asked for it; see the README for the keys.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Asked {
    /// Bytes of a record with its line feed, from [`SIZE_BYTES_MIN`] to [`CHUNK_BYTES_MAX`].
    pub size_bytes: usize,
    /// Records a second; 0 is as fast as it goes.
    pub rate_per_s: f64,
    /// Records of a chunk, which is one write.
    pub batch: u64,
    /// How many records there are; 0 is without end.
    pub records: u64,
    /// Whether the stream stays silent after its records, instead of ending.
    pub is_held: bool,
    /// The length of each chunk's extension.
    pub extension_bytes: usize,
    /// What stands around each record.
    pub format: Format,
    /// How much the kernel holds of what the reader has not taken yet; 0 leaves it to the kernel.
    pub send_buffer_bytes: usize,
}

/// What stands around each record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Nothing: one JSON line each.
    Ndjson,
    /// `data: ` and an empty line.
    Sse,
}

impl Asked {
    /// Reads a query, without its `?`.
    ///
    /// # Errors
    /// A sentence that names the key, when one is unknown or its value out of bounds.
    pub fn parse(query: &str) -> Result<Self, String> {
        let mut asked = Self::default();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            match key {
                "size" => asked.size_bytes = number(key, value, SIZE_BYTES_MIN..=CHUNK_BYTES_MAX)?,
                "rate" => asked.rate_per_s = rate(value)?,
                "batch" => asked.batch = number(key, value, 1..=BATCH_MAX)?,
                "records" => asked.records = number(key, value, 0..=u64::MAX)?,
                "hold" => asked.is_held = number(key, value, 0..=1)? == 1,
                "extension" => asked.extension_bytes = number(key, value, 0..=EXTENSION_BYTES_MAX)?,
                "send_buffer" => asked.send_buffer_bytes = number(key, value, 0..=CHUNK_BYTES_MAX)?,
                "format" => asked.format = format(value)?,
                _ => return Err(format!("there is no key {key}")),
            }
        }
        let chunk_bytes = usize::try_from(asked.batch)
            .unwrap_or(usize::MAX)
            .saturating_mul(asked.size_bytes);
        if chunk_bytes > CHUNK_BYTES_MAX {
            return Err(format!(
                "size times batch must not exceed {CHUNK_BYTES_MAX}"
            ));
        }
        Ok(asked)
    }
}

impl Default for Asked {
    fn default() -> Self {
        Self {
            size_bytes: 200,
            rate_per_s: 0.0,
            batch: 1,
            records: 0,
            is_held: false,
            extension_bytes: 0,
            format: Format::Ndjson,
            send_buffer_bytes: 0,
        }
    }
}

fn number<T>(key: &str, value: &str, allowed: RangeInclusive<T>) -> Result<T, String>
where
    T: FromStr + PartialOrd + Display,
{
    let number = value.parse().ok().filter(|number| allowed.contains(number));
    number.ok_or_else(|| {
        let (min, max) = (allowed.start(), allowed.end());
        format!("{key} must be a whole number from {min} to {max}")
    })
}

fn rate(value: &str) -> Result<f64, String> {
    value
        .parse()
        .ok()
        .filter(|rate| (0.0..=1_000_000.0).contains(rate))
        .ok_or_else(|| "rate must be a number from 0 to 1000000".into())
}

fn format(value: &str) -> Result<Format, String> {
    match value {
        "ndjson" => Ok(Format::Ndjson),
        "sse" => Ok(Format::Sse),
        _ => Err("format must be ndjson or sse".into()),
    }
}

/// The most that one chunk carries.
pub const CHUNK_BYTES_MAX: usize = 16 * 1024 * 1024;
const BATCH_MAX: u64 = 100_000;
const EXTENSION_BYTES_MAX: usize = 65_536;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_sets_what_it_names_and_leaves_the_rest() {
        let asked = Asked::parse("size=120&rate=2.5&hold=1&format=sse&extension=9").unwrap();
        let expected = Asked {
            size_bytes: 120,
            rate_per_s: 2.5,
            is_held: true,
            format: Format::Sse,
            extension_bytes: 9,
            ..Asked::default()
        };
        assert_eq!(asked, expected);
        assert_eq!(Asked::parse(""), Ok(Asked::default()));
    }

    #[test]
    fn a_query_out_of_bounds_is_refused_by_its_key() {
        for (query, key) in [
            ("size=63", "size"),
            ("size=", "size"),
            ("rate=-1", "rate"),
            ("rate=nan", "rate"),
            ("batch=0", "batch"),
            ("batch=1000&size=65000", "size times batch"),
            ("format=xml", "format"),
            ("sizes=1", "sizes"),
        ] {
            let error = Asked::parse(query).unwrap_err();
            assert!(error.contains(key), "{query}: {error}");
        }
    }
}
