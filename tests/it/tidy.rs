//! Does the source keep the rules of the house?

use std::{
    fs,
    path::{Path, PathBuf},
};

/// The modules and their levels; a module names only those of its own or a lower level.
const LEVELS: &[(&str, u8)] = &[
    ("transcode", 1),
    ("balance", 1),
    ("health", 1),
    ("error", 1),
    ("limits", 1),
    ("drain", 1),
    ("telemetry", 1),
    ("alarm", 1),
    ("pem", 1),
    ("reactor", 1),
    ("upstream", 2),
    ("route", 3),
    ("collector", 3),
    ("proxy", 4),
    ("edge", 5),
    ("admin", 5),
    ("config", 6),
    ("app", 7),
    ("cli", 8),
    ("main", 8),
];

/// What knows no sockets, no clocks and no tasks (invariant 1).
const SANS_IO: &[&str] = &["transcode", "balance", "health"];

/// The words that would break it.
const NO_IO: &[&str] = &[
    "tokio",
    "hyper",
    "tracing",
    "async",
    "std::net",
    "std::fs",
    "Instant::now",
    "SystemTime::now",
];

/// Who may name `config`; everyone else has settings of their own, which `config` fills.
const NAME_CONFIG: &[&str] = &["main", "cli", "app", "config"];

/// Where Rust files are.
const FOLDERS: &[&str] = &["src", "tests", "benches", "fuzz/src", "fuzz/fuzz_targets"];

/// Files longer than this answer more than one question.
const FILE_LINES_MAX: usize = 500;

#[test]
fn modules_name_only_their_own_or_a_lower_level() {
    for source in sources("src") {
        let Some(module) = source.module() else {
            continue;
        };
        let Some(level) = level(module) else {
            panic!("{}: give {module} a level in tests/it/tidy.rs", source.path);
        };
        for named in source.modules_named() {
            let Some(named_level) = level_of(&named) else {
                continue;
            };
            assert!(
                named_level <= level,
                "{}: {module} (level {level}) must not name {named} (level {named_level})",
                source.path
            );
            assert!(
                named != "config" || NAME_CONFIG.contains(&module),
                "{}: {module} must not name config; give it settings of its own",
                source.path
            );
        }
    }
}

#[test]
fn the_core_knows_no_io() {
    for source in sources("src") {
        if !source
            .module()
            .is_some_and(|module| SANS_IO.contains(&module))
        {
            continue;
        }
        let paths = source.paths();
        for word in NO_IO {
            let named = paths.iter().find(|path| holds(path, word));
            assert!(
                named.is_none(),
                "{}: names {named:?}; take it as an argument",
                source.path
            );
        }
    }
}

#[test]
fn every_file_says_which_question_it_answers() {
    for source in FOLDERS.iter().copied().flat_map(sources) {
        let first = source.text.lines().next().unwrap_or_default();
        let is_said = first
            .strip_prefix("//! ")
            .is_some_and(|said| !said.trim().is_empty());
        assert!(
            is_said,
            "{}: begins with {first:?}, not with `//! `",
            source.path
        );
    }
}

#[test]
fn no_file_is_too_long() {
    for source in FOLDERS.iter().copied().flat_map(sources) {
        let lines = source.text.lines().count();
        assert!(lines <= FILE_LINES_MAX, "{}: {lines} lines", source.path);
    }
}

/// A source file.
struct Source {
    /// From the top of the repository.
    path: String,
    text: String,
}

impl Source {
    /// The top-level module; `None` for `lib.rs`, which says only where everything is.
    fn module(&self) -> Option<&str> {
        let path = self.path.strip_prefix("src/")?.trim_end_matches(".rs");
        path.split('/').next().filter(|module| *module != "lib")
    }

    /// How many modules deep the file's own is.
    fn depth(&self) -> usize {
        self.path.matches('/').count()
    }

    /// Every path in the code, with groups taken apart: `a::{b, c::d}` is `a::b` and `a::c::d`.
    fn paths(&self) -> Vec<String> {
        paths(&tokens(&code(&self.text)))
    }

    /// The first names below the crate's root in every path that leads through it.
    fn modules_named(&self) -> Vec<String> {
        let mut named = Vec::new();
        for path in self.paths() {
            let segments: Vec<_> = path.split("::").collect();
            let supers = segments
                .iter()
                .take_while(|segment| **segment == "super")
                .count();
            let rest = match segments[0] {
                "crate" | "weir" => &segments[1..],
                // Inside `mod tests { .. }` one more leads to the same place.
                "super" if supers >= self.depth() => &segments[supers..],
                _ => continue,
            };
            named.extend(rest.first().map(|first| (*first).to_owned()));
        }
        named
    }
}

fn level(module: &str) -> Option<u8> {
    let found = LEVELS.iter().find(|(name, _)| *name == module);
    found.map(|(_, level)| *level)
}

fn level_of(named: &str) -> Option<u8> {
    level(named)
}

/// Whether `path` holds the segments of `word`, in a row.
fn holds(path: &str, word: &str) -> bool {
    format!("::{path}::").contains(&format!("::{word}::"))
}

/// All Rust files below `folder`.
fn sources(folder: &str) -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (mut folders, mut sources) = (vec![root.join(folder)], Vec::new());
    while let Some(folder) = folders.pop() {
        let entries = fs::read_dir(&folder).into_iter().flatten();
        let paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
        for path in paths {
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let relative = path.strip_prefix(root).unwrap();
                sources.push(Source {
                    path: relative.display().to_string(),
                    text: fs::read_to_string(&path).unwrap(),
                });
            }
        }
    }
    sources
}

