//! Do records become the events that the configuration says?

use std::{sync::Arc, time::Duration};

use super::{
    BadRecord, Data, DecodeError, Field, InvalidUtf8, Mapping, Pointer, Record, Retry, Settings,
    condition::{Brackets, Condition, Subject, Test},
    end::{EndEvent, Meaning, Settings as End},
};
use crate::transcode::output::{Encoder, FieldValue, sse::Sse};

fn pointer(text: &str) -> Pointer {
    Pointer::parse(text).unwrap()
}

fn at(place: &str, test: Test) -> Vec<Condition> {
    let subject = Subject::At(pointer(place));
    vec![Condition { subject, test }]
}

fn fixed(text: &str) -> Field {
    Field::Fixed(FieldValue::new(text).unwrap())
}

/// Maps `record` as [`Transcoder`](crate::transcode::transcoder::Transcoder) does.
fn write(
    mapping: &mut Mapping,
    record: &Record<'_>,
    out: &mut Vec<u8>,
) -> Result<Meaning, DecodeError> {
    match mapping.data_alone(record) {
        Some(data) => Sse.data(data, out),
        None => {
            return mapping
                .write(record, &Sse, out)
                .map(|written| written.meaning);
        }
    }
    Ok(Meaning::GoesOn)
}

/// Checks what the records, one a line, are written as.
fn check(settings: &Settings, records: &str, written: &str) {
    let mut mapping = Mapping::new(Arc::new(settings.clone()));
    let mut out = Vec::new();
    for data in records.lines() {
        let record = Record {
            data: Some(data.as_bytes()),
            ..Record::default()
        };
        write(&mut mapping, &record, &mut out).unwrap();
    }
    assert_eq!(String::from_utf8(out).unwrap(), written, "{settings:?}");
}

/// A record with fields of its own, as event streams have.
fn framed() -> Record<'static> {
    Record {
        data: Some(b"x"),
        name: Some(b"theirs"),
        id: Some(b"7"),
        retry_ms: Some(9),
    }
}

