//! How long is a poll that failed not repeated?

use std::time::{Duration, SystemTime};

use http::{HeaderMap, header};

/// The waits after failures in a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    /// The most after the first; it doubles with each.
    pub first: Duration,
    /// The most after any.
    pub most: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self {
            first: Duration::from_secs(1),
            most: Duration::from_secs(30),
        }
    }
}

impl Backoff {
    /// How long to wait after so many failures, at least 1. `share`, from 0 to 1, is drawn anew each time, so
    /// that those who failed together do not come back together.
    pub(super) fn wait(&self, failures: u32, share: f64) -> Duration {
        let doublings = failures.saturating_sub(1).min(31);
        let most = self.first.saturating_mul(1 << doublings).min(self.most);
        most.mul_f64(share)
    }
}

/// How long a reply asks not to be asked again (RFC 9110 §10.2.3), within reason.
pub(super) fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = headers.get(header::RETRY_AFTER)?.to_str().ok()?;
    let asked = match text.parse() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => httpdate::parse_http_date(text)
            .ok()?
            .duration_since(now)
            .unwrap_or_default(),
    };
    Some(asked.min(RETRY_AFTER_MAX))
}

/// The longest wait that a server can ask for.
const RETRY_AFTER_MAX: Duration = Duration::from_mins(5);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bound_doubles_up_to_the_longest_wait() {
        let backoff = Backoff::default();
        for (failures, seconds) in [
            (1, 1),
            (2, 2),
            (3, 4),
            (5, 16),
            (6, 30),
            (7, 30),
            (u32::MAX, 30),
        ] {
            let most = Duration::from_secs(seconds);
            assert_eq!(backoff.wait(failures, 1.0), most, "{failures}");
            assert_eq!(backoff.wait(failures, 0.5), most / 2);
            assert_eq!(backoff.wait(failures, 0.0), Duration::ZERO);
        }
    }

    #[test]
    fn a_server_may_ask_for_more_by_seconds_or_date() {
        let now = httpdate::parse_http_date("Sun, 06 Nov 1994 08:49:37 GMT").unwrap();
        for (text, seconds) in [
            ("0", Some(0)),
            ("120", Some(120)),
            ("86400", Some(300)),
            ("Sun, 06 Nov 1994 08:50:00 GMT", Some(23)),
            ("Sun, 06 Nov 1994 08:49:00 GMT", Some(0)),
            ("soon", None),
            ("-1", None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::RETRY_AFTER, text.parse().unwrap());
            let seconds = seconds.map(Duration::from_secs);
            assert_eq!(retry_after(&headers, now), seconds, "{text}");
        }
        assert_eq!(retry_after(&HeaderMap::new(), now), None);
    }
}
