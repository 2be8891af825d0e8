//! Does every mapping bear every record, and write nothing that it should not?
#![no_main]

use std::{sync::Arc, time::Duration};

use arbitrary::Arbitrary;
use libfuzzer_sys::{fuzz_mutator, fuzz_target};
use weir::transcode::{
    framing::FRAMINGS,
    json::Pointer,
    mapping::{
        BadRecord, InvalidUtf8, Settings,
        condition::{Brackets, Condition, Subject, Test},
        end::{self, EndEvent},
        field::{Data, Field, Retry},
    },
    output::{FieldValue, Format, OUTPUTS},
    transcoder::Turn,
};
use weir_fuzz::{
    hand::Hand,
    seed,
    stream::{Outcome, Stream},
};

#[derive(Debug, Arbitrary)]
struct Case<'a> {
    hand: Hand,
    framing: u8,
    to: u8,
    name: Choice,
    id: Choice,
    data: Choice,
    retry: Choice,
    unwrap: Choice,
    explode: Choice,
    end_event: Choice,
    policies: u8,
    skip: ConditionChoice,
    only_id: ConditionChoice,
    when: ConditionChoice,
    error: ConditionChoice,
    stream: &'a [u8],
}

/// How many bytes stand before the stream.
const HEAD_BYTES: usize = Hand::BYTES + 2 + 7 * 2 + 1 + 4 * 4;

/// Nothing, something fixed, or a place.
#[derive(Debug, Clone, Copy, Arbitrary)]
struct Choice {
    kind: u8,
    which: u8,
}

/// Nothing, or a condition.
#[derive(Debug, Clone, Copy, Arbitrary)]
struct ConditionChoice {
    subject: u8,
    place: u8,
    test: u8,
    word: u8,
}

/// What of a record is looked at.
const PLACES: &[&str] = &[
    "",
    "/a",
    "/b",
    "/c",
    "/a/b",
    "/b/0",
    "/c/1/a",
    "/a~1b",
    "/",
    "/object/type",
];

/// What is looked for, and written.
const WORDS: &[&str] = &[
    "",
    "a",
    "tick",
    "ü",
    " x",
    "stdout",
    "{}",
    "null",
    "[DONE]",
    "a\nb",
    "\r",
    "\0",
    "data: x\n\nid: 1",
];

/// Records in which the places are.
const RECORDS: &[u8] = b"{\"a\":\"tick\",\"b\":[1,{\"a\":\"x\\ny\"},\"\"],\"c\":[null,{\"a\":true}]}\n[DONE]\nno json\n\
    {\"a\":\"\\u0000\",\"b\":null}\n{\"a\":{\"b\":1500},\"b\":[],\"c\":\"eyJhIjoidGljayIsImIiOlsxLDJdfQ==\"}\n\
    {\"a\":\"\\r\",\"a/b\":2}\n{}\n";

fuzz_target!(|case: Case<'_>| {
    let from = FRAMINGS[usize::from(case.framing) % FRAMINGS.len()];
    let to = OUTPUTS[usize::from(case.to) % OUTPUTS.len()];
    let mut turn = Turn::new(from, to, case.hand.record_bytes_max());
    turn.opening.content_type = from.sample_content_type;
    let stream = Stream {
        turn,
        event: Arc::new(settings(&case)),
        hand: case.hand,
    };
    let (whole, cut) = (stream.whole(case.stream), stream.cut(case.stream));
    if from.name != "chunks" {
        assert_eq!(cut, whole);
    }
    if to.format == Format::Sse {
        check_blocks(std::str::from_utf8(&whole.out).expect("the output is UTF-8"));
        check_end(&case, &stream, &whole);
    }
});

fuzz_mutator!(
    |data: &mut [u8], size: usize, max_size: usize, noise: u32| {
        seed::mutate(data, size, max_size, noise, |number| {
            let from = FRAMINGS[number % FRAMINGS.len()];
            // Settings of any kind, of a hand that takes all at once.
            let mut head = (number as u128)
                .wrapping_mul(u128::MAX / 0xF1)
                .to_le_bytes()
                .repeat(3);
            head[..Hand::BYTES].fill(0xFF);
            head[Hand::BYTES] = u8::try_from(number % FRAMINGS.len()).expect("few framings");
            let is_json = from.content_types.is_empty() || from.name == "ndjson";
            let records = if is_json { RECORDS } else { from.sample };
            [&head[..HEAD_BYTES], records].concat()
        })
    }
);