fn written(settings: Settings, records: &[Record<'_>]) -> String {
    let mut mapping = Mapping::new(Arc::new(settings));
    let mut out = Vec::new();
    for record in records {
        write(&mut mapping, record, &mut out).unwrap();
    }
    String::from_utf8(out).unwrap()
}

#[test]
fn without_settings_the_record_decides() {
    let text = written(Settings::default(), &[framed()]);
    assert_eq!(text, "id: 7\nevent: theirs\nretry: 9\ndata: x\n\n");
}

#[test]
fn what_is_configured_wins() {
    let settings = Settings {
        name: Some(fixed("ours")),
        id: Some(Field::At(pointer("/id"))),
        data: Some(Data::Fixed("y".into())),
        ..Settings::default()
    };
    let text = written(settings, &[framed()]);
    assert_eq!(
        text, "id: 7\nevent: ours\nretry: 9\ndata: y\n\n",
        "no /id, so theirs"
    );
}

#[test]
fn the_configured_retry_is_told_once_with_the_first_event() {
    let settings = Settings {
        retry: Some(Retry::Fixed(Duration::from_secs(3))),
        ..Settings::default()
    };
    let id_only = Record {
        data: None,
        name: None,
        ..framed()
    };
    let plain = Record {
        data: Some(b"y"),
        ..Record::default()
    };
    let text = written(settings, &[id_only, framed(), framed(), plain]);
    assert_eq!(
        text,
        "id: 7\n\nid: 7\nevent: theirs\nretry: 3000\ndata: x\n\nid: 7\nevent: theirs\ndata: x\n\n\
         data: y\n\n"
    );
}

#[test]
fn a_strangers_line_ends_and_nul_do_not_get_through() {
    let record = Record {
        name: Some(b"a\ndata: forged"),
        id: Some(b"1\0"),
        retry_ms: None,
        ..framed()
    };
    assert_eq!(written(Settings::default(), &[record]), "data: x\n\n");
    let settings = Settings {
        name: Some(Field::At(pointer("/n"))),
        id: Some(Field::At(pointer("/i"))),
        ..Settings::default()
    };
    check(
        &settings,
        r#"{"n":"a\ndata: forged","i":"\u0000"}"#,
        "data: {\"n\":\"a\\ndata: forged\",\"i\":\"\\u0000\"}\n\n",
    );
}

#[test]
fn places_give_name_id_data_and_retry() {
    let settings = Settings {
        name: Some(Field::At(pointer("/type"))),
        id: Some(Field::At(pointer("/seq"))),
        data: Some(Data::At(pointer("/message/content"))),
        retry: Some(Retry::At(pointer("/ms"))),
        ..Settings::default()
    };
    check(
        &settings,
        "{\"type\":\"a\",\"seq\":7,\"ms\":1500,\"message\":{\"content\":\"two\\nlines\"}}\n\
         {\"message\":{\"content\":{\"x\": 1}}}\n\
         {\"error\":\"no\"}\n\
         no json",
        "id: 7\nevent: a\nretry: 1500\ndata: two\ndata: lines\n\n\
         data: {\"x\": 1}\n\n\
         data: {\"error\":\"no\"}\n\n\
         data: no json\n\n",
    );
}

#[test]
fn an_exploded_records_id_goes_with_its_last_event() {
    let settings = Settings {
        name: Some(Field::At(pointer("/Topic"))),
        id: Some(Field::At(pointer("/Index"))),
        explode: Some(pointer("/Events")),
        skip: at("", Test::Empty(Brackets::Object)),
        ..Settings::default()
    };
    check(
        &settings,
        "{}\n\
         {\"Index\":7,\"Events\":[{\"Topic\":\"Node\"},{\"Topic\":\"Job\"}]}\n\
         {\"Index\":8,\"Events\":[]}\n\
         {\"Index\":9,\"Events\":null}\n\
         {\"Index\":10,\"Events\":[{\"Index\":1},2]}\n\
         {\"Events\":[{\"Index\":1},{\"Index\":2}]}\n\
         {\"error\":1}",
        "event: Node\ndata: {\"Topic\":\"Node\"}\n\n\
         id: 7\nevent: Job\ndata: {\"Topic\":\"Job\"}\n\n\
         data: {\"Index\":1}\n\nid: 10\ndata: 2\n\n\
         id: 1\ndata: {\"Index\":1}\n\nid: 2\ndata: {\"Index\":2}\n\n\
         data: {\"error\":1}\n\n",
    );
}

#[test]
fn signs_of_life_and_bookmarks_are_no_events() {
    let settings = Settings {
        id: Some(Field::At(pointer("/v"))),
        skip: at("/type", Test::Text("HEARTBEAT".into())),
        only_id: at("/type", Test::Text("BOOKMARK".into())),
        ..Settings::default()
    };
    check(
        &settings,
        "{\"type\":\"HEARTBEAT\",\"v\":\"1\"}\n{\"type\":\"BOOKMARK\",\"v\":\"2\"}\n{\"v\":\"3\"}",
        "id: 2\n\nid: 3\ndata: {\"v\":\"3\"}\n\n",
    );
}

#[test]
fn base64_is_unwrapped_where_it_is() {
    let settings = Settings {
        unwrap: Some(pointer("/bytes")),
        name: Some(Field::At(pointer("/type"))),
        ..Settings::default()
    };
    check(
        &settings,
        "{\"bytes\":\"eyJ0eXBlIjoiYSJ9\"}\n{\"bytes\":\"?\"}\n{\"type\":\"b\"}",
        "event: a\ndata: {\"type\":\"a\"}\n\ndata: {\"bytes\":\"?\"}\n\nevent: b\ndata: {\"type\":\"b\"}\n\n",
    );
}

#[test]
fn a_record_that_is_no_json_goes_by_its_policy() {
    let fault = DecodeError::BadFraming {
        framing: "mapping",
        reason: "a record is not JSON",
    };
    for (on_bad_record, id, outcome) in [
        (BadRecord::Pass, true, Ok("data: {\"v\":\n\n")),
        (BadRecord::Skip, true, Ok("")),
        (BadRecord::Error, true, Err(fault)),
        (BadRecord::Error, false, Ok("data: {\"v\":\n\n")),
    ] {
        let settings = Settings {
            id: id.then(|| Field::At(pointer("/v"))),
            on_bad_record,
            ..Settings::default()
        };
        let mut mapping = Mapping::new(Arc::new(settings));
        let mut out = Vec::new();
        let record = Record {
            data: Some(b"{\"v\":"),
            ..Record::default()
        };
        let result = write(&mut mapping, &record, &mut out);
        let text = String::from_utf8(out).unwrap();
        assert_eq!(
            result.map(|_| text.as_str()),
            outcome,
            "{on_bad_record:?} {id}"
        );
    }
}

#[test]
fn bytes_that_are_no_text_go_by_their_policy() {
    let fault = DecodeError::BadFraming {
        framing: "mapping",
        reason: "a record holds bytes that are not UTF-8",
    };
    for (invalid_utf8, outcome) in [
        (InvalidUtf8::Replace, Ok("data: a\u{FFFD}\n\ndata: ü\n\n")),
        (InvalidUtf8::Base64, Ok("data: Yf8=\n\ndata: ü\n\n")),
        (InvalidUtf8::Error, Err(fault)),
    ] {
        let settings = Settings {
            invalid_utf8,
            ..Settings::default()
        };
        let mut mapping = Mapping::new(Arc::new(settings));
        let mut out = Vec::new();
        let records = [&b"a\xFF"[..], "ü".as_bytes()];
        let result = records.iter().try_for_each(|data| {
            let record = Record {
                data: Some(data),
                ..Record::default()
            };
            write(&mut mapping, &record, &mut out).map(drop)
        });
        let text = String::from_utf8(out).unwrap();
        assert_eq!(result.map(|()| text.as_str()), outcome, "{invalid_utf8:?}");
    }
}

#[test]
fn records_mean_the_streams_end() {
    let settings = Settings {
        end: End {
            when: at("/done", Test::Bool(true)),
            error: at("/error", Test::Exists(true)),
            event: Some(EndEvent {
                name: None,
                data: "bye".into(),
            }),
        },
        skip: at("/error", Test::Exists(true)),
        ..Settings::default()
    };
    for (data, meaning, text) in [
        (
            &b"{\"done\":false}"[..],
            Meaning::GoesOn,
            "data: {\"done\":false}\n\n",
        ),
        (
            b"{\"done\":true}",
            Meaning::Complete,
            "data: {\"done\":true}\n\n",
        ),
        (
            b"{\"error\":1,\"done\":true}",
            Meaning::Failed,
            "data: {\"error\":1,\"done\":true}\n\n",
        ),
    ] {
        let mut mapping = Mapping::new(Arc::new(settings.clone()));
        let mut out = Vec::new();
        let record = Record {
            data: Some(data),
            ..Record::default()
        };
        assert_eq!(write(&mut mapping, &record, &mut out), Ok(meaning));
        assert_eq!(
            String::from_utf8(out).unwrap(),
            text,
            "what says that it failed is never left out"
        );
    }
}
