//! How would tables, parts and envelopes be read by someone who has all bytes at once and no hurry?
//!
//! Written from the formats' descriptions, so that it shares no thought with what it checks.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde::de::IgnoredAny;
use serde_json::{Map, Value};

use super::{
    Hand,
    models::{Named, Read, Verdict},
};
use weir::transcode::framing::EndOfInput;

type Records = Vec<Named>;

/// What a reader of `framing` makes of `input`.
pub(super) fn read(framing: &str, content_type: &str, input: &[u8], hand: &Hand) -> Read {
    let mut records = Vec::new();
    let max = hand.record_bytes_max;
    let verdict = match framing {
        "csv" => csv(input, content_type.ends_with("absent"), hand, &mut records),
        "multipart" => multipart(input, content_type.contains("replace"), max, &mut records),
        "connect" => envelopes(input, 2, max, &mut records),
        "grpc-web" if content_type.contains("-text") => in_base64(input, max, &mut records),
        "grpc-web" => envelopes(input, 0x80, max, &mut records),
        _ => panic!("no model of {framing}"),
    };
    (records, verdict.err().unwrap_or(Verdict::Complete))
}

fn limit(is_beyond: bool, verdict: Verdict) -> Result<(), Verdict> {
    if is_beyond { Err(verdict) } else { Ok(()) }
}

fn csv(input: &[u8], is_nameless: bool, hand: &Hand, records: &mut Records) -> Result<(), Verdict> {
    let text = std::str::from_utf8(input).unwrap();
    let text = text.strip_prefix('\u{FEFF}').unwrap_or(text);
    let mut header: Option<(Vec<String>, Vec<String>)> = None;
    let mut rest = text;
    while !rest.is_empty() {
        let (cells, row_bytes, end) = row(rest);
        // A CR at the end of what has come does not count yet.
        let is_open = end != RowEnd::Line && rest[..row_bytes].ends_with('\r');
        let max = hand.record_bytes_max + usize::from(is_open);
        limit(row_bytes > max, Verdict::TooLarge)?;
        let is_cut =
            end == RowEnd::Quoted || (end == RowEnd::Input && hand.end == EndOfInput::Unverified);
        limit(is_cut, Verdict::Truncated)?;
        rest = &rest[row_bytes..];
        rest = ["\r\n", "\n", "\r"]
            .iter()
            .find_map(|end| rest.strip_prefix(end))
            .unwrap_or(rest);
        if row_bytes == 0 {
            continue;
        }
        let value = match &header {
            _ if is_nameless => cells.into_iter().collect(),
            None => {
                header = Some((unique(&cells), cells));
                continue;
            }
            Some((names, told)) => {
                let is_too_long = cells.iter().skip(told.len()).any(|cell| !cell.is_empty());
                limit(is_too_long, Verdict::Bad)?;
                let mut members = Map::new();
                for ((name, told), cell) in names.iter().zip(told).zip(cells) {
                    if !(told.is_empty() && cell.is_empty()) {
                        members.insert(name.clone(), Value::String(cell));
                    }
                }
                Value::Object(members)
            }
        };
        records.push((None, value.to_string().into_bytes()));
    }
    Ok(())
}

/// Each name with the first number that makes it unlike all others.
fn unique(names: &[String]) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    for (index, name) in names.iter().enumerate() {
        let mut one = name.clone();
        for number in 2.. {
            let is_taken = all.contains(&one) || (one != *name && names.contains(&one));
            if !is_taken && (number > 2 || !names[..index].contains(name)) {
                break;
            }
            one = format!("{name}_{number}");
        }
        all.push(one);
    }
    all
}

#[derive(PartialEq, Eq)]
enum RowEnd {
    Line,
    Input,
    Quoted,
}

/// The cells of the first row, its length, and how it ends.
fn row(text: &str) -> (Vec<String>, usize, RowEnd) {
    let (mut cells, mut at) = (vec![String::new()], 0);
    let mut is_start = true;
    while let Some(next) = text[at..].chars().next() {
        let cell = cells.last_mut().unwrap();
        match next {
            '\n' | '\r' => return (cells, at, RowEnd::Line),
            ',' => cells.push(String::new()),
            '"' if is_start => {
                let Some(length) = quoted(&text[at + 1..]) else {
                    return (cells, text.len(), RowEnd::Quoted);
                };
                cell.push_str(&text[at + 1..][..length].replace("\"\"", "\""));
                at += 1 + length;
            }
            _ => cell.push(next),
        }
        is_start = next == ',';
        at += if next == '"' { 1 } else { next.len_utf8() };
    }
    (cells, at, RowEnd::Input)
}

/// How long the text is before the quote that is none of two.
fn quoted(text: &str) -> Option<usize> {
    let mut at = 0;
    loop {
        at += text[at..].find('"')?;
        if !text[at + 1..].starts_with('"') {
            return Some(at);
        }
        at += 2;
    }
}

