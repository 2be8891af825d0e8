//! How is it told what was found? In words and a table, or as JSON whose keys stay.

use std::fmt::{self, Write as _};

use serde_json::{Map, Value, json};

use super::{
    finding::{Finding, Verdict},
    hop::Hop,
};

/// What the probe found on the way to a URL.
#[derive(Debug)]
pub struct Report {
    /// What was probed.
    pub url: String,
    /// The version of the backend; `None` where the URL leads to something else.
    pub backend: Option<String>,
    /// What stands between, as far as it can be recognized.
    pub hops: Vec<Hop>,
    /// What each check found.
    pub findings: Vec<Finding>,
}

impl Report {
    /// Whether something harms streams.
    #[must_use]
    pub fn has_problem(&self) -> bool {
        let mut verdicts = self.findings.iter().map(|finding| finding.verdict);
        verdicts.any(|verdict| verdict == Verdict::Problem)
    }

    /// The same as a JSON document.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let checks = self.findings.iter().map(|finding| {
            let told = json!({
                "verdict": finding.verdict.name(),
                "figure": finding.figure,
                "means": finding.means,
                "set": self.advice(finding),
                "measured": finding.measured,
            });
            (finding.check.name().to_owned(), told)
        });
        json!({
            "url": self.url,
            "backend": self.backend,
            "hops": self.hops.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "problem": self.has_problem(),
            "checks": checks.collect::<Map<_, _>>(),
        })
    }

    fn advice(&self, finding: &Finding) -> Vec<String> {
        let tried = finding.tried.iter().cloned();
        let trouble = finding.trouble.map(|trouble| trouble.advice(&self.hops));
        tried.chain(trouble.into_iter().flatten()).collect()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hops: Vec<_> = self.hops.iter().map(ToString::to_string).collect();
        let between = match &hops[..] {
            [] => "no hop that can be recognized".to_owned(),
            hops => format!("what looks like {}", hops.join(", ")),
        };
        match &self.backend {
            Some(version) => writeln!(
                f,
                "{}: a probe backend ({version}) behind {between}\n",
                self.url
            )?,
            None => writeln!(
                f,
                "{}: a stream of its own behind {between}. For every check, run `weir probe --serve` in its place.\n",
                self.url
            )?,
        }
        for finding in &self.findings {
            let (check, verdict) = (finding.check.name(), finding.verdict.name());
            writeln!(f, "{check:<12}  {verdict:<7}  {}", finding.figure)?;
        }
        let findings = self.findings.iter();
        let findings: Vec<_> = findings.filter(|f| f.verdict != Verdict::Ok).collect();
        // What is the same for several checks in a row is said once.
        for findings in findings.chunk_by(|one, next| one.means == next.means) {
            let names: Vec<_> = findings.iter().map(|f| f.check.name()).collect();
            let head = format!("{}: {}", names.join(", "), findings[0].means);
            writeln!(f)?;
            f.write_str(&wrapped(&head, 0))?;
            for advice in self.advice(findings[0]) {
                f.write_str(&wrapped(&format!("- {advice}"), 2))?;
            }
        }
        Ok(())
    }
}

/// `text` in lines of at most [`COLUMNS`], where words allow that, `indent` columns from the left.
fn wrapped(text: &str, indent: usize) -> String {
    let (mut lines, mut column) = (String::new(), COLUMNS);
    for (index, word) in text.split(' ').enumerate() {
        let width = word.chars().count();
        if index == 0 || column + 1 + width > COLUMNS {
            // What follows an item's dash stands below its first word.
            let hang = if index == 0 { indent } else { indent * 2 };
            let _ = write!(lines, "{}{:hang$}", if index == 0 { "" } else { "\n" }, "");
            column = hang;
        } else {
            lines.push(' ');
            column += 1;
        }
        lines.push_str(word);
        column += width;
    }
    lines.push('\n');
    lines
}

/// How wide a text is.
const COLUMNS: usize = 100;

#[cfg(test)]
mod tests {
    use super::{Report, wrapped};
    use crate::cli::probe::{
        finding::{Check, Finding},
        hop::{Hop, Trouble},
    };

    fn report() -> Report {
        let head = Finding::ok(Check::Head, "after 3 ms", "It comes at once.");
        let silence = Finding::problem(
            Check::Silence,
            Trouble::CutsSilence,
            "cut after 60 s",
            "It is cut.",
        );
        Report {
            url: "http://a/".to_owned(),
            backend: Some("1".to_owned()),
            hops: vec![Hop::Nginx],
            findings: vec![head, silence.with("cut_after_ms", 60_000)],
        }
    }

    #[test]
    fn words_and_a_table() {
        let expected = "\
http://a/: a probe backend (1) behind what looks like nginx

head          ok       after 3 ms
silence       problem  cut after 60 s

silence: It is cut.
  - nginx: proxy_read_timeout 1h; in the location (60s by default)
";
        assert_eq!(report().to_string(), expected);
    }

    #[test]
    fn json_has_keys_that_stay() {
        let json = report().to_json();
        assert_eq!(json["problem"], true);
        assert_eq!(json["hops"][0], "nginx");
        assert_eq!(json["checks"]["head"]["verdict"], "ok");
        let silence = &json["checks"]["silence"];
        assert_eq!(silence["measured"]["cut_after_ms"], 60_000);
        let set = silence["set"][0].as_str().unwrap();
        assert!(set.starts_with("nginx: proxy_read_timeout"), "{set}");
        assert_eq!(json["checks"]["head"]["set"].as_array().unwrap().len(), 0);
    }

    #[test]
    fn long_texts_are_wrapped_at_words() {
        assert_eq!(wrapped("- word", 2), "  - word\n");
        let text = wrapped(&["word"; 30].join(" "), 2);
        assert!(text.lines().all(|line| line.len() <= 100), "{text}");
        assert!(text.lines().nth(1).unwrap().starts_with("    word"));
    }
}
