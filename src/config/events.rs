//! How do the tables `[route.event]` and `[route.end]` become settings?

use std::sync::Arc;

use toml::de::{DeInteger, DeValue};

use super::{keys, section::Section};
use crate::transcode::{
    json::Pointer,
    mapping::{
        BadRecord, InvalidUtf8, Settings,
        condition::{Brackets, Condition, Subject, Test},
        end::{self, EndEvent},
        field::{Data, Field, Retry},
    },
    output::FieldValue,
};

/// Reads what a route's section says of events.
pub(super) fn read(route: &Section<'_>) -> Settings {
    let section = route.section("event");
    let text_or_place = |name| text_or_place(&section, name);
    let data = match section.value("data").map(|value| value.get_ref().as_str()) {
        Some(Some(text)) => Some(Data::Fixed(text.into())),
        Some(None) => place(&section, "data").map(Data::At),
        None => None,
    };
    Settings {
        name: text_or_place("name"),
        id: text_or_place("id"),
        data,
        retry: retry(&section),
        explode: section.text("explode", pointer),
        unwrap: section.text("unwrap", pointer),
        skip: conditions(&section, "skip"),
        only_id: conditions(&section, "only_id"),
        on_bad_record: match section.choice("on_bad_record") {
            "skip" => BadRecord::Skip,
            "error" => BadRecord::Error,
            _ => BadRecord::Pass,
        },
        invalid_utf8: match route.choice("invalid_utf8") {
            "base64" => InvalidUtf8::Base64,
            "error" => InvalidUtf8::Error,
            _ => InvalidUtf8::Replace,
        },
        end: end(&route.section("end")),
    }
}

fn end(section: &Section<'_>) -> end::Settings {
    let event = section.section("event");
    let name = event.text("name", field_value);
    let data: Option<Arc<str>> = event.text("data", |text| Ok(text.into()));
    let is_written = section.value("event").is_some();
    end::Settings {
        when: conditions(section, "when"),
        error: conditions(section, "error"),
        event: data
            .filter(|_| is_written)
            .map(|data| EndEvent { name, data }),
    }
}

fn text_or_place(section: &Section<'_>, name: &str) -> Option<Field> {
    let value = section.value(name)?;
    if value.get_ref().is_str() {
        return section.text(name, field_value).map(Field::Fixed);
    }
    place(section, name).map(Field::At)
}

fn retry(section: &Section<'_>) -> Option<Retry> {
    let value = section.value("retry")?;
    if value.get_ref().is_table() {
        return place(section, "retry").map(Retry::At);
    }
    section.duration_or_off("retry").map(Retry::Fixed)
}

/// The pointer of the table `{ at = "…" }` under `name`.
fn place(section: &Section<'_>, name: &str) -> Option<Pointer> {
    section.table(name, &keys::PLACE)?.text("at", pointer)
}

/// The conditions under `name`: one, or a list of which one is enough.
fn conditions(section: &Section<'_>, name: &str) -> Vec<Condition> {
    let sections = section.sections(name);
    sections.iter().map(condition).collect()
}

fn condition(section: &Section<'_>) -> Condition {
    let at = section.text("at", pointer);
    let named = section.text("name", |text| Ok(text.to_owned()));
    let equals = section.parsed("equals", equals);
    let exists = section.parsed("exists", |value| value.as_bool().map(Test::Exists));
    let has = |name| section.value(name).is_some();
    if has("name") && (has("at") || has("equals") || has("exists")) {
        section.fault(
            section.offset("name"),
            "name stands with other keys; write it alone",
        );
    } else if has("equals") && has("exists") {
        section.fault(
            section.offset("exists"),
            "exists stands beside equals; write one of them",
        );
    } else if !has("name") && !has("at") && !has("equals") {
        section.absence("nothing is asked; write at, equals or name");
    }
    if let Some(name) = named {
        let (subject, test) = (Subject::Name, Test::Text(name));
        return Condition { subject, test };
    }
    Condition {
        subject: at.map_or(Subject::Text, Subject::At),
        test: equals.or(exists).unwrap_or(Test::Exists(true)),
    }
}

fn equals(value: &DeValue<'_>) -> Option<Test> {
    match value {
        DeValue::String(text) => Some(Test::Text(text.to_string())),
        DeValue::Integer(integer) => Some(Test::Number(decimal(integer)?)),
        DeValue::Float(float) => Some(Test::Number(float.as_str().parse().ok()?)),
        DeValue::Boolean(is_true) => Some(Test::Bool(*is_true)),
        DeValue::Table(table) if table.is_empty() => Some(Test::Empty(Brackets::Object)),
        DeValue::Array(array) if array.is_empty() => Some(Test::Empty(Brackets::Array)),
        DeValue::Table(_) | DeValue::Array(_) | DeValue::Datetime(_) => None,
    }
}

fn decimal(integer: &DeInteger<'_>) -> Option<f64> {
    #[expect(
        clippy::cast_precision_loss,
        reason = "a JSON number is compared as one"
    )]
    let number = i64::from_str_radix(integer.as_str(), integer.radix()).ok()? as f64;
    Some(number)
}

fn pointer(text: &str) -> Result<Pointer, String> {
    Pointer::parse(text).map_err(|error| error.to_string())
}

fn field_value(text: &str) -> Result<FieldValue, String> {
    match FieldValue::new(text) {
        Ok(_) if text.is_empty() => Err("leave it out for events without one".to_owned()),
        Ok(value) => Ok(value),
        Err(_) => Err("it must hold no line break and no NUL".to_owned()),
    }
}
