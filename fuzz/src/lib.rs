//! What do the fuzz targets share?

pub mod client;
pub mod hand;
pub mod seed;
pub mod stream;

#[path = "../../tests/it/sse_reader.rs"]
#[allow(dead_code, reason = "the tests use more of it")]
mod sse_reader;

/// A text without the white space outside its strings, as whoever has time takes it out.
#[must_use]
pub fn squeeze(text: impl AsRef<[u8]>) -> Vec<u8> {
    let (mut is_inside, mut is_escaped) = (false, false);
    let mut squeezed = Vec::new();
    for byte in text.as_ref() {
        is_inside ^= *byte == b'"' && !is_escaped;
        is_escaped = *byte == b'\\' && !is_escaped;
        if is_inside || !b" \t\r\n".contains(byte) {
            squeezed.push(*byte);
        }
    }
    squeezed
}
