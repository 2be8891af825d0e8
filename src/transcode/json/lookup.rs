//! Where in a text does a value lie?

use memchr::{memchr2, memrchr};

use super::{
    pointer::{Pointer, Token},
    rewrite::unescape,
    scan::{Mark, Scan, Seen},
    trim_end, trim_start,
};

/// The elements of a raw array, each raw.
#[derive(Debug, Clone)]
pub struct Elements<'a> {
    /// Begins with an element, or there is none left.
    rest: &'a [u8],
}

impl<'a> Elements<'a> {
    pub(super) fn of(raw: &'a [u8]) -> Option<Self> {
        let rest = raw.strip_prefix(b"[")?.strip_suffix(b"]")?;
        Some(Self {
            rest: trim_start(rest),
        })
    }
}

impl<'a> Iterator for Elements<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let rest = std::mem::take(&mut self.rest);
        let element = value(rest)?;
        let behind = trim_start(&rest[element.len()..]);
        self.rest = trim_start(behind.strip_prefix(b",").unwrap_or_default());
        Some(element)
    }
}

/// See [`super::at`].
pub(super) fn at<'a>(text: &'a [u8], pointer: &Pointer) -> Option<&'a [u8]> {
    let mut rest = trim_start(text);
    if pointer.tokens().is_empty() {
        return Some(trim_end(rest)).filter(|whole| !whole.is_empty());
    }
    for token in pointer.tokens() {
        rest = match rest.split_first()? {
            (b'{', members) => member(members, token)?,
            (b'[', elements) => element(elements, token.index?)?,
            _ => return None,
        };
        rest = trim_start(rest);
    }
    value(rest)
}

/// What begins with the value of the member of that name.
#[inline]
fn member<'a>(members: &'a [u8], token: &Token) -> Option<&'a [u8]> {
    find(members, b':', |seen, colon| {
        is_name(&members[..colon.at], seen.escapes_end(colon), token)
    })
}

/// What begins with the element of that number.
#[inline]
fn element(elements: &[u8], index: usize) -> Option<&[u8]> {
    let mut left = index;
    if left == 0 {
        return Some(elements);
    }
    find(elements, b',', |_, _| {
        left -= 1;
        left == 0
    })
}

/// What stands behind the first `separator` that fits, among those that lie in no value of `inner`.
#[inline]
fn find(inner: &[u8], separator: u8, mut fits: impl FnMut(&Seen, Mark) -> bool) -> Option<&[u8]> {
    let mut depth = 0;
    for seen in Scan::of(inner) {
        let (opens, closes) = (seen.opens(), seen.closes());
        if leaves_out(&mut depth, opens, closes) {
            continue;
        }
        for mark in seen.marks(opens | closes | seen.eq(separator)) {
            if mark.is_in(opens) {
                depth += 1;
            } else if mark.is_in(closes) {
                depth = usize::checked_sub(depth, 1)?;
            } else if depth == 0 && fits(&seen, mark) {
                return Some(&inner[mark.at + 1..]);
            }
        }
    }
    None
}

/// Passes over a block of which every byte lies inside a value.
#[inline]
fn leaves_out(depth: &mut usize, opens: u64, closes: u64) -> bool {
    if *depth == 0 {
        return false;
    }
    let closes_count = closes.count_ones() as usize;
    let is_deep = *depth > closes_count;
    if is_deep {
        *depth = *depth - closes_count + opens.count_ones() as usize;
    }
    is_deep
}

/// Whether what stands before a colon ends in that name.
#[inline]
fn is_name(before: &[u8], escapes_end: usize, token: &Token) -> bool {
    let before = trim_end(before);
    // The longest way to write it: 6 bytes for each of its own (`\u0041`).
    let window = before.len().saturating_sub(6 * token.quoted().len());
    if escapes_end > window && is_in_last_string(before, escapes_end) {
        return is_escaped_name(&before[window..], token);
    }
    let Some(start) = before.len().checked_sub(token.quoted().len()) else {
        return false;
    };
    // Most names differ in length; then there is seldom a quote.
    before[start] == b'"' && before[start..] == *token.quoted()
}

/// Whether the last backslash, which ends there, stands in the string that `text` ends with: then no quote
/// comes between, but for the one that it may escape.
#[inline]
fn is_in_last_string(text: &[u8], escapes_end: usize) -> bool {
    let behind = text.get(escapes_end + 1..text.len().saturating_sub(1));
    behind.is_none_or(|behind| !behind.contains(&b'"'))
}

/// The same where there are backslashes in or just before the name.
#[cold]
fn is_escaped_name(before: &[u8], token: &Token) -> bool {
    let mut rest = before.strip_suffix(b"\"").unwrap_or_default();
    while let Some(quote) = memrchr(b'"', rest) {
        rest = &rest[..quote];
        let backslashes = rest.iter().rev().take_while(|byte| **byte == b'\\').count();
        if backslashes % 2 == 0 {
            return unescape(&before[quote..]).is_some_and(|name| *name == *token.name());
        }
        rest = &rest[..rest.len() - backslashes];
    }
    false
}

/// The value that `text` begins with.
fn value(text: &[u8]) -> Option<&[u8]> {
    let end = match text.first()? {
        b'"' => string_end(text)?,
        b'{' | b'[' => container_end(text)?,
        b'-' | b'0'..=b'9' | b't' | b'f' | b'n' => {
            let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || b"+-.".contains(byte);
            let end = text.iter().position(|byte| !is_part(byte));
            end.unwrap_or(text.len())
        }
        _ => return None,
    };
    Some(&text[..end])
}

fn string_end(text: &[u8]) -> Option<usize> {
    let mut at = 1;
    loop {
        at += memchr2(b'"', b'\\', text.get(at..)?)?;
        if text[at] == b'"' {
            return Some(at + 1);
        }
        at += 2;
    }
}

fn container_end(text: &[u8]) -> Option<usize> {
    let mut depth = 0;
    for seen in Scan::of(text) {
        let (opens, closes) = (seen.opens(), seen.closes());
        if leaves_out(&mut depth, opens, closes) {
            continue;
        }
        for mark in seen.marks(opens | closes) {
            if mark.is_in(opens) {
                depth += 1;
                continue;
            }
            depth -= 1;
            if depth == 0 {
                return Some(mark.at + 1);
            }
        }
    }
    None
}
