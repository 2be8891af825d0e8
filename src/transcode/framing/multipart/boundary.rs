//! Where does a part end?

use memchr::memchr;

use super::super::content_type;

/// Finds the lines that stand between parts (RFC 2046 §5.1.1).
#[derive(Debug)]
pub(super) struct Boundary {
    /// The delimiters that the content type allows; with none of them, any.
    told: Vec<Box<[u8]>>,
    /// What begins a delimiter: LF, two dashes and the boundary; empty before the first delimiter line.
    /// A CR before it belongs to it.
    start: Box<[u8]>,
    /// How many bytes have come of what may be a delimiter: of `start`, and then one that is a dash.
    matched: usize,
}

/// What was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mark {
    /// A delimiter, of whose line there is more.
    Delimiter,
    /// A delimiter with its line end.
    DelimiterLine,
    /// The delimiter behind the last part.
    Close,
}

/// Something else stands where a delimiter has to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NoDelimiter;

/// What a byte does to what may be a delimiter.
enum Step {
    More,
    Found(Mark),
    /// It is none. The byte may begin another.
    Miss,
}

impl Boundary {
    /// Takes the boundary from a reply's content type, where it is one.
    ///
    /// Some senders tell it with the two dashes that ought to stand before it.
    pub(super) fn of(content_type: &str) -> Self {
        let told = content_type::parameter(content_type, "boundary").unwrap_or_default();
        let told = told.trim_end().as_bytes();
        let mut delimiters = Vec::new();
        if is_boundary(told) {
            delimiters.push([b"--", told].concat().into());
            let is_dashed = told.starts_with(b"--") && told.iter().any(|byte| *byte != b'-');
            delimiters.extend(is_dashed.then(|| told.into()));
        }
        Self {
            told: delimiters,
            start: Box::default(),
            matched: 0,
        }
    }

    /// Whether `line`, of which more may come, is the first delimiter line or the last one already.
    ///
    /// Where no boundary was told, the first line that begins with two dashes has it.
    pub(super) fn open(&mut self, line: &[u8], is_whole: bool) -> Option<Mark> {
        let trimmed = line.trim_ascii_end();
        if self.told.is_empty() {
            let is_first = is_whole && trimmed.strip_prefix(b"--").is_some_and(is_boundary);
            return is_first.then(|| self.begin(trimmed));
        }
        let mut rests = self.told.iter().filter_map(|it| line.strip_prefix(&it[..]));
        if rests.any(|rest| rest.starts_with(b"--")) {
            return Some(Mark::Close);
        }
        let is_first = is_whole && self.told.iter().any(|delimiter| **delimiter == *trimmed);
        is_first.then(|| self.begin(trimmed))
    }

    fn begin(&mut self, delimiter: &[u8]) -> Mark {
        self.start = [b"\n", delimiter].concat().into();
        Mark::DelimiterLine
    }

    /// Begins anew, behind a line end.
    pub(super) fn restart(&mut self) {
        self.matched = 1;
    }

    /// Finds the next delimiter: where in `input` stands what comes behind it. No byte is looked at twice.
    ///
    /// After the boundary comes white space, a line end, or two dashes; behind anything else a line only
    /// begins like a delimiter.
    pub(super) fn find(&mut self, input: &[u8]) -> Option<(usize, Mark)> {
        let mut at = 0;
        loop {
            if self.matched == 0 {
                at += memchr(b'\n', &input[at..])? + 1;
                self.matched = 1;
            }
            match self.step(*input.get(at)?) {
                Step::More => at += 1,
                Step::Found(mark) => return Some((at + 1, mark)),
                Step::Miss => {}
            }
        }
    }

    /// Takes the next delimiter off `input`, and white space before it; `None` where all is taken before
    /// that.
    ///
    /// # Errors
    /// Something else comes.
    pub(super) fn expect(&mut self, input: &mut &[u8]) -> Result<Option<Mark>, NoDelimiter> {
        while let Some((byte, rest)) = input.split_first() {
            *input = rest;
            let is_before = self.is_at_start();
            match self.step(*byte) {
                Step::More => {}
                Step::Found(mark) => return Ok(Some(mark)),
                Step::Miss if is_before && byte.is_ascii_whitespace() => self.restart(),
                Step::Miss => return Err(NoDelimiter),
            }
        }
        Ok(None)
    }

    #[inline]
    fn step(&mut self, byte: u8) -> Step {
        let is_expected = match self.start.get(self.matched) {
            Some(expected) => byte == *expected,
            None => byte == b'-',
        };
        let found = match (self.matched.checked_sub(self.start.len()), byte) {
            (Some(0), b'\n') => Some(Mark::DelimiterLine),
            (Some(0), b'\r' | b' ' | b'\t') => Some(Mark::Delimiter),
            (Some(1), b'-') => Some(Mark::Close),
            _ => None,
        };
        if let Some(mark) = found {
            self.matched = 0;
            return Step::Found(mark);
        }
        if is_expected {
            self.matched += 1;
            return Step::More;
        }
        self.matched = 0;
        Step::Miss
    }

    /// How many bytes a mark has, from its LF to the last one that was looked at.
    pub(super) fn mark_bytes(&self, mark: Mark) -> usize {
        self.start.len()
            + match mark {
                Mark::Delimiter | Mark::DelimiterLine => 1,
                Mark::Close => 2,
            }
    }

