//! What does the probe ask of its backend, and how is that written into a URL?
//!
//! All of it goes into the query: hops route by path and often rewrite it, but pass queries on.

use std::{fmt::Write as _, time::Duration};

/// One request of the probe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ask {
    /// Tell who you are, and what you saw of this request.
    Hello,
    /// Send a stream by this plan.
    Stream(Plan),
    /// Tell what became of the stream of this id.
    Seen(u64),
}

/// What a stream of the backend does: events, silence, an end. Times are whole milliseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Plan {
    /// The name by which [`Ask::Seen`] asks for it.
    pub(super) id: u64,
    /// Between the head, which is sent at once, and the first event.
    pub(super) wait: Duration,
    /// How many events.
    pub(super) count: u64,
    /// Between two events.
    pub(super) every: Duration,
    /// The length of an event, where it is longer than one must be.
    pub(super) bytes: u64,
    /// Between the last event and the end.
    pub(super) rest: Duration,
    /// In silence, a comment as often; zero for none.
    pub(super) beat: Duration,
    /// Whether the end is a cut instead of a last chunk.
    pub(super) is_cut: bool,
    /// Whether the head asks hops not to buffer and not to compress.
    pub(super) has_hints: bool,
}

/// What happens on a stream after a pause.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// The event of this number goes out; they count from 1.
    Event(u64),
    /// A comment goes out.
    Beat,
    /// The connection is cut inside the message.
    Cut,
    /// The message ends.
    End,
}

/// The steps of a plan, each with the pause before it.
#[derive(Debug)]
pub(super) struct Steps {
    plan: Plan,
    /// How many events have gone out.
    sent: u64,
    /// What is left of the pause before the next event or the end.
    left: Duration,
    has_ended: bool,
}

impl Ask {
    /// The query that asks it. `nonce` makes it one that no cache has seen.
    pub(super) fn query(&self, nonce: u64) -> String {
        let mut query = format!("{KEY}=");
        let plan = match self {
            Self::Hello => {
                let _ = write!(query, "hello&nonce={nonce}");
                return query;
            }
            Self::Seen(id) => {
                let _ = write!(query, "seen&id={id}&nonce={nonce}");
                return query;
            }
            Self::Stream(plan) => plan,
        };
        let _ = write!(query, "stream&nonce={nonce}");
        for (key, value) in [
            ("id", plan.id),
            ("wait", ms(plan.wait)),
            ("count", plan.count),
            ("every", ms(plan.every)),
            ("bytes", plan.bytes),
            ("rest", ms(plan.rest)),
            ("beat", ms(plan.beat)),
            ("cut", u64::from(plan.is_cut)),
            ("hints", u64::from(plan.has_hints)),
        ] {
            if value > 0 {
                let _ = write!(query, "&{key}={value}");
            }
        }
        query
    }

    /// What a query asks; one that asks nothing is greeted. Numbers beyond their bounds are cut to them.
    pub(super) fn parse(query: &str) -> Self {
        let value = |key: &str| {
            let mut pairs = query.split('&');
            pairs.find_map(|pair| pair.strip_prefix(key)?.strip_prefix('='))
        };
        let number = |key: &str, most: u64| {
            let number: u64 = value(key).and_then(|text| text.parse().ok()).unwrap_or(0);
            number.min(most)
        };
        let time = |key: &str| Duration::from_millis(number(key, TIME_MS_MAX));
        match value(KEY) {
            Some("stream") => Self::Stream(Plan {
                id: number("id", u64::MAX),
                wait: time("wait"),
                count: number("count", EVENTS_MAX),
                every: time("every"),
                bytes: number("bytes", EVENT_BYTES_MAX),
                rest: time("rest"),
                beat: Duration::from_millis(match number("beat", TIME_MS_MAX) {
                    0 => 0,
                    beat => beat.max(BEAT_MS_MIN),
                }),
                is_cut: number("cut", 1) == 1,
                has_hints: number("hints", 1) == 1,
            }),
            Some("seen") => Self::Seen(number("id", u64::MAX)),
            _ => Self::Hello,
        }
    }
}

impl Plan {
    /// What it does, step by step.
    pub(super) fn steps(self) -> Steps {
        Steps {
            plan: self,
            sent: 0,
            left: if self.count > 0 { self.wait } else { self.rest },
            has_ended: false,
        }
    }

