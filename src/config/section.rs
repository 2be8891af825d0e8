//! How is one table of the file read, so that every fault in it is found?

pub(super) mod read;

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{
    fault::{Remark, Report},
    keys,
    schema::{Key, Kind, Schema, closest},
};

/// One table of the file, or the lack of it, which reads as its defaults.
///
/// A wrong value is reported and then reads as if it were not written, so that the caller goes on.
pub(super) struct Section<'a> {
    table: Option<&'a DeTable<'a>>,
    /// What is written for it by a preset: it counts where the table has no such key.
    preset: Option<&'a DeTable<'a>>,
    schema: &'static Schema,
    /// What it is called in messages: `route "chat"`; empty for the file itself.
    title: String,
    /// What goes before its keys in messages: `"heartbeat "` or nothing.
    prefix: String,
    offset: usize,
    report: &'a Report<'a>,
}

/// A table of the file and the offset at which it begins.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) table: &'a DeTable<'a>,
    pub(super) offset: usize,
}

impl<'a> Section<'a> {
    /// Opens the file itself.
    pub(super) fn file(table: &'a DeTable<'a>, report: &'a Report<'a>) -> Self {
        let section = Self {
            table: Some(table),
            preset: None,
            schema: &keys::FILE,
            title: String::new(),
            prefix: String::new(),
            offset: 0,
            report,
        };
        section.check_keys();
        section
    }

    /// Opens a table under a title of its own.
    pub(super) fn open(&self, place: Place<'a>, schema: &'static Schema, title: String) -> Self {
        let section = Self {
            table: Some(place.table),
            preset: None,
            schema,
            title,
            prefix: String::new(),
            offset: place.offset,
            report: self.report,
        };
        section.check_keys();
        section
    }

    /// The same section, with what a preset says where it says nothing itself.
    pub(super) fn with_preset(self, preset: Option<&'a DeTable<'a>>) -> Self {
        Self { preset, ..self }
    }

    /// The table under `name`; where it is absent or no table, a section of defaults.
    pub(super) fn section(&self, name: &str) -> Self {
        let place = self.own(name).and_then(|value| self.place(name, value));
        let preset = self.preset.and_then(|preset| preset.get(name));
        self.below(name, place)
            .with_preset(preset.and_then(|value| value.get_ref().as_table()))
    }

    /// The table under `name` where it may be something else, too; reports where it is none.
    pub(super) fn table(&self, name: &str, schema: &'static Schema) -> Option<Self> {
        let place = self.place(name, self.value(name)?)?;
        Some(self.open_below(name, Some(place), schema))
    }

    /// The table under `name`; `None` where it is absent or no table.
    pub(super) fn given(&self, name: &str) -> Option<Self> {
        let value = self.value(name)?;
        Some(self.below(name, Some(self.place(name, value)?)))
    }

    /// The table under `name`, or one of defaults where `true` is written; `None` where it is neither.
    pub(super) fn switch(&self, name: &str) -> Option<Self> {
        match self.value(name)?.get_ref().as_bool() {
            Some(is_on) => is_on.then(|| self.below(name, None)),
            None => self.given(name),
        }
    }

