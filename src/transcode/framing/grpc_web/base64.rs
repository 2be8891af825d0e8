//! How is base64 undone byte by byte, with padding anywhere?

use super::super::DecodeError;

/// Undoes base64 (RFC 4648 §4) whose padding may end any piece of it, not only the last.
///
/// A byte comes with the character that completes it. White space between characters is dropped.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Base64 {
    /// The bits that have come and belong to a byte that is not complete.
    bits: u8,
    place: Place,
}

/// Where in four characters we are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Place {
    #[default]
    First,
    Second,
    Third,
    Fourth,
    /// Behind one of two characters of padding.
    Padding,
}

impl Base64 {
    /// Takes characters off `input` until there are `bytes` more in `out`, or none are left.
    ///
    /// # Errors
    /// A character that cannot stand there.
    pub(super) fn decode(
        &mut self,
        input: &mut &[u8],
        bytes: usize,
        out: &mut Vec<u8>,
    ) -> Result<(), DecodeError> {
        let end = out.len() + bytes;
        out.reserve(bytes.min(input.len()));
        while out.len() < end
            && let Some((character, rest)) = input.split_first()
        {
            *input = rest;
            out.extend(self.push(*character).map_err(super::bad)?);
        }
        Ok(())
    }

    /// Takes padding and white space off `input`.
    pub(super) fn skip(&mut self, input: &mut &[u8]) -> Result<(), DecodeError> {
        while let Some((character @ (b'=' | b' ' | b'\t' | b'\r' | b'\n'), rest)) =
            input.split_first()
        {
            *input = rest;
            self.push(*character).map_err(super::bad)?;
        }
        Ok(())
    }

    /// Takes one character. Returns the byte that it completes.
    #[inline]
    fn push(&mut self, character: u8) -> Result<Option<u8>, &'static str> {
        let value = match character {
            b'A'..=b'Z' => character - b'A',
            b'a'..=b'z' => character - b'a' + 26,
            b'0'..=b'9' => character - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            b'=' => return self.pad(),
            b' ' | b'\t' | b'\r' | b'\n' => return Ok(None),
            _ => return Err("a character is none of base64"),
        };
        let bits = self.bits;
        let (byte, left, place) = match self.place {
            Place::First => (None, value << 2, Place::Second),
            Place::Second => (Some(bits | value >> 4), value << 4, Place::Third),
            Place::Third => (Some(bits | value >> 2), value << 6, Place::Fourth),
            Place::Fourth => (Some(bits | value), 0, Place::First),
            Place::Padding => return Err("padding of base64 is not complete"),
        };
        (self.bits, self.place) = (left, place);
        Ok(byte)
    }

    fn pad(&mut self) -> Result<Option<u8>, &'static str> {
        self.place = match self.place {
            Place::First | Place::Second => return Err("padding of base64 ends nothing"),
            Place::Third => Place::Padding,
            Place::Fourth | Place::Padding => Place::First,
        };
        self.bits = 0;
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use base64::{Engine, engine::general_purpose::STANDARD};

    use super::Base64;

    fn decode(mut input: &[u8]) -> (Vec<u8>, bool) {
        let mut out = Vec::new();
        let outcome = Base64::default().decode(&mut input, usize::MAX / 2, &mut out);
        (out, outcome.is_ok())
    }

    #[test]
    fn pieces_may_each_be_padded() {
        let all: Vec<u8> = (0..=255).collect();
        for cut in 0..all.len() {
            let text = [STANDARD.encode(&all[..cut]), STANDARD.encode(&all[cut..])].concat();
            assert_eq!(decode(text.as_bytes()), (all.clone(), true), "{cut}");
        }
        assert_eq!(
            decode(b" A\r\nQ=\n= A Q ID"),
            (b"\x01\x01\x02\x03".to_vec(), true)
        );
    }

    #[test]
    fn a_byte_comes_with_the_character_that_completes_it() {
        let (mut base64, mut out) = (Base64::default(), Vec::new());
        for (character, count) in b"AQIDBA==BQ".iter().zip([0, 1, 2, 3, 3, 4, 4, 4, 4, 5]) {
            base64.decode(&mut &[*character][..], 9, &mut out).unwrap();
            assert_eq!(out.len(), count);
        }
        assert_eq!(out, b"\x01\x02\x03\x04\x05");
    }

    #[test]
    fn no_more_is_taken_than_is_asked_for() {
        let (mut input, mut out) = (&b"AQIDBA=="[..], Vec::new());
        let mut base64 = Base64::default();
        base64.decode(&mut input, 0, &mut out).unwrap();
        assert_eq!(input.len(), 8);
        base64.decode(&mut input, 1, &mut out).unwrap();
        assert_eq!((&out[..], input), (&b"\x01"[..], &b"IDBA=="[..]));
        base64.decode(&mut input, 3, &mut out).unwrap();
        assert_eq!((&out[..], input), (&b"\x01\x02\x03\x04"[..], &b"=="[..]));
    }

    #[test]
    fn what_is_no_base64_is_refused() {
        for (text, bytes) in [
            (&b"-"[..], 0),
            (b"=", 0),
            (b"A=", 0),
            (b"AQ=A", 1),
            (b"AQID=", 3),
            (b"AQ===", 1),
            (b"AQI==", 2),
            (b"AQI\x80", 2),
        ] {
            let (out, is_sound) = decode(text);
            assert!(!is_sound, "{}", text.escape_ascii());
            assert_eq!(out.len(), bytes, "{}", text.escape_ascii());
        }
    }
}
