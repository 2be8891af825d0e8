//! How does a record become an event?

use std::time::Duration;

use super::output::FieldValue;

/// What the configuration says of events.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// The name of every event; the framing's own name, if it has one, where `None`.
    pub name: Option<FieldValue>,
    /// The reconnection time told to the client, once, with the first event.
    pub retry: Option<Duration>,
}
