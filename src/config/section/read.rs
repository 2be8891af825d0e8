//! How is the value under one key read?

use std::time::Duration;

use toml::{Spanned, de::DeValue};

use super::{Place, Section};
use crate::config::{
    schema::{Kind, Presence, any_of},
    values,
};

/// A string of the file and the offset at which it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::config) struct Text {
    pub(in crate::config) value: String,
    pub(in crate::config) offset: usize,
}

/// An element of a list that may hold strings and tables.
pub(in crate::config) enum Element<'a> {
    Text(Text),
    Table(Section<'a>),
}

impl<'a> Section<'a> {
    /// A list of strings and tables; one fault for each element that is neither. `None` where nothing is
    /// written.
    pub(in crate::config) fn elements(&self, name: &str) -> Option<Vec<Element<'a>>> {
        let allowed = || format!("it must be {}", self.key(name).allowed());
        self.read(name, |value| {
            value
                .get_ref()
                .as_array()
                .map(|_| ())
                .ok_or_else(|| format!("is {}; {}", self.written(value), allowed()))
        })?;
        let list = self.value(name)?.get_ref().as_array()?;
        let read = |element: &'a Spanned<DeValue<'a>>| {
            let offset = element.span().start;
            if let Some(text) = element.get_ref().as_str() {
                return Some(Element::Text(Text::new(text, offset)));
            }
            if let Some(table) = element.get_ref().as_table() {
                let place = Place { table, offset };
                return Some(Element::Table(self.below(name, Some(place))));
            }
            let message = format!("{name} has {}; {}", self.written(element), allowed());
            self.fault(offset, &message);
            None
        };
        Some(list.iter().filter_map(read).collect())
    }
}

