//! Does every text show the same values as a tree of it?

use std::{collections::BTreeMap, fmt::Write, ops::Range};

use proptest::{
    collection::{btree_map, vec},
    prelude::{ProptestConfig, Strategy, any, prop_oneof},
    prop_assert, prop_assert_eq, proptest,
    sample::select,
};
use serde_json::Value;

use super::super::{elements, is_text, minify, minify_in_place, unescape};
use super::raw_at;

/// A text as a tree that remembers how its scalars are written.
#[derive(Debug, Clone)]
enum Tree {
    Scalar(String),
    Array(Vec<Tree>),
    Object(BTreeMap<String, Tree>),
}

/// Writes trees, with white space and escapes where the noise says so.
#[derive(Default)]
struct Writer {
    noise: Vec<u8>,
    at: usize,
    text: String,
    /// Every value's pointer and where it lies.
    values: Vec<(String, Range<usize>)>,
    /// The values of every array.
    arrays: Vec<Vec<Range<usize>>>,
}

impl Writer {
    fn noise(&mut self) -> u8 {
        self.at += 1;
        if self.noise.is_empty() {
            return 0;
        }
        self.noise[self.at % self.noise.len()]
    }

    fn blank(&mut self) {
        let blank = match self.noise() {
            0..160 => "",
            160..200 => " ",
            200..220 => "\n  ",
            220..240 => "\t\r\n",
            240.. => "                                                                        ",
        };
        self.text.push_str(blank);
    }

    fn name(&mut self, name: &str) {
        self.text.push('"');
        for character in name.chars() {
            if self.noise() > 220 || matches!(character, '"' | '\\' | '\0'..' ') {
                for unit in character.encode_utf16(&mut [0; 2]) {
                    let _ = write!(self.text, "\\u{unit:04x}");
                }
            } else {
                self.text.push(character);
            }
        }
        self.text.push('"');
    }

    fn value(&mut self, pointer: &str, tree: &Tree) -> Range<usize> {
        self.blank();
        let start = self.text.len();
        match tree {
            Tree::Scalar(raw) => self.text.push_str(raw),
            Tree::Array(elements) => {
                self.text.push('[');
                let mut ranges = Vec::new();
                for (index, element) in elements.iter().enumerate() {
                    self.text.push_str(if index > 0 { "," } else { "" });
                    ranges.push(self.value(&format!("{pointer}/{index}"), element));
                }
                self.blank();
                self.text.push(']');
                self.arrays.push(ranges);
            }
            Tree::Object(members) => {
                self.text.push('{');
                for (index, (name, member)) in members.iter().enumerate() {
                    self.text.push_str(if index > 0 { "," } else { "" });
                    self.blank();
                    self.name(name);
                    self.blank();
                    self.text.push(':');
                    let token = name.replace('~', "~0").replace('/', "~1");
                    self.value(&format!("{pointer}/{token}"), member);
                }
                self.blank();
                self.text.push('}');
            }
        }
        let range = start..self.text.len();
        self.values.push((pointer.to_owned(), range.clone()));
        self.blank();
        range
    }
}

fn write(tree: &Tree, noise: Vec<u8>) -> Writer {
    let mut writer = Writer {
        noise,
        ..Writer::default()
    };
    writer.value("", tree);
    writer
}

fn tree() -> impl Strategy<Value = Tree> {
    let scalar = select(vec![
        "0",
        "-12.50",
        "1E+2",
        "true",
        "false",
        "null",
        r#""""#,
        r#""a\"b""#,
        r#""{[:,""#,
        r#""\\""#,
        r#""\\\\\\\"]""#,
        "\"ü🌊\"",
        r#""\ud83c\udf0a""#,
        r#""long enough to pass the end of a block of sixty-four bytes""#,
    ]);
    let name = prop_oneof![
        4 => select(vec!["a", "b", "", "0", "done", "a/b~", "\"", "\\", "ü", "🌊", "a\nb"]).prop_map(str::to_owned),
        1 => any::<String>(),
    ];
    scalar
        .prop_map(|raw| Tree::Scalar(raw.to_owned()))
        .prop_recursive(6, 60, 6, move |inner| {
            prop_oneof![
                vec(inner.clone(), 0..6).prop_map(Tree::Array),
                btree_map(name.clone(), inner, 0..6).prop_map(Tree::Object),
            ]
        })
}

