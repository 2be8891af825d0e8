//! Which trace does a request belong to (W3C Trace Context)?

use std::{fmt, num::NonZero};

use http::{HeaderMap, HeaderName, HeaderValue};

const PARENT: HeaderName = HeaderName::from_static("traceparent");
const STATE: HeaderName = HeaderName::from_static("tracestate");

/// The longest `tracestate` that is told to the collector, in bytes (§3.3.1.5); the upstream gets any.
const STATE_BYTES_MAX: usize = 512;

/// How long version 00 is, and the part of later versions that we know (§3.2.2).
const PARENT_BYTES: usize = 55;

/// The flag of those that are recorded (§3.2.2.5.1).
const SAMPLED: u8 = 1;

/// A trace's number, in 32 hex digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceId(NonZero<u128>);

/// A span's number, in 16 hex digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SpanId(NonZero<u64>);

/// A place in a trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Context {
    /// The trace.
    pub trace: TraceId,
    /// Whose children ours are.
    pub span: SpanId,
    /// Whether spans of the trace are recorded.
    pub is_sampled: bool,
}

impl TraceId {
    /// A number that nobody else has, as far as chance can tell.
    #[must_use]
    pub fn random() -> Self {
        Self(NonZero::new(fastrand::u128(1..)).unwrap_or(NonZero::<u128>::MIN))
    }
}

impl SpanId {
    /// A number that nobody else in the trace has, as far as chance can tell.
    #[must_use]
    pub fn random() -> Self {
        Self(NonZero::new(fastrand::u64(1..)).unwrap_or(NonZero::<u64>::MIN))
    }
}

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Display for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// The trace that the fields name; `None` where they name none, several, or cannot be understood (§4.3).
#[must_use]
pub fn read(headers: &HeaderMap) -> Option<Context> {
    let mut fields = headers.get_all(PARENT).iter();
    let parent = fields.next().filter(|_| fields.next().is_none())?;
    parse(parent.as_bytes().trim_ascii())
}

/// Names our place in the trace as the parent of what comes behind us.
pub fn write(context: Context, headers: &mut HeaderMap) {
    let Context {
        trace,
        span,
        is_sampled,
    } = context;
    let text = format!("00-{trace}-{span}-{:02x}", u8::from(is_sampled) * SAMPLED);
    if let Ok(value) = HeaderValue::from_str(&text) {
        headers.insert(PARENT, value);
    }
}

/// Takes the trace away (§3.4: a new one has nothing of the state of the old).
pub fn remove(headers: &mut HeaderMap) {
    headers.remove(PARENT);
    headers.remove(STATE);
}

/// What others along the trace say of it, in one line; `None` where they say nothing, or too much.
#[must_use]
pub fn state(headers: &HeaderMap) -> Option<Box<str>> {
    let lines = headers.get_all(STATE).iter();
    let lines: Option<Vec<&str>> = lines.map(|line| line.to_str().ok()).collect();
    let state = lines?.join(",");
    (1..=STATE_BYTES_MAX)
        .contains(&state.len())
        .then(|| state.into())
}

/// Reads `version "-" trace-id "-" parent-id "-" trace-flags`, and no more of later versions (§3.2.4).
fn parse(text: &[u8]) -> Option<Context> {
    let (known, rest) = text.split_at_checked(PARENT_BYTES)?;
    let version = u8::try_from(hex(&known[..2])?).ok()?;
    let is_right = match version {
        0 => rest.is_empty(),
        0xFF => false,
        _ => rest.is_empty() || rest.starts_with(b"-"),
    };
    if !is_right || [2, 35, 52].iter().any(|at| known[*at] != b'-') {
        return None;
    }
    let flags = u8::try_from(hex(&known[53..])?).ok()?;
    Some(Context {
        trace: TraceId(NonZero::new(hex(&known[3..35])?)?),
        span: SpanId(NonZero::new(u64::try_from(hex(&known[36..52])?).ok()?)?),
        is_sampled: flags & SAMPLED != 0,
    })
}

/// The number that lower-case hex digits write; others are wrong (§3.2.2).
fn hex(digits: &[u8]) -> Option<u128> {
    let is_digit = |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    let digits = std::str::from_utf8(digits).ok()?;
    let is_right = digits.bytes().all(|byte| is_digit(&byte));
    u128::from_str_radix(digits, 16).ok().filter(|_| is_right)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
    const SPAN: &str = "b7ad6b7169203331";

    #[test]
    fn only_what_the_recommendation_allows_is_a_trace() {
        let check = |text: &str, expected: Option<bool>| {
            let read = parse(text.as_bytes());
            assert_eq!(read.map(|context| context.is_sampled), expected, "{text}");
            if let Some(context) = read {
                assert_eq!(context.trace.to_string(), TRACE);
                assert_eq!(context.span.to_string(), SPAN);
            }
        };
        check(&format!("00-{TRACE}-{SPAN}-01"), Some(true));
        check(&format!("00-{TRACE}-{SPAN}-00"), Some(false));
        // Flags that are not defined say nothing.
        check(&format!("00-{TRACE}-{SPAN}-fe"), Some(false));
        check(&format!("00-{TRACE}-{SPAN}-03"), Some(true));
        // Later versions may say more.
        check(&format!("cc-{TRACE}-{SPAN}-01"), Some(true));
        check(&format!("cc-{TRACE}-{SPAN}-01-what-next"), Some(true));
        check(&format!("cc-{TRACE}-{SPAN}-01.what-next"), None);
        check(&format!("00-{TRACE}-{SPAN}-01-what-next"), None);
        check(&format!("ff-{TRACE}-{SPAN}-01"), None);
        check(&format!("00-{TRACE}-{SPAN}-1"), None);
        check(&format!("00-{TRACE}-{SPAN}"), None);
        check(&format!("00_{TRACE}-{SPAN}-01"), None);
        check(&format!("00-{}-{SPAN}-01", "0".repeat(32)), None);
        check(&format!("00-{TRACE}-{}-01", "0".repeat(16)), None);
        check(&format!("00-{}-{SPAN}-01", TRACE.to_uppercase()), None);
        check(&format!("00-+{}-{SPAN}-01", &TRACE[1..]), None);
        check(&format!("0é-{}-{SPAN}-01", &TRACE[1..]), None);
        check("", None);
    }

    #[test]
    fn two_parents_are_none_and_states_are_joined() {
        let mut headers = HeaderMap::new();
        let parent = format!("00-{TRACE}-{SPAN}-01");
        headers.append(PARENT, parent.parse().unwrap());
        assert!(read(&headers).is_some() && state(&headers).is_none());
        headers.append(PARENT, parent.parse().unwrap());
        assert_eq!(read(&headers), None);
        headers.append(STATE, HeaderValue::from_static("a=1"));
        headers.append(STATE, HeaderValue::from_static("b=2"));
        assert_eq!(state(&headers).as_deref(), Some("a=1,b=2"));
        headers.append(STATE, "c".repeat(STATE_BYTES_MAX).parse().unwrap());
        assert_eq!(state(&headers), None);
    }
}
