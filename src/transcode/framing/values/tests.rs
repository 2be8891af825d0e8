//! Do the framings of JSON say the same as a reader that takes one byte after the other?

use proptest::{
    collection::vec,
    prelude::{Just, ProptestConfig, Strategy, any, prop_oneof},
    prop_assert_eq, proptest,
    sample::select,
};
use serde::de::IgnoredAny;

use super::super::{DecodeError, EndOfInput, Framing, check, json, json_array, json_seq};

/// What came of a stream: its records, and how it ended.
type Said = (Vec<Vec<u8>>, Ended);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ended {
    Well,
    TooLarge,
    Bad,
    Truncated(usize),
}

/// What a stream's bytes begin with.
#[derive(Debug, PartialEq, Eq)]
enum Value {
    Whole(usize),
    Open,
    Bad,
    TooLarge,
}

fn is_blank(byte: u8) -> bool {
    b" \t\r\n".contains(&byte)
}

fn is_json(text: &[u8]) -> bool {
    serde_json::from_slice::<IgnoredAny>(text).is_ok()
}

/// Reads one value, `input` not being empty.
fn value(input: &[u8], max: usize) -> Value {
    let (mut open, mut is_inside, mut is_escaped) = (Vec::new(), false, false);
    let first = input[0];
    if b"-0123456789tfn".contains(&first) {
        let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || b"+-.".contains(byte);
        return match input.iter().position(|byte| !is_part(byte)) {
            end if end.unwrap_or(input.len()) > max => Value::TooLarge,
            None => Value::Open,
            Some(end) if is_json(&input[..end]) => Value::Whole(end),
            Some(_) => Value::Bad,
        };
    }
    if !b"{[\"".contains(&first) {
        return Value::Bad;
    }
    for (at, byte) in input.iter().enumerate() {
        if at == max {
            return Value::TooLarge;
        }
        if is_inside {
            is_inside = *byte != b'"' || is_escaped;
            is_escaped = *byte == b'\\' && !is_escaped;
        } else {
            match *byte {
                b'"' if !is_escaped => is_inside = true,
                b'{' => open.push(b'}'),
                b'[' => open.push(b']'),
                b'}' | b']' if open.pop() != Some(*byte) => return Value::Bad,
                _ => {}
            }
            is_escaped = *byte == b'\\' && !is_escaped;
        }
        if open.len() > 1024 {
            return Value::Bad;
        }
        if open.is_empty() && !is_inside {
            return Value::Whole(at + 1);
        }
    }
    Value::Open
}

/// A value as it is lent.
fn lent(raw: &[u8]) -> Vec<u8> {
    let (mut is_inside, mut is_escaped, mut has_line_end) = (false, false, false);
    let mut minified = Vec::new();
    for byte in raw {
        if is_inside || !is_blank(*byte) {
            minified.push(*byte);
        }
        has_line_end |= !is_inside && b"\r\n".contains(byte);
        is_inside ^= *byte == b'"' && !is_escaped;
        is_escaped = *byte == b'\\' && !is_escaped;
    }
    if has_line_end { minified } else { raw.to_vec() }
}

/// Takes off a byte order mark.
fn begin(input: &[u8]) -> Result<&[u8], Ended> {
    let mark = b"\xEF\xBB\xBF";
    let half = input.iter().zip(mark).take_while(|(a, b)| a == b).count();
    match half {
        3 => Ok(&input[3..]),
        0 => Ok(input),
        _ if half == input.len() => Err(Ended::Truncated(half)),
        _ => Err(Ended::Bad),
    }
}

fn trim(input: &[u8]) -> &[u8] {
    let blank = input.iter().take_while(|byte| is_blank(**byte)).count();
    &input[blank..]
}

fn model_json(
    input: &[u8],
    end: EndOfInput,
    max: usize,
    said: &mut Vec<Vec<u8>>,
) -> Result<(), Ended> {
    let mut rest = trim(begin(input)?);
    while !rest.is_empty() {
        let length = match value(rest, max) {
            Value::Whole(length) => length,
            Value::Open => {
                let may_grow = rest.last().is_some_and(u8::is_ascii_digit);
                let is_whole = is_json(rest) && !(may_grow && end == EndOfInput::Unverified);
                return if is_whole {
                    said.push(rest.to_vec());
                    Ok(())
                } else {
                    Err(Ended::Truncated(rest.len()))
                };
            }
            Value::Bad => return Err(Ended::Bad),
            Value::TooLarge => return Err(Ended::TooLarge),
        };
        said.push(lent(&rest[..length]));
        rest = trim(&rest[length..]);
    }
    Ok(())
}