/// How many members a text's objects have that are not in its tree, since a name came twice.
fn lost_members(text: &[u8], value: &Value) -> usize {
    fn members(value: &Value) -> usize {
        match value {
            Value::Array(elements) => elements.iter().map(members).sum(),
            Value::Object(all) => all.len() + all.values().map(members).sum::<usize>(),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => 0,
        }
    }
    let (mut is_inside, mut is_escaped, mut colons) = (false, false, 0);
    for byte in text {
        is_inside ^= *byte == b'"' && !is_escaped;
        is_escaped = *byte == b'\\' && !is_escaped;
        colons += usize::from(*byte == b':' && !is_inside);
    }
    colons - members(value)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn every_value_is_found(tree in tree(), noise in vec(any::<u8>(), 0..40)) {
        let written = write(&tree, noise);
        let text = written.text.as_bytes();
        let value: Value = serde_json::from_slice(text).unwrap();
        prop_assert!(is_text(text));
        for (pointer, range) in &written.values {
            let raw = raw_at(text, pointer);
            prop_assert_eq!(raw, Some(&text[range.clone()]), "{} {}", pointer, written.text);
            let found: Value = serde_json::from_slice(raw.unwrap()).unwrap();
            prop_assert_eq!(Some(&found), value.pointer(pointer));
            for missing in [format!("{pointer}/missing"), format!("{pointer}/9"), format!("{pointer}/-")] {
                prop_assert_eq!(raw_at(text, &missing).is_some(), value.pointer(&missing).is_some());
            }
            let string = found.as_str().map(str::as_bytes);
            let unescaped = unescape(raw.unwrap());
            prop_assert_eq!(unescaped.as_deref(), string);
        }
        let mut arrays = written.arrays.iter();
        for (_, range) in written.values.iter().filter(|(_, range)| text[range.start] == b'[') {
            let found: Vec<_> = elements(&text[range.clone()]).unwrap().collect();
            let expected: Vec<_> = arrays.next().unwrap().iter().map(|range| &text[range.clone()]).collect();
            prop_assert_eq!(found, expected);
        }
    }

    #[test]
    fn minified_is_written_without_noise(tree in tree(), noise in vec(0..220_u8, 0..40)) {
        let mut out = Vec::new();
        minify(write(&tree, noise).text.as_bytes(), &mut out);
        prop_assert_eq!(String::from_utf8(out).unwrap(), write(&tree, Vec::new()).text);
    }

    #[test]
    fn what_is_broken_breaks_nothing(
        tree in tree(),
        noise in vec(any::<u8>(), 0..40),
        breaks in vec((any::<usize>(), 0..3_usize, prop_oneof![select(b"\"\\{}[]:, \n01x".to_vec()), any::<u8>()]), 1..4),
    ) {
        let written = write(&tree, noise);
        let mut text = written.text.into_bytes();
        for (place, length, byte) in breaks {
            let start = place % (text.len() + 1);
            let end = (start + length).min(text.len());
            text.splice(start..end, [byte]);
        }
        let parsed = serde_json::from_slice::<Value>(&text);
        let is_read = is_text(&text);
        prop_assert!(is_read || parsed.is_err());
        // What only a reader of values minds: halves of surrogate pairs.
        prop_assert!(!is_read || parsed.is_ok() || text.windows(2).any(|pair| pair == b"\\u"));
        for (pointer, _) in &written.values {
            let raw = raw_at(&text, pointer);
            if let Ok(value) = &parsed && lost_members(&text, value) == 0 {
                let found = raw.map(|raw| serde_json::from_slice::<Value>(raw).unwrap());
                prop_assert_eq!(found.as_ref(), value.pointer(pointer));
            }
        }
        let mut minified = Vec::new();
        minify(&text, &mut minified);
        if let Ok(value) = parsed {
            prop_assert_eq!(serde_json::from_slice::<Value>(&minified).unwrap(), value);
        }
        let mut in_place = text.clone();
        minify_in_place(&mut in_place);
        prop_assert_eq!(minified, in_place);
        let _ = (unescape(&text), elements(&text).map(Iterator::count));
    }

    #[test]
    fn any_bytes_are_borne(text in vec(prop_oneof![3 => select(b"\"\\{}[]:,a ".to_vec()), 1 => any::<u8>()], 0..300)) {
        for pointer in ["", "/a", "/", "/a/a", "/0", "/1/a"] {
            let _ = raw_at(&text, pointer);
        }
        let _ = (unescape(&text), elements(&text).map(Iterator::count), is_text(&text));
        minify(&text, &mut Vec::new());
    }

    #[test]
    fn strings_are_unescaped_as_by_a_parser(raw in "\"([a-zü🌊]|\\\\[\"\\\\/bfnrtu]|\\\\u[dD][89a-f][0-9a-f]{2}|\\\\u[0-9a-f]{4}){0,8}\"") {
        let text = unescape(raw.as_bytes());
        if let Ok(parsed) = serde_json::from_str::<String>(&raw) {
            prop_assert_eq!(text.as_deref(), Some(parsed.as_bytes()));
        } else {
            // A half of a pair, or no escape at all.
            let is_half = |text: &[u8]| String::from_utf8_lossy(text).contains(char::REPLACEMENT_CHARACTER);
            prop_assert!(text.is_none_or(|text| is_half(&text)), "{}", raw);
        }
    }
}
