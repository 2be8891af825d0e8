//! How are records cut that stand behind a length of four bytes?

use super::{
    Framing,
    prefixed::{Prefix, Prefixed},
};

/// A big-endian length of four bytes, then so many bytes: Kubernetes' watches in protobuf, and many a
/// sender's own protocol. An empty record is the upstream's heartbeat and is dropped.
///
/// No media type is taken for it: Kubernetes tells it from a single message by a parameter only, and
/// its records are no text.
pub const FRAMING: Framing = Framing {
    name: "length-u32",
    content_types: &[],
    is_for_its_own_clients: true,
    is_text: false,
    decoder: |opening| Box::new(Prefixed::<BigEndian>::new(opening.record_bytes_max)),
    sample_content_type: "",
    sample: b"\0\0\0\x07{\"a\":1}\0\0\0\0\0\0\0\x04\n\xC3\xBC\0",
    sample_records: &[b"{\"a\":1}", b"\n\xC3\xBC\0"],
};

/// An unsigned integer of 32 bits in network byte order.
#[derive(Debug, Default)]
struct BigEndian {
    length: u32,
    /// How many of its bytes have come.
    bytes: usize,
}

impl Prefix for BigEndian {
    const FRAMING: &'static str = FRAMING.name;

    #[inline]
    fn push(&mut self, byte: u8) -> Result<bool, &'static str> {
        self.length = (self.length << 8) | u32::from(byte);
        self.bytes += 1;
        Ok(self.bytes == LENGTH_BYTES)
    }

    fn length(&self) -> u64 {
        u64::from(self.length)
    }

    fn bytes(&self) -> usize {
        self.bytes
    }
}

const LENGTH_BYTES: usize = size_of::<u32>();

#[cfg(test)]
mod tests {
    use super::super::check;
    use super::FRAMING;

    fn head(length: usize) -> Vec<u8> {
        u32::try_from(length).unwrap().to_be_bytes().to_vec()
    }

    #[test]
    fn a_record_is_as_long_as_the_four_bytes_before_it_say() {
        let long = [&head(300)[..], &[b'x'; 300]].concat();
        for (input, records) in [
            (&b""[..], &[][..]),
            (b"\0\0\0\x01a", &[&b"a"[..]]),
            (b"\0\0\0\x04\0\0\0\x01", &[b"\0\0\0\x01"]),
            (b"\0\0\0\x02\xFF\n\0\0\0\x01b", &[b"\xFF\n", b"b"]),
            (b"\0\0\0\0\0\0\0\0", &[]),
            (b"\0\0\0\0\0\0\0\x01a\0\0\0\0", &[b"a"]),
            (&long, &[&[b'x'; 300]]),
        ] {
            check::whole(&FRAMING, input, records);
        }
    }

    #[test]
    fn a_record_is_lent_at_its_last_byte() {
        check::prompt(
            &FRAMING,
            &[
                (b"\0\0\0", 0),
                (b"\x02a", 0),
                (b"b\0", 1),
                (b"\0\0\x01c", 1),
            ],
        );
    }

    #[test]
    fn a_length_is_refused_by_itself() {
        check::prefixed_limit(&FRAMING, head);
        for length in [1001, 0x00FF_FFFF, 0xFFFF_FFFF] {
            check::too_large(&FRAMING, &head(length), 1000);
        }
        // What a sender of another framing says.
        check::too_large(&FRAMING, b"{\"a\":1}\n", 1 << 20);
        check::too_large(&FRAMING, b"HTTP/1.1", 1 << 20);
    }

    #[test]
    fn a_record_that_is_cut_off_is_truncated() {
        check::cut_off(
            &FRAMING,
            &[
                (b"\0\0\0\x03abc", &[b"abc"]),
                (b"\0\0\0\0", &[]),
                (b"\0\0\0\x01d", &[b"d"]),
            ],
        );
    }

    #[test]
    fn nothing_is_held_between_records() {
        check::idle(&FRAMING, &[b"\0\0\0\x02a", b"b", b"\0\0\0\0"]);
    }
}
