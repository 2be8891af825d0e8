//! How does a record become an event, or several, or none?

pub mod condition;
pub mod end;
pub mod field;

mod writing;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use self::{
    condition::Condition,
    end::Meaning,
    field::{Data, Field, Retry},
    writing::Writing,
};
use super::{
    framing::{DecodeError, Record},
    json::Pointer,
    output::Encoder,
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
    /// Whether it was left out because it is not JSON.
    pub(super) is_bad: bool,
}

/// The mapping of one stream.
#[derive(Debug)]
pub(super) struct Mapping {
    settings: Arc<Settings>,
    /// Whether the configured reconnection time is still to be told.
    owes_retry: bool,
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
        Self {
            is_plain: settings.is_plain(),
            owes_retry: matches!(settings.retry, Some(Retry::Fixed(_))),
            settings,
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
        let is_plain = self.is_plain && !self.owes_retry;
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
        let settings = &*self.settings;
        let unwrapped = settings.unwrap(record);
        let record = &Record {
            data: unwrapped.as_deref().or(record.data),
            ..*record
        };
        let mut writing = Writing {
            settings,
            owes_retry: &mut self.owes_retry,
            encoder,
            out,
        };
        writing.write(record)
    }
}
