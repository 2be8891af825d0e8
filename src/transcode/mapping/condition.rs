//! When does the configuration mean this record?

use crate::transcode::{
    framing::Record,
    json::{self, Pointer},
};

/// One test of a record.
#[derive(Debug, Clone, PartialEq)]
pub struct Condition {
    /// What is looked at.
    pub subject: Subject,
    /// What it must be.
    pub test: Test,
}

/// What of a record is looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    /// The record's bytes, without white space around.
    Text,
    /// The event's name in the record's own framing.
    Name,
    /// What lies at this place of the record's JSON.
    At(Pointer),
}

/// What a subject must be.
#[derive(Debug, Clone, PartialEq)]
pub enum Test {
    /// There and not null, or else not.
    Exists(bool),
    /// This string, in any of its spellings.
    Text(String),
    /// This number.
    Number(f64),
    /// True, or false.
    Bool(bool),
    /// `{}`, or `[]`.
    Empty(Brackets),
}

/// What stands around nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Brackets {
    /// Of an object.
    Object,
    /// Of an array.
    Array,
}

impl Condition {
    /// Whether the record is meant.
    #[must_use]
    pub fn holds(&self, record: &Record<'_>) -> bool {
        match &self.subject {
            Subject::Text => self.test.holds_text(record.data.map(<[u8]>::trim_ascii)),
            Subject::Name => self.test.holds_text(record.name),
            Subject::At(pointer) => {
                let found = record.data.and_then(|data| json::at(data, pointer));
                self.test.holds_json(found)
            }
        }
    }

    /// Whether it looks into the record's JSON.
    #[must_use]
    pub fn needs_json(&self) -> bool {
        matches!(self.subject, Subject::At(_))
    }
}

impl Test {
    fn holds_text(&self, text: Option<&[u8]>) -> bool {
        match self {
            Self::Exists(exists) => text.is_some() == *exists,
            Self::Text(wanted) => text == Some(wanted.as_bytes()),
            Self::Number(_) | Self::Bool(_) | Self::Empty(_) => self.holds_json(text),
        }
    }

    fn holds_json(&self, raw: Option<&[u8]>) -> bool {
        let found = raw.filter(|raw| *raw != b"null");
        match self {
            Self::Exists(exists) => found.is_some() == *exists,
            Self::Text(wanted) => {
                let text = found.and_then(json::unescape);
                text.is_some_and(|text| *text == *wanted.as_bytes())
            }
            Self::Number(wanted) => found.and_then(number) == Some(*wanted),
            Self::Bool(true) => found == Some(b"true"),
            Self::Bool(false) => found == Some(b"false"),
            Self::Empty(brackets) => found.is_some_and(|raw| brackets.are_around_nothing(raw)),
        }
    }
}

impl Brackets {
    fn are_around_nothing(self, raw: &[u8]) -> bool {
        let (open, close) = match self {
            Self::Object => (b"{", b"}"),
            Self::Array => (b"[", b"]"),
        };
        let inside = raw
            .strip_prefix(open)
            .and_then(|rest| rest.strip_suffix(close));
        inside.is_some_and(|inside| inside.trim_ascii().is_empty())
    }
}

fn number(raw: &[u8]) -> Option<f64> {
    std::str::from_utf8(raw).ok()?.parse().ok()
}

/// Whether any of the conditions holds.
pub(super) fn any(conditions: &[Condition], record: &Record<'_>) -> bool {
    conditions.iter().any(|condition| condition.holds(record))
}

#[cfg(test)]
mod tests {
    use super::{Brackets, Condition, Pointer, Record, Subject, Test};

    const RECORD: &[u8] =
        br#" {"done":true,"n":1.50,"no":null,"t":"a\u0062","o":{ },"l":[],"f":[0]}
"#;

    fn at(pointer: &str, test: Test) -> bool {
        let condition = Condition {
            subject: Subject::At(Pointer::parse(pointer).unwrap()),
            test,
        };
        condition.holds(&Record {
            data: Some(RECORD),
            ..Record::default()
        })
    }

    #[test]
    fn values_are_compared_by_what_they_mean() {
        for (pointer, test, holds) in [
            ("/done", Test::Bool(true), true),
            ("/done", Test::Bool(false), false),
            ("/done", Test::Text("true".into()), false),
            ("/n", Test::Number(1.5), true),
            ("/n", Test::Number(1.0), false),
            ("/t", Test::Text("ab".into()), true),
            ("/t", Test::Text("a".into()), false),
            ("/t", Test::Exists(true), true),
            ("/no", Test::Exists(true), false),
            ("/no", Test::Exists(false), true),
            ("/missing", Test::Exists(false), true),
            ("/missing", Test::Text(String::new()), false),
            ("/o", Test::Empty(Brackets::Object), true),
            ("/o", Test::Empty(Brackets::Array), false),
            ("/l", Test::Empty(Brackets::Array), true),
            ("/f", Test::Empty(Brackets::Array), false),
            ("", Test::Empty(Brackets::Object), false),
        ] {
            assert_eq!(at(pointer, test.clone()), holds, "{pointer} {test:?}");
        }
    }

    #[test]
    fn texts_and_names_need_no_json() {
        let record = Record {
            data: Some(b"[DONE] "),
            name: Some(b"stop"),
            ..Record::default()
        };
        for (subject, test, holds) in [
            (Subject::Text, Test::Text("[DONE]".into()), true),
            (Subject::Text, Test::Text("DONE".into()), false),
            (Subject::Name, Test::Text("stop".into()), true),
            (Subject::Name, Test::Exists(false), false),
        ] {
            let condition = Condition { subject, test };
            assert_eq!(condition.holds(&record), holds, "{condition:?}");
        }
        let empty = Condition {
            subject: Subject::Text,
            test: Test::Empty(Brackets::Object),
        };
        let heartbeat = Record {
            data: Some(b"{ }\r"),
            ..Record::default()
        };
        assert!(empty.holds(&heartbeat) && !empty.holds(&record));
    }
}
