//! Does every row come as JSON, however it is quoted and cut?

use proptest::{
    collection::vec,
    prelude::{ProptestConfig, Strategy, any, prop_oneof},
    prop_assert_eq, proptest,
    sample::select,
};

use super::super::{DecodeError, EndOfInput, Framing, check};
use super::FRAMING;

/// Without a header.
const NAMELESS: Framing = Framing {
    sample_content_type: "text/csv; charset=utf-8; header=Absent",
    ..FRAMING
};

fn rows(framing: &Framing, input: &str, records: &[&str]) {
    let records: Vec<_> = records.iter().map(|record| record.as_bytes()).collect();
    check::whole(framing, input.as_bytes(), &records);
}

/// The fault that a whole input ends in.
fn fault(framing: &Framing, input: &[u8], end: EndOfInput) -> Option<DecodeError> {
    check::every_split(framing, input, end, 1000);
    check::decode(framing, &[input], end, 1000).error
}

#[test]
fn rows_end_at_lf_crlf_and_cr() {
    for end in ["\n", "\r\n", "\r"] {
        let input = ["a,b", "1,2", "", "\"3\",", ",\"x\n\r\r\n\"", "5"].join(end);
        let records = [
            r#"{"a":"1","b":"2"}"#,
            r#"{"a":"3","b":""}"#,
            r#"{"a":"","b":"x\n\r\r\n"}"#,
            r#"{"a":"5"}"#,
        ];
        // The last row first without its end, then with it.
        let outcome = check::decode(&FRAMING, &[input.as_bytes()], EndOfInput::Verified, 1000);
        assert_eq!(outcome.datas(), records.map(str::as_bytes));
        rows(&FRAMING, &[&input, end].concat(), &records);
    }
    rows(&FRAMING, "", &[]);
    rows(&FRAMING, "\n\r\n\r", &[]);
    rows(&FRAMING, "a\n", &[]);
}

#[test]
fn a_row_is_lent_at_its_lines_end() {
    check::prompt(
        &FRAMING,
        &[(b"a\r", 0), (b"\n1\r", 1), (b"\n2\n3", 1), (b"\n", 1)],
    );
    check::prompt(&FRAMING, &[(b"a\n\"\n", 0), (b"\"", 0), (b"\n", 1)]);
}

