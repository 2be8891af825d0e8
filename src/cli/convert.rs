//! How is a stream converted from standard input to standard output?

use std::{
    error::Error as _,
    io::{self, ErrorKind, Read, Write},
    sync::Arc,
};

use encoding_rs::Encoding;
use thiserror::Error;

use super::{ConvertArgs, Exit};
use crate::transcode::{
    framing::{DecodeError, EndOfInput, Framing, Opening},
    mapping,
    output::Output,
    transcoder::{Transcoder, Turn},
};

/// What is converted to what.
#[derive(Debug, Clone)]
pub struct Conversion {
    /// How the input's records are cut.
    pub from: &'static Framing,
    /// What is written.
    pub to: &'static Output,
    /// The content type that the input came with; empty where nothing is known.
    pub content_type: String,
    /// The input's charset; what its content type says where there is none.
    pub charset: Option<&'static Encoding>,
    /// The longest record, in bytes without its delimiter.
    pub record_bytes_max: usize,
    /// How a record becomes an event.
    pub event: Arc<mapping::Settings>,
}

/// Why a conversion ended before its input did.
#[derive(Debug, Error)]
pub enum ConvertError {
    /// The input could not be read.
    #[error("the input cannot be read")]
    Read(#[source] io::Error),
    /// The output could not be written; a reader that has gone away is one, too.
    #[error("the output cannot be written")]
    Write(#[source] io::Error),
    /// The input is not what it was said to be, or was cut.
    #[error("the input cannot be converted")]
    Decode(#[from] DecodeError),
}

/// Converts as the command line says, and tells `errors` where that fails.
pub fn command(
    args: &ConvertArgs,
    input: impl Read,
    output: &mut impl Write,
    errors: &mut impl Write,
) -> Exit {
    let conversion = match args.conversion(errors) {
        Ok(conversion) => conversion,
        Err(exit) => return exit,
    };
    let error = match run(&conversion, input, output) {
        Ok(()) => return Exit::Ok,
        // Whoever read the events has seen enough.
        Err(ConvertError::Write(error)) if error.kind() == ErrorKind::BrokenPipe => {
            return Exit::Ok;
        }
        Err(error) => error,
    };
    let cause = error.source().map(ToString::to_string);
    // The exit code tells as well, should no one read this.
    let _ = writeln!(
        errors,
        "weir convert: {error}: {}",
        cause.unwrap_or_default()
    );
    match error {
        ConvertError::Decode(_) => Exit::Data,
        ConvertError::Read(_) | ConvertError::Write(_) => Exit::Failure,
    }
}

/// Converts `input` by the very transcoder of the proxy, and flushes after each
/// read, so that what a slow writer sends is seen at once.
///
/// The end of a file or a pipe proves nothing, so the input's end is as unverified as a connection's.
///
/// # Errors
/// Reading, writing or decoding failed. The events before that are written and flushed, whole.
pub fn run(
    conversion: &Conversion,
    mut input: impl Read,
    mut output: impl Write,
) -> Result<(), ConvertError> {
    let mut transcoder = conversion.transcoder();
    let (mut chunk, mut out) = (vec![0; CHUNK_BYTES], Vec::new());
    loop {
        let length = match input.read(&mut chunk) {
            Ok(length) => length,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => return Err(ConvertError::Read(error)),
        };
        let mut rest = &chunk[..length];
        while !rest.is_empty() {
            let outcome = transcoder.push(&mut rest, &mut out, OUT_BYTES_MAX);
            output.write_all(&out).map_err(ConvertError::Write)?;
            out.clear();
            if outcome.is_err() || rest.is_empty() {
                output.flush().map_err(ConvertError::Write)?;
            }
            outcome?;
        }
        if transcoder.is_complete() {
            // Whatever follows the last record belongs to nobody.
            return Ok(());
        }
        if length == 0 {
            let finished = transcoder.finish(EndOfInput::Unverified, &mut out);
            output.write_all(&out).map_err(ConvertError::Write)?;
            output.flush().map_err(ConvertError::Write)?;
            return Ok(finished.map(drop)?);
        }
    }
}

impl Conversion {
    fn transcoder(&self) -> Transcoder {
        let turn = Turn {
            from: self.from,
            opening: Opening {
                record_bytes_max: self.record_bytes_max,
                content_type: &self.content_type,
            },
            charset: self.charset,
            to: self.to,
        };
        Transcoder::new(&turn, &self.event)
    }
}

/// How much is read at once.
const CHUNK_BYTES: usize = 64 * 1024;

/// How much is gathered before it is written, plus one event.
const OUT_BYTES_MAX: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use std::{cell::RefCell, io, sync::Arc};

    use super::{Conversion, ConvertError, run};
    use crate::transcode::{
        framing::{DecodeError, by_name},
        output::OUTPUTS,
    };

    /// Hands out its chunks, one a read, and writes down what was read, written and flushed.
    struct Tape<'a> {
        chunks: RefCell<std::slice::Iter<'a, &'a [u8]>>,
        log: RefCell<String>,
    }

    impl io::Read for &Tape<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let chunk = self.chunks.borrow_mut().next().copied().unwrap_or_default();
            if chunk == b"fault" {
                return Err(io::Error::other("no disk"));
            }
            if chunk == b"signal" {
                return Err(io::ErrorKind::Interrupted.into());
            }
            buffer[..chunk.len()].copy_from_slice(chunk);
            self.log.borrow_mut().push('<');
            Ok(chunk.len())
        }
    }

    impl io::Write for &Tape<'_> {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let text = String::from_utf8(bytes.to_vec()).unwrap();
            self.log.borrow_mut().push_str(&text);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            self.log.borrow_mut().push('!');
            Ok(())
        }
    }

    fn check(from: &str, chunks: &[&[u8]], log: &str) -> Result<(), ConvertError> {
        let tape = Tape {
            chunks: RefCell::new(chunks.iter()),
            log: RefCell::default(),
        };
        let conversion = Conversion {
            from: by_name(from).unwrap(),
            to: OUTPUTS[0],
            content_type: String::new(),
            charset: None,
            record_bytes_max: 100,
            event: Arc::default(),
        };
        let outcome = run(&conversion, &tape, &tape);
        assert_eq!(*tape.log.borrow(), log);
        outcome
    }

    #[test]
    fn each_read_is_flushed_before_the_next() {
        check(
            "ndjson",
            &[b"{}\n[", b"signal", b"]\n", b"12 "],
            "<data: {}\n\n!<data: []\n\n!<!<data: 12 \n\n!",
        )
        .unwrap();
        check("sse", &[b"data:a\r\r"], "<data: a\n\n!<!").unwrap();
    }

    #[test]
    fn events_before_a_fault_are_written_and_flushed() {
        let error = check("ndjson", &[b"{}\n{\"a\":"], "<data: {}\n\n!<!").unwrap_err();
        let truncated = matches!(error, ConvertError::Decode(DecodeError::Truncated { .. }));
        assert!(truncated, "{error:?}");

        let long = [b"{}\n", "x".repeat(101).as_bytes()].concat();
        let error = check("lines", &[&long], "<data: {}\n\n!").unwrap_err();
        let too_large = matches!(
            error,
            ConvertError::Decode(DecodeError::RecordTooLarge { .. })
        );
        assert!(too_large, "{error:?}");

        let error = check("lines", &[b"a\n", b"fault"], "<data: a\n\n!").unwrap_err();
        assert!(matches!(error, ConvertError::Read(_)), "{error:?}");
    }
}
