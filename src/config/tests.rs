//! Does each wrong or doubtful file give exactly its messages?

mod example;

use std::{fmt::Write, path::Path};

use proptest::prelude::*;

use super::parse;

/// Stands before each case, on lines 1 to 7, unless the case begins with `alone:`.
const BASE: &str = r#"[[listener]]
address = "127.0.0.1:8080"
[upstream.a]
endpoints = ["http://a"]
[[route]]
name = "r"
upstream = "a"
"#;

/// Checks that a case's text, which begins on line 8 (alone: on line 1), gives exactly the faults,
/// or else the warnings, that stand below it as `=> LINE: MESSAGE`.
fn check(case: &str) {
    let mut text = String::from(if case.starts_with("alone:\n") {
        ""
    } else {
        BASE
    });
    let written = case.lines().filter(|line| *line != "alone:");
    let (expected, lines): (Vec<&str>, Vec<&str>) =
        written.partition(|line| line.starts_with("=> "));
    for line in lines {
        writeln!(text, "{line}").unwrap();
    }
    let remarks = match parse(&text, Path::new("proxy.toml")) {
        Ok(loaded) => loaded.warnings,
        Err(faults) => faults.0,
    };
    let line = |remark: &super::Remark| remark.to_string().replacen("proxy.toml:", "=> ", 1);
    let actual: Vec<String> = remarks.iter().map(line).collect();
    assert_eq!(actual, expected, "{case}");
}

#[test]
fn each_case_gives_its_messages() {
    let cases: Vec<&str> = include_str!("tests/cases.txt")
        .split("\n\n")
        .filter(|case| !case.starts_with("##"))
        .collect();
    assert!(cases.len() > 100, "the file is cut at blank lines");
    for case in cases {
        check(case.trim_end());
    }
}

proptest! {
    #[test]
    fn no_text_panics(text in "(?s).{0,200}") {
        let _ = parse(&text, Path::new("proxy.toml"));
    }

    /// Any value under any key, in any section.
    #[test]
    fn no_toml_panics(lines in prop::collection::vec(line(), 0..20)) {
        let _ = parse(&lines.join("\n"), Path::new("proxy.toml"));
    }
}

fn line() -> impl Strategy<Value = String> {
    let section = prop::sample::select(vec![
        "[process]",
        "[admin]",
        "[[listener]]",
        "[listener.tls]",
        "[listener.timeouts]",
        "[upstream.a]",
        "[upstream.a.tls]",
        "[[route]]",
        "[route.event]",
        "[route.heartbeat]",
        "[route.timeouts]",
        "[route.limits]",
        "[route.rewrite]",
        "[[upstream]]",
        "[route",
    ]);
    let key = prop::sample::select(vec![
        "address",
        "http",
        "tls",
        "trusted_proxies",
        "timeouts",
        "limits",
        "endpoints",
        "name",
        "host",
        "path",
        "methods",
        "headers",
        "upstream",
        "from",
        "to",
        "every",
        "idle",
        "record",
        "threads",
        "strip_prefix",
        "retry",
        "a.b",
        "\"\"",
    ]);
    let value = prop_oneof![
        "\"[^\"\\\\]{0,20}\"",
        "\\[?\\{?[a-z0-9\"=, .:-]{0,20}\\}?\\]?",
        "[0-9]{1,40}",
        "\"[0-9]{1,30}(s|ms|KiB|GiB)\"",
        Just("{ idle = \"1s\", at = 1 }".to_owned()),
        Just("[[], {}, 1]".to_owned()),
    ];
    prop_oneof![
        section.prop_map(str::to_owned),
        (key, value).prop_map(|(key, value)| format!("{key} = {value}")),
    ]
}
