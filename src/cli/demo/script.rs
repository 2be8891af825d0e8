//! What do the demo's streams say, and when?
//!
//! A stream is a list of [`Step`]s, made as it is read; it knows neither sockets nor clocks.

use std::{fmt::Write as _, iter, time::Duration};

use serde_json::Value;

/// One thing that a stream does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Step {
    /// How long the stream is silent before it.
    pub(super) pause: Duration,
    /// What it does then.
    pub(super) act: Act,
}

/// What a stream does in one step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Act {
    /// Writes these bytes: most often a record and its newline.
    Write(String),
    /// Cuts the connection, so that the message stays incomplete.
    Cut,
}

/// A stream, from its first step to its end.
pub(super) type Steps = Box<dyn Iterator<Item = Step> + Send>;

/// The stream behind this path, if there is one.
pub(super) fn steps(path: &str) -> Option<Steps> {
    match path {
        "/ticker" => Some(ticker()),
        "/chat" => Some(chat()),
        "/silent" => Some(silent()),
        "/broken" => Some(broken()),
        _ => None,
    }
}

/// A price a second, for ever. Each reader sees the same prices.
fn ticker() -> Steps {
    let mut rng = fastrand::Rng::with_seed(SEED);
    let mut cents = SYMBOLS.map(|(_, cents)| cents);
    Box::new((1_u64..).map(move |seq| {
        let index = rng.usize(..SYMBOLS.len());
        let (symbol, start) = SYMBOLS[index];
        // Around where it started, so that a demo left open for a week still looks like prices.
        let drift = start / 4;
        cents[index] = (cents[index] + rng.u32(..=60))
            .saturating_sub(30)
            .clamp(start - drift, start + drift);
        let price = format!("{}.{:02}", cents[index] / 100, cents[index] % 100);
        let pause = if seq == 1 { NONE } else { SECOND };
        line(
            pause,
            format!(r#"{{"seq":{seq},"symbol":"{symbol}","price":{price}}}"#),
        )
    }))
}

/// A short text, word by word, in the form of Ollama's `/api/chat`.
fn chat() -> Steps {
    let words = TEXT.split_inclusive(' ').map(|word| {
        let content = Value::from(word);
        line(
            TOKEN,
            format!(
                r#"{{"model":"demo","message":{{"role":"assistant","content":{content}}},"done":false}}"#
            ),
        )
    });
    let count = TEXT.split_inclusive(' ').count();
    let last = line(
        TOKEN,
        format!(
            r#"{{"model":"demo","message":{{"role":"assistant","content":""}},"done":true,"done_reason":"stop","eval_count":{count}}}"#
        ),
    );
    Box::new(words.chain(iter::once(last)))
}

/// One record, ten minutes of nothing, and one more.
fn silent() -> Steps {
    let first = line(
        NONE,
        r#"{"note":"nothing more for ten minutes; only heartbeats keep this open"}"#.to_owned(),
    );
    let last = line(
        SILENCE,
        r#"{"note":"ten minutes have passed, and the stream is still here"}"#.to_owned(),
    );
    Box::new([first, last].into_iter())
}

/// Five records, half of the sixth, and a cut.
fn broken() -> Steps {
    let mut steps: Vec<Step> = (1..=5)
        .map(|seq| {
            let pause = if seq == 1 { NONE } else { STEP };
            line(pause, format!(r#"{{"seq":{seq},"of":20}}"#))
        })
        .collect();
    steps.push(Step {
        pause: STEP,
        act: Act::Write(r#"{"seq":6,"o"#.to_owned()),
    });
    // The pause lets what was written leave: a cut discards what still waits in the server.
    steps.push(Step {
        pause: STEP,
        act: Act::Cut,
    });
    Box::new(steps.into_iter())
}

/// A step that writes one record.
fn line(pause: Duration, mut record: String) -> Step {
    record.write_char('\n').expect("a String takes every write");
    Step {
        pause,
        act: Act::Write(record),
    }
}

const NONE: Duration = Duration::ZERO;
const SECOND: Duration = Duration::from_secs(1);
const STEP: Duration = Duration::from_millis(300);
const TOKEN: Duration = Duration::from_millis(50);
const SILENCE: Duration = Duration::from_mins(10);
const SEED: u64 = 7;

/// The ticker's symbols, and what each costs at first, in cents.
const SYMBOLS: [(&str, u32); 4] = [
    ("WEIR", 4_210),
    ("SLUICE", 1_875),
    ("LEAT", 960),
    ("SPILL", 12_340),
];

const TEXT: &str = "A weir is a low dam across a river. Unlike a dam, it does not hold the water \
back until a basin is full: the river rises to its edge and then passes over it, all of it, all the \
time. Millers built them to raise the water just enough to turn a wheel, and boatmen to keep a \
river deep in summer. Whatever comes from upstream goes downstream at once; only its shape has \
changed. This proxy does the same with streams.";

#[cfg(test)]
mod tests {
    use super::*;

    fn written(steps: Steps) -> Vec<String> {
        steps
            .map(|step| match step.act {
                Act::Write(text) => text,
                Act::Cut => "CUT".to_owned(),
            })
            .collect()
    }

    fn record(text: &str) -> Value {
        assert!(text.ends_with('\n') && text.matches('\n').count() == 1);
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn the_ticker_counts_and_is_the_same_for_each_reader() {
        let first = written(Box::new(ticker().take(5_000)));
        let second = written(Box::new(ticker().take(5_000)));

        assert_eq!(first, second);
        for (seq, text) in (1..).zip(&first) {
            let record = record(text);
            assert_eq!(record["seq"], seq);
            assert!(record["symbol"].is_string());
            assert!(record["price"].as_f64().unwrap() > 1.0, "{record}");
        }
        assert_eq!(ticker().nth(9).unwrap().pause, SECOND);
    }

    #[test]
    fn the_chat_types_its_text_and_says_when_it_is_done() {
        let records: Vec<Value> = written(chat()).iter().map(|text| record(text)).collect();
        let (last, words) = records.split_last().unwrap();

        let text: String = words
            .iter()
            .map(|word| word["message"]["content"].as_str().unwrap())
            .collect();
        assert_eq!(text, TEXT);
        assert!(words.iter().all(|word| word["done"] == false));
        assert_eq!(last["done"], true);
        assert_eq!(last["eval_count"], words.len());
    }

    #[test]
    fn the_silent_stream_is_silent_for_ten_minutes() {
        let steps: Vec<Step> = silent().collect();

        assert_eq!(steps[0].pause, NONE);
        assert_eq!(steps[1].pause, Duration::from_mins(10));
        assert_eq!(written(silent()).len(), 2);
    }

    #[test]
    fn the_broken_stream_is_cut_inside_its_sixth_record() {
        let texts = written(broken());

        assert_eq!(texts.len(), 7);
        for (seq, text) in (1..).zip(&texts[..5]) {
            assert_eq!(record(text)["seq"], seq);
        }
        assert!(serde_json::from_str::<Value>(&texts[5]).is_err());
        assert!(!texts[5].contains('\n'));
        assert_eq!(texts[6], "CUT");
    }

    #[test]
    fn a_path_without_a_stream_has_none() {
        assert!(steps("/").is_none());
        assert!(steps("/ticker/").is_none());
    }
}
