//! What does it mean that a WebSocket ends?

use tungstenite::{
    Error,
    error::{CapacityError, ProtocolError},
    protocol::{CloseFrame, frame::coding::CloseCode},
};

use crate::{
    transcode::framing::{DecodeError, EndOfInput},
    upstream::source::{Fill, SourceError},
};

/// What a close frame of the server says: 1000, 1001 and no code at all are an end as it should be.
pub(super) fn closed(close: Option<&CloseFrame>) -> Result<Fill, SourceError> {
    let Some(close) = close else {
        return Ok(END);
    };
    if matches!(close.code, CloseCode::Normal | CloseCode::Away) {
        return Ok(END);
    }
    // The protocol bounds it to 123 bytes; in quotes it holds no control character.
    let reason = match close.reason.as_str() {
        "" => String::new(),
        reason => format!(" ({reason:?})"),
    };
    Err(SourceError::Closed {
        reason: format!("it closed its WebSocket with {}{reason}", close.code),
    })
}

/// What is wrong, and the code to close with where the server is still there to be told.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "whatever else the codec reports is told in its own words"
)]
pub(super) fn broken(
    error: &Error,
    record_bytes_max: usize,
) -> (Result<Fill, SourceError>, Option<CloseCode>) {
    let bad = |reason| {
        let framing = "websocket";
        SourceError::Undecodable(DecodeError::BadFraming { framing, reason })
    };
    let (error, code) = match error {
        Error::ConnectionClosed => return (Ok(END), None),
        Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => {
            (SourceError::Truncated, None)
        }
        Error::Io(error) => (SourceError::classify(error), None),
        Error::Capacity(CapacityError::MessageTooLong { .. }) => {
            let too_large = DecodeError::RecordTooLarge { record_bytes_max };
            (SourceError::Undecodable(too_large), Some(CloseCode::Size))
        }
        Error::Utf8(_) => (bad("a text message is not UTF-8"), Some(CloseCode::Invalid)),
        Error::Protocol(error) => (bad(rule(error)), Some(CloseCode::Protocol)),
        other => {
            let reason = other.to_string();
            (SourceError::Broken { reason }, Some(CloseCode::Protocol))
        }
    };
    (Err(error), code)
}

/// Which rule of RFC 6455 was broken.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "what is left of a server's frames is their kind; the others are of the handshake"
)]
fn rule(error: &ProtocolError) -> &'static str {
    match error {
        ProtocolError::NonZeroReservedBits => "a frame has reserved bits set",
        ProtocolError::MaskedFrameFromServer => "a frame of the server is masked",
        ProtocolError::FragmentedControlFrame => "a control frame is fragmented",
        ProtocolError::ControlFrameTooBig => "a control frame has more than 125 bytes",
        ProtocolError::UnexpectedContinueFrame => "a frame continues no message",
        ProtocolError::ExpectedFragment(_) => "a message begins inside another",
        ProtocolError::InvalidCloseSequence => "a close frame holds half a code",
        ProtocolError::ReceivedAfterClosing => "a frame follows the close frame",
        _ => "a frame is of no known kind",
    }
}

const END: Fill = Fill::End {
    trailers: None,
    end: EndOfInput::Verified,
};