/// The code without comments, and with every literal in quotes emptied.
fn code(text: &str) -> String {
    let (mut code, mut rest) = (String::new(), text);
    while let Some(first) = rest.chars().next() {
        let length = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            block_comment(rest)
        } else if first == 'r' && !code.ends_with(is_word) && raw_string(rest).is_some() {
            raw_string(rest).unwrap_or(rest.len())
        } else if first == '"' {
            quoted(rest, '"')
        } else if first == '\'' && is_character(rest) {
            quoted(rest, '\'')
        } else {
            code.push(first);
            rest = &rest[first.len_utf8()..];
            continue;
        };
        code.push(' ');
        rest = &rest[length..];
    }
    code
}

fn block_comment(rest: &str) -> usize {
    let (mut at, mut depth) = (2, 1);
    while depth > 0 && at < rest.len() {
        let step = match &rest.as_bytes()[at..] {
            [b'/', b'*', ..] => (1, 2),
            [b'*', b'/', ..] => (-1, 2),
            _ => (0, 1),
        };
        depth += step.0;
        at += step.1;
    }
    at
}

/// The length of the raw string that `rest` begins with.
fn raw_string(rest: &str) -> Option<usize> {
    let hashes = rest[1..].chars().take_while(|c| *c == '#').count();
    let body = rest.get(1 + hashes..)?.strip_prefix('"')?;
    let end = format!("\"{}", "#".repeat(hashes));
    let at = body.find(&end).unwrap_or(body.len());
    Some((2 + hashes + at + end.len()).min(rest.len()))
}

/// Whether a quote begins a character and not a lifetime.
fn is_character(rest: &str) -> bool {
    let mut characters = rest.chars().skip(1);
    let (first, second) = (characters.next(), characters.next());
    first == Some('\\') || second == Some('\'')
}

fn quoted(rest: &str, quote: char) -> usize {
    let mut is_escaped = false;
    for (at, character) in rest.char_indices().skip(1) {
        if character == quote && !is_escaped {
            return at + 1;
        }
        is_escaped = character == '\\' && !is_escaped;
    }
    rest.len()
}

fn is_word(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}

/// Words, `::`, and single signs.
fn tokens(code: &str) -> Vec<&str> {
    let (mut tokens, mut rest) = (Vec::new(), code.trim_start());
    while let Some(first) = rest.chars().next() {
        let length = if is_word(first) {
            rest.find(|c| !is_word(c)).unwrap_or(rest.len())
        } else if rest.starts_with("::") {
            2
        } else {
            first.len_utf8()
        };
        tokens.push(&rest[..length]);
        rest = rest[length..].trim_start();
    }
    tokens
}

fn paths(tokens: &[&str]) -> Vec<String> {
    let (mut found, mut at) = (Vec::new(), 0);
    while at < tokens.len() {
        if tokens[at].starts_with(is_word) {
            at = path(tokens, at, "", &mut found);
        } else {
            at += 1;
        }
    }
    found
}

/// Takes the path apart that begins at `at`, below `prefix`; returns where it ends.
fn path(tokens: &[&str], mut at: usize, prefix: &str, found: &mut Vec<String>) -> usize {
    let mut path = prefix.to_owned();
    loop {
        path.push_str(tokens[at]);
        at += 1;
        if tokens.get(at) != Some(&"::") {
            break;
        }
        at += 1;
        path.push_str("::");
        match tokens.get(at) {
            Some(&"{") => return group(tokens, at + 1, &path, found),
            Some(next) if next.starts_with(is_word) => {}
            _ => break,
        }
    }
    found.push(path.trim_end_matches("::").to_owned());
    at
}

fn group(tokens: &[&str], mut at: usize, prefix: &str, found: &mut Vec<String>) -> usize {
    while at < tokens.len() && tokens[at] != "}" {
        if tokens[at].starts_with(is_word) {
            at = path(tokens, at, prefix, found);
        } else {
            at += 1;
        }
    }
    at + 1
}

#[test]
fn the_rules_see_through_groups_comments_and_texts() {
    let check = |path: &str, text: &str, named: &[&str]| {
        let source = Source {
            path: path.to_owned(),
            text: text.to_owned(),
        };
        assert_eq!(source.modules_named(), named, "{text}");
    };
    check(
        "src/proxy.rs",
        "use crate::{route::{self, Table}, upstream};",
        &["route", "route", "upstream"],
    );
    check(
        "src/proxy.rs",
        "// crate::app\n/* /* crate::cli */ crate::app */ x",
        &[],
    );
    check(
        "src/proxy.rs",
        "let x = (\"crate::app \\\" crate::app\", r#\"crate::\"app\"#, '\"', 'a');",
        &[],
    );
    check(
        "src/proxy.rs",
        "fn f<'a>(x: &'a crate::edge::Peer) {}",
        &["edge"],
    );
    check("src/proxy.rs", "use super::app;", &["app"]);
    check(
        "src/proxy/body.rs",
        "use super::{head, super::edge};",
        &["edge"],
    );
    check("src/proxy/body.rs", "use super::edge;", &[]);
    check("src/main.rs", "use weir::{app, cli};", &["app", "cli"]);

    let paths = paths(&tokens(&code(
        "use std::{net::IpAddr, fs}; Instant::now(); pin!(x.tokio)",
    )));
    for word in ["std::net", "std::fs", "Instant::now", "tokio"] {
        assert!(paths.iter().any(|path| holds(path, word)), "{word}");
    }
    assert!(
        !paths
            .iter()
            .any(|path| holds(path, "hyper") || holds(path, "net::fs"))
    );
}