impl Section<'_> {
    /// The strings of a table under any names, in the order of the file.
    pub(in crate::config) fn entries(&self, name: &str) -> Vec<(Text, Text)> {
        let Some(value) = self.value(name) else {
            return Vec::new();
        };
        let Some(table) = value.get_ref().as_table() else {
            self.wrong(name, value);
            return Vec::new();
        };
        let mut entries = Vec::new();
        for (key, value) in table {
            let offset = value.span().start;
            match value.get_ref().as_str() {
                Some(text) => entries.push((
                    Text::new(key.get_ref(), key.span().start),
                    Text::new(text, offset),
                )),
                None => self.wrong(&format!("{name} {}", key.get_ref()), value),
            }
        }
        entries.sort_by_key(|(key, _)| key.offset);
        entries
    }

    /// A string that `parse` understands. Its error goes on where "it must be" might stand.
    pub(in crate::config) fn text<T>(
        &self,
        name: &str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Option<T> {
        self.read(name, |value| {
            let text = value.get_ref().as_str().ok_or_else(|| {
                let written = self.key(name).shown(|| self.written(value));
                format!("is {written}; it must be {}", self.key(name).allowed())
            })?;
            parse(text).map_err(|reason| {
                let written = self.key(name).shown(|| values::shown(text));
                format!("is {written}; {reason}")
            })
        })
    }

    /// A value that `parse` understands, of whatever type.
    pub(in crate::config) fn parsed<T>(
        &self,
        name: &str,
        parse: impl Fn(&DeValue<'_>) -> Option<T>,
    ) -> Option<T> {
        self.read(name, |value| {
            let allowed = || self.key(name).allowed();
            parse(value.get_ref())
                .ok_or_else(|| format!("is {}; it must be {}", self.written(value), allowed()))
        })
    }

    /// A list of strings that `parse` understands; one fault for each that it does not.
    /// `None` where nothing is written.
    pub(in crate::config) fn texts<T>(
        &self,
        name: &str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Option<Vec<T>> {
        let allowed = || format!("it must be {}", self.key(name).allowed());
        let read = |element: &Spanned<DeValue<'_>>| {
            let read = match element.get_ref().as_str() {
                Some(text) => {
                    parse(text).map_err(|reason| format!("{}; {reason}", values::shown(text)))
                }
                None => Err(format!("{}; {}", self.written(element), allowed())),
            };
            read.map_err(|reason| {
                self.fault(element.span().start, &format!("{name} has {reason}"));
            })
            .ok()
        };
        self.read(name, |value| match value.get_ref().as_array() {
            Some(elements) => Ok(elements.iter().filter_map(read).collect()),
            None => Err(format!("is {}; {}", self.written(value), allowed())),
        })
    }

    /// One of the names that the key's table gives.
    pub(in crate::config) fn choice(&self, name: &str) -> &'static str {
        let Kind::Choice { now, later } = self.key(name).kind else {
            return "";
        };
        let chosen = self.text(name, |text| {
            if let Some(chosen) = now.iter().find(|choice| **choice == text) {
                return Ok(*chosen);
            }
            if later.contains(&text) {
                return Err(format!("that is not available yet; use {}", any_of(now)));
            }
            Err(format!("it must be {}", any_of(now)))
        });
        chosen.unwrap_or_default()
    }

    /// A duration of a key that has a default.
    pub(in crate::config) fn duration(&self, name: &str) -> Duration {
        self.duration_or_off(name).unwrap_or_default()
    }

    /// A duration; `None` for `"off"`, or where nothing is written and there is no default.
    pub(in crate::config) fn duration_or_off(&self, name: &str) -> Option<Duration> {
        let key = self.key(name);
        let read = |value: &Spanned<DeValue<'_>>| match value.get_ref().as_str() {
            Some(text) => values::duration(text, key),
            None => Err(format!(
                "is {}; it must be a string with a unit, such as \"15s\"",
                self.written(value)
            )),
        };
        self.read(name, read).flatten()
    }

    /// A size in bytes of a key that has a default.
    pub(in crate::config) fn bytes(&self, name: &str) -> usize {
        self.size(name).unwrap_or_default()
    }

    /// A size in bytes; `None` where nothing is written and there is no default.
    pub(in crate::config) fn size(&self, name: &str) -> Option<usize> {
        let key = self.key(name);
        let read = |value: &Spanned<DeValue<'_>>| match value.get_ref().as_str() {
            Some(text) => values::bytes(text, key),
            None => Err(format!(
                "is {}; it must be a string with a unit, such as \"64KiB\"",
                self.written(value)
            )),
        };
        self.read(name, read)
    }

    /// `true` or `false`; `false` where nothing is written and there is no default.
    pub(in crate::config) fn flag(&self, name: &str) -> bool {
        let key = self.key(name);
        let read = |value: &Spanned<DeValue<'_>>| {
            let wrong = || format!("is {}; it must be {}", self.written(value), key.allowed());
            value.get_ref().as_bool().ok_or_else(wrong)
        };
        self.read(name, read).unwrap_or_default()
    }

    /// An integer.
    pub(in crate::config) fn count(&self, name: &str) -> Option<usize> {
        let key = self.key(name);
        self.read(name, |value| {
            let count = value
                .get_ref()
                .as_integer()
                .and_then(|integer| usize::from_str_radix(integer.as_str(), integer.radix()).ok());
            count
                .filter(|count| values::is_count_allowed(*count, key))
                .ok_or_else(|| format!("is {}; it must be {}", self.written(value), key.allowed()))
        })
    }

    /// Reads a key: its value, else its default. Reports a wrong value and a required key's lack.
    fn read<T>(
        &self,
        name: &str,
        parse: impl Fn(&Spanned<DeValue<'_>>) -> Result<T, String>,
    ) -> Option<T> {
        if let Some(value) = self.value(name) {
            match parse(value) {
                Ok(value) => return Some(value),
                Err(reason) => self.fault(value.span().start, &format!("{name} {reason}")),
            }
        }
        let key = self.key(name);
        match key.presence {
            Presence::Default(text) => parse(&DeValue::parse(text).ok()?).ok(),
            Presence::Optional => None,
            Presence::Required => {
                if self.value(name).is_none() && self.table.is_some() {
                    self.absence(&format!("{name} is missing; it must be {}", key.allowed()));
                }
                None
            }
        }
    }
}

impl Text {
    fn new(value: &str, offset: usize) -> Self {
        Self {
            value: value.to_owned(),
            offset,
        }
    }
}