/// A body whose boundary is `b`.
fn multipart(
    input: &[u8],
    is_endless: bool,
    max: usize,
    records: &mut Records,
) -> Result<(), Verdict> {
    // With a line end before, every delimiter begins with one.
    let input = &[b"\n", input].concat()[..];
    let between = |left: &[u8]| limit(!(is_endless && left.is_empty()), Verdict::Truncated);
    let starts = |mark: &[u8]| input.windows(mark.len()).position(|it| it == mark);
    let close = starts(b"\n--b--");
    let open = (0..input.len()).find(|at| delimiter_line(&input[*at..]).is_some());
    let Some(open) = open.filter(|open| close.is_none_or(|close| *open < close)) else {
        return if close.is_some() {
            Ok(())
        } else {
            between(&input[1..])
        };
    };
    let mut rest = &input[open + delimiter_line(&input[open..]).unwrap()..];
    loop {
        let Some(head_bytes) = head(rest) else {
            return between(rest);
        };
        let (head, body) = rest.split_at(head_bytes);
        let (kind, length) = fields(std::str::from_utf8(head).unwrap())?;
        let Some((bytes, behind, is_marked)) = body_end(body, &kind, length) else {
            return Err(unfinished(body, max));
        };
        limit(bytes > max, Verdict::TooLarge)?;
        let is_text = kind.is_empty() || kind.starts_with("text/") || kind == "a/json";
        let data = if is_text {
            body[..bytes].to_vec()
        } else {
            STANDARD.encode(&body[..bytes]).into_bytes()
        };
        records.push((None, data));
        rest = &body[behind..];
        if !is_marked {
            let white = rest
                .iter()
                .take_while(|byte| byte.is_ascii_whitespace())
                .count();
            rest = &rest[white..];
            let mark: &[u8] = b"--b";
            if rest.len() <= mark.len() && mark.starts_with(rest) || rest == b"--b-" {
                return between(rest);
            }
            let Some(mark) = mark_bytes(&[b"\n", rest].concat()) else {
                return Err(Verdict::Bad);
            };
            rest = &rest[mark - 1..];
        }
        // `rest` begins behind the mark, of which the last byte was looked at.
        let last = body[body.len() - rest.len() - 1];
        if last == b'-' {
            return Ok(());
        }
        if last != b'\n' {
            let end = rest.iter().position(|byte| *byte == b'\n');
            let line = &rest[..end.unwrap_or(rest.len())];
            limit(!line.iter().all(u8::is_ascii_whitespace), Verdict::Bad)?;
            let Some(end) = end else { return between(b"") };
            rest = &rest[end + 1..];
        }
    }
}

/// The length of the whole first delimiter line that `bytes` begins with.
fn delimiter_line(bytes: &[u8]) -> Option<usize> {
    let line = bytes.strip_prefix(b"\n")?;
    let end = line.iter().position(|byte| *byte == b'\n')?;
    (line[..end].trim_ascii_end() == b"--b").then_some(end + 2)
}

/// The length of a head with its empty line.
fn head(bytes: &[u8]) -> Option<usize> {
    let mut at = 0;
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        at += line.len();
        if line.ends_with(b"\n") && line.trim_ascii_end().is_empty() && !line.contains(&b' ') {
            return Some(at);
        }
    }
    None
}

/// The type and the length that a head tells.
fn fields(head: &str) -> Result<(String, Option<usize>), Verdict> {
    let mut lines: Vec<String> = Vec::new();
    for line in head.split('\n') {
        let line = line.strip_suffix('\r').unwrap_or(line);
        limit(line.contains('\r'), Verdict::Bad)?;
        if line.starts_with(' ') {
            lines.last_mut().ok_or(Verdict::Bad)?.push_str(line);
        } else if !line.is_empty() {
            lines.push(line.to_owned());
        }
    }
    let (mut kind, mut length) = (None, None);
    for line in lines {
        let (name, value) = line.split_once(':').ok_or(Verdict::Bad)?;
        let is_token = |c: char| c.is_ascii_alphanumeric() || c == '-';
        limit(name.is_empty() || !name.chars().all(is_token), Verdict::Bad)?;
        let value = value.trim();
        if name == "content-type" && kind.is_none() {
            kind = Some(value.to_owned());
        }
        if name == "content-length" {
            let bytes = value.parse().map_err(|_| Verdict::Bad)?;
            limit(length.is_some_and(|length| length != bytes), Verdict::Bad)?;
            length = Some(bytes);
        }
    }
    Ok((kind.unwrap_or_default(), length))
}

/// How long the body is, where what comes behind it starts, and whether a delimiter ended it.
fn body_end(body: &[u8], kind: &str, length: Option<usize>) -> Option<(usize, usize, bool)> {
    let by_mark = (0..=body.len()).find_map(|at| {
        let before = if at == 0 { b'\n' } else { body[at - 1] };
        let bytes = [&[before], &body[at..]].concat();
        let mark = mark_bytes(&bytes)?;
        let text = &body[..at.saturating_sub(1)];
        let text = if at > 0 {
            text.strip_suffix(b"\r").unwrap_or(text)
        } else {
            text
        };
        Some((text.len(), at + mark - 1, true))
    });
    let by_length = length.filter(|length| *length <= body.len());
    let is_json = |end: &usize| {
        let text = &body[..*end];
        let is_container = matches!(text.trim_ascii_start().first(), Some(b'{' | b'['));
        is_container && serde_json::from_slice::<IgnoredAny>(text).is_ok()
    };
    let by_json = Some(0..=body.len()).filter(|_| kind == "a/json");
    let by_json = by_json.and_then(|mut ends| ends.find(is_json));
    let unmarked = [by_json, by_length].into_iter().flatten().min();
    let unmarked = unmarked.map(|end| (end, end, false));
    // Where both end with one byte, it is the delimiter.
    [by_mark, unmarked]
        .into_iter()
        .flatten()
        .min_by_key(|(_, behind, _)| *behind)
}

