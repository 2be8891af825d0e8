//! How did a stream end?
//!
//! Each stream ends in exactly one of these ways; the code is the same in the `stream-error` event,
//! the access log and the metrics.

use crate::{error::Kind, transcode::framing::DecodeError, upstream::source::SourceError};

/// How a stream ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    /// The upstream ended its message, and all of it was passed on.
    Complete,
    /// The upstream's connection ended inside its message.
    UpstreamTruncated,
    /// The upstream broke its protocol, or gave the stream up.
    UpstreamError,
    /// The upstream sent nothing for too long.
    IdleTimeout,
    /// The stream lasted longer than it may.
    TotalTimeout,
    /// A record was longer than it may be.
    RecordTooLarge,
    /// The upstream's bytes break the rules of their framing.
    BadFraming,
    /// We are stopping.
    Drained,
    /// An operator has closed it.
    Closed,
    /// The client left first.
    ClientGone,
    /// The client took nothing for too long.
    ClientStalled,
    /// There was no stream.
    Refused(Kind),
}

impl Ending {
    /// Whether something is wrong, and not with the client.
    #[must_use]
    pub(super) fn is_failure(self) -> bool {
        !matches!(
            self,
            Self::Complete | Self::Drained | Self::ClientGone | Self::ClientStalled
        )
    }

    /// The stable name.
    #[must_use]
    pub(super) fn code(self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::UpstreamTruncated => "upstream_truncated",
            Self::UpstreamError => "upstream_error",
            Self::IdleTimeout => "idle_timeout",
            Self::TotalTimeout => "total_timeout",
            Self::RecordTooLarge => "record_too_large",
            Self::BadFraming => "bad_framing",
            Self::Drained => "drained",
            Self::Closed => "closed",
            Self::ClientGone => "client_gone",
            Self::ClientStalled => "client_stalled",
            Self::Refused(kind) => kind.code(),
        }
    }
}

/// Why a stream cannot go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fault {
    /// How the stream ends.
    pub(super) ending: Ending,
    /// One sentence for the client; never a payload.
    pub(super) message: String,
    /// Whether it makes the endpoint suspect. What it reports in so many words does not, nor does silence: a
    /// stream without news is no rare thing.
    pub(super) is_cut: bool,
    /// What is wrong with the upstream's records, as metrics call it; where they are at fault.
    pub(super) undecodable: Option<&'static str>,
}

impl Fault {
    /// Makes a fault.
    pub(super) fn new(ending: Ending, message: impl Into<String>) -> Self {
        let is_cut = matches!(ending, Ending::UpstreamTruncated | Ending::UpstreamError);
        Self {
            ending,
            message: message.into(),
            is_cut,
            undecodable: None,
        }
    }

    /// The same, but not by a failure of the endpoint.
    fn excused(self) -> Self {
        Self {
            is_cut: false,
            ..self
        }
    }
}

impl From<DecodeError> for Fault {
    fn from(error: DecodeError) -> Self {
        let ending = match error {
            DecodeError::RecordTooLarge { .. } => Ending::RecordTooLarge,
            DecodeError::Truncated { .. } | DecodeError::Unended => Ending::UpstreamTruncated,
            DecodeError::BadFraming { .. } => Ending::BadFraming,
            DecodeError::Reported { .. } => {
                return Self {
                    undecodable: Some(error.code()),
                    ..Self::new(Ending::UpstreamError, error.to_string()).excused()
                };
            }
        };
        Self {
            undecodable: Some(error.code()),
            ..Self::new(ending, error.to_string())
        }
    }
}

impl From<SourceError> for Fault {
    fn from(error: SourceError) -> Self {
        let ending = match error {
            SourceError::Truncated => Ending::UpstreamTruncated,
            SourceError::Broken { .. } => Ending::UpstreamError,
            SourceError::Closed { .. } => {
                return Self::new(Ending::UpstreamError, error.to_string()).excused();
            }
            SourceError::Undecodable(error) => return error.into(),
        };
        Self::new(ending, error.to_string())
    }
}
