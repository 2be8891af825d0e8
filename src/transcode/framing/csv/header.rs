//! What are the cells of a row called?

use std::collections::{HashMap, HashSet};

use super::{
    super::DecodeError,
    FRAMING,
    cells::{Cell, Cells},
};

/// The names of a table's columns, ready to be written, and what stands in their empty cells.
#[derive(Debug)]
pub(super) struct Header {
    columns: Vec<Column>,
    /// The names as JSON members, `"name":`, one behind the other.
    names: Vec<u8>,
    /// The defaults as JSON strings, one behind the other.
    defaults: Vec<u8>,
}

#[derive(Debug, Clone, Copy)]
struct Column {
    /// Where its name ends in `names`; it begins where the one before it ends.
    name_end: usize,
    /// Where its default ends in `defaults`.
    default_end: usize,
    /// Without a name of its own: an empty cell in it says nothing at all.
    is_nameless: bool,
}

impl Header {
    /// Takes the names from `row`, and from an annotation `#default` what stands in empty cells.
    ///
    /// A name that stands there a second time becomes `name_2`, or with the next number that no other
    /// column has: a reader of JSON sees only one of two members with one name.
    ///
    /// # Errors
    /// There are more than [`COLUMNS_MAX`] columns.
    pub(super) fn parse(row: &[u8], default_row: Option<&[u8]>) -> Result<Self, DecodeError> {
        let texts: Vec<_> = Cells::of(row)
            .take(COLUMNS_MAX + 1)
            .map(|cell| cell.text())
            .collect();
        if texts.len() > COLUMNS_MAX {
            return Err(DecodeError::BadFraming {
                framing: FRAMING.name,
                reason: "a header has more than 16384 columns",
            });
        }
        let mut header = Self {
            columns: Vec::with_capacity(texts.len()),
            names: Vec::new(),
            defaults: Vec::new(),
        };
        let mut defaults = default_row.into_iter().flat_map(Cells::of).skip(1);
        for (index, name) in unique(&texts).iter().enumerate() {
            Cell::plain(name).write(&mut header.names);
            header.names.push(b':');
            // The first column of an annotated table is the annotations' own.
            let default = if index == 0 { None } else { defaults.next() };
            default.unwrap_or_default().write(&mut header.defaults);
            header.columns.push(Column {
                name_end: header.names.len(),
                default_end: header.defaults.len(),
                is_nameless: texts[index].is_empty(),
            });
        }
        Ok(header)
    }

    /// Appends `row` as a JSON object of strings, in the order of the columns.
    ///
    /// Cells that the row lacks are left out, and so are empty ones without a name.
    ///
    /// # Errors
    /// The row has a cell, not empty, for which there is no column.
    pub(super) fn object(&self, row: &[u8], json: &mut Vec<u8>) -> Result<(), DecodeError> {
        let (mut name_start, mut default_start) = (0, 0);
        let mut cells = Cells::of(row);
        let start = json.len();
        // The columns first: a cell that is taken off for none would be lost.
        for (column, cell) in self.columns.iter().zip(cells.by_ref()) {
            let name = &self.names[name_start..column.name_end];
            let default = &self.defaults[default_start..column.default_end];
            (name_start, default_start) = (column.name_end, column.default_end);
            if column.is_nameless && cell.is_empty() {
                continue;
            }
            json.push(if json.len() == start { b'{' } else { b',' });
            json.extend_from_slice(name);
            if cell.is_empty() {
                json.extend_from_slice(default);
            } else {
                cell.write(json);
            }
        }
        json.extend_from_slice(if json.len() == start { b"{}" } else { b"}" });
        if cells.all(|cell| cell.is_empty()) {
            return Ok(());
        }
        Err(DecodeError::BadFraming {
            framing: FRAMING.name,
            reason: "a row has more cells than the header has names",
        })
    }
}

/// The names, each different from all others.
fn unique(names: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let given: HashSet<&[u8]> = names.iter().map(Vec::as_slice).collect();
    let mut counts: HashMap<&[u8], usize> = HashMap::new();
    let mut all = Vec::with_capacity(names.len());
    for name in names {
        let count = counts.entry(name).or_default();
        let mut unique = name.clone();
        *count += 1;
        // No two names come to the same one: what stands before its last `_` is where it came from.
        while *count > 1 {
            unique = [name, format!("_{count}").as_bytes()].concat();
            if !given.contains(&unique[..]) {
                break;
            }
            *count += 1;
        }
        all.push(unique);
    }
    all
}

/// How many columns a table may have: each costs memory beyond its byte or more in the header.
const COLUMNS_MAX: usize = 16_384;

#[cfg(test)]
mod tests {
    use super::{COLUMNS_MAX, Header, unique};

    fn check(header: &str, default: Option<&str>, row: &str, json: Option<&str>) {
        let header = Header::parse(header.as_bytes(), default.map(str::as_bytes)).unwrap();
        let mut written = Vec::new();
        let outcome = header.object(row.as_bytes(), &mut written);
        assert_eq!(outcome.is_ok(), json.is_some(), "{row}");
        if let Some(json) = json {
            assert_eq!(String::from_utf8(written).unwrap(), json);
        }
    }

    #[test]
    fn rows_become_objects() {
        check("a,b", None, "1,2", Some(r#"{"a":"1","b":"2"}"#));
        check("a,b", None, "1,", Some(r#"{"a":"1","b":""}"#));
        check("a,b", None, "1", Some(r#"{"a":"1"}"#));
        check("a,b", None, "1,2,", Some(r#"{"a":"1","b":"2"}"#));
        check("a,b", None, "1,2,,3", None);
        check("a,b,", None, "1,2,", Some(r#"{"a":"1","b":"2"}"#));
        check(",a", None, "0,1", Some(r#"{"":"0","a":"1"}"#));
        check(",a", None, ",1", Some(r#"{"a":"1"}"#));
        check(",", None, ",", Some("{}"));
        check("\"a\"\"\n\"", None, "1", Some(r#"{"a\"\n":"1"}"#));
    }

    #[test]
    fn empty_cells_get_their_defaults() {
        let default = Some("#default,_result,,\"a\"\"b\"");
        check(
            ",result,table,x",
            default,
            ",,0,",
            Some(r#"{"result":"_result","table":"0","x":"a\"b"}"#),
        );
        check("x,y", Some("#default"), ",", Some(r#"{"x":"","y":""}"#));
    }

    #[test]
    fn names_become_unique() {
        for (names, expected) in [
            ("a b", "a b"),
            ("a a a", "a a_2 a_3"),
            ("a a_2 a", "a a_2 a_3"),
            ("a a a_2 a_3 a", "a a_4 a_2 a_3 a_5"),
            ("a_2 a_2 a a", "a_2 a_2_2 a a_3"),
        ] {
            let names: Vec<_> = names
                .split(' ')
                .map(|name| name.as_bytes().to_vec())
                .collect();
            let expected: Vec<_> = expected.split(' ').map(str::as_bytes).collect();
            assert_eq!(unique(&names), expected);
        }
    }

    #[test]
    fn columns_have_a_bound() {
        let commas = vec![b','; COLUMNS_MAX];
        assert!(Header::parse(&commas, None).is_err());
        let header = Header::parse(&commas[1..], None).unwrap();
        assert!(header.names.len() < COLUMNS_MAX * 16);
    }
}
