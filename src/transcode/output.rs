//! How is an event written?

/// A field value of an event stream: holds no CR, LF or NUL (invariant 6).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldValue(String);