    /// How long it takes from head to end.
    pub(super) fn duration(self) -> Duration {
        let gaps = u32::try_from(self.count.saturating_sub(1)).unwrap_or(u32::MAX);
        self.wait + self.every.saturating_mul(gaps) + self.rest
    }
}

impl Iterator for Steps {
    type Item = (Duration, Step);

    fn next(&mut self) -> Option<(Duration, Step)> {
        if self.has_ended {
            return None;
        }
        let Plan { beat, count, .. } = self.plan;
        if !beat.is_zero() && self.left > beat {
            self.left -= beat;
            return Some((beat, Step::Beat));
        }
        let pause = self.left;
        if self.sent < count {
            self.sent += 1;
            self.left = if self.sent < count {
                self.plan.every
            } else {
                self.plan.rest
            };
            return Some((pause, Step::Event(self.sent)));
        }
        self.has_ended = true;
        let end = if self.plan.is_cut {
            Step::Cut
        } else {
            Step::End
        };
        Some((pause, end))
    }
}

fn ms(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// The query's key that says what is asked.
const KEY: &str = "weir-probe";
/// The bounds of what a stranger may ask of the backend: 16 MiB, and an hour between two steps.
const EVENTS_MAX: u64 = 1024;
const EVENT_BYTES_MAX: u64 = 16 * 1024;
const TIME_MS_MAX: u64 = 3_600_000;
const BEAT_MS_MIN: u64 = 50;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Ask, Plan, Step};

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn what_is_asked_is_what_is_read() {
        let plan = Plan {
            id: 7,
            wait: ms(1),
            count: 2,
            every: ms(3),
            bytes: 4,
            rest: ms(5),
            beat: ms(60),
            is_cut: true,
            has_hints: true,
        };
        let asks = [
            Ask::Hello,
            Ask::Seen(u64::MAX),
            Ask::Stream(Plan::default()),
            Ask::Stream(plan),
        ];
        for ask in asks {
            let query = ask.query(12);
            assert_eq!(Ask::parse(&query), ask, "{query}");
            assert_eq!(Ask::parse(&format!("key=a&{query}")), ask, "{query}");
            assert!(query.contains("nonce=12"), "{query}");
        }
        for strange in ["", "a=b", "weir-probe", "weir-probe=all", "&&="] {
            assert_eq!(Ask::parse(strange), Ask::Hello, "{strange}");
        }
    }

    #[test]
    fn a_stranger_is_held_to_bounds() {
        let huge =
            "weir-probe=stream&count=99999999&bytes=99999999&every=99999999999&beat=1&wait=-1";
        let Ask::Stream(plan) = Ask::parse(huge) else {
            panic!("no stream");
        };
        assert_eq!((plan.count, plan.bytes), (1024, 16 * 1024));
        assert_eq!(
            (plan.every, plan.beat, plan.wait),
            (ms(3_600_000), ms(50), ms(0))
        );
    }

    #[test]
    fn steps_are_events_beats_and_an_end() {
        let check = |plan: Plan, expected: &[(u64, Step)]| {
            let steps: Vec<_> = plan.steps().collect();
            let expected: Vec<_> = expected.iter().map(|(at, step)| (ms(*at), *step)).collect();
            assert_eq!(steps, expected, "{plan:?}");
            let whole: Duration = steps.iter().map(|(pause, _)| *pause).sum();
            assert_eq!(plan.duration(), whole, "{plan:?}");
        };
        check(Plan::default(), &[(0, Step::End)]);
        let mut plan = Plan {
            wait: ms(9),
            count: 2,
            every: ms(5),
            rest: ms(7),
            ..Plan::default()
        };
        check(
            plan,
            &[(9, Step::Event(1)), (5, Step::Event(2)), (7, Step::End)],
        );
        plan.beat = ms(4);
        plan.is_cut = true;
        let expected = [
            (4, Step::Beat),
            (4, Step::Beat),
            (1, Step::Event(1)),
            (4, Step::Beat),
            (1, Step::Event(2)),
            (4, Step::Beat),
            (3, Step::Cut),
        ];
        check(plan, &expected);
    }
}
