//! How are records cut that stand behind a varint (protobuf's `writeDelimitedTo`)?

use super::{
    Framing,
    prefixed::{Prefix, Prefixed},
};

/// A length in base 128, then so many bytes: messages as protobuf's libraries write them one after
/// the other. An empty record is the upstream's heartbeat and is dropped.
///
/// No media type is taken for it: none is registered for such a stream.
pub const FRAMING: Framing = Framing {
    name: "length-varint",
    content_types: &[],
    is_for_its_own_clients: true,
    is_text: false,
    decoder: |opening| Box::new(Prefixed::<Varint>::new(opening.record_bytes_max)),
    sample_content_type: "",
    sample: b"\x07{\"a\":1}\0\x84\0\n\xC3\xBC\0\x80\x01\
        0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\
        0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
    sample_records: &[
        b"{\"a\":1}",
        b"\n\xC3\xBC\0",
        b"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\
          0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
    ],
};

/// Seven bits a byte, the lowest first; all but the last byte have the highest bit set. Longer than
/// need be is allowed, as protobuf's readers do.
#[derive(Debug, Default)]
struct Varint {
    length: u64,
    /// How many of its bytes have come. Invariant: at most [`LENGTH_BYTES_MAX`].
    bytes: usize,
}

impl Prefix for Varint {
    const FRAMING: &'static str = FRAMING.name;

    #[inline]
    fn push(&mut self, byte: u8) -> Result<bool, &'static str> {
        self.bytes += 1;
        let (bits, is_last) = (u64::from(byte & 0x7F), byte < 0x80);
        // Of the tenth byte's seven bits there is room for one.
        if self.bytes == LENGTH_BYTES_MAX && (bits > 1 || !is_last) {
            return Err("a length has more than 64 bits");
        }
        self.length |= bits << (7 * (self.bytes - 1));
        Ok(is_last)
    }

    fn length(&self) -> u64 {
        self.length
    }

    fn bytes(&self) -> usize {
        self.bytes
    }
}

/// What 64 bits need, seven a byte.
const LENGTH_BYTES_MAX: usize = 10;

#[cfg(test)]
mod tests {
    use super::super::check;
    use super::FRAMING;

    fn head(mut length: usize) -> Vec<u8> {
        let mut head = Vec::new();
        while length >= 0x80 {
            head.push(u8::try_from(length & 0x7F).unwrap() | 0x80);
            length >>= 7;
        }
        head.push(u8::try_from(length).unwrap());
        head
    }

    #[test]
    fn a_record_is_as_long_as_the_varint_before_it_says() {
        let long = [b"\xAC\x02", &[b'x'; 300][..]].concat();
        for (input, records) in [
            (&b""[..], &[][..]),
            (b"\x01a", &[&b"a"[..]]),
            (b"\x02\x01\x01\x01b", &[b"\x01\x01", b"b"]),
            (b"\0\0\x01a\0", &[b"a"]),
            (&long, &[&[b'x'; 300]]),
            // Longer than need be.
            (b"\x81\0a", &[b"a"]),
            (b"\x80\x80\0\x01a", &[b"a"]),
            (b"\x81\x80\x80\x80\x80\x80\x80\x80\x80\0a", &[b"a"]),
        ] {
            check::whole(&FRAMING, input, records);
        }
    }

    #[test]
    fn what_is_no_length_is_refused() {
        for input in [
            &b"\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\0"[..],
            b"\x81\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80",
            b"\x80\x80\x80\x80\x80\x80\x80\x80\x80\x02",
            b"\x80\x80\x80\x80\x80\x80\x80\x80\x80\x7F",
        ] {
            check::refused(&FRAMING, input, "a length has more than 64 bits");
        }
    }

    #[test]
    fn a_record_is_lent_at_its_last_byte() {
        check::prompt(
            &FRAMING,
            &[(b"\x82", 0), (b"\0a", 0), (b"b\x01", 1), (b"c\0", 1)],
        );
    }

    #[test]
    fn a_length_is_refused_at_the_byte_that_proves_it() {
        check::prefixed_limit(&FRAMING, head);
        for length in [
            &b"\xE9\x07"[..],
            b"\xE9\x87",
            b"\x80\x88",
            b"\xFF\xFF",
            b"\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01",
        ] {
            check::too_large(&FRAMING, length, 1000);
        }
    }

    #[test]
    fn a_record_that_is_cut_off_is_truncated() {
        check::cut_off(
            &FRAMING,
            &[
                (b"\x03abc", &[b"abc"]),
                (b"\0", &[]),
                (b"\x80\0", &[]),
                (b"\x82\x80\0de", &[b"de"]),
            ],
        );
    }

    #[test]
    fn nothing_is_held_between_records() {
        check::idle(&FRAMING, &[b"\x02a", b"b", b"\0"]);
    }
}
