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
    /// Takes characters off `input` until they fill `out`, or none are left. Returns what of `out` is
    /// filled, and whether the next character cannot stand there.
    pub(super) fn decode<'o>(
        &mut self,
        input: &mut &[u8],
        out: &'o mut [u8],
    ) -> (&'o [u8], Result<(), DecodeError>) {
        let (mut filled, mut outcome) = (0, Ok(()));
        while filled < out.len() && outcome.is_ok() {
            if self.place == Place::First {
                filled += whole(input, &mut out[filled..]);
            }
            let Some((character, rest)) = input.split_first() else {
                break;
            };
            if filled == out.len() {
                break;
            }
            *input = rest;
            match self.push(*character) {
                Ok(Some(byte)) => {
                    out[filled] = byte;
                    filled += 1;
                }
                Ok(None) => {}
                Err(reason) => outcome = Err(super::bad(reason)),
            }
        }
        (&out[..filled], outcome)
    }

    /// Takes padding and white space off `input`.
    pub(super) fn skip(&mut self, input: &mut &[u8]) -> Result<(), DecodeError> {
        while let Some((character, rest)) = input.split_first()
            && (*character == b'=' || character.is_ascii_whitespace())
        {
            *input = rest;
            self.push(*character).map_err(super::bad)?;
        }
        Ok(())
    }

    /// Takes one character. Returns the byte that it completes.
    #[inline]
    fn push(&mut self, character: u8) -> Result<Option<u8>, &'static str> {
        let value = match VALUES[usize::from(character)] {
            NONE if character == b'=' => return self.pad(),
            NONE if character.is_ascii_whitespace() => return Ok(None),
            NONE => return Err("a character is none of base64"),
            value => value,
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

/// Takes fours of characters off `input` while they are three bytes each, and fills them into `out`.
/// Returns how many bytes.
fn whole(input: &mut &[u8], out: &mut [u8]) -> usize {
    let mut filled = 0;
    let (threes, _) = out.as_chunks_mut::<3>();
    for three in threes {
        let Some((four, rest)) = input.split_first_chunk::<4>() else {
            break;
        };
        let [first, second, third, fourth] = four.map(|it| VALUES[usize::from(it)]);
        if (first | second | third | fourth) == NONE {
            break;
        }
        *three = [
            first << 2 | second >> 4,
            second << 4 | third >> 2,
            third << 6 | fourth,
        ];
        *input = rest;
        filled += 3;
    }
    filled
}

/// What each character stands for.
const VALUES: [u8; 256] = {
    let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut values = [NONE; 256];
    let mut value = 0;
    while value < 64 {
        values[alphabet[value as usize] as usize] = value;
        value += 1;
    }
    values
};

/// Of a character that stands for nothing: all bits, so that it shows among others, of which none has
/// the highest.
const NONE: u8 = 0xFF;

#[cfg(test)]
mod tests {
    use base64::{Engine, engine::general_purpose::STANDARD};

    use super::Base64;

    fn decode(mut input: &[u8]) -> (Vec<u8>, bool) {
        let mut out = [0; 1000];
        let (decoded, outcome) = Base64::default().decode(&mut input, &mut out);
        (decoded.to_vec(), outcome.is_ok())
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
        let (mut base64, mut all) = (Base64::default(), Vec::new());
        for (character, count) in b"AQIDBA==BQ".iter().zip([0, 1, 2, 3, 3, 4, 4, 4, 4, 5]) {
            let mut out = [0; 9];
            all.extend_from_slice(base64.decode(&mut &[*character][..], &mut out).0);
            assert_eq!(all.len(), count);
        }
        assert_eq!(all, b"\x01\x02\x03\x04\x05");
    }

    #[test]
    fn no_more_is_taken_than_is_asked_for() {
        let (mut base64, mut input) = (Base64::default(), &b"AQIDBA=="[..]);
        for (bytes, rest) in [
            (0, &b"AQIDBA=="[..]),
            (1, b"IDBA=="),
            (2, b"BA=="),
            (1, b"=="),
        ] {
            base64.decode(&mut input, &mut vec![0; bytes]).1.unwrap();
            assert_eq!(input, rest);
        }
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
