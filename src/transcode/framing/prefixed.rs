//! How are records cut that stand behind nothing but their length?

use super::{
    DecodeError, Decoder, EndOfInput, Record,
    exact::{self, Exact},
};

/// How a framing writes the length of a record.
pub(super) trait Prefix: Default {
    /// The framing's name.
    const FRAMING: &'static str;

    /// Takes the next byte. Returns whether the length is complete.
    ///
    /// # Errors
    /// Which rule it breaks, as the end of a sentence.
    fn push(&mut self, byte: u8) -> Result<bool, &'static str>;

    /// The length; while it is not complete, the least that it can be.
    fn length(&self) -> u64;

    /// How many bytes of it have come.
    fn bytes(&self) -> usize;
}

/// Cuts records behind their lengths, and ends nowhere but between two of them.
///
/// An empty record says nothing that a client could read (it is no JSON text, and gRPC-like senders
/// write it to stay awake), so it is dropped: it is a heartbeat of the upstream's.
#[derive(Debug)]
pub(super) struct Prefixed<P> {
    prefix: P,
    /// What `prefix` says, once it is complete. Invariant: at most `record_bytes_max`.
    length: Option<usize>,
    record: Exact,
    record_bytes_max: usize,
}

impl<P: Prefix> Prefixed<P> {
    pub(super) fn new(record_bytes_max: usize) -> Self {
        Self {
            prefix: P::default(),
            length: None,
            record: Exact::default(),
            record_bytes_max,
        }
    }

    /// Takes the length of the next record off `input`, if that is not done. It is refused at the
    /// first byte that proves it too large.
    fn length(&mut self, input: &mut &[u8]) -> Result<Option<usize>, DecodeError> {
        while self.length.is_none() {
            let Some((byte, rest)) = input.split_first() else {
                return Ok(None);
            };
            *input = rest;
            let is_complete = self.prefix.push(*byte).map_err(bad::<P>)?;
            let length = usize::try_from(self.prefix.length()).unwrap_or(usize::MAX);
            if length > self.record_bytes_max {
                return Err(DecodeError::RecordTooLarge {
                    record_bytes_max: self.record_bytes_max,
                });
            }
            self.length = is_complete.then_some(length);
        }
        Ok(self.length)
    }
}

impl<P: Prefix> Decoder for Prefixed<P> {
    #[inline]
    fn next<'a>(&'a mut self, input: &mut &'a [u8]) -> Result<Option<Record<'a>>, DecodeError> {
        self.record.release();
        while let Some(length) = self.length(input)? {
            let Some(piece) = self.record.take(input, length) else {
                break;
            };
            self.prefix = P::default();
            self.length = None;
            if length > 0 {
                return Ok(Some(Record {
                    data: Some(self.record.bytes(piece)),
                    ..Record::default()
                }));
            }
        }
        Ok(None)
    }

    fn finish(&mut self, _end: EndOfInput) -> Result<Option<Record<'_>>, DecodeError> {
        exact::end(P::FRAMING, self.carried_bytes())
    }

    fn carried_bytes(&self) -> usize {
        self.prefix.bytes() + self.record.carried_bytes()
    }
}

fn bad<P: Prefix>(reason: &'static str) -> DecodeError {
    DecodeError::BadFraming {
        framing: P::FRAMING,
        reason,
    }
}

#[cfg(test)]
mod tests {
    use super::{Decoder, Prefix, Prefixed};

    /// A length of one byte.
    #[derive(Debug, Default)]
    struct Byte(Option<u8>);

    impl Prefix for Byte {
        const FRAMING: &'static str = "byte";

        fn push(&mut self, byte: u8) -> Result<bool, &'static str> {
            self.0 = Some(byte);
            Ok(true)
        }

        fn length(&self) -> u64 {
            u64::from(self.0.unwrap_or_default())
        }

        fn bytes(&self) -> usize {
            usize::from(self.0.is_some())
        }
    }

    #[test]
    fn memory_is_let_go_as_soon_as_nothing_more_comes() {
        let mut decoder = Prefixed::<Byte>::new(100);
        assert_eq!(decoder.next(&mut &b"\x02a"[..]), Ok(None));
        assert_eq!(decoder.carried_bytes(), 2);
        let record = decoder.next(&mut &b"b"[..]).unwrap().unwrap();
        assert_eq!(record.data, Some(&b"ab"[..]));
        assert_eq!(decoder.next(&mut &b""[..]), Ok(None));
        assert_eq!(
            (decoder.carried_bytes(), decoder.record.held_bytes()),
            (0, 0)
        );
    }
}
