//! How is one JSON text looked into without building a tree?
//!
//! A text is scanned in blocks of 64 bytes, with one bit for each byte of interest, so that what is
//! skipped costs little more than to read it; nothing recurses. Whether a text is well formed is asked of
//! [`is_text`] alone. Of one that is not, the others answer with some stretch of it or with none: they
//! never panic, and their time grows with its length only.

mod block;
mod lookup;
mod pointer;
mod rewrite;
mod scan;
#[cfg(test)]
mod tests;
mod value;

use memchr::memchr2;
use serde::de::IgnoredAny;

pub use self::{
    lookup::Elements,
    pointer::{Pointer, PointerError},
    rewrite::{minify, unescape},
};
pub(super) use self::{rewrite::minify_in_place, value::ValueEnd};

/// Finds the value at `pointer` in `text`: its raw bytes, without white space around them.
///
/// `None` where there is none. Names are compared unescaped; of members with one name the first counts.
/// Looks only at what stands before the value and at its own end, and allocates only for a name that is
/// written with escapes.
#[must_use]
pub fn at<'a>(text: &'a [u8], pointer: &Pointer) -> Option<&'a [u8]> {
    lookup::at(text, pointer)
}

/// The elements of a raw array in their order, each raw; `None` where `raw` is no array.
///
/// In a malformed array they end before the first that is none.
#[must_use]
pub fn elements(raw: &[u8]) -> Option<Elements<'_>> {
    Elements::of(raw)
}

/// Whether `text` is one well-formed JSON text (RFC 8259) of valid UTF-8, perhaps with white space around
/// it, whose values lie at most [`NESTING_MAX`] deep.
#[must_use]
pub fn is_text(text: &[u8]) -> bool {
    is_text_within(text, NESTING_MAX)
}

/// Whether `text` is such a text also as the value of a member, which lies one deeper.
#[must_use]
pub fn is_member(text: &[u8]) -> bool {
    is_text_within(text, NESTING_MAX - 1)
}

fn is_text_within(text: &[u8], nesting_max: usize) -> bool {
    let Ok(characters) = std::str::from_utf8(text) else {
        return false;
    };
    serde_json::from_str::<IgnoredAny>(characters).is_ok() && scan::depth_max(text) <= nesting_max
}

/// Whether `raw` can stand on one line as it is; else [`minify`] makes it so.
///
/// A well-formed text has line ends outside strings only.
#[must_use]
#[inline]
pub fn is_one_line(raw: &[u8]) -> bool {
    memchr2(b'\r', b'\n', raw).is_none()
}

/// How many arrays and objects may lie in one another in a text: what `serde_json` takes, too.
pub const NESTING_MAX: usize = 127;

/// Takes white space (RFC 8259 §2) off the front.
#[inline]
pub(super) fn trim_start(text: &[u8]) -> &[u8] {
    let mut rest = text;
    while let [b' ' | b'\t' | b'\n' | b'\r', tail @ ..] = rest {
        rest = tail;
    }
    rest
}

/// Takes white space off the end.
#[inline]
fn trim_end(text: &[u8]) -> &[u8] {
    let mut rest = text;
    while let [head @ .., b' ' | b'\t' | b'\n' | b'\r'] = rest {
        rest = head;
    }
    rest
}
