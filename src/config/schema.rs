//! What can be said of a key: its kind, its default, and what its value must be?

/// The keys that one section may hold.
#[derive(Debug)]
pub(crate) struct Schema {
    /// How the section is written, such as `[route.heartbeat]`.
    pub(crate) title: &'static str,
    /// Its keys, in the order of the documentation.
    pub(crate) keys: &'static [Key],
}

/// One key: all that its reader, its messages and the example file know of it.
#[derive(Debug)]
pub(crate) struct Key {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    pub(crate) presence: Presence,
    /// Whether its value, or each under it, is told to nobody.
    pub(crate) is_secret: bool,
}

/// What the value of a key must be.
#[derive(Debug)]
pub(crate) enum Kind {
    /// A string such as `"15s"`, within these bounds.
    Duration {
        from: &'static str,
        to: &'static str,
        is_off_allowed: bool,
    },
    /// A string such as `"64KiB"`, within these bounds.
    Bytes {
        from: &'static str,
        to: &'static str,
    },
    /// An integer within these bounds.
    Count { from: usize, to: usize },
    /// One of `now`; those of `later` are refused as not available yet.
    Choice {
        now: &'static [&'static str],
        later: &'static [&'static str],
    },
    /// A string; the text says which, after "it must be".
    Text(&'static str),
    /// A value of several types; the text says which, after "it must be".
    Value(&'static str),
    /// A list of strings; the text says of what, after "it must be".
    List(&'static str),
    /// A list of strings, or of tables with keys of their own; the text says of what, after "it must be".
    Elements {
        allowed: &'static str,
        schema: &'static Schema,
    },
    /// A table of strings under any names; the text says of what, after "it must be".
    Entries(&'static str),
    /// A table with keys of its own.
    Section(&'static Schema),
    /// Such a table, or `true` for the table of defaults.
    Switch(&'static Schema),
    /// Such a table, or a list of them.
    Sections(&'static Schema),
    /// Such tables by name: `[upstream.NAME]`.
    Named(&'static Schema),
    /// Known, and refused because this version cannot do it; the text says what to do instead.
    Later(&'static str),
}

/// What holds where a key is not written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Presence {
    /// A fault.
    Required,
    /// Nothing.
    Optional,
    /// This value, as TOML.
    Default(&'static str),
}

impl Schema {
    /// The key of that name.
    pub(crate) fn key(&self, name: &str) -> Option<&'static Key> {
        self.keys.iter().find(|key| key.name == name)
    }

    /// The names of the keys that this version takes.
    pub(crate) fn names(&self) -> Vec<&'static str> {
        let is_taken = |key: &&Key| !matches!(key.kind, Kind::Later(_));
        self.keys
            .iter()
            .filter(is_taken)
            .map(|key| key.name)
            .collect()
    }

    /// The section below this one that has a key of that name.
    pub(crate) fn section_with(&self, name: &str) -> Option<&'static Schema> {
        let below = |key: &Key| key.section().filter(|schema| schema.key(name).is_some());
        self.keys.iter().find_map(below)
    }
}

impl Key {
    /// The keys of the tables that stand under this one.
    pub(crate) fn section(&self) -> Option<&'static Schema> {
        if let Kind::Section(schema)
        | Kind::Switch(schema)
        | Kind::Sections(schema)
        | Kind::Elements { schema, .. }
        | Kind::Named(schema) = self.kind
        {
            return Some(schema);
        }
        None
    }

    /// What the value must be, as the end of a sentence that begins with "it must be".
    pub(crate) fn allowed(&self) -> String {
        match self.kind {
            Kind::Duration {
                from,
                to,
                is_off_allowed,
            } => {
                let off = if is_off_allowed { ", or \"off\"" } else { "" };
                format!("from {from} to {to}{off}")
            }
            Kind::Bytes { from, to } => format!("from {from} to {to}"),
            Kind::Count { from, to } => format!("from {from} to {to}"),
            Kind::Choice { now, .. } => any_of(now),
            Kind::Text(text) | Kind::Value(text) | Kind::List(text) | Kind::Entries(text) => {
                text.to_owned()
            }
            Kind::Elements { allowed, .. } => allowed.to_owned(),
            Kind::Section(_) => "a table".to_owned(),
            Kind::Switch(_) => "true, false or a table".to_owned(),
            Kind::Sections(schema) if !schema.title.starts_with("[[") => {
                "a table or a list of tables".to_owned()
            }
            Kind::Sections(schema) | Kind::Named(schema) => {
                format!("written as {}", schema.title)
            }
            Kind::Later(_) => "left out".to_owned(),
        }
    }

    /// What is written there, as messages show it.
    pub(crate) fn shown(&self, written: impl FnOnce() -> String) -> String {
        if self.is_secret {
            return "not shown here".to_owned();
        }
        written()
    }

    pub(super) const fn required(mut self) -> Self {
        self.presence = Presence::Required;
        self
    }

    pub(super) const fn or(mut self, default: &'static str) -> Self {
        self.presence = Presence::Default(default);
        self
    }

    pub(super) const fn secret(mut self) -> Self {
        self.is_secret = true;
        self
    }

    pub(super) const fn or_off(mut self) -> Self {
        if let Kind::Duration { from, to, .. } = self.kind {
            self.kind = Kind::Duration {
                from,
                to,
                is_off_allowed: true,
            };
        }
        self
    }
}

/// A key of this kind that need not be written.
pub(super) const fn key(name: &'static str, kind: Kind) -> Key {
    Key {
        name,
        kind,
        presence: Presence::Optional,
        is_secret: false,
    }
}

/// A key for a duration from `from` to `to`.
pub(super) const fn duration(name: &'static str, from: &'static str, to: &'static str) -> Key {
    let kind = Kind::Duration {
        from,
        to,
        is_off_allowed: false,
    };
    key(name, kind)
}

/// A key for a size from `from` to `to`.
pub(super) const fn bytes(name: &'static str, from: &'static str, to: &'static str) -> Key {
    key(name, Kind::Bytes { from, to })
}

/// A key of the contract that this version cannot serve yet.
pub(super) const fn later(name: &'static str, instead: &'static str) -> Key {
    key(name, Kind::Later(instead))
}

/// Joins the names, quoted, as a choice: `"a", "b" or "c"`.
pub(crate) fn any_of(names: &[&str]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("{name:?}")).collect();
    match quoted.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, rest)) => format!("{} or {last}", rest.join(", ")),
        None => "nothing".to_owned(),
    }
}

/// The name closest to `written`, if it is close enough to be what was meant.
pub(crate) fn closest<'a>(
    written: &str,
    names: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let chars = written.chars().count();
    // A third of the letters may be wrong, but never all of them.
    let limit = chars.div_ceil(3).min(chars.saturating_sub(1));
    names
        .into_iter()
        .map(|name| (strsim::osa_distance(written, name), name))
        .filter(|(distance, _)| *distance <= limit)
        .min()
        .map(|(_, name)| name)
}
