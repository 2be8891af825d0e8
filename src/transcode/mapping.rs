//! How does a record become an event, or several, or none?

pub mod condition;
pub mod end;
pub mod field;

#[cfg(test)]
mod tests;

use std::{borrow::Cow, sync::Arc};

use base64::{Engine as _, engine::general_purpose::STANDARD};

use self::{
    condition::Condition,
    end::Meaning,
    field::{Data, Field, Retry},
};
use super::{
    framing::{DecodeError, Record},
    json::{self, Pointer},
    output::{Encoder, Event, FieldText},
};

/// What the configuration says of events.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// The events' names; what the framing says where there is none.
    pub name: Option<Field>,
    /// The events' ids; what the framing says where there is none.
    pub id: Option<Field>,
    /// The events' data; the whole record where there is none.
    pub data: Option<Data>,
    /// The reconnection time that the client is told; what the framing says where there is none.
    pub retry: Option<Retry>,
    /// The place of text in base64 that is taken for the record.
    pub unwrap: Option<Pointer>,
    /// The place of an array of which each element becomes an event.
    pub explode: Option<Pointer>,
    /// The records that are nothing but signs of life.
    pub skip: Vec<Condition>,
    /// The records that advance the id without an event.
    pub only_id: Vec<Condition>,
    /// What becomes of records that are not JSON, where something looks into them.
    pub on_bad_record: BadRecord,
    /// What becomes of data that is not UTF-8.
    pub invalid_utf8: InvalidUtf8,
    /// Which records end the stream.
    pub end: end::Settings,
}

/// What becomes of a record that is not JSON.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum BadRecord {
    /// It is an event as it is; what can be found in it is used.
    #[default]
    Pass,
    /// It is left out.
    Skip,
    /// It ends the stream as badly framed.
    Error,
}

/// What becomes of data that is not UTF-8.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum InvalidUtf8 {
    /// U+FFFD stands for what is wrong.
    #[default]
    Replace,
    /// The whole of it is written in base64 (RFC 4648 §4).
    Base64,
    /// It ends the stream as badly framed.
    Error,
}

/// What became of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Written {
    /// How many events.
    pub(super) events: u64,
    /// What it means for the stream.
    pub(super) meaning: Meaning,
}

/// The mapping of one stream.
#[derive(Debug)]
pub(super) struct Mapping {
    settings: Arc<Settings>,
    /// The configured reconnection time, until it is told.
    retry_due_ms: Option<u64>,
    /// Whether records without fields of their own become events of nothing but their data.
    is_plain: bool,
}

impl Settings {
    fn is_plain(&self) -> bool {
        let is_told = !matches!(self.retry, Some(Retry::At(_)));
        let fields = self.name.is_none() && self.id.is_none() && is_told;
        let record = self.data.is_none() && self.unwrap.is_none() && self.explode.is_none();
        let conditions = self.skip.is_empty() && self.only_id.is_empty() && self.end.is_blind();
        fields && record && conditions && self.invalid_utf8 == InvalidUtf8::Replace
    }

    /// Whether something looks into the records' JSON.
    #[must_use]
    pub fn needs_json(&self) -> bool {
        let Self {
            skip, only_id, end, ..
        } = self;
        let lists = [skip, only_id, &end.when, &end.error];
        self.unwrap.is_some()
            || self.explode.is_some()
            || matches!(self.name, Some(Field::At(_)))
            || matches!(self.id, Some(Field::At(_)))
            || matches!(self.data, Some(Data::At(_)))
            || matches!(self.retry, Some(Retry::At(_)))
            || lists.into_iter().flatten().any(Condition::needs_json)
    }
}

impl Mapping {
    pub(super) fn new(settings: Arc<Settings>) -> Self {
        let retry_due_ms = match settings.retry {
            Some(Retry::Fixed(retry)) => Some(u64::try_from(retry.as_millis()).unwrap_or(u64::MAX)),
            Some(Retry::At(_)) | None => None,
        };
        Self {
            is_plain: settings.is_plain(),
            settings,
            retry_due_ms,
        }
    }