#[test]
fn quotes_open_at_the_start_of_a_cell_only() {
    for (input, record) in [
        ("\"\n\"", r#"["\n"]"#),
        ("\"\"\"\n\"\"\"", r#"["\"\n\""]"#),
        ("a,\"\n\"", r#"["a","\n"]"#),
        ("\"\",\"\n\"", r#"["","\n"]"#),
        ("\"a\"b,\"\n\"", r#"["ab","\n"]"#),
        ("a\",\"\n\"", r#"["a\"","\n"]"#),
        ("a\"\"\"\",\"\n\"", r#"["a\"\"\"\"","\n"]"#),
        ("\"a\"b\"c\",\"\n\"", r#"["ab\"c\"","\n"]"#),
    ] {
        rows(&NAMELESS, &format!("{input}\n"), &[record]);
    }
    for input in ["a\"\nb", " \"\nb", "\"a\"\"\"\nb", "\"a\"b\"\nb"] {
        let outcome = check::decode(&NAMELESS, &[input.as_bytes()], EndOfInput::Verified, 100);
        assert_eq!(outcome.records.len(), 2, "{input}");
        check::every_split(&NAMELESS, input.as_bytes(), EndOfInput::Verified, 100);
    }
}

#[test]
fn without_a_header_rows_are_arrays() {
    rows(
        &NAMELESS,
        "\u{FEFF}a,b\n#datatype,x\n\n1\n\"x\"\"\",2,\n",
        &[
            r#"["a","b"]"#,
            r##"["#datatype","x"]"##,
            r#"["1"]"#,
            r#"["x\"","2",""]"#,
        ],
    );
}

#[test]
fn a_mark_at_the_start_is_no_payload() {
    rows(&FRAMING, "\u{FEFF}\"a\nb\"\n1\n", &[r#"{"a\nb":"1"}"#]);
    let input = b"\xEF\xBB\"\na\n";
    let outcome = check::decode(&NAMELESS, &[input], EndOfInput::Verified, 100);
    assert_eq!(outcome.records.len(), 2);
    check::every_split(&NAMELESS, input, EndOfInput::Verified, 100);
}

#[test]
fn annotated_tables_follow_each_other() {
    // As InfluxDB 2 writes them: CR LF, a column for annotations, an empty line between tables.
    let input = "#datatype,string,long,dateTime:RFC3339,double\r\n#group,false,false,false,false\r\n\
                 #default,mean,,,\r\n,result,table,_time,_value\r\n,,0,2026-01-01T00:00:00Z,1.5\r\n\
                 ,last,0,2026-01-01T00:00:01Z,\r\n\r\n#datatype,string,string\r\n\r\n,error,reference\r\n\
                 ,\"it, failed\",897\r\n#default,x,y\r\n\r\n,plain\r\n,7\r\n";
    rows(
        &FRAMING,
        input,
        &[
            r#"{"result":"mean","table":"0","_time":"2026-01-01T00:00:00Z","_value":"1.5"}"#,
            r#"{"result":"last","table":"0","_time":"2026-01-01T00:00:01Z","_value":""}"#,
            r#"{"error":"it, failed","reference":"897"}"#,
            r##"{"":"#default","error":"x","reference":"y"}"##,
            r#"{"plain":"7"}"#,
        ],
    );
}

#[test]
fn any_other_number_sign_is_a_cells() {
    rows(
        &FRAMING,
        "#time,x\n1,2\n\n#group,y\n",
        &[
            r##"{"#time":"1","x":"2"}"##,
            r##"{"#time":"#group","x":"y"}"##,
        ],
    );
}

#[test]
fn rows_longer_than_the_header_are_refused() {
    let reason = "a row has more cells than the header has names";
    check::refused(&FRAMING, b"a,b\n1,2,3\n", reason);
    check::refused(&FRAMING, b"a\n,\",\"\r", reason);
    let at_the_end = fault(&FRAMING, b"a\n1,2", EndOfInput::Verified);
    assert!(matches!(at_the_end, Some(DecodeError::BadFraming { .. })));
}

#[test]
fn a_row_without_its_end_may_be_cut() {
    for (input, is_cut) in [
        ("a\n1\n", [false, false]),
        ("a\n1\r", [false, false]),
        ("a\n1", [false, true]),
        ("a\n\"1\"", [false, true]),
        ("a\n\"1\"\"\"", [false, true]),
        ("a\n\"1", [true, true]),
        ("a\n\"1\"\"", [true, true]),
        ("a\n\"", [true, true]),
        ("a\n1\n\"\n", [true, true]),
        ("a", [false, true]),
        ("\"a", [true, true]),
    ] {
        let ends = [EndOfInput::Verified, EndOfInput::Unverified];
        for (end, is_cut) in ends.into_iter().zip(is_cut) {
            let found = fault(&FRAMING, input.as_bytes(), end);
            let is_truncated = matches!(found, Some(DecodeError::Truncated { .. }));
            assert_eq!(is_truncated, is_cut, "{input:?} {end:?} {found:?}");
        }
    }
}

#[test]
fn the_limit_is_the_rows_as_it_came() {
    let end = EndOfInput::Unverified;
    for max in [4, 64] {
        for (open, close) in [("", ""), ("\"", "\"")] {
            let row = |length: usize| {
                let text = "\u{1}".repeat(length - open.len() - close.len());
                [open, &text, close].concat()
            };
            for before in ["", "\u{FEFF}", "a\n", "a\r\n1\r\n"] {
                let fits = [before, &row(max), "\r\n"].concat();
                let outcome = check::decode(&FRAMING, &[fits.as_bytes()], end, max);
                assert_eq!(outcome.error, None, "{fits:?}");
                check::every_split(&FRAMING, fits.as_bytes(), end, max);

                let long = [before, &row(max + 1)].concat();
                let outcome = check::decode(&FRAMING, &[long.as_bytes()], end, max);
                let error = DecodeError::RecordTooLarge {
                    record_bytes_max: max,
                };
                assert_eq!(outcome.error, Some(error), "{long:?}");
                check::every_split(&FRAMING, long.as_bytes(), end, max);
                check::every_split(&FRAMING, [&long, "\n"].concat().as_bytes(), end, max);
            }
        }
    }
}

#[test]
fn nothing_is_held_between_rows() {
    check::idle(&FRAMING, &[b"a,b\r", b"\n1", b",2\r\n", b"\"\n\",", b"\n"]);
    let mut decoder = super::Csv::new(&super::Opening {
        record_bytes_max: 1000,
        content_type: "",
    });
    for chunk in [&b"a\n1\n2"[..], b"\n"] {
        let mut input = chunk;
        while super::Decoder::next(&mut decoder, &mut input)
            .unwrap()
            .is_some()
        {
            input = b"";
        }
    }
    assert_eq!(decoder.json.capacity(), 0);
}

/// Text that is likely to hurt.
fn text() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        4 => select(vec!["\"", "\"\"", ",", "\n", "\r", "\r\n", "#", "ü", "\\", "\u{1}", "a"])
            .prop_map(str::to_owned),
        1 => any::<char>().prop_map(String::from),
    ];
    vec(piece, 0..6).prop_map(|pieces| pieces.concat())
}

/// A cell: its text, and whether it is in quotes although it need not be.
fn cell() -> impl Strategy<Value = (String, bool)> {
    (text(), any::<bool>())
}

fn write(row: &[(String, bool)], out: &mut String) {
    for (index, (text, is_quoted)) in row.iter().enumerate() {
        if index > 0 {
            out.push(',');
        }
        let must_be_quoted = text.contains([',', '\n', '\r', '"']) || text.starts_with('\u{FEFF}');
        if *is_quoted || must_be_quoted || (row.len() == 1 && text.is_empty()) {
            out.push_str(&["\"", &text.replace('"', "\"\""), "\""].concat());
        } else {
            out.push_str(text);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn what_was_written_is_read(
        table in vec(vec(cell(), 1..5), 0..6),
        line_end in select(vec!["\n", "\r\n", "\r"]),
        is_last_ended in any::<bool>(),
        cuts in vec(1..9_usize, 1..5),
    ) {
        let mut input = String::new();
        for (index, row) in table.iter().enumerate() {
            write(row, &mut input);
            if is_last_ended || index + 1 < table.len() {
                input.push_str(line_end);
            }
        }
        let chunks = check::cut(input.as_bytes(), &cuts);
        let outcome = check::decode(&NAMELESS, &chunks, EndOfInput::Verified, 1000);
        prop_assert_eq!(&outcome.error, &None);
        let read: Vec<Vec<String>> = outcome
            .datas()
            .into_iter()
            .map(|json| serde_json::from_slice(json).unwrap())
            .collect();
        let texts = |row: &Vec<(String, bool)>| row.iter().map(|(text, _)| text.clone()).collect();
        let expected: Vec<Vec<String>> = table.iter().map(texts).collect();
        prop_assert_eq!(read, expected);
    }
}
