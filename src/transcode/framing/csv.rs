//! How are rows of comma-separated values cut, and what do they say to a client (RFC 4180, RFC 7111)?

mod cells;
mod ends;
mod header;
#[cfg(test)]
mod tests;

use self::{cells::Cells, ends::Ends, header::Header};
use super::{
    DecodeError, Decoder, EndOfInput, Framing, Opening, Record, bom::Bom, content_type,
    cutter::Cutter,
};

/// One record a row: a JSON object of strings, whose names the first row gives; or, where the content
/// type says `header=absent`, a JSON array of strings.
///
/// LF, CR LF and a lone CR end a row, unless in quotes. Empty lines are dropped. A row that lacks cells
/// becomes an object that lacks members; one with cells beyond the header's, if not empty, is a fault.
/// Names that stand in the header twice get numbers (`name_2`).
///
/// The annotated tables of `InfluxDB` are known by rows that begin with `#datatype`, `#group` or `#default`
/// where a header is expected. Those rows are no records; `#default` gives what stands in empty cells.
/// Once one was seen, an empty line ends a table, and the next begins with its own annotations and
/// header. Any other `#` is a cell's.
pub const FRAMING: Framing = Framing {
    name: "csv",
    content_types: &["text/csv", "application/csv"],
    is_for_its_own_clients: true,
    is_text: true,
    decoder: |opening| Box::new(Csv::new(opening)),
    sample_content_type: "text/csv; charset=utf-8; header=present",
    sample: b"\xEF\xBB\xBFid,\"the \"\"text\"\"\",id\r\n1,\"a, b\",x\r\n\n2,\"\xC3\xBC\r\n\"\"c\"\"\",\r\
        3,,\"\"\r\n4\n5,last,5",
    sample_records: &[
        br#"{"id":"1","the \"text\"":"a, b","id_2":"x"}"#,
        b"{\"id\":\"2\",\"the \\\"text\\\"\":\"\xC3\xBC\\r\\n\\\"c\\\"\",\"id_2\":\"\"}",
        br#"{"id":"3","the \"text\"":"","id_2":""}"#,
        br#"{"id":"4"}"#,
        br#"{"id":"5","the \"text\"":"last","id_2":"5"}"#,
    ],
};

/// Cuts rows whole, then reads their cells: the limit is the row's as it came. As JSON it is longer, by
/// the names and by what has to be escaped, at most sixfold.
#[derive(Debug)]
struct Csv {
    bom: Bom,
    cutter: Cutter,
    ends: Ends,
    /// Whether the last byte was a CR, which ended its row at once: an LF after it belongs to it.
    is_after_cr: bool,
    table: Table,
    /// The record that is lent.
    json: Vec<u8>,
}

/// What the next row is.
#[derive(Debug)]
enum Table {
    /// Without a header: every row is an array.
    Nameless,
    /// Before a header.
    Before {
        is_annotated: bool,
        /// An annotation of it: what stands in empty cells.
        default_row: Option<Vec<u8>>,
    },
    /// Behind a header.
    Behind { is_annotated: bool, header: Header },
}

impl Csv {
    fn new(opening: &Opening<'_>) -> Self {
        let header = content_type::parameter(opening.content_type, "header");
        let is_nameless = header.is_some_and(|header| header.eq_ignore_ascii_case("absent"));
        Self {
            bom: Bom::default(),
            cutter: Cutter::new(opening.record_bytes_max),
            ends: Ends::default(),
            is_after_cr: false,
            table: if is_nameless {
                Table::Nameless
            } else {
                Table::before(false)
            },
            json: Vec::new(),
        }
    }
}

impl Decoder for Csv {
    fn next<'a>(&'a mut self, input: &mut &'a [u8]) -> Result<Option<Record<'a>>, DecodeError> {
        self.json.clear();
        if !self.bom.is_past() {
            let unmatched = self.bom.strip(input);
            self.ends.find(unmatched);
            self.cutter.prepend(unmatched);
        }
        loop {
            if self.is_after_cr && !input.is_empty() {
                self.is_after_cr = false;
                *input = input.strip_prefix(b"\n").unwrap_or(input);
            }
            let end = self.ends.find(input);
            let is_cr = end.is_some_and(|end| input[end] == b'\r');
            let Some(row) = self.cutter.cut(input, end)? else {
                // With its capacity: an idle stream holds nothing but its header.
                self.json = Vec::new();
                return Ok(None);
            };
            self.is_after_cr = is_cr;
            if self.table.take(self.cutter.bytes(row), &mut self.json)? {
                return Ok(Some(record(&self.json)));
            }
        }
    }

    /// The last row needs no line end (RFC 4180 §2), but after a cut it may have gone on.
    fn finish(&mut self, end: EndOfInput) -> Result<Option<Record<'_>>, DecodeError> {
        self.json.clear();
        if !self.bom.is_past() {
            self.cutter.prepend(self.bom.unmatched());
        }
        let row = self.cutter.incomplete();
        if row.is_empty() {
            return Ok(None);
        }
        if end == EndOfInput::Unverified || !self.ends.is_closed() {
            return Err(DecodeError::Truncated {
                framing: FRAMING.name,
                carried_bytes: row.len(),
            });
        }
        let is_record = self.table.take(row, &mut self.json)?;
        Ok(is_record.then_some(record(&self.json)))
    }

    fn carried_bytes(&self) -> usize {
        self.bom.held_bytes() + self.cutter.carried_bytes()
    }
}

impl Table {
    fn before(is_annotated: bool) -> Self {
        Self::Before {
            is_annotated,
            default_row: None,
        }
    }

    /// Takes in one row. Returns whether it is a record, which then is appended to `json`.
    fn take(&mut self, row: &[u8], json: &mut Vec<u8>) -> Result<bool, DecodeError> {
        match self {
            Self::Behind {
                is_annotated: true, ..
            } if row.is_empty() => *self = Self::before(true),
            _ if row.is_empty() => {}
            Self::Nameless => {
                array(row, json);
                return Ok(true);
            }
            Self::Behind { header, .. } => {
                header.object(row, json)?;
                return Ok(true);
            }
            Self::Before {
                is_annotated,
                default_row,
            } => {
                if let Some(annotation) = annotation(row) {
                    *is_annotated = true;
                    if annotation == b"#default" {
                        *default_row = Some(row.to_vec());
                    }
                } else {
                    *self = Self::Behind {
                        is_annotated: *is_annotated,
                        header: Header::parse(row, default_row.as_deref())?,
                    };
                }
            }
        }
        Ok(false)
    }
}

/// The name of the annotation that `row` is.
fn annotation(row: &[u8]) -> Option<&[u8]> {
    let first = row.split(|byte| *byte == b',').next()?;
    matches!(first, b"#datatype" | b"#group" | b"#default").then_some(first)
}

/// Appends `row` as a JSON array of strings.
fn array(row: &[u8], json: &mut Vec<u8>) {
    for (index, cell) in Cells::of(row).enumerate() {
        json.push(if index == 0 { b'[' } else { b',' });
        cell.write(json);
    }
    json.push(b']');
}

fn record(json: &[u8]) -> Record<'_> {
    Record {
        data: Some(json),
        ..Record::default()
    }
}