    /// What was configured.
    pub(super) fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The data of a record that becomes an event of nothing else, which most records are.
    #[inline]
    pub(super) fn data_alone<'a>(&self, record: &Record<'a>) -> Option<&'a [u8]> {
        let has_fields = record.name.is_some() || record.id.is_some() || record.retry_ms.is_some();
        let is_plain = self.is_plain && self.retry_due_ms.is_none();
        record.data.filter(|_| is_plain && !has_fields)
    }

    /// Appends what `record` becomes.
    ///
    /// # Errors
    /// The record is not JSON, or not UTF-8, and the configuration says that this is the end. Nothing
    /// of it is written.
    pub(super) fn write(
        &mut self,
        record: &Record<'_>,
        encoder: &impl Encoder,
        out: &mut Vec<u8>,
    ) -> Result<Written, DecodeError> {
        let unwrapped = self.unwrap(record);
        let record = &Record {
            data: unwrapped.as_deref().or(record.data),
            ..*record
        };
        let settings = Arc::clone(&self.settings);
        if record.data.is_none() {
            let events = u64::from(self.write_one(record, record, encoder, out)?);
            let meaning = Meaning::GoesOn;
            return Ok(Written { events, meaning });
        }
        let meaning = settings.end.meaning(record);
        let nothing = Written { events: 0, meaning };
        // What says why the upstream failed is never left out.
        if meaning != Meaning::Failed {
            if condition::any(&settings.skip, record) || self.is_bad(record)? {
                return Ok(nothing);
            }
            if condition::any(&settings.only_id, record) {
                let id = self.id(record, record);
                encoder.event(
                    &Event {
                        id,
                        ..Event::default()
                    },
                    out,
                );
                return Ok(nothing);
            }
        }
        let array = settings.explode.as_ref().zip(record.data);
        let array = array.and_then(|(pointer, data)| json::at(data, pointer));
        let events = match array {
            Some(array) => self.write_elements(array, record, encoder, out)?,
            None => u64::from(self.write_one(record, record, encoder, out)?),
        };
        Ok(Written { events, meaning })
    }

    /// Appends an event for each element of `array`, a raw value inside `record`. An id that stands
    /// beside the array belongs to the last of them: whoever has it has had them all.
    fn write_elements(
        &mut self,
        array: &[u8],
        record: &Record<'_>,
        encoder: &impl Encoder,
        out: &mut Vec<u8>,
    ) -> Result<u64, DecodeError> {
        let Some(elements) = json::elements(array) else {
            // Null says the same as an empty array; anything else is its own only element.
            let is_nothing = array == b"null";
            let written = !is_nothing && self.write_one(record, record, encoder, out)?;
            return Ok(u64::from(written));
        };
        let (before, mut events) = (out.len(), 0);
        let mut elements = elements.peekable();
        while let Some(element) = elements.next() {
            let outer = match elements.peek() {
                Some(_) => &Record {
                    id: None,
                    data: None,
                    ..*record
                },
                None => record,
            };
            let element = Record {
                data: Some(element),
                ..*outer
            };
            match self.write_one(&element, outer, encoder, out) {
                Ok(is_event) => events += u64::from(is_event),
                Err(error) => {
                    out.truncate(before);
                    return Err(error);
                }
            }
        }
        Ok(events)
    }

    /// Appends the event of `record`, which lies in `outer` or is the same.
    fn write_one(
        &mut self,
        record: &Record<'_>,
        outer: &Record<'_>,
        encoder: &impl Encoder,
        out: &mut Vec<u8>,
    ) -> Result<bool, DecodeError> {
        let retry_ms = self.retry_ms(record);
        let data = match record.data {
            Some(text) => Some(self.data(text)?),
            None => None,
        };
        let event = Event {
            data: data.as_deref(),
            name: self.name(record),
            id: self.id(record, outer),
            retry_ms,
        };
        Ok(encoder.event(&event, out))
    }

    fn data<'a>(&'a self, text: &'a [u8]) -> Result<Cow<'a, [u8]>, DecodeError> {
        let data = match &self.settings.data {
            Some(data) => data.of(text),
            None => Cow::Borrowed(text),
        };
        let is_right = self.settings.invalid_utf8 == InvalidUtf8::Replace
            || std::str::from_utf8(&data).is_ok();
        match self.settings.invalid_utf8 {
            InvalidUtf8::Base64 if !is_right => Ok(Cow::Owned(STANDARD.encode(data).into_bytes())),
            InvalidUtf8::Error if !is_right => Err(DecodeError::BadFraming {
                framing: "mapping",
                reason: "a record holds bytes that are not UTF-8",
            }),
            InvalidUtf8::Replace | InvalidUtf8::Base64 | InvalidUtf8::Error => Ok(data),
        }
    }

    fn name<'a>(&'a self, record: &Record<'a>) -> Option<FieldText<'a>> {
        let configured = self.settings.name.as_ref();
        configured
            .and_then(|name| name.of(record.data))
            .or_else(|| record.name.and_then(FieldText::sanitize))
    }

    fn id<'a>(&'a self, record: &Record<'a>, outer: &Record<'a>) -> Option<FieldText<'a>> {
        let configured = self.settings.id.as_ref();
        configured
            .and_then(|id| id.of(record.data).or_else(|| id.of(outer.data)))
            .or_else(|| record.id.and_then(FieldText::sanitize))
    }

    fn retry_ms(&mut self, record: &Record<'_>) -> Option<u64> {
        match &self.settings.retry {
            None => record.retry_ms,
            Some(Retry::At(pointer)) => field::milliseconds(record.data, pointer),
            Some(Retry::Fixed(_)) if record.data.is_none() => None,
            Some(Retry::Fixed(_)) => self.retry_due_ms.take(),
        }
    }

    /// What stands in base64 where the configuration says; nothing where it does not.
    fn unwrap(&self, record: &Record<'_>) -> Option<Vec<u8>> {
        let pointer = self.settings.unwrap.as_ref()?;
        let text = json::unescape(json::at(record.data?, pointer)?)?;
        STANDARD.decode(text).ok()
    }

    /// Whether the record is to be left out because it is not JSON.
    fn is_bad(&self, record: &Record<'_>) -> Result<bool, DecodeError> {
        let policy = self.settings.on_bad_record;
        let Some(data) = record.data else {
            return Ok(false);
        };
        if policy == BadRecord::Pass || !self.settings.needs_json() || json::is_text(data) {
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