/// Every line is a field in its place, and holds nothing that a field may not.
fn check_blocks(out: &str) {
    for block in out.split_terminator("\n\n") {
        let mut due = 0;
        for line in block.split('\n') {
            let (name, value) = line.split_once(": ").expect("a field");
            let place = ["id", "event", "retry", "data"]
                .iter()
                .position(|field| *field == name);
            let place = place.expect("a known field");
            assert!(place >= due, "{block:?}");
            assert!(!value.contains('\r'), "{block:?}");
            assert!(name == "data" || !value.contains('\0'), "{block:?}");
            due = if name == "data" { place } else { place + 1 };
        }
    }
}

/// Behind the record that ends a stream nothing is written but the end event.
fn check_end(case: &Case<'_>, stream: &Stream<'_>, whole: &Outcome) {
    let endless = Stream {
        event: Arc::new(Settings {
            end: end::Settings::default(),
            ..settings(case)
        }),
        ..*stream
    };
    let end = &stream.event.end;
    // What tells of a failure is not left out, nor is what is no JSON where nothing looks into it.
    if !end.error.is_empty() || stream.event.needs_json() != endless.event.needs_json() {
        return;
    }
    let has_end = whole.is_complete || (end.when.is_empty() && whole.error.is_none());
    let last = end
        .event
        .as_ref()
        .filter(|_| has_end)
        .map_or_else(String::new, block);
    let records = whole
        .out
        .strip_suffix(last.as_bytes())
        .expect("the end event comes last");
    let all = endless.whole(case.stream).out;
    assert!(all.starts_with(records), "records, and nothing else");
}

/// The end event as it must be written.
fn block(event: &EndEvent) -> String {
    let name = event
        .name
        .as_ref()
        .map(|name| format!("event: {}\n", name.as_text().as_str()));
    let data = event.data.replace("\r\n", "\n").replace('\r', "\n");
    let lines = data.split('\n').map(|line| format!("data: {line}\n"));
    name.into_iter()
        .chain(lines)
        .chain(["\n".to_owned()])
        .collect()
}

fn settings(case: &Case<'_>) -> Settings {
    let conditions = |choice: ConditionChoice| condition(choice).into_iter().collect();
    Settings {
        name: field(case.name),
        id: field(case.id),
        data: data(case.data),
        retry: match case.retry.kind % 4 {
            1 => Some(Retry::Fixed(Duration::from_millis(case.retry.which.into()))),
            2 => Some(Retry::At(place(case.retry.which))),
            _ => None,
        },
        unwrap: (case.unwrap.kind % 4 == 1).then(|| place(case.unwrap.which)),
        explode: (case.explode.kind % 4 == 1).then(|| place(case.explode.which)),
        skip: conditions(case.skip),
        only_id: conditions(case.only_id),
        on_bad_record: match case.policies % 3 {
            0 => BadRecord::Pass,
            1 => BadRecord::Skip,
            _ => BadRecord::Error,
        },
        invalid_utf8: match case.policies / 3 % 3 {
            0 => InvalidUtf8::Replace,
            1 => InvalidUtf8::Base64,
            _ => InvalidUtf8::Error,
        },
        end: end::Settings {
            when: conditions(case.when),
            error: conditions(case.error),
            event: (case.end_event.kind % 2 == 1).then(|| EndEvent {
                name: FieldValue::new(word(case.end_event.kind / 2)).ok(),
                data: word(case.end_event.which).into(),
            }),
        },
    }
}

fn field(choice: Choice) -> Option<Field> {
    match choice.kind % 4 {
        1 => FieldValue::new(word(choice.which)).ok().map(Field::Fixed),
        2 => Some(Field::At(place(choice.which))),
        _ => None,
    }
}

fn data(choice: Choice) -> Option<Data> {
    match choice.kind % 4 {
        1 => Some(Data::Fixed(word(choice.which).into())),
        2 => Some(Data::At(place(choice.which))),
        _ => None,
    }
}

fn condition(choice: ConditionChoice) -> Option<Condition> {
    let subject = match choice.subject % 8 {
        1 => Subject::Text,
        2 => Subject::Name,
        3 | 4 => Subject::At(place(choice.place)),
        _ => return None,
    };
    let test = match choice.test % 8 {
        0 => Test::Exists(true),
        1 => Test::Exists(false),
        2 => Test::Number(f64::from(choice.word)),
        3 => Test::Bool(choice.word < 0x80),
        4 => Test::Empty(Brackets::Object),
        5 => Test::Empty(Brackets::Array),
        _ => Test::Text(word(choice.word).to_owned()),
    };
    Some(Condition { subject, test })
}

fn place(which: u8) -> Pointer {
    Pointer::parse(PLACES[usize::from(which) % PLACES.len()]).expect("pointers all")
}

fn word(which: u8) -> &'static str {
    WORDS[usize::from(which) % WORDS.len()]
}
