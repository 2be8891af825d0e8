//! Did the backend see what the client asked?

use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;

use super::{
    finding::{Check, Finding},
    hop::Trouble,
};

/// What the backend says of itself and of the request that it saw.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Greeting {
    pub(super) version: String,
    pub(super) method: String,
    /// As in `HTTP/1.1`.
    pub(super) http: String,
    pub(super) target: String,
    pub(super) fields: HeaderMap,
}

impl Greeting {
    /// Reads what the backend told.
    pub(super) fn read(told: &Value) -> Self {
        let text = |key: &str| told[key].as_str().unwrap_or_default().to_owned();
        let fields = told["fields"].as_array().into_iter().flatten();
        let fields = fields.filter_map(|field| {
            let name = HeaderName::from_bytes(field[0].as_str()?.as_bytes()).ok()?;
            Some((name, HeaderValue::from_str(field[1].as_str()?).ok()?))
        });
        Self {
            version: text("version"),
            method: text("method"),
            http: text("http"),
            target: text("target"),
            fields: fields.collect(),
        }
    }
}

/// Whether what the backend saw is what was `sent`, as far as it matters to streams.
pub(super) fn request(saw: &Greeting, sent: &HeaderMap) -> Finding {
    let check = Check::Request;
    let lost: Vec<_> = sent
        .iter()
        .filter(|(name, value)| saw.fields.get(*name) != Some(*value))
        .map(|(name, _)| name.as_str())
        .collect();
    let ours = ["host", "user-agent", "cache-control", "accept"];
    let added: Vec<_> = saw
        .fields
        .keys()
        .filter(|name| !sent.contains_key(*name) && !ours.contains(&name.as_str()))
        .map(HeaderName::as_str)
        .collect();
    let finding = if saw.method != "GET" {
        let figure = format!("{}, GET was asked", saw.method);
        let means = "A hop changes the request's method.";
        Finding::problem(check, Trouble::ChangesRequest, figure, means)
    } else if !lost.is_empty() {
        let figure = format!("{} GET, lost or changed: {}", saw.http, lost.join(", "));
        let means = "A hop loses what the client asks: without Accept a backend may choose another format, and without Last-Event-ID \
                     streams do not resume.";
        Finding::problem(check, Trouble::ChangesRequest, figure, means)
    } else if saw.http == "HTTP/1.0" || saw.http == "HTTP/0.9" {
        let figure = format!("{} GET", saw.http);
        let means = "A hop speaks HTTP/1.0 to the backend, where the end of a stream and a cut are the same.";
        Finding::problem(check, Trouble::SpeaksHttp10, figure, means)
    } else {
        let figure = match added.len() {
            0 => format!("{} GET, nothing lost", saw.http),
            _ => format!(
                "{} GET, nothing lost, added: {}",
                saw.http,
                added.join(", ")
            ),
        };
        Finding::ok(check, figure, "The backend sees what the client asks.")
    };
    finding
        .with("method", saw.method.as_str())
        .with("http", saw.http.as_str())
        .with("target", saw.target.as_str())
        .with("lost", lost)
        .with("added", added)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{Greeting, request};
    use crate::cli::probe::finding::Verdict;

    #[test]
    fn what_was_lost_is_named() {
        let check = |method: &str, http: &str, fields: &[[&str; 2]], expected: (Verdict, &str)| {
            let saw = json!({"method": method, "http": http, "fields": fields});
            let sent =
                Greeting::read(&json!({"fields": [["accept", "a"], ["last-event-id", "7"]]}));
            let finding = request(&Greeting::read(&saw), &sent.fields);
            let (verdict, figure) = expected;
            assert_eq!(
                (finding.verdict, finding.figure.as_str()),
                expected,
                "{figure} {verdict:?}"
            );
        };
        let all = [["accept", "a"], ["last-event-id", "7"]];
        check(
            "GET",
            "HTTP/1.1",
            &all,
            (Verdict::Ok, "HTTP/1.1 GET, nothing lost"),
        );
        check("GET", "HTTP/1.0", &all, (Verdict::Problem, "HTTP/1.0 GET"));
        check(
            "POST",
            "HTTP/1.1",
            &all,
            (Verdict::Problem, "POST, GET was asked"),
        );
        let added = [
            ["accept", "a"],
            ["last-event-id", "7"],
            ["via", "1.1 b"],
            ["host", "h"],
        ];
        let figure = "HTTP/1.1 GET, nothing lost, added: via";
        check("GET", "HTTP/1.1", &added, (Verdict::Ok, figure));
        let changed = [["accept", "*/*"]];
        let figure = "HTTP/1.1 GET, lost or changed: accept, last-event-id";
        check("GET", "HTTP/1.1", &changed, (Verdict::Problem, figure));
    }
}