/// The length of the mark that `bytes` begins with, from its LF on.
fn mark_bytes(bytes: &[u8]) -> Option<usize> {
    match bytes.strip_prefix(b"\n--b")? {
        [b'\n' | b'\r' | b' ' | b'\t', ..] => Some(5),
        [b'-', b'-', ..] => Some(6),
        _ => None,
    }
}

/// What is said of a body that does not end.
fn unfinished(body: &[u8], max: usize) -> Verdict {
    // The line end before the body may be a delimiter's.
    let begins = |tail: &[u8]| !tail.is_empty() && b"\n--b-".starts_with(tail);
    let certain = if begins(&[b"\n", body].concat()) {
        0
    } else {
        (0..body.len())
            .find(|at| begins(&body[*at..]))
            .unwrap_or(body.len())
    };
    let certain = &body[..certain];
    let certain = certain.strip_suffix(b"\r").unwrap_or(certain);
    if certain.len() > max {
        Verdict::TooLarge
    } else {
        Verdict::Truncated
    }
}

fn envelopes(mut rest: &[u8], end: u8, max: usize, records: &mut Records) -> Result<(), Verdict> {
    loop {
        let flags = *rest.first().ok_or(Verdict::Truncated)?;
        limit(flags != 0 && flags != end, Verdict::Bad)?;
        let length = rest.get(1..5).ok_or(Verdict::Truncated)?;
        let length = length
            .iter()
            .fold(0, |length, byte| length * 256 + usize::from(*byte));
        let max = if flags == 0 { max } else { max.max(16 << 10) };
        limit(length > max, Verdict::TooLarge)?;
        let message = rest.get(5..5 + length).ok_or(Verdict::Truncated)?;
        rest = &rest[5 + length..];
        if flags == 0 {
            records.extend((!message.is_empty()).then(|| (None, message.to_vec())));
            continue;
        }
        let text = String::from_utf8_lossy(message);
        if end == 2 {
            let members: Map<String, Value> =
                serde_json::from_str(&text).map_err(|_| Verdict::Bad)?;
            if let Some(error) = members.get("error").filter(|error| !error.is_null()) {
                records.push((Some(b"error".to_vec()), error.to_string().into_bytes()));
                return Err(Verdict::Reported);
            }
        } else {
            let status = text
                .lines()
                .find_map(|line| line.strip_prefix("grpc-status: "));
            let status = status.and_then(|status| status.trim().parse::<u32>().ok());
            limit(status.ok_or(Verdict::Bad)? != 0, Verdict::Reported)?;
        }
        return limit(!rest.is_empty(), Verdict::Bad);
    }
}

/// Undoes base64 as far as it is right, and reads what comes of it.
fn in_base64(input: &[u8], max: usize, records: &mut Records) -> Result<(), Verdict> {
    let input: Vec<u8> = input
        .iter()
        .copied()
        .filter(|byte| !b" \t\r\n".contains(byte))
        .collect();
    let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let (mut bits, mut bytes, mut rest) = (Vec::new(), Vec::new(), &input[..]);
    let mut is_right = true;
    while let Some((character, behind)) = rest.split_first() {
        rest = behind;
        if let Some(value) = alphabet.iter().position(|it| it == character) {
            bits.extend((0..6).rev().map(|bit| value >> bit & 1));
            if bits.len() == 24 {
                bytes.extend(whole_bytes(&std::mem::take(&mut bits)));
            }
            continue;
        }
        bytes.extend(whole_bytes(&bits));
        let padding = if bits.len() == 12 { 2 } else { 1 };
        let is_padding = *character == b'=' && matches!(bits.len(), 12 | 18);
        is_right = is_padding && (padding == 1 || rest.first().is_none_or(|next| *next == b'='));
        bits.clear();
        if !is_right {
            break;
        }
        rest = rest.get(padding - 1..).unwrap_or_default();
    }
    let is_behind = bits.len() == 6;
    bytes.extend(whole_bytes(&bits));
    match envelopes(&bytes, 0x80, max, records) {
        Err(Verdict::Truncated) if !is_right => Err(Verdict::Bad),
        Ok(()) if !is_right || is_behind => Err(Verdict::Bad),
        verdict => verdict,
    }
}

fn whole_bytes(bits: &[usize]) -> Vec<u8> {
    let bytes = bits.chunks_exact(8);
    let byte = |bits: &[usize]| {
        bits.iter()
            .fold(0, |byte, bit| byte * 2 + u8::try_from(*bit).unwrap())
    };
    bytes.map(byte).collect()
}