fn model_array(
    input: &[u8],
    end: EndOfInput,
    max: usize,
    said: &mut Vec<Vec<u8>>,
) -> Result<(), Ended> {
    let mut rest = trim(begin(input)?);
    if rest.is_empty() && end == EndOfInput::Verified {
        return Ok(());
    }
    let (mut is_first, mut is_due) = (true, true);
    rest = match rest.split_first() {
        None => return Err(Ended::Truncated(0)),
        Some((b'[', rest)) => trim(rest),
        Some(_) => return Err(Ended::Bad),
    };
    loop {
        match rest.first() {
            None => return Err(Ended::Truncated(0)),
            Some(b']') if is_first || !is_due => break,
            Some(b',') if !is_due => {
                is_due = true;
                rest = trim(&rest[1..]);
            }
            Some(_) if is_due => match value(rest, max) {
                Value::Whole(length) => {
                    said.push(lent(&rest[..length]));
                    rest = trim(&rest[length..]);
                    (is_first, is_due) = (false, false);
                }
                Value::Open => return Err(Ended::Truncated(rest.len())),
                Value::Bad => return Err(Ended::Bad),
                Value::TooLarge => return Err(Ended::TooLarge),
            },
            Some(_) => return Err(Ended::Bad),
        }
    }
    if trim(&rest[1..]).is_empty() {
        Ok(())
    } else {
        Err(Ended::Bad)
    }
}

fn model_seq(
    input: &[u8],
    _: EndOfInput,
    max: usize,
    said: &mut Vec<Vec<u8>>,
) -> Result<(), Ended> {
    let rest = begin(input)?;
    let mut texts = rest.split(|byte| *byte == 0x1E);
    if !trim(texts.next().unwrap_or_default()).is_empty() {
        return Err(Ended::Bad);
    }
    let mut texts = texts.peekable();
    while let Some(text) = texts.next() {
        let (is_last, body) = (texts.peek().is_none(), trim(text));
        if body.is_empty() {
            if is_last && !text.contains(&b'\n') {
                return Err(Ended::Truncated(0));
            }
            continue;
        }
        match value(body, max) {
            Value::Whole(length) => {
                let is_scalar = !b"{[\"".contains(&body[0]);
                if !is_scalar || is_blank(body[length]) {
                    said.push(lent(&body[..length]));
                }
            }
            Value::Open if is_last => return Err(Ended::Truncated(body.len())),
            Value::TooLarge => return Err(Ended::TooLarge),
            Value::Open | Value::Bad => {}
        }
    }
    Ok(())
}

type Model = fn(&[u8], EndOfInput, usize, &mut Vec<Vec<u8>>) -> Result<(), Ended>;

fn by_model(model: Model, input: &[u8], end: EndOfInput, max: usize) -> Said {
    let mut said = Vec::new();
    let ended = model(input, end, max, &mut said)
        .err()
        .unwrap_or(Ended::Well);
    (said, ended)
}

fn by_decoder(framing: &Framing, chunks: &[&[u8]], end: EndOfInput, max: usize) -> Said {
    let outcome = check::decode(framing, chunks, end, max);
    let said = outcome.datas().into_iter().map(<[u8]>::to_vec).collect();
    let ended = match outcome.error {
        None => Ended::Well,
        Some(DecodeError::RecordTooLarge { .. }) => Ended::TooLarge,
        Some(DecodeError::BadFraming { .. }) => Ended::Bad,
        Some(DecodeError::Truncated { carried_bytes, .. }) => Ended::Truncated(carried_bytes),
        Some(DecodeError::Unended | DecodeError::Reported { .. }) => {
            panic!("these are not theirs")
        }
    };
    (said, ended)
}

