//! How is told what an upstream says of its own failure?

/// The start of a stranger's text, on one line.
pub(super) fn one_line(bytes: &[u8], chars_max: usize) -> String {
    // No character has more than four bytes.
    let start = &bytes[..bytes.len().min(4 * chars_max)];
    let chars = String::from_utf8_lossy(start);
    let chars = chars.chars().take(chars_max);
    chars
        .map(|char| if char.is_control() { ' ' } else { char })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::one_line;

    #[test]
    fn a_report_is_one_line_of_bounded_length() {
        for (text, report) in [
            (&b""[..], ""),
            (b"a b", "a b"),
            (b"a\r\nb\0\x1B\x7F", "a  b   "),
            (b"\xC3\xBC\xFF\xC3", "ü\u{FFFD}\u{FFFD}"),
            (b"1234567890", "12345678"),
            ("🌊".repeat(9).as_bytes(), &"🌊".repeat(8)),
        ] {
            assert_eq!(one_line(text, 8), report);
        }
    }
}
