//! What is written of one record?

use std::borrow::Cow;

use base64::{Engine as _, engine::general_purpose::STANDARD};

use super::{
    BadRecord, InvalidUtf8, Settings, Written, condition,
    end::Meaning,
    field::{self, Retry},
};
use crate::transcode::{
    framing::{DecodeError, Record},
    json,
    output::{Encoder, Event, FieldText},
};

/// One record, being written.
pub(super) struct Writing<'w, E> {
    pub(super) settings: &'w Settings,
    pub(super) owes_retry: &'w mut bool,
    pub(super) encoder: &'w E,
    pub(super) out: &'w mut Vec<u8>,
}

impl<E: Encoder> Writing<'_, E> {
    /// Appends what `record` becomes.
    pub(super) fn write(&mut self, record: &Record<'_>) -> Result<Written, DecodeError> {
        let settings = self.settings;
        if record.data.is_none() {
            let events = u64::from(self.write_one(record)?);
            return Ok(Written {
                events,
                meaning: Meaning::GoesOn,
                is_bad: false,
            });
        }
        let meaning = settings.end.meaning(record);
        let nothing = Written {
            events: 0,
            meaning,
            is_bad: false,
        };
        // What says why the upstream failed is never left out.
        if meaning != Meaning::Failed {
            if condition::any(&settings.skip, record) {
                return Ok(nothing);
            }
            if settings.is_bad(record)? {
                return Ok(Written {
                    is_bad: true,
                    ..nothing
                });
            }
            if condition::any(&settings.only_id, record) {
                let id = settings.id(record);
                let event = Event {
                    id,
                    ..Event::default()
                };
                self.encoder.event(&event, self.out);
                return Ok(nothing);
            }
        }
        let array = settings.explode.as_ref().zip(record.data);
        let array = array.and_then(|(pointer, data)| json::at(data, pointer));
        let events = match array {
            Some(array) => self.write_elements(array, record)?,
            None => u64::from(self.write_one(record)?),
        };
        Ok(Written { events, ..nothing })
    }

    /// Appends an event for each element of `array`, a raw value inside `record`. An id that stands
    /// beside the array belongs to the last of them: whoever has it has had them all.
    fn write_elements(&mut self, array: &[u8], record: &Record<'_>) -> Result<u64, DecodeError> {
        let Some(elements) = json::elements(array) else {
            // Null says the same as an empty array; anything else is its own only element.
            let is_nothing = array == b"null";
            return Ok(u64::from(!is_nothing && self.write_one(record)?));
        };
        let settings = self.settings;
        let (before, mut events) = (self.out.len(), 0);
        let mut beside = settings.id(record);
        let is_beside = beside.is_some();
        let mut elements = elements.peekable();
        while let Some(element) = elements.next() {
            let element = &Record {
                data: Some(element),
                id: None,
                ..*record
            };
            let id = match elements.peek() {
                None if is_beside => beside.take(),
                Some(_) if is_beside => None,
                _ => settings.id(element),
            };
            match self.write_with(element, id) {
                Ok(is_event) => events += u64::from(is_event),
                Err(error) => {
                    self.out.truncate(before);
                    return Err(error);
                }
            }
        }
        Ok(events)
    }

    /// Appends the event of a record.
    fn write_one(&mut self, record: &Record<'_>) -> Result<bool, DecodeError> {
        self.write_with(record, self.settings.id(record))
    }

    fn write_with(
        &mut self,
        record: &Record<'_>,
        id: Option<FieldText<'_>>,
    ) -> Result<bool, DecodeError> {
        let data = match record.data {
            Some(text) => Some(self.settings.data(text)?),
            None => None,
        };
        let event = Event {
            data: data.as_deref(),
            name: self.settings.name(record),
            id,
            retry_ms: self.retry_ms(record),
        };
        Ok(self.encoder.event(&event, self.out))
    }

    fn retry_ms(&mut self, record: &Record<'_>) -> Option<u64> {
        match &self.settings.retry {
            None => record.retry_ms,
            Some(Retry::At(pointer)) => field::milliseconds(record.data, pointer),
            Some(Retry::Fixed(_)) if record.data.is_none() => None,
            Some(Retry::Fixed(retry)) => std::mem::take(self.owes_retry)
                .then(|| u64::try_from(retry.as_millis()).unwrap_or(u64::MAX)),
        }
    }
}

/// What the settings make of one record.
impl Settings {
    fn data<'a>(&'a self, text: &'a [u8]) -> Result<Cow<'a, [u8]>, DecodeError> {
        let data = match &self.data {
            Some(data) => data.of(text),
            None => Cow::Borrowed(text),
        };
        let is_right =
            self.invalid_utf8 == InvalidUtf8::Replace || std::str::from_utf8(&data).is_ok();
        match self.invalid_utf8 {
            InvalidUtf8::Base64 if !is_right => Ok(Cow::Owned(STANDARD.encode(data).into_bytes())),
            InvalidUtf8::Error if !is_right => Err(DecodeError::BadFraming {
                framing: "mapping",
                reason: "a record holds bytes that are not UTF-8",
            }),
            InvalidUtf8::Replace | InvalidUtf8::Base64 | InvalidUtf8::Error => Ok(data),
        }
    }

    fn name<'a>(&'a self, record: &Record<'a>) -> Option<FieldText<'a>> {
        let configured = self.name.as_ref();
        configured
            .and_then(|name| name.of(record.data))
            .or_else(|| record.name.and_then(FieldText::sanitize))
    }

    fn id<'a>(&'a self, record: &Record<'a>) -> Option<FieldText<'a>> {
        let configured = self.id.as_ref();
        configured
            .and_then(|id| id.of(record.data))
            .or_else(|| record.id.and_then(FieldText::sanitize))
    }

    /// What stands in base64 where the configuration says; nothing where it does not.
    pub(super) fn unwrap(&self, record: &Record<'_>) -> Option<Vec<u8>> {
        let pointer = self.unwrap.as_ref()?;
        let text = json::unescape(json::at(record.data?, pointer)?)?;
        STANDARD.decode(text).ok()
    }

    /// Whether the record is to be left out because it is not JSON.
    fn is_bad(&self, record: &Record<'_>) -> Result<bool, DecodeError> {
        let policy = self.on_bad_record;
        let Some(data) = record.data else {
            return Ok(false);
        };
        if policy == BadRecord::Pass || !self.needs_json() || json::is_text(data) {
            return Ok(false);
        }
        if policy == BadRecord::Skip {
            return Ok(true);
        }
        Err(DecodeError::BadFraming {
            framing: "mapping",
            reason: "a record is not JSON",
        })
    }
}
