//! Do tables, parts and envelopes say what a naive reader says, however the bytes are cut?

use base64::{Engine, engine::general_purpose::STANDARD};
use proptest::{
    collection::vec,
    option,
    prelude::{ProptestConfig, Strategy, any},
    prop_assert_eq, proptest,
    sample::{Index, select},
};
use serde_json::Value;

use super::{binary::decode, hand, text_models::read};

/// What is read here: framing, content type, pieces of its streams.
const FORMATS: &[(&str, &str, &[&[u8]])] = &[
    ("csv", "text/csv; header=present", ROWS),
    ("csv", "text/csv; header=absent", ROWS),
    ("multipart", "multipart/mixed; boundary=b", PARTS),
    (
        "multipart",
        "multipart/x-mixed-replace; boundary=\"b\"",
        PARTS,
    ),
    ("connect", "application/connect+json", ENVELOPES),
    ("grpc-web", "application/grpc-web+json", ENVELOPES),
    ("grpc-web", "application/grpc-web-text+json", ENVELOPES),
];

const ROWS: &[&[u8]] = &[
    b"a,b\n",
    b"1,2\r\n",
    b"\"\",\"x\"\r",
    b",",
    b"\"",
    b"\"\"",
    b"\n",
    b"\r",
    b"\r\n",
    b"\xC3\xBC",
    b"\t",
    b"\xEF\xBB\xBF",
    b"\"a\"",
    b"text",
    b"#",
];

const PARTS: &[&[u8]] = &[
    b"--b\r\n",
    b"--b\n",
    b"\r\n--b\r\n",
    b"\n--b--",
    b"\n--b \t\n",
    b"\n--b",
    b"-",
    b"b",
    b"content-type: text/plain\r\n",
    b"content-type: a/json\n",
    b"content-type: image/png\r\n",
    b"content-length: 2\r\n",
    b"content-length: 0\n",
    b"content-length: 90\r\n",
    b"content-length: x\r\n",
    b"x-y: z\r\n",
    b"\r\n",
    b"\r\n",
    b"\n",
    b"\r",
    b" ",
    b"[]",
    b"{\"a\": \"}\\\"\"}",
    b"[",
    b"12",
    b"text",
    b"--b\r\n\r\ntext\r\n--b",
    b"--b\ncontent-type: a/json\n\n{\"a\":[1]}\r\n--b--\r\n",
];

const ENVELOPES: &[&[u8]] = &[
    b"\0\0\0\0\x02{}",
    b"\0\0\0\0\x02{}\0\0\0\0\x03[1]",
    b"\0\0\0\0\0",
    b"\0\0\0\0\x05hello",
    b"\0\0\0\0\x02[]",
    b"\x02\0\0\0\x02{}",
    b"\x80\0\0\0\x10grpc-status: 0\r\n",
    b"\0\0\0\0\x02{}",
    b"\0\0\0\0\x02{}",
    b"\0\0\0\0\0",
    b"\0\0\0\0\x05hello",
    b"\0\0\0\x01\0",
    b"\0",
    b"\x01",
    b"\x02\0\0\0\x02{}",
    b"\x02\0\0\0\x0e{\"error\":null}",
    b"\x02\0\0\0\x16{\"error\":{\"code\":\"x\"}}",
    b"\x02\0\0\0\x01[",
    b"\x02\0\0\x40\x01",
    b"\x80\0\0\0\x10grpc-status: 0\r\n",
    b"\x80\0\0\0\x0egrpc-status: 7",
    b"\x80\0\0\0\x02x\n",
    b"\x80\0\0\x40\x01",
    b"=",
    b"A",
];

/// A stream of such pieces: right, nearly right, or wrong.
fn stream() -> impl Strategy<Value = (&'static str, &'static str, Vec<u8>)> {
    let cut = option::weighted(0.3, any::<Index>());
    let lengths = vec(1..30_usize, 1..4);
    (select(FORMATS), vec(any::<Index>(), 0..14), cut, lengths).prop_map(
        |((framing, content_type, pieces), chosen, cut, lengths)| {
            let chosen = chosen.iter().map(|index| pieces[index.index(pieces.len())]);
            let mut bytes = chosen.collect::<Vec<_>>().concat();
            if content_type.contains("-text") {
                bytes = in_base64(&bytes, &lengths);
            }
            if let Some(index) = cut {
                bytes.truncate(index.index(bytes.len() + 1));
            }
            if framing == "csv" {
                // A string of JSON is one of text.
                bytes = String::from_utf8_lossy(&bytes).into_owned().into_bytes();
            }
            (framing, content_type, bytes)
        },
    )
}

/// In base64, every piece by itself, and broken where it holds an `A` or `=` of its own.
fn in_base64(bytes: &[u8], lengths: &[usize]) -> Vec<u8> {
    let (mut text, mut rest) = (String::new(), bytes);
    for length in lengths.iter().cycle() {
        if rest.is_empty() {
            break;
        }
        let (piece, behind) = rest.split_at(rest.len().min(*length));
        match piece {
            b"A" | b"=" => text.push(char::from(piece[0])),
            _ => text.push_str(&STANDARD.encode(piece)),
        }
        rest = behind;
    }
    text.into_bytes()
}

/// With its members in one order, and its strings in one way.
fn canonical(json: &[u8]) -> Vec<u8> {
    let value = serde_json::from_slice::<Value>(json);
    value.map_or_else(|_| json.to_vec(), |value| value.to_string().into_bytes())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8000))]

    #[test]
    fn a_naive_reader_says_the_same((framing, content_type, input) in stream(), hand in hand()) {
        let (records, verdict) = decode(framing, content_type, &input, &hand);
        let is_json = framing != "multipart";
        let shown = |records: Vec<(Option<Vec<u8>>, Vec<u8>)>| -> Vec<_> {
            let shown = |data: Vec<u8>| if is_json { canonical(&data) } else { data };
            records.into_iter().map(|(name, data)| (name, shown(data))).collect()
        };
        let (expected, expected_verdict) = read(framing, content_type, &input, &hand);
        prop_assert_eq!(
            (shown(records), verdict),
            (shown(expected), expected_verdict),
            "{} {}", content_type, input.escape_ascii()
        );
    }
}
