//! Where does a value end whose bytes come in pieces?

use super::scan::Scan;

/// Finds the end of one value after the other; looks at each byte once, however they are cut.
///
/// Between the brackets of an array or object it knows only strings and the brackets themselves: what
/// else stands there is the caller's, or the reader's, to check.
#[derive(Debug)]
pub(in crate::transcode) struct ValueEnd {
    kind: Kind,
    scan: Scan,
    open: Brackets,
    has_line_end: bool,
}

/// What a value is, as its first byte tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// An array or an object, which a bracket ends.
    Container,
    /// A string, which a quote ends.
    String,
    /// A number, `true`, `false` or `null`, which only the byte behind it ends.
    Scalar,
}

/// The brackets that are open: bit *n* says of which kind the one at depth *n* is.
#[derive(Debug)]
struct Brackets {
    depth: usize,
    are_square: [u64; DEPTH_MAX / 64],
}

impl ValueEnd {
    pub(in crate::transcode) fn new() -> Self {
        Self {
            kind: Kind::Scalar,
            scan: Scan::default(),
            open: Brackets {
                depth: 0,
                are_square: [0; DEPTH_MAX / 64],
            },
            has_line_end: false,
        }
    }

    /// Begins with the value that `first` is the first byte of.
    ///
    /// # Errors
    /// It is that of none.
    #[inline]
    pub(in crate::transcode) fn begin(&mut self, first: u8) -> Result<(), &'static str> {
        self.kind = match first {
            b'{' | b'[' => Kind::Container,
            b'"' => Kind::String,
            b'-' | b'0'..=b'9' | b't' | b'f' | b'n' => Kind::Scalar,
            _ => return Err("a JSON value was expected, and another character came"),
        };
        self.scan = Scan::default();
        self.open.depth = 0;
        self.has_line_end = false;
        Ok(())
    }

    /// Looks for the value's end in its next bytes: how many of them are its own.
    ///
    /// `None` where it goes on, or may: of a number or literal nothing tells its end but what follows.
    ///
    /// # Errors
    /// The value's brackets do not fit, or are too many.
    #[inline]
    pub(in crate::transcode) fn find(
        &mut self,
        piece: &[u8],
    ) -> Result<Option<usize>, &'static str> {
        match self.kind {
            Kind::Container => self.container_end(piece),
            Kind::String => Ok(self.string_end(piece)),
            Kind::Scalar => Ok(piece.iter().position(|byte| !is_scalar_part(*byte))),
        }
    }

    /// Whether only what follows tells the value's end.
    #[inline]
    pub(in crate::transcode) fn is_scalar(&self) -> bool {
        self.kind == Kind::Scalar
    }

    /// Whether a CR or LF stands in the value outside its strings, as far as it was looked at.
    #[inline]
    pub(in crate::transcode) fn has_line_end(&self) -> bool {
        self.has_line_end
    }

    fn container_end(&mut self, piece: &[u8]) -> Result<Option<usize>, &'static str> {
        self.scan.follow();
        while let Some(seen) = self.scan.next(piece) {
            let line_ends = seen.line_ends();
            for mark in seen.marks(seen.brackets()) {
                self.open.take(piece[mark.at])?;
                if self.open.depth == 0 {
                    self.has_line_end |= mark.is_behind(line_ends);
                    return Ok(Some(mark.at + 1));
                }
            }
            self.has_line_end |= line_ends != 0;
        }
        Ok(None)
    }

    /// The closing quote is the first byte outside.
    fn string_end(&mut self, piece: &[u8]) -> Option<usize> {
        self.scan.follow();
        while let Some(seen) = self.scan.next(piece) {
            if let Some(quote) = seen.marks(seen.outside()).next() {
                return Some(quote.at + 1);
            }
        }
        None
    }
}

impl Brackets {
    /// Takes in the next bracket.
    #[inline]
    fn take(&mut self, bracket: u8) -> Result<(), &'static str> {
        let is_square = u64::from(matches!(bracket, b'[' | b']'));
        if matches!(bracket, b'[' | b'{') {
            if self.depth == DEPTH_MAX {
                return Err("arrays and objects lie in one another more than 1024 deep");
            }
            let (word, bit) = (self.depth / 64, self.depth % 64);
            let cleared = self.are_square[word] & !(1 << bit);
            self.are_square[word] = cleared | is_square << bit;
            self.depth += 1;
            return Ok(());
        }
        let depth = self.depth - 1;
        if self.are_square[depth / 64] >> (depth % 64) & 1 != is_square {
            return Err("a bracket closes one of another kind");
        }
        self.depth = depth;
        Ok(())
    }
}

/// Whether `byte` can stand in a number or literal.
#[inline]
fn is_scalar_part(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.')
}

/// How deep arrays and objects may lie in one another in a stream.
const DEPTH_MAX: usize = 1024;
