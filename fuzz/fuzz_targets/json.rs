//! Is every value of a text found where a parser finds it, and every other text borne?
#![no_main]

use std::{collections::HashSet, fmt, sync::Arc};

use arbitrary::Arbitrary;
use libfuzzer_sys::{fuzz_mutator, fuzz_target};
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::{Value, value::RawValue};
use weir::transcode::{
    framing::{EndOfInput, by_name, json},
    json::{Pointer, at, elements, is_one_line, is_text, minify, unescape},
    output::OUTPUTS,
    transcoder::{Transcoder, Turn},
};
use weir_fuzz::{client::Reader, seed, squeeze};

#[derive(Debug, Arbitrary)]
struct Case<'a> {
    pointer: [u8; POINTER_BYTES],
    text: &'a [u8],
}

/// The members of an object as they are written, names unescaped.
struct Members<'a>(Vec<(String, &'a RawValue)>);

/// A value, and where it lies.
struct Found<'a> {
    pointer: String,
    raw: &'a str,
}

fuzz_target!(|case: Case<'_>| {
    let Case { pointer, text } = case;
    check_any(&pointer, text);
    if let Ok(text) = std::str::from_utf8(text) {
        check_verdict(text);
        if let Ok(whole) = serde_json::from_str::<&RawValue>(text) {
            check_values(whole.get());
        }
        check_framings(text);
    }
});

fuzz_mutator!(
    |data: &mut [u8], size: usize, max_size: usize, noise: u32| {
        seed::mutate(data, size, max_size, noise, |number| {
            let records = json::FRAMING.sample_records;
            [
                b"/object/name\0\0\0\0" as &[u8],
                records[number % records.len()],
            ]
            .concat()
        })
    }
);

/// What holds for every text, well formed or not.
fn check_any(pointer: &[u8], text: &[u8]) {
    let pointer = String::from_utf8_lossy(pointer);
    if let Ok(pointer) = Pointer::parse(pointer.trim_end_matches('\0')) {
        let found = at(text, &pointer);
        assert!(found.is_none_or(|found| !found.is_empty()));
    }
    let mut minified = Vec::new();
    minify(text, &mut minified);
    assert_eq!(minified, squeeze(text));
    let bytes: Option<usize> = elements(text).map(|elements| elements.map(<[u8]>::len).sum());
    assert!(bytes.is_none_or(|bytes| bytes <= text.len()));
    assert!(unescape(text).is_none_or(|string| string.len() <= text.len()));
}

/// Whether it is a text at all.
fn check_verdict(text: &str) {
    let parsed = serde_json::from_str::<Value>(text);
    match (is_text(text.as_bytes()), parsed) {
        (true, Err(error)) => {
            // What only a reader of values minds: halves of surrogate pairs, and numbers beyond all measure.
            let error = error.to_string();
            let is_borne = ["surrogate", "hex escape", "out of range"];
            assert!(is_borne.iter().any(|what| error.contains(what)), "{error}");
        }
        (false, Ok(_)) => panic!("a text is refused"),
        (true, Ok(_)) | (false, Err(_)) => {}
    }
}

/// Every value is found, raw, and nothing where nothing is.
fn check_values(text: &str) {
    for Found { pointer, raw } in values(text) {
        assert_eq!(raw_at(text, &pointer), Some(raw), "{pointer}");
        let unescaped = unescape(raw.as_bytes());
        match serde_json::from_str::<String>(raw) {
            Ok(string) => assert_eq!(unescaped.as_deref(), Some(string.as_bytes())),
            Err(_) if raw.starts_with('"') => {
                let string = unescaped.expect("every escape is one");
                assert!(
                    String::from_utf8_lossy(&string).contains('\u{FFFD}'),
                    "half a pair"
                );
            }
            Err(_) => assert_eq!(unescaped, None),
        }
        let all = array(raw).map(|all| all.into_iter().map(str::as_bytes).collect::<Vec<_>>());
        let missing = match &all {
            Some(all) => all.len().to_string(),
            None => "no such name".to_owned(),
        };
        assert_eq!(elements(raw.as_bytes()).map(Iterator::collect), all);
        assert_eq!(raw_at(text, &format!("{pointer}/{missing}")), None);
        assert_eq!(
            all.and_then(|_| raw_at(text, &format!("{pointer}/-"))),
            None
        );
    }
}

