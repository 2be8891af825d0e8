//! Which characters are the upstream's bytes?
//!
//! Everything behind this is UTF-8. Charsets are what the WHATWG Encoding Standard says: `iso-8859-1`
//! and `latin1` are windows-1252, and a byte order mark wins over the label.

use encoding_rs::{CoderResult, Decoder, Encoding, UTF_8};

/// The charset of that name; `None` for one that nobody knows.
#[must_use]
pub fn by_name(name: &str) -> Option<&'static Encoding> {
    Encoding::for_label_no_replacement(name.as_bytes())
}

/// The charset that a content type names, if it has to be undone: UTF-8 and its part ASCII have not, nor
/// has a name that nobody knows.
#[must_use]
pub fn of_content_type(content_type: &str) -> Option<&'static Encoding> {
    let mut parameters = content_type.split(';').skip(1);
    let name = parameters.find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        let is_charset = name.trim().eq_ignore_ascii_case("charset");
        is_charset.then(|| value.trim().trim_matches('"'))
    })?;
    if name.eq_ignore_ascii_case("us-ascii") || name.eq_ignore_ascii_case("ascii") {
        return None;
    }
    by_name(name).filter(|encoding| *encoding != UTF_8)
}

/// Undoes the charset of one stream, piece by piece.
///
/// What is in no character of the charset becomes U+FFFD. A character may be cut anywhere.
pub(super) struct Undoing {
    decoder: Decoder,
    /// A piece as UTF-8.
    text: Vec<u8>,
    /// How much of `text` has been taken.
    taken_bytes: usize,
    /// How many bytes at the front of the input `text` stands for.
    piece_bytes: usize,
}

impl Undoing {
    pub(super) fn new(charset: &'static Encoding) -> Self {
        Self {
            decoder: charset.new_decoder(),
            text: Vec::new(),
            taken_bytes: 0,
            piece_bytes: 0,
        }
    }

    /// What of the front of `input` has not been taken, as UTF-8; empty where it is only the start of a
    /// character. The same input, or one that begins with it, must come until [`Self::take`] has said
    /// that all of it is taken.
    pub(super) fn text(&mut self, input: &[u8]) -> &[u8] {
        if self.piece_bytes == 0 {
            let piece = &input[..input.len().min(PIECE_BYTES_MAX)];
            self.piece_bytes = piece.len();
            self.undo(piece, false);
        }
        &self.text[self.taken_bytes..]
    }

    /// Notes that `bytes` of the text are taken. Returns how many bytes of the input that completes: none
    /// until all of the piece is taken.
    pub(super) fn take(&mut self, bytes: usize) -> usize {
        self.taken_bytes += bytes;
        if self.taken_bytes < self.text.len() {
            return 0;
        }
        self.taken_bytes = 0;
        // With its capacity: an idle stream holds nothing.
        self.text = Vec::new();
        std::mem::take(&mut self.piece_bytes)
    }

    /// What the end of the input makes of a character that is not whole.
    pub(super) fn finish(&mut self) -> &[u8] {
        self.undo(&[], true);
        &self.text
    }

    fn undo(&mut self, mut piece: &[u8], is_last: bool) {
        loop {
            let needed = self.decoder.max_utf8_buffer_length(piece.len());
            let from = self.text.len();
            self.text
                .resize(from + needed.unwrap_or(PIECE_BYTES_MAX), 0);
            let room = &mut self.text[from..];
            let (result, read, written, _) = self.decoder.decode_to_utf8(piece, room, is_last);
            self.text.truncate(from + written);
            piece = &piece[read..];
            if result == CoderResult::InputEmpty {
                return;
            }
        }
    }
}

/// How much is undone at once.
const PIECE_BYTES_MAX: usize = 16 * 1024;

#[cfg(test)]
mod tests {
    use super::{Undoing, by_name, of_content_type};

    fn undone(charset: &str, chunks: &[&[u8]]) -> String {
        let mut undoing = Undoing::new(by_name(charset).unwrap());
        let mut text = Vec::new();
        for chunk in chunks {
            let mut chunk = *chunk;
            while !chunk.is_empty() {
                // In two steps, as a full write takes it.
                let piece = undoing.text(chunk).to_vec();
                let half = piece.len() / 2;
                assert_eq!(
                    undoing.take(half),
                    if piece.is_empty() { chunk.len() } else { 0 }
                );
                text.extend_from_slice(&piece);
                if piece.is_empty() {
                    break;
                }
                assert_eq!(undoing.text(chunk), &piece[half..]);
                chunk = &chunk[undoing.take(piece.len() - half)..];
            }
        }
        text.extend_from_slice(undoing.finish());
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn every_cut_gives_the_same_text() {
        let utf16: Vec<u8> = "\u{FEFF}ü🌊\r\n"
            .encode_utf16()
            .flat_map(u16::to_le_bytes)
            .collect();
        for (charset, bytes, text) in [
            ("iso-8859-1", &b"na\xEFve \x80"[..], "naïve €"),
            ("utf-16le", &utf16, "ü🌊\r\n"),
            ("utf-16", &utf16[..utf16.len() - 1], "ü🌊\r\u{FFFD}"),
            ("shift_jis", b"\x93\xFA\x96{!\x93", "日本!\u{FFFD}"),
            ("gb18030", b"\x81\x30\x81\x30\xC4\xE3", "\u{80}你"),
            ("windows-1251", b"\xCF\xF0", "Пр"),
        ] {
            for first in 0..=bytes.len() {
                let (head, tail) = bytes.split_at(first);
                assert_eq!(undone(charset, &[head, tail]), text, "{charset} {first}");
            }
            let by_byte: Vec<&[u8]> = bytes.chunks(1).collect();
            assert_eq!(undone(charset, &by_byte), text, "{charset}");
        }
        let long = vec![0xFC; 100_000];
        assert_eq!(undone("latin1", &[&long]), "ü".repeat(100_000));
    }

    #[test]
    fn utf_8_and_unknown_names_are_left_alone() {
        for (content_type, name) in [
            ("text/plain; charset=ISO-8859-1", Some("windows-1252")),
            (
                "text/plain;format=flowed; Charset=\"utf-16\"",
                Some("UTF-16LE"),
            ),
            ("text/plain; charset=utf-8", None),
            ("text/plain; charset=US-ASCII", None),
            ("text/plain; charset=klingon", None),
            ("text/plain; charset", None),
            ("text/plain", None),
            ("", None),
        ] {
            let found = of_content_type(content_type).map(encoding_rs::Encoding::name);
            assert_eq!(found, name, "{content_type}");
        }
    }
}