    /// The tables under `name`, of which there may be none, one, or a list.
    pub(super) fn sections(&self, name: &str) -> Vec<Self> {
        let Some(value) = self.value(name) else {
            return Vec::new();
        };
        let place = |element| self.place(name, element);
        let places: Vec<Place<'a>> = if let DeValue::Array(array) = value.get_ref() {
            array.iter().filter_map(place).collect()
        } else {
            place(value).into_iter().collect()
        };
        let open = |place| self.below(name, Some(place));
        places.into_iter().map(open).collect()
    }

    /// The places of `[[name]]`.
    pub(super) fn list(&self, name: &str) -> Vec<Place<'a>> {
        let Some(value) = self.value(name) else {
            return Vec::new();
        };
        if let DeValue::Array(array) = value.get_ref() {
            let place = |element| self.place(name, element);
            return array.iter().filter_map(place).collect();
        }
        if value.get_ref().is_table() {
            let message = format!("{name} is one table; write [[{name}]], with two brackets");
            self.fault(value.span().start, &message);
        }
        Vec::from_iter(self.place(name, value))
    }

    /// The places of `[name.KEY]` with their keys, in the order of the file.
    pub(super) fn named(&self, name: &str) -> Vec<(String, Place<'a>)> {
        let Some(value) = self.value(name) else {
            return Vec::new();
        };
        let Some(table) = value.get_ref().as_table() else {
            self.wrong(name, value);
            return Vec::new();
        };
        let place = |(key, value): (&'a Spanned<_>, &'a Spanned<_>)| {
            let key: &std::borrow::Cow<'a, str> = key.get_ref();
            Some((key.to_string(), self.place(name, value)?))
        };
        let mut places: Vec<_> = table.iter().filter_map(place).collect();
        places.sort_by_key(|(_, place)| place.offset);
        places
    }

    /// What is written under `name`, here or by the preset.
    pub(super) fn value(&self, name: &str) -> Option<&'a Spanned<DeValue<'a>>> {
        self.own(name)
            .or_else(|| self.preset.and_then(|preset| preset.get(name)))
    }

    /// What is written under `name` in the file.
    fn own(&self, name: &str) -> Option<&'a Spanned<DeValue<'a>>> {
        self.table.and_then(|table| table.get(name))
    }

    /// Where `name` is written, else where the section begins.
    pub(super) fn offset(&self, name: &str) -> usize {
        self.own(name)
            .map_or(self.offset, |value| value.span().start)
    }

    /// The line of `name`, else of the section.
    pub(super) fn line(&self, name: &str) -> usize {
        self.report.line(self.offset(name))
    }

    /// The names of the tables under `name`, right or wrong.
    pub(super) fn names(&self, name: &str) -> Vec<String> {
        let table = self
            .value(name)
            .and_then(|value| value.get_ref().as_table());
        let keys = table.into_iter().flat_map(|table| table.keys());
        keys.map(|key| key.get_ref().to_string()).collect()
    }

    /// Whether `name` is written, and is a list of nothing.
    pub(super) fn is_empty_list(&self, name: &str) -> bool {
        let list = self
            .value(name)
            .and_then(|value| value.get_ref().as_array());
        list.is_some_and(|list| list.is_empty())
    }

    /// Reports that something is not there.
    pub(super) fn absence(&self, message: &str) {
        self.report.absence(self.offset, self.placed(message));
    }

    /// A warning about one of its keys; `message` begins with the key's name.
    pub(super) fn remark(&self, name: &str, message: &str) -> Remark {
        self.report.remark(self.line(name), self.placed(message))
    }

    /// Reports what is wrong with one of its keys; `message` begins with the key's name.
    pub(super) fn fault(&self, offset: usize, message: &str) {
        self.report.fault(offset, self.placed(message));
    }

    /// Reports the keys that no section of this kind has, and those of later versions.
    fn check_keys(&self) {
        for (key, _) in self.table.into_iter().flatten() {
            let (name, offset) = (key.get_ref().as_ref(), key.span().start);
            match self.schema.key(name).map(|key| &key.kind) {
                Some(Kind::Later(instead)) => {
                    let message = format!("{name} is not available in this version; {instead}");
                    self.fault(offset, &message);
                }
                Some(_) => {}
                None => self.fault(offset, &self.unknown(name)),
            }
        }
    }

    fn unknown(&self, name: &str) -> String {
        let names = self.schema.names();
        let hint = if let Some(close) = closest(name, names.iter().copied()) {
            format!("; did you mean {close}?")
        } else if let Some(section) = self.schema.section_with(name) {
            format!("; it belongs in {}", section.title)
        } else if let Some(section) = keys::FILE.key(name).and_then(Key::section) {
            format!("; {} stands by itself", section.title)
        } else {
            String::new()
        };
        let names = names.join(", ");
        format!("{name:?} is no key here; allowed are {names}{hint}")
    }

    fn place(&self, name: &str, value: &'a Spanned<DeValue<'a>>) -> Option<Place<'a>> {
        let Some(table) = value.get_ref().as_table() else {
            self.wrong(name, value);
            return None;
        };
        let offset = value.span().start;
        Some(Place { table, offset })
    }

    fn below(&self, name: &str, place: Option<Place<'a>>) -> Self {
        let schema = self.key(name).section();
        let schema = schema.expect("only the names of sections are opened");
        self.open_below(name, place, schema)
    }

    fn open_below(&self, name: &str, place: Option<Place<'a>>, schema: &'static Schema) -> Self {
        let section = Self {
            table: place.map(|place| place.table),
            preset: None,
            schema,
            title: self.title.clone(),
            prefix: format!("{}{name} ", self.prefix),
            offset: place.map_or(self.offset, |place| place.offset),
            report: self.report,
        };
        section.check_keys();
        section
    }

    fn wrong(&self, name: &str, value: &Spanned<DeValue<'_>>) {
        let allowed = match self.schema.key(name) {
            Some(key) => key.allowed(),
            None => "a string".to_owned(),
        };
        let message = format!("{name} is {}; it must be {allowed}", self.written(value));
        self.fault(value.span().start, &message);
    }

    fn written(&self, value: &Spanned<DeValue<'_>>) -> String {
        if value.get_ref().is_table() {
            return "a table".to_owned();
        }
        if value.get_ref().is_array() {
            return "a list".to_owned();
        }
        self.report.written(value.span())
    }

    fn placed(&self, message: &str) -> String {
        match self.title.as_str() {
            "" => format!("{}{message}", self.prefix),
            title => format!("{title}: {}{message}", self.prefix),
        }
    }

    fn key(&self, name: &str) -> &'static Key {
        self.schema
            .key(name)
            .expect("the table of keys holds every key that is asked for")
    }
}
