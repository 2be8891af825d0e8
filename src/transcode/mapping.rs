//! How does a record become an event?

use std::time::Duration;

use super::{
    framing::Record,
    output::{Event, FieldText, FieldValue},
};

/// What the configuration says of events.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// The name of every event; the framing's own name, if it has one, where `None`.
    pub name: Option<FieldValue>,
    /// The reconnection time told to the client, once, with the first event.
    pub retry: Option<Duration>,
}

/// The mapping of one stream.
#[derive(Debug)]
pub(super) struct Mapping {
    name: Option<FieldValue>,
    retry: Retry,
}

/// Who tells the client when to reconnect. What is configured silences the upstream.
#[derive(Debug, Clone, Copy)]
enum Retry {
    /// The upstream's records, where they do.
    Records,
    /// The configuration, with the next event.
    Due(u64),
    /// The configuration, which has.
    Told,
}

impl Mapping {
    pub(super) fn new(settings: &Settings) -> Self {
        Self {
            name: settings.name.clone(),
            retry: settings.retry.map_or(Retry::Records, |retry| {
                Retry::Due(u64::try_from(retry.as_millis()).unwrap_or(u64::MAX))
            }),
        }
    }

    /// The data of a record that becomes an event of nothing else.
    #[inline]
    pub(super) fn data_alone<'a>(&self, record: &Record<'a>) -> Option<&'a [u8]> {
        let is_configured = self.name.is_some() || matches!(self.retry, Retry::Due(_));
        let has_fields = record.name.is_some() || record.id.is_some() || record.retry_ms.is_some();
        record.data.filter(|_| !is_configured && !has_fields)
    }

    /// The event of `record`.
    pub(super) fn event<'a>(&'a mut self, record: &Record<'a>) -> Event<'a> {
        let name = match &self.name {
            Some(name) => Some(name.as_text()),
            None => record.name.and_then(FieldText::sanitize),
        };
        let retry_ms = match self.retry {
            Retry::Records => record.retry_ms,
            Retry::Due(retry_ms) if record.data.is_some() => {
                self.retry = Retry::Told;
                Some(retry_ms)
            }
            Retry::Due(_) | Retry::Told => None,
        };
        Event {
            data: record.data,
            name,
            id: record.id.and_then(FieldText::sanitize),
            retry_ms,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{FieldValue, Mapping, Record, Settings};

    fn record() -> Record<'static> {
        Record {
            data: Some(b"x"),
            name: Some(b"theirs"),
            id: Some(b"7"),
            retry_ms: Some(9),
        }
    }

    #[test]
    fn without_settings_the_record_decides() {
        let mut mapping = Mapping::new(&Settings::default());
        let event = mapping.event(&record());
        assert_eq!(event.name.unwrap().as_str(), "theirs");
        assert_eq!(event.id.unwrap().as_str(), "7");
        assert_eq!(event.retry_ms, Some(9));
    }

    #[test]
    fn the_configured_name_wins() {
        let mut mapping = Mapping::new(&Settings {
            name: Some(FieldValue::new("ours").unwrap()),
            retry: None,
        });
        assert_eq!(mapping.event(&record()).name.unwrap().as_str(), "ours");
    }

    #[test]
    fn the_configured_retry_is_told_once_with_the_first_event() {
        let mut mapping = Mapping::new(&Settings {
            name: None,
            retry: Some(Duration::from_secs(3)),
        });
        let id_only = Record {
            data: None,
            ..record()
        };
        assert_eq!(mapping.event(&id_only).retry_ms, None);
        assert_eq!(mapping.event(&record()).retry_ms, Some(3000));
        assert_eq!(mapping.event(&record()).retry_ms, None);
    }

    #[test]
    fn a_strangers_line_ends_and_nul_do_not_get_through() {
        let mut mapping = Mapping::new(&Settings::default());
        let event = mapping.event(&Record {
            name: Some(b"a\ndata: forged"),
            id: Some(b"1\0"),
            ..record()
        });
        assert_eq!((event.name, event.id), (None, None));
    }
}