    /// Whether nothing but white space has come since [`Self::restart`].
    pub(super) fn is_at_start(&self) -> bool {
        self.matched == 1
    }

    /// How many bytes, from an LF on, may be the start of a delimiter.
    pub(super) fn matched(&self) -> usize {
        self.matched
    }
}

/// Whether this can be a boundary. More characters are taken than RFC 2046 allows, but none that ends
/// a JSON text.
fn is_boundary(text: &[u8]) -> bool {
    let is_allowed = |byte: &u8| matches!(byte, b' '..=b'~') && !matches!(byte, b'}' | b']');
    (1..=BOUNDARY_BYTES_MAX).contains(&text.len()) && text.iter().all(is_allowed)
}

/// The longest boundary (RFC 2046 §5.1.1).
pub(super) const BOUNDARY_BYTES_MAX: usize = 70;

#[cfg(test)]
mod tests {
    use super::{Boundary, Mark, NoDelimiter};

    const CR: Mark = Mark::Delimiter;
    const LF: Mark = Mark::DelimiterLine;
    const END: Mark = Mark::Close;

    fn boundary(of: &str) -> Boundary {
        Boundary::of(&format!("multipart/mixed; boundary=\"{of}\""))
    }

    #[test]
    fn the_first_line_may_say_more_than_the_content_type() {
        let long = "x".repeat(70);
        for (told, line, mark, start) in [
            ("b", "--b", Some(LF), "\n--b"),
            ("b", "--b \t\r", Some(LF), "\n--b"),
            ("b", "--b--", Some(END), ""),
            ("b", "--b-- x", Some(END), ""),
            ("b", "--bb", None, ""),
            ("b", "--b-", None, ""),
            ("b", "-b", None, ""),
            ("b", "b", None, ""),
            ("b ", "--b", Some(LF), "\n--b"),
            ("--b", "--b", Some(LF), "\n--b"),
            ("--b", "----b", Some(LF), "\n----b"),
            ("--b", "--b--", Some(END), ""),
            ("---", "-----", Some(LF), "\n-----"),
            ("-", "---", Some(LF), "\n---"),
            ("-", "-----", Some(END), ""),
            ("", "--b", Some(LF), "\n--b"),
            ("", "--b--\r", Some(LF), "\n--b--"),
            ("", "--", None, ""),
            ("", "b", None, ""),
            ("ü", "--b", Some(LF), "\n--b"),
            ("}", "--b", Some(LF), "\n--b"),
            ("", "--]", None, ""),
            ("", &format!("--{long}\r"), Some(LF), &format!("\n--{long}")),
            ("", &format!("--x{long}"), None, ""),
            (&format!("x{long}"), "--b", Some(LF), "\n--b"),
        ] {
            let mut boundary = boundary(told);
            assert_eq!(boundary.open(line.as_bytes(), true), mark, "{told} {line}");
            assert_eq!(&*boundary.start, start.as_bytes(), "{told} {line}");
        }
        assert_eq!(boundary("b").open(b"--b", false), None);
        assert_eq!(boundary("b").open(b"--b--", false), Some(END));
        assert_eq!(boundary("").open(b"--b", false), None);
    }

    #[test]
    fn delimiters_are_found_however_they_are_cut() {
        for (input, found) in [
            (&b""[..], None),
            (b"\n--b\n", Some((5, LF))),
            (b"\n--b\r\n", Some((5, CR))),
            (b"\r\n--b x", Some((6, CR))),
            (b"\n--b--", Some((6, END))),
            (b"\n--b-", None),
            (b"\n--bb\n", None),
            (b"\n--b", None),
            (b"--b\n", None),
            (b"\n\n--b\n", Some((6, LF))),
            (b"\n-\n--\n--b-\n--bb\n--b\t", Some((20, CR))),
            (b"\n--b-\n--b--", Some((11, END))),
        ] {
            for cut in 0..=input.len() {
                let mut boundary = boundary("b");
                boundary.open(b"--b", true);
                let mut either = boundary.find(&input[..cut]);
                if found.is_none_or(|(at, _)| at > cut) {
                    assert_eq!(either, None, "{} {cut}", input.escape_ascii());
                    either = boundary.find(&input[cut..]);
                    either = either.map(|(at, mark)| (cut + at, mark));
                }
                assert_eq!(either, found, "{} {cut}", input.escape_ascii());
            }
        }
    }

    #[test]
    fn between_parts_nothing_else_may_stand() {
        for (input, found, rest) in [
            (&b"--b\n"[..], Ok(Some(LF)), &b""[..]),
            (b"\r\n \t\n--b--x", Ok(Some(END)), b"x"),
            (b"\n--b x", Ok(Some(CR)), b"x"),
            (b"\n\n", Ok(None), b""),
            (b"--", Ok(None), b""),
            (b"x", Err(NoDelimiter), b""),
            (b"-\n--b\n", Err(NoDelimiter), b"--b\n"),
            (b"--bb", Err(NoDelimiter), b""),
            (b"--b-\n", Err(NoDelimiter), b""),
        ] {
            let mut boundary = boundary("b");
            boundary.open(b"--b", true);
            boundary.restart();
            let mut left = input;
            assert_eq!(
                boundary.expect(&mut left),
                found,
                "{}",
                input.escape_ascii()
            );
            assert_eq!(left, rest, "{}", input.escape_ascii());
        }
    }
}