fn raw_at<'a>(text: &'a str, pointer: &str) -> Option<&'a str> {
    let pointer = Pointer::parse(pointer).expect("a pointer of our own");
    let raw = at(text.as_bytes(), &pointer)?;
    Some(std::str::from_utf8(raw).expect("whole characters"))
}

/// The values of a well-formed text, the outer before the inner, as far as there are not too many.
fn values(text: &str) -> Vec<Found<'_>> {
    let mut found = vec![Found {
        pointer: String::new(),
        raw: text,
    }];
    let mut next = 0;
    while next < found.len().min(VALUES_MAX) {
        let Found { pointer, raw } = &found[next];
        let inner = inner(raw).into_iter().map(|(token, raw)| Found {
            pointer: format!("{pointer}/{token}"),
            raw,
        });
        let inner: Vec<_> = inner.collect();
        found.extend(inner);
        next += 1;
    }
    found
}

/// The values in an object or array, each behind its token; of members with one name the first.
fn inner(raw: &str) -> Vec<(String, &str)> {
    if let Some(elements) = array(raw) {
        let numbered = elements.into_iter().enumerate();
        return numbered
            .map(|(index, raw)| (index.to_string(), raw))
            .collect();
    }
    let Ok(Members(mut members)) = serde_json::from_str(raw) else {
        return Vec::new();
    };
    let mut names = HashSet::new();
    members.retain(|(name, _)| names.insert(name.clone()));
    let members = members.into_iter();
    members
        .map(|(name, raw)| (name.replace('~', "~0").replace('/', "~1"), raw.get()))
        .collect()
}

fn array(raw: &str) -> Option<Vec<&str>> {
    let elements: Vec<&RawValue> = serde_json::from_str(raw).ok()?;
    Some(elements.into_iter().map(RawValue::get).collect())
}

/// Texts that stand in a row are cut as a parser cuts them that has all of them at once.
fn check_framings(text: &str) {
    let row = serde_json::Deserializer::from_str(text).into_iter::<&RawValue>();
    if let Ok(texts) = row
        .map(|text| text.map(RawValue::get))
        .collect::<Result<Vec<_>, _>>()
    {
        check_framing("json", text, &texts);
        let sequence = texts.iter().flat_map(|text| ["\x1E", text, "\n"]);
        check_framing("json-seq", &sequence.collect::<String>(), &texts);
    }
    if let Some(texts) = array(text) {
        check_framing("json-array", text, &texts);
    }
}

fn check_framing(framing: &str, stream: &str, texts: &[&str]) {
    let from = by_name(framing).expect("a framing of the registry");
    let mut transcoder = Transcoder::new(&Turn::new(from, OUTPUTS[0], 1 << 20), &Arc::default());
    let (mut out, mut rest) = (Vec::new(), stream.as_bytes());
    let pushed = transcoder.push(&mut rest, &mut out, usize::MAX);
    let finished = pushed.and_then(|_| transcoder.finish(EndOfInput::Verified, &mut out));
    if texts.iter().any(|text| depth(text) > DEPTH_MAX) {
        // As a fault, or in a sequence passed over.
        return;
    }
    finished.expect("sound texts");
    let events = Reader::default().take(&out).into_iter();
    let found: Vec<_> = events.map(|event| event.data.into_bytes()).collect();
    let one_line = |text: &&str| {
        if is_one_line(text.as_bytes()) {
            text.as_bytes().to_vec()
        } else {
            squeeze(text)
        }
    };
    let expected: Vec<_> = texts.iter().map(one_line).collect();
    assert_eq!(found, expected, "{framing}");
}

/// How deep arrays and objects lie in one another.
fn depth(text: &str) -> usize {
    let (mut depth, mut depth_max, mut is_inside, mut is_escaped) = (0, 0, false, false);
    for byte in text.bytes() {
        is_inside ^= byte == b'"' && !is_escaped;
        is_escaped = byte == b'\\' && !is_escaped;
        match byte {
            b'[' | b'{' if !is_inside => depth += 1,
            b']' | b'}' if !is_inside => depth -= 1,
            _ => {}
        }
        depth_max = depth_max.max(depth);
    }
    depth_max
}

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;

        impl<'de> Visitor<'de> for Object {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members<'de>, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }

        deserializer.deserialize_map(Object)
    }
}

const POINTER_BYTES: usize = 16;
/// How many values of a text are looked into.
const VALUES_MAX: usize = 200;
/// How deep a stream's texts may be.
const DEPTH_MAX: usize = 1024;
