//! Where does a JSON body end?

use crate::transcode::json::{self, ValueEnd};

/// Finds the last bracket of a body that is an object or an array.
#[derive(Debug)]
pub(super) struct JsonEnd {
    place: Place,
    value: ValueEnd,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Before the value.
    Before,
    Inside,
    /// In something else: only what follows tells where it ends.
    Elsewhere,
}

impl JsonEnd {
    pub(super) fn new() -> Self {
        Self {
            place: Place::Before,
            value: ValueEnd::new(),
        }
    }

    /// Finds the end in the next bytes of the body: where in `input` stands what comes behind it.
    pub(super) fn find(&mut self, input: &[u8]) -> Option<usize> {
        let mut rest = input;
        if self.place == Place::Before {
            rest = json::trim_start(input);
            let first = rest.first()?;
            let is_container = matches!(first, b'{' | b'[') && self.value.begin(*first).is_ok();
            self.place = if is_container {
                Place::Inside
            } else {
                Place::Elsewhere
            };
        }
        if self.place == Place::Elsewhere {
            return None;
        }
        let Ok(end) = self.value.find(rest) else {
            self.place = Place::Elsewhere;
            return None;
        };
        Some(input.len() - rest.len() + end?)
    }
}

#[cfg(test)]
mod tests {
    use super::JsonEnd;

    #[test]
    fn the_end_is_the_last_bracket() {
        for (text, behind) in [
            ("{}", ""),
            (" \r\n\t[]\n", "\n"),
            ("{}{}", "{}"),
            ("{\"a\":[1,{\"b\":null}]},", ","),
            ("[\"]\"]x", "x"),
            (r#"["\\"]x"#, "x"),
            (r#"["\"]"]x"#, "x"),
            (r#"["\\\"]"]x"#, "x"),
        ] {
            for cut in 0..text.len() - behind.len() {
                let mut end = JsonEnd::new();
                assert_eq!(end.find(&text.as_bytes()[..cut]), None, "{text}");
                let rest = &text.as_bytes()[cut..];
                assert_eq!(end.find(rest), Some(rest.len() - behind.len()), "{text}");
            }
        }
        for text in [
            "", "12", "\"a\" {}", "null[]", "[", "[[]", "{\"}", "}{}", "[}]", "{]}",
        ] {
            for cut in 0..text.len() {
                let mut end = JsonEnd::new();
                assert_eq!(end.find(&text.as_bytes()[..cut]), None, "{text}");
                assert_eq!(end.find(&text.as_bytes()[cut..]), None, "{text}");
            }
        }
    }
}
