//! What is found in texts of every kind?

mod properties;

use super::{NESTING_MAX, Pointer, at, elements, is_one_line, is_text, minify, unescape};

fn raw_at<'a>(text: &'a [u8], pointer: &str) -> Option<&'a [u8]> {
    at(text, &Pointer::parse(pointer).unwrap())
}

#[track_caller]
fn check_at(text: &str, pointer: &str, raw: Option<&str>) {
    let found = raw_at(text.as_bytes(), pointer);
    let found = found.map(|raw| std::str::from_utf8(raw).unwrap());
    assert_eq!(found, raw, "{text} {pointer}");
}

#[test]
fn values_are_found_by_name_and_number() {
    let text = r#" {"a" : {"b":[10, {"c":"}\"]"} ,[]]},"":{"":null},"x/y~":-1.5e+3,"done":false,"0":"zero"} "#;
    for (pointer, raw) in [
        ("", Some(text.trim())),
        ("/a", Some(r#"{"b":[10, {"c":"}\"]"} ,[]]}"#)),
        ("/a/b", Some(r#"[10, {"c":"}\"]"} ,[]]"#)),
        ("/a/b/0", Some("10")),
        ("/a/b/1", Some(r#"{"c":"}\"]"}"#)),
        ("/a/b/1/c", Some(r#""}\"]""#)),
        ("/a/b/2", Some("[]")),
        ("/a/b/2/0", None),
        ("/a/b/3", None),
        ("/a/b/00", None),
        ("/a/b/-", None),
        ("/a/b/c", None),
        ("/b", None),
        ("/c", None),
        ("/", Some(r#"{"":null}"#)),
        ("//", Some("null")),
        ("/x~1y~0", Some("-1.5e+3")),
        ("/done", Some("false")),
        ("/done/x", None),
        ("/0", Some("\"zero\"")),
        ("/don", None),
        ("/one", None),
        ("/false", None),
    ] {
        check_at(text, pointer, raw);
    }
}

#[test]
fn the_first_member_of_a_name_counts() {
    check_at(r#"{"a":1,"a":2}"#, "/a", Some("1"));
    check_at(r#"{"a":{"x":1},"a":{"y":2}}"#, "/a/y", None);
}

#[test]
fn names_are_compared_unescaped() {
    for (text, pointer) in [
        (r#"{"\u0061b":1}"#, "/ab"),
        (r#"{"\u0061\u0062" : 1}"#, "/ab"),
        (r#"{"a\/b":1}"#, "/a~1b"),
        (r#"{"\"":1}"#, "/\""),
        (r#"{"\\":1}"#, "/\\"),
        (r#"{"x\\":0,"\\\\":1}"#, "/\\\\"),
        (r#"{"\ud83c\udf0a":1}"#, "/🌊"),
        (r#"{"\u00fc":1}"#, "/ü"),
        (r#"{"":1}"#, "/"),
        (r#"{"x":"\\","ab":1}"#, "/ab"),
        (r#"{"x":"\"ab\"","\u0061b":1}"#, "/ab"),
    ] {
        check_at(text, pointer, Some("1"));
    }
    for (text, pointer) in [
        (r#"{"a\nb":1}"#, r"/a\nb"),
        (r#"{"x\"ab":1}"#, "/ab"),
        (r#"{"x\"ab":1}"#, "/\"ab"),
        (r#"{"\\ab":1}"#, "/ab"),
        (r#"{"\q":1}"#, "/q"),
        (r#"{"a\u0000":1}"#, "/a"),
    ] {
        check_at(text, pointer, None);
    }
}

#[test]
fn a_value_is_found_wherever_its_block_begins() {
    for pad in 0..300 {
        let filler = "x".repeat(pad);
        for value in ["true", "\"a\\\\\"", "{\"d\":[\"]}\"]}", "[[],[1]]", "12"] {
            for before in [
                format!("{{\"pad\":\"{filler}\","),
                format!("{{\"pad\":[{{\"done\":\"\\\"{filler}\"}}],"),
                format!("{{\"\\\\{filler}\":1,{}", " ".repeat(pad)),
            ] {
                let text = format!("{before}\"done\":{value},\"last\":1}}");
                check_at(&text, "/done", Some(value));
                check_at(&text, "/last", Some("1"));
                check_at(&text, "/missing", None);
            }
        }
    }
}

#[test]
fn of_a_malformed_text_comes_something_or_nothing() {
    for (text, pointer, raw) in [
        ("", "", None),
        (" ", "", None),
        ("", "/a", None),
        ("{\"a\":", "/a", None),
        ("{\"a\":}", "/a", None),
        ("{\"a\":\"x", "/a", None),
        ("{\"a\":[1", "/a", None),
        ("{\"a\":1", "/a", Some("1")),
        ("{\"a\":[}", "/a", Some("[}")),
        ("{\"a\":x}", "/a", None),
        ("}{\"a\":1", "/a", None),
        ("{}\"a\":1", "/a", None),
        ("[1,]", "/1", None),
        ("[,1]", "/0", None),
        ("{:1}", "/", None),
    ] {
        check_at(text, pointer, raw);
    }
}

#[test]
fn elements_come_in_order() {
    for (raw, expected) in [
        ("[]", Some(&[][..])),
        ("[ \n]", Some(&[])),
        ("[1,2]", Some(&["1", "2"])),
        (
            "[ \"a,]\" , [1,2],{\"b\":[]},null ]",
            Some(&["\"a,]\"", "[1,2]", "{\"b\":[]}", "null"]),
        ),
        ("[1 2]", Some(&["1"])),
        ("[1,,2]", Some(&["1"])),
        ("[,]", Some(&[])),
        ("[1,x]", Some(&["1"])),
        ("[\"a]", Some(&[])),
        ("[", None),
        ("{}", None),
        ("", None),
        ("1", None),
    ] {
        let found = elements(raw.as_bytes());
        let found = found.map(|all| all.map(|raw| std::str::from_utf8(raw).unwrap()).collect());
        assert_eq!(found, expected.map(<[_]>::to_vec), "{raw}");
    }
}

#[test]
fn one_text_is_a_text() {
    let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
    for (text, is) in [
        (&b"{}"[..], true),
        (b" [1,\"\xC3\xBC\"]\r\n", true),
        (b"-1.5e+3", true),
        (b"null", true),
        (b"\"[[[\\\"\"", true),
        (b"", false),
        (b" ", false),
        (b"{} {}", false),
        (b"{\"a\":}", false),
        (b"[1,]", false),
        (b"01", false),
        (b"nul", false),
        (b"\"\n\"", false),
        (b"\"\xFF\"", false),
        (b"\xEF\xBB\xBF{}", false),
        (nested(NESTING_MAX).as_bytes(), true),
        (nested(NESTING_MAX + 1).as_bytes(), false),
    ] {
        assert_eq!(is_text(text), is, "{}", text.escape_ascii());
    }
    assert!(is_one_line(b"{\"a\": 1}") && !is_one_line(b"{\r}") && !is_one_line(b"{}\n"));
}

#[test]
fn hostile_texts_take_no_more_than_a_look() {
    let pointers = ["", "/a", "/a/b", "/0", "/1/a", "/\"\\"];
    let pointers = pointers.map(|pointer| Pointer::parse(pointer).unwrap());
    for before in [
        "",
        "{\"a\":",
        "{\"a\":\"",
        "{\"",
        "[",
        "[0,",
        "{\"a\\",
        "{\"a\"",
        "\"",
    ] {
        for piece in [
            "[", "{", "]", "}", "\"", "\\", ":", ",", "\\\"", "\":", " ", "\" :", "{\"a\":", "[1,",
            "\u{0}", "x",
        ] {
            let text = format!("{before}{}", piece.repeat(40_000 / piece.len())).into_bytes();
            for pointer in &pointers {
                let _ = at(&text, pointer);
            }
            let _ = elements(&text).map(Iterator::count);
            let _ = (unescape(&text), is_text(&text));
            minify(&text, &mut Vec::new());
        }
    }
}
