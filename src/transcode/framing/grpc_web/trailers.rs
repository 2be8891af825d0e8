//! How did a call end, as its trailers say?

use memchr::memchr;

use super::super::{DecodeError, report::one_line};

/// Reads a block of trailers: lines of names and values, as HTTP/1.1 has them, without an empty one.
///
/// # Errors
/// The call failed, or they do not say.
pub(super) fn check(trailers: &[u8]) -> Result<(), DecodeError> {
    let status = field(trailers, b"grpc-status").and_then(|value| std::str::from_utf8(value).ok());
    let Some(status) = status.and_then(|status| status.parse::<u32>().ok()) else {
        return Err(super::bad(
            "the trailers have no grpc-status that is a number",
        ));
    };
    if status == OK {
        return Ok(());
    }
    let mut report = format!("grpc-status {status}");
    let name = usize::try_from(status)
        .ok()
        .and_then(|status| NAMES.get(status));
    if let Some(name) = name {
        report.extend([" (", name, ")"]);
    }
    let message = field(trailers, b"grpc-message").unwrap_or_default();
    if !message.is_empty() {
        report.extend([": ", &one_line(&percent_decode(message), MESSAGE_CHARS_MAX)]);
    }
    Err(DecodeError::Reported { report })
}

/// The value of the first field of that name (lower case).
fn field<'t>(trailers: &'t [u8], name: &[u8]) -> Option<&'t [u8]> {
    trailers.split(|byte| *byte == b'\n').find_map(|line| {
        let (found, value) = line.split_at(memchr(b':', line)?);
        let is_it = found.trim_ascii().eq_ignore_ascii_case(name);
        is_it.then(|| value[1..].trim_ascii())
    })
}

/// Undoes what may be escaped in a message; what is escaped wrongly stays as it is.
fn percent_decode(text: &[u8]) -> Vec<u8> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((first, behind)) = rest.split_first() {
        let escaped = behind.get(..2).filter(|_| *first == b'%');
        let byte = escaped.and_then(|digits| {
            let digit = |at: usize| char::from(digits[at]).to_digit(16);
            u8::try_from(digit(0)? << 4 | digit(1)?).ok()
        });
        decoded.push(byte.unwrap_or(*first));
        rest = if byte.is_some() { &behind[2..] } else { behind };
    }
    decoded
}

/// The status of a call that did not fail.
const OK: u32 = 0;

/// What the statuses are called (gRPC, "Status codes and their use").
const NAMES: &[&str] = &[
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
];

const MESSAGE_CHARS_MAX: usize = 256;

#[cfg(test)]
mod tests {
    use super::check;

    fn told(trailers: &str) -> String {
        check(trailers.as_bytes()).map_or_else(|error| error.to_string(), |()| "ok".to_owned())
    }

    #[test]
    fn the_status_is_told_with_its_name_and_message() {
        for (trailers, message) in [
            ("grpc-status: 0\r\n", "ok"),
            ("grpc-status:0", "ok"),
            ("x: y\nGrpc-Status : 00 \ngrpc-status: 5\n", "ok"),
            (
                "grpc-message: a\r\ngrpc-status: 5\r\n",
                "grpc-status 5 (NOT_FOUND): a",
            ),
            (
                "grpc-status: 16\r\ngrpc-message: \r\n",
                "grpc-status 16 (UNAUTHENTICATED)",
            ),
            ("grpc-status: 17\r\n", "grpc-status 17"),
            ("grpc-status: 4294967295", "grpc-status 4294967295"),
            (
                "grpc-status: 13\ngrpc-message: %C3%bc %0d%0A%zz%2%",
                "grpc-status 13 (INTERNAL): ü   %zz%2%",
            ),
        ] {
            let message = message.replace("grpc-status", "the upstream reported grpc-status");
            assert_eq!(told(trailers), message, "{trailers}");
        }
        let long = format!("grpc-status: 2\ngrpc-message: {}", "x".repeat(1000));
        assert!(told(&long).len() < 320);
    }

    #[test]
    fn without_a_status_nobody_knows() {
        for trailers in [
            "",
            "\r\n",
            "grpc-message: a",
            "grpc-status: ",
            "grpc-status: x",
            "grpc-status: -1",
        ] {
            let message = "grpc-web: the trailers have no grpc-status that is a number";
            assert_eq!(told(trailers), message, "{trailers}");
        }
    }
}
