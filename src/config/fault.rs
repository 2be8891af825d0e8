//! What is wrong or doubtful in a file, and where?

use std::{cell::RefCell, error::Error, fmt};

/// One thing that a file says wrongly, or that it had better say otherwise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remark {
    /// The file, as it was named to us.
    pub file: String,
    /// The line, counted from 1; `None` where the file could not be read at all.
    pub line: Option<usize>,
    /// The section, the key, its value, and what is allowed.
    pub message: String,
}

impl Remark {
    /// Its line as a warning: `proxy.toml:12: warning: …`.
    #[must_use]
    pub fn as_warning(&self) -> Self {
        Self {
            message: format!("warning: {}", self.message),
            ..self.clone()
        }
    }
}

impl fmt::Display for Remark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "{}:{line}: {}", self.file, self.message),
            None => write!(f, "{}: {}", self.file, self.message),
        }
    }
}

/// All the faults of one file, in the order of its lines. Never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Faults(pub Vec<Remark>);

impl fmt::Display for Faults {
    /// Writes one line for each fault, without a line break at the end.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, fault) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { "\n" };
            write!(f, "{separator}{fault}")?;
        }
        Ok(())
    }
}

impl Error for Faults {}

/// Gathers the faults of one file while it is read.
pub(super) struct Report<'a> {
    text: &'a str,
    file: String,
    faults: RefCell<Vec<Found>>,
}

/// A fault, and how far it can be believed.
struct Found {
    offset: usize,
    line: usize,
    message: String,
    sort: Sort,
}

/// What a fault says of the rest of the file.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sort {
    /// The text is no TOML, so what follows may be understood wrongly.
    Structure,
    /// One value is no TOML; the rest stands.
    Scalar,
    /// A value that must not be.
    Value,
    /// Something that should be there is not; perhaps a syntax fault hides it.
    Absence,
}

impl<'a> Report<'a> {
    pub(super) fn new(text: &'a str, file: String) -> Self {
        Self {
            text,
            file,
            faults: RefCell::default(),
        }
    }

    /// The line of the byte at `offset`, counted from 1.
    pub(super) fn line(&self, offset: usize) -> usize {
        let before = self.text.bytes().take(offset);
        1 + before.filter(|byte| *byte == b'\n').count()
    }

    /// What is written at this place, cut to one short line.
    pub(super) fn written(&self, span: std::ops::Range<usize>) -> String {
        let text = self.text.get(span).unwrap_or_default();
        let line = text.lines().next().unwrap_or_default();
        shortened(line, line.len() < text.len())
    }

    pub(super) fn fault(&self, offset: usize, message: String) {
        self.add(offset, message, Sort::Value);
    }

    pub(super) fn absence(&self, offset: usize, message: String) {
        self.add(offset, message, Sort::Absence);
    }

    /// Takes over what the TOML parser found.
    pub(super) fn syntax(&self, error: &toml::de::Error) {
        let span = error.span().unwrap_or_default();
        let message = error.message();
        let unquoted = ["string values must be quoted", "invalid boolean"];
        if unquoted.iter().any(|start| message.starts_with(start)) {
            let written = self.written(span.clone());
            let message = format!("{written} must stand in quotes: \"{written}\"");
            self.add(span.start, message, Sort::Scalar);
        } else if message == "duplicate key" {
            let written = self.written(span.clone());
            let message = format!("{written} is written twice; take one of them out");
            self.add(span.start, message, Sort::Scalar);
        } else if message.starts_with("invalid") {
            let message = match self.unquoted(span.start) {
                Some(written) => format!("{written} is no value; a string must stand in quotes"),
                None => message.to_owned(),
            };
            self.add(span.start, message, Sort::Scalar);
        } else {
            self.add(span.start, message.to_owned(), Sort::Structure);
        }
    }

    /// Whether anything was found.
    pub(super) fn is_clean(&self) -> bool {
        self.faults.borrow().is_empty()
    }

    pub(super) fn remark(&self, line: usize, message: String) -> Remark {
        Remark {
            file: self.file.clone(),
            line: Some(line),
            message,
        }
    }

    /// All faults in the order of lines, without those that only a syntax fault may have caused:
    /// what is missing, what stands on its line, and what follows a broken structure.
    pub(super) fn into_faults(self) -> Faults {
        let mut found = self.faults.take();
        found.sort_by_key(|fault| fault.offset);
        let is_syntax = |fault: &Found| matches!(fault.sort, Sort::Structure | Sort::Scalar);
        let mut syntax: Vec<usize> = Vec::new();
        let mut structure_end = usize::MAX;
        for fault in found.iter().filter(|fault| is_syntax(fault)) {
            syntax.push(fault.line);
            if fault.sort == Sort::Structure {
                structure_end = structure_end.min(fault.line);
            }
        }
        let mut syntax_line_last = 0;
        found.retain(|fault| match fault.sort {
            // One broken line is one fault, however often the parser stumbles over it.
            Sort::Structure | Sort::Scalar => {
                std::mem::replace(&mut syntax_line_last, fault.line) != fault.line
            }
            Sort::Value => fault.line < structure_end && !syntax.contains(&fault.line),
            Sort::Absence => syntax.is_empty(),
        });
        let remarks = found
            .into_iter()
            .map(|fault| Remark {
                file: self.file.clone(),
                line: Some(fault.line),
                message: fault.message,
            })
            .collect();
        Faults(remarks)
    }

    /// The value of the line at `offset`, if it begins like none that TOML knows but a number.
    fn unquoted(&self, offset: usize) -> Option<String> {
        let line = self.text.lines().nth(self.line(offset) - 1)?;
        let (_, value) = line.split_once('=')?;
        let value = value.split('#').next().unwrap_or_default().trim();
        let is_bare = value.starts_with(|first: char| first.is_alphanumeric());
        is_bare.then(|| shortened(value, false))
    }

    fn add(&self, offset: usize, message: String, sort: Sort) {
        let line = self.line(offset);
        self.faults.borrow_mut().push(Found {
            offset,
            line,
            message,
            sort,
        });
    }
}

/// The first characters of `text`, with dots where more follows.
fn shortened(text: &str, is_more: bool) -> String {
    let mut short: String = text.chars().take(WRITTEN_CHARS_MAX).collect();
    if is_more || short.len() < text.len() {
        short.push('…');
    }
    short
}

/// How much of a wrong value a message repeats, in characters.
const WRITTEN_CHARS_MAX: usize = 80;
