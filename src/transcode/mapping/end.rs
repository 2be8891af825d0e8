//! Which record ends a stream, and what is said at the end?

use std::sync::Arc;

use super::condition::{self, Condition};
use crate::transcode::{
    framing::Record,
    output::{Encoder, Event, FieldValue},
};

/// What the configuration says of a stream's end.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// The records after which the stream is complete; none: only the upstream's own end ends it.
    pub when: Vec<Condition>,
    /// The records by which the upstream says that it failed.
    pub error: Vec<Condition>,
    /// What the client is written when the stream is complete.
    pub event: Option<EndEvent>,
}

/// The last event of a complete stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndEvent {
    /// Its name.
    pub name: Option<FieldValue>,
    /// Its data.
    pub data: Arc<str>,
}

/// What a record means for its stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::transcode) enum Meaning {
    /// It goes on.
    GoesOn,
    /// It is complete.
    Complete,
    /// The upstream failed.
    Failed,
}

impl Settings {
    /// What the record means.
    pub(super) fn meaning(&self, record: &Record<'_>) -> Meaning {
        if condition::any(&self.error, record) {
            Meaning::Failed
        } else if condition::any(&self.when, record) {
            Meaning::Complete
        } else {
            Meaning::GoesOn
        }
    }

    /// Appends the end event. Returns how many events that are.
    pub(in crate::transcode) fn write(&self, encoder: &impl Encoder, out: &mut Vec<u8>) -> u64 {
        let Some(event) = &self.event else { return 0 };
        let event = Event {
            data: Some(event.data.as_bytes()),
            name: event.name.as_ref().map(FieldValue::as_text),
            ..Event::default()
        };
        u64::from(encoder.event(&event, out))
    }

    /// Whether no record means anything.
    pub(super) fn is_blind(&self) -> bool {
        self.when.is_empty() && self.error.is_empty()
    }
}
