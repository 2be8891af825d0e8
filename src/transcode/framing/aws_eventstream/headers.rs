//! What do the headers of a message say?

use super::super::report::one_line;

/// The headers that tell what a message is. All others are only checked.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Headers<'a> {
    pub(super) message_type: Option<&'a [u8]>,
    pub(super) event_type: Option<&'a [u8]>,
    pub(super) exception_type: Option<&'a [u8]>,
    error_code: Option<&'a [u8]>,
    error_message: Option<&'a [u8]>,
}

impl<'a> Headers<'a> {
    /// Takes all headers of a message.
    ///
    /// # Errors
    /// Which rule they break, as the end of a sentence.
    pub(super) fn parse(mut bytes: &'a [u8]) -> Result<Self, &'static str> {
        let mut headers = Self::default();
        while !bytes.is_empty() {
            let header = Header::take(&mut bytes)?;
            let Some(field) = headers.field(header.name) else {
                continue;
            };
            if field.is_some() {
                return Err("a header of the stream's own stands twice");
            }
            let text = header
                .text
                .ok_or("a header of the stream's own is no string")?;
            *field = Some(text);
        }
        Ok(headers)
    }

    fn field(&mut self, name: &[u8]) -> Option<&mut Option<&'a [u8]>> {
        match name {
            b":message-type" => Some(&mut self.message_type),
            b":event-type" => Some(&mut self.event_type),
            b":exception-type" => Some(&mut self.exception_type),
            b":error-code" => Some(&mut self.error_code),
            b":error-message" => Some(&mut self.error_message),
            _ => None,
        }
    }

    /// What an exception is called. What it says in its payload is the client's, not the operator's.
    pub(super) fn exception_report(&self) -> String {
        let name = self.exception_type.unwrap_or(b"an exception");
        one_line(name, REPORTED_NAME_CHARS_MAX)
    }

    /// What an error is called, and says of itself.
    pub(super) fn error_report(&self) -> String {
        let code = self.error_code.unwrap_or(b"an error");
        let mut report = one_line(code, REPORTED_NAME_CHARS_MAX);
        if let Some(message) = self.error_message {
            report.push_str(": ");
            report.push_str(&one_line(message, REPORTED_MESSAGE_CHARS_MAX));
        }
        report
    }
}

/// One header.
struct Header<'a> {
    name: &'a [u8],
    /// The value, if it is a string.
    text: Option<&'a [u8]>,
}

impl<'a> Header<'a> {
    /// Takes a header off the front of `bytes`: the name behind its length of one byte, the type of
    /// its value, and the value, behind a length of two bytes where the type has none of its own.
    fn take(bytes: &mut &'a [u8]) -> Result<Self, &'static str> {
        let name_bytes = usize::from(take(bytes, 1)?[0]);
        if name_bytes == 0 {
            return Err("a header has no name");
        }
        let name = take(bytes, name_bytes)?;
        let kind = take(bytes, 1)?[0];
        let value_bytes = match kind {
            TRUE | FALSE => 0,
            BYTE => 1,
            SHORT => 2,
            INTEGER => 4,
            LONG | TIMESTAMP => 8,
            UUID => 16,
            BYTE_ARRAY | STRING => {
                let length = take(bytes, 2)?;
                usize::from(u16::from_be_bytes([length[0], length[1]]))
            }
            _ => return Err("a header's value is of no known type"),
        };
        let value = take(bytes, value_bytes)?;
        Ok(Self {
            name,
            text: (kind == STRING).then_some(value),
        })
    }
}

fn take<'a>(bytes: &mut &'a [u8], length: usize) -> Result<&'a [u8], &'static str> {
    bytes
        .split_off(..length)
        .ok_or("a header is longer than all of them")
}

const REPORTED_NAME_CHARS_MAX: usize = 64;

const REPORTED_MESSAGE_CHARS_MAX: usize = 256;

const TRUE: u8 = 0;
const FALSE: u8 = 1;
const BYTE: u8 = 2;
const SHORT: u8 = 3;
const INTEGER: u8 = 4;
const LONG: u8 = 5;
const BYTE_ARRAY: u8 = 6;
const STRING: u8 = 7;
/// Milliseconds since 1970.
const TIMESTAMP: u8 = 8;
const UUID: u8 = 9;
