//! How are records cut that stand behind a length in decimal digits (`RecordIO`)?

use super::{
    Framing,
    prefixed::{Prefix, Prefixed},
};

/// A length, a line end, so many bytes: Mesos' event streams, and Twitter's `delimited=length`. Line
/// ends before a length are the upstream's heartbeats, and so is an empty record; both are dropped.
///
/// The type of the records stands in another field (`Message-Content-Type`).
pub const FRAMING: Framing = Framing {
    name: "recordio",
    content_types: &["application/recordio"],
    is_for_its_own_clients: true,
    is_text: false,
    decoder: |opening| Box::new(Prefixed::<Decimal>::new(opening.record_bytes_max)),
    sample_content_type: "application/recordio",
    sample: b"122\n{\"type\": \"SUBSCRIBED\",\"subscribed\": {\"framework_id\": \
        {\"value\":\"12220-3440-12532-2345\"},\"heartbeat_interval_seconds\":15.0}}\
        20\n{\"type\":\"HEARTBEAT\"}\r\n\n5\r\na\n\xC3\xBCb",
    sample_records: &[
        b"{\"type\": \"SUBSCRIBED\",\"subscribed\": {\"framework_id\": \
            {\"value\":\"12220-3440-12532-2345\"},\"heartbeat_interval_seconds\":15.0}}",
        b"{\"type\":\"HEARTBEAT\"}",
        b"a\n\xC3\xBCb",
    ],
};

/// Decimal digits and LF or CR LF, behind any number of CR and LF. No sign, no spaces.
#[derive(Debug, Default)]
struct Decimal {
    length: u64,
    /// Invariant: at most [`DIGITS_MAX`].
    digits: usize,
    /// How much has come of the CR LF or LF behind the digits.
    end_bytes: usize,
}

impl Prefix for Decimal {
    const FRAMING: &'static str = FRAMING.name;

    #[inline]
    fn push(&mut self, byte: u8) -> Result<bool, &'static str> {
        let is_after_cr = self.end_bytes > 0;
        match byte {
            b'0'..=b'9' if !is_after_cr => {
                if self.digits == DIGITS_MAX {
                    return Err("a length has more than 20 digits");
                }
                self.digits += 1;
                let digit = u64::from(byte - b'0');
                self.length = self.length.saturating_mul(10).saturating_add(digit);
                Ok(false)
            }
            b'\r' | b'\n' if self.digits == 0 => Ok(false),
            b'\n' => {
                self.end_bytes += 1;
                Ok(true)
            }
            b'\r' if !is_after_cr => {
                self.end_bytes += 1;
                Ok(false)
            }
            _ if is_after_cr => Err("a CR behind a length has no LF"),
            _ => Err("a length is not decimal digits"),
        }
    }

    fn length(&self) -> u64 {
        self.length
    }

    fn bytes(&self) -> usize {
        self.digits + self.end_bytes
    }
}

/// As many as 2⁶⁴ has: more say nothing but zeros.
const DIGITS_MAX: usize = 20;

#[cfg(test)]
mod tests {
    use super::super::check;
    use super::FRAMING;

    fn head(length: usize) -> Vec<u8> {
        format!("{length}\n").into_bytes()
    }

    #[test]
    fn a_record_is_as_long_as_the_line_before_it_says() {
        for (input, records) in [
            (&b""[..], &[][..]),
            (b"1\na", &[&b"a"[..]]),
            (b"1\r\na", &[b"a"]),
            (b"2\n\r\n", &[b"\r\n"]),
            (b"1\n11\n2", &[b"1", b"2"]),
            (b"3\n\0\xFF\n1\nb", &[b"\0\xFF\n", b"b"]),
            // Heartbeats, and zeros that say nothing.
            (b"\n\r\r\n\n1\na\n\n", &[b"a"]),
            (b"0\n00\r\n1\na0\n", &[b"a"]),
            (b"00000000000000000003\nabc", &[b"abc"]),
        ] {
            check::whole(&FRAMING, input, records);
        }
    }

    #[test]
    fn what_is_no_length_is_refused() {
        for (input, reason) in [
            (&b"-1\na"[..], "a length is not decimal digits"),
            (b"+1\na", "a length is not decimal digits"),
            (b" 1\na", "a length is not decimal digits"),
            (b"1 \na", "a length is not decimal digits"),
            (b"1.0\na", "a length is not decimal digits"),
            (b"0x1\na", "a length is not decimal digits"),
            (b"\xEF\xBB\xBF1\na", "a length is not decimal digits"),
            (b"{}\n", "a length is not decimal digits"),
            (b"1\r\r\na", "a CR behind a length has no LF"),
            (b"1\r2\na", "a CR behind a length has no LF"),
            (b"1\ra", "a CR behind a length has no LF"),
            (
                b"000000000000000000001\na",
                "a length has more than 20 digits",
            ),
        ] {
            check::refused(&FRAMING, input, reason);
            check::refused(&FRAMING, &[b"2\nok", input].concat(), reason);
        }
    }

    #[test]
    fn the_page_of_the_specification_is_refused() {
        // It prints 128 for the shown record of 121 bytes, so 7 bytes of what follows are the record's.
        let input = b"128\n{\"type\": \"SUBSCRIBED\",\"subscribed\": {\"framework_id\": \
            {\"value\":\"12220-3440-12532-2345\"},\"heartbeat_interval_seconds\":15.0}\
            20\n{\"type\":\"HEARTBEAT\"}675\n";
        check::refused(&FRAMING, input, "a length is not decimal digits");
    }

    #[test]
    fn a_record_is_lent_at_its_last_byte() {
        check::prompt(
            &FRAMING,
            &[(b"2\n", 0), (b"a", 0), (b"b", 1), (b"\n", 0), (b"1\r", 0)],
        );
    }

    #[test]
    fn a_length_is_refused_at_the_digit_that_proves_it() {
        check::prefixed_limit(&FRAMING, head);
        check::prefixed_limit(&FRAMING, |length| {
            format!("\r\n00{length}\r\n").into_bytes()
        });
        for length in ["1001", "1001\r", "10000000000", "99999999999999999999"] {
            check::too_large(&FRAMING, length.as_bytes(), 1000);
        }
    }

    #[test]
    fn a_record_that_is_cut_off_is_truncated() {
        check::cut_off(
            &FRAMING,
            &[
                (b"\r", &[]),
                (b"\n", &[]),
                (b"3\nabc", &[b"abc"]),
                (b"\n", &[]),
                (b"0\n", &[]),
                (b"012\r\nabcdefghijkl", &[b"abcdefghijkl"]),
            ],
        );
    }

    #[test]
    fn nothing_is_held_between_records() {
        check::idle(&FRAMING, &[b"3\na", b"bc", b"\r\n"]);
    }
}