/// Pieces of JSON, whole and broken, and what may stand between them.
fn pieces() -> impl Strategy<Value = Vec<u8>> {
    let whole: [&[u8]; 16] = [
        b"{}", b"[]", b"12", b"-1.5e+3", b"true", b"null", b"\"\"", b"\"a\\\"b\"", b"\"\\\\\"",
        b"{\"a\": [1, 2]}", b"{\"a\":\"}]\\\\\\\"\"}", b"{\n  \"a b\" : [\r\n1 ]\n}", b"[[[[{}]]]]", b"[ true ]",
        b"\"long enough, with some [brackets] and {braces}, to pass the end of a block of sixty-four\"",
        b"{\"long\":\"enough, with [brackets] and {braces}, to pass the end of a block of sixty-four\",\"b\":2}",
    ];
    let between: [&[u8]; 9] = [
        b" ", b"\n", b"\r\n", b",", b",", b"\x1E", b"\n\x1E", b"", b"\t",
    ];
    let broken: [&[u8]; 14] = [
        b"{",
        b"[",
        b"]",
        b"}",
        b"\"",
        b"\\",
        b"\\\"",
        b":",
        b"tru",
        b"nul",
        b"-",
        b"\xEF\xBB\xBF",
        b"\xEF",
        b"x",
    ];
    let owned = |all: &[&'static [u8]]| all.to_vec();
    let piece = prop_oneof![
        10 => select(owned(&whole)).prop_map(<[u8]>::to_vec),
        10 => select(owned(&between)).prop_map(<[u8]>::to_vec),
        2 => select(owned(&broken)).prop_map(<[u8]>::to_vec),
        1 => vec(any::<u8>(), 0..3),
    ];
    let before = select(vec![
        &b""[..],
        b"[",
        b"\x1E",
        b"\xEF\xBB\xBF[",
        b"\xEF\xBB\xBF\x1E",
        b" [",
        b"\xEF",
    ]);
    let after = select(vec![&b""[..], b"]", b"\n", b"] \n"]);
    (before, vec(piece, 0..24), after)
        .prop_map(|(before, pieces, after)| [before, &pieces.concat(), after].concat())
}

/// Whole streams of each framing: values with something between them.
fn streams() -> impl Strategy<Value = (usize, Vec<u8>)> {
    let value = select(vec![
        &b"{\"a\":1}"[..], b"[1,{\"b\":\"\\\"]}\"}]", b"\"text\"", b"-12.5", b"false", b"{\n \"c\": {\r\n}\n}", b"[]",
        b"{\"long\":\"enough, with [brackets] and {braces}, to pass the end of a block of sixty-four\",\"b\":2}",
    ]);
    let blank = select(vec!["", " ", "\n", "\r\n\t "]);
    (0..3_usize, vec((value, blank.clone(), blank), 0..12)).prop_map(|(kind, values)| {
        let (first, before, after, last) = [
            ("", "", "\n", ""),
            ("[", "", ",", "]"),
            ("", "\x1E", "\n", ""),
        ][kind];
        let mut stream = first.as_bytes().to_vec();
        for (index, (value, blank, behind)) in values.iter().enumerate() {
            let after = if index + 1 == values.len() && kind == 1 {
                ""
            } else {
                after
            };
            for part in [
                before.as_bytes(),
                blank.as_bytes(),
                value,
                behind.as_bytes(),
                after.as_bytes(),
            ] {
                stream.extend_from_slice(part);
            }
        }
        stream.extend_from_slice(last.as_bytes());
        (kind, stream)
    })
}

fn cut<'a>(mut input: &'a [u8], lengths: &[usize]) -> Vec<&'a [u8]> {
    let mut chunks = Vec::new();
    for length in lengths.iter().cycle() {
        let (chunk, rest) = input.split_at(input.len().min(*length));
        chunks.push(chunk);
        input = rest;
        if input.is_empty() {
            break;
        }
    }
    chunks
}

const FRAMINGS: [(&Framing, Model); 3] = [
    (&json::FRAMING, model_json),
    (&json_array::FRAMING, model_array),
    (&json_seq::FRAMING, model_seq),
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    #[test]
    fn every_cut_of_anything_is_read_as_by_the_model(
        input in pieces(),
        lengths in vec(1..90_usize, 1..6),
        max in prop_oneof![Just(1 << 20), 0..100_usize],
        end in prop_oneof![Just(EndOfInput::Verified), Just(EndOfInput::Unverified)],
    ) {
        for (framing, model) in FRAMINGS {
            let expected = by_model(model, &input, end, max);
            for chunks in [vec![&input[..]], cut(&input, &lengths), input.chunks(1).collect()] {
                let said = by_decoder(framing, &chunks, end, max);
                prop_assert_eq!(&said, &expected, "{} {}", framing.name, input.escape_ascii());
            }
        }
    }

    #[test]
    fn every_cut_of_a_whole_stream_is_read_as_by_the_model(
        (kind, stream) in streams(),
        lengths in vec(1..90_usize, 1..6),
    ) {
        let (framing, model) = FRAMINGS[kind];
        let end = EndOfInput::Unverified;
        let expected = by_model(model, &stream, end, 1 << 20);
        prop_assert_eq!(expected.1, Ended::Well, "{}", stream.escape_ascii());
        for chunks in [vec![&stream[..]], cut(&stream, &lengths), stream.chunks(1).collect()] {
            prop_assert_eq!(&by_decoder(framing, &chunks, end, 1 << 20), &expected);
        }
    }
}
