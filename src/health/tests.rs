//! Does an endpoint go, and come back, when it should?

use std::time::Duration;

use proptest::prelude::*;

use super::{Change, Failure, Health, MOMENT, Pass, Settings, Streaks};

const SETTINGS: Settings = Settings {
    failures: 3,
    within: Duration::from_mins(1),
    eject: Duration::from_secs(10),
    eject_max: Duration::from_secs(25),
    streaks: None,
};

const CHECKED: Settings = Settings {
    streaks: Some(Streaks { rise: 2, fall: 3 }),
    ..SETTINGS
};

/// An endpoint and its clock, which stands still until it is told to go on.
struct Subject {
    health: Health,
    now: Duration,
}

impl Subject {
    fn new(settings: Settings) -> Self {
        Self {
            health: Health::new(settings),
            now: Duration::ZERO,
        }
    }

    fn wait(&mut self, secs: u64) {
        self.now += Duration::from_secs(secs);
    }

    fn is_open(&self) -> bool {
        self.health.is_open(self.now)
    }

    fn begin(&mut self) -> Pass {
        self.health.begin(self.now)
    }

    /// A stream begins and fails at once.
    fn fail(&mut self, failure: Failure) -> Option<Change> {
        let pass = self.begin();
        self.health.failed(failure, pass, self.now)
    }

    fn answer(&mut self, pass: Pass) -> Option<Change> {
        self.health.answered(pass, self.now)
    }

    fn check(&mut self, is_good: bool) -> Option<Change> {
        self.health.checked(is_good, self.now)
    }

    /// Three failures to connect, which eject it for so many seconds.
    fn eject(&mut self, secs: u64) {
        assert_eq!(self.fail(Failure::ConnectFailed), None);
        assert_eq!(self.fail(Failure::ConnectFailed), None);
        let ejected = self.fail(Failure::ConnectFailed);
        assert_eq!(ejected, Some(ejection(Failure::ConnectFailed, secs)));
        assert!(!self.health.is_up());
    }

    fn state(&self) -> &'static str {
        self.health.summary(self.now).state
    }
}

fn ejection(failure: Failure, secs: u64) -> Change {
    let lasts = Duration::from_secs(secs);
    Change::Ejected { failure, lasts }
}

#[test]
fn failures_in_a_row_eject_and_one_stream_at_a_time_tries() {
    let mut subject = Subject::new(SETTINGS);
    subject.eject(10);
    assert!(!subject.is_open());
    let early = subject.begin();
    subject.wait(9);
    assert!(!subject.is_open());
    assert_eq!(subject.state(), "ejected");
    subject.wait(1);
    assert_eq!(subject.state(), "trying");
    assert!(subject.is_open());
    let trial = subject.begin();
    assert!(!subject.is_open(), "one at a time");
    // A stream of before the trial that fails says nothing new; one that leaves makes room for no other.
    assert_eq!(
        subject.health.failed(Failure::Status, early, subject.now),
        None
    );
    subject.health.left(early);
    assert!(!subject.is_open());
    subject.health.left(trial);
    assert!(subject.is_open(), "the next may try");
    let trial = subject.begin();
    assert_eq!(subject.answer(trial), Some(Change::Up));
    assert!(subject.is_open() && subject.health.is_spotless());
}

#[test]
fn a_success_between_and_time_forgive() {
    let mut subject = Subject::new(SETTINGS);
    for _ in 0..5 {
        assert_eq!(subject.fail(Failure::Status), None);
        assert_eq!(subject.fail(Failure::ConnectFailed), None);
        assert!(!subject.health.is_spotless());
        assert_eq!(subject.health.summary(subject.now).failures, 2);
        let pass = subject.begin();
        assert_eq!(subject.answer(pass), None);
        assert!(subject.health.is_spotless());
    }
    for _ in 0..5 {
        assert_eq!(subject.fail(Failure::FirstByteTimeout), None);
        subject.wait(60);
    }
    let none = Settings {
        failures: 0,
        ..SETTINGS
    };
    let mut subject = Subject::new(none);
    for _ in 0..100 {
        assert_eq!(subject.fail(Failure::ConnectFailed), None);
    }
}

#[test]
fn a_trial_that_fails_ejects_for_longer_and_a_good_time_forgives() {
    let mut subject = Subject::new(SETTINGS);
    subject.eject(10);
    for secs in [10, 20, 25] {
        subject.wait(secs);
        let next = [20, 25, 25][[10, 20, 25].iter().position(|one| *one == secs).unwrap()];
        let again = subject.fail(Failure::NoReply);
        assert_eq!(again, Some(ejection(Failure::NoReply, next)));
    }
    subject.wait(25);
    let trial = subject.begin();
    assert_eq!(subject.answer(trial), Some(Change::Up));
    subject.wait(24);
    subject.eject(25);
    subject.wait(25);
    let trial = subject.begin();
    assert_eq!(subject.answer(trial), Some(Change::Up));
    subject.wait(25);
    subject.eject(10);
}

#[test]
fn a_trial_that_is_never_heard_of_ends() {
    let mut subject = Subject::new(SETTINGS);
    subject.eject(10);
    subject.wait(10);
    let lost = subject.begin();
    subject.wait(24);
    assert!(!subject.is_open());
    subject.wait(1);
    assert!(subject.is_open());
    let trial = subject.begin();
    assert_eq!(subject.answer(trial), Some(Change::Up));
    // What became of the lost one in the end is nobody's trial any more.
    subject.health.left(lost);
    assert_eq!(
        subject.health.failed(Failure::Status, lost, subject.now),
        None
    );
    assert!(subject.health.is_up());
}

#[test]
fn streams_that_are_cut_together_count_once() {
    let mut subject = Subject::new(SETTINGS);
    let streams: Vec<Pass> = (0..500).map(|_| subject.begin()).collect();
    for pass in &streams {
        assert_eq!(
            subject.health.failed(Failure::Cut, *pass, subject.now),
            None
        );
    }
    assert_eq!(subject.health.summary(subject.now).failures, 1);
    // That others begin does not forgive, that one ends well does.
    subject.wait(1);
    assert_eq!(subject.fail(Failure::Cut), None);
    let pass = subject.begin();
    assert_eq!(subject.answer(pass), None);
    assert!(!subject.health.is_spotless());
    subject.health.completed();
    assert!(subject.health.is_spotless());
    for _ in 0..2 {
        subject.wait(1);
        assert_eq!(subject.fail(Failure::Cut), None);
    }
    subject.wait(1);
    assert_eq!(subject.fail(Failure::Cut), Some(ejection(Failure::Cut, 10)));
    // Back on trial, one more is enough, as long as none has ended well.
    subject.wait(10);
    let trial = subject.begin();
    assert_eq!(subject.answer(trial), Some(Change::Up));
    let again = subject.health.failed(Failure::Cut, trial, subject.now);
    assert_eq!(again, Some(ejection(Failure::Cut, 20)));
}

#[test]
fn panic_streams_bring_it_back_and_earlier_ones_do_not() {
    let mut subject = Subject::new(SETTINGS);
    let before = subject.begin();
    subject.eject(10);
    assert_eq!(subject.answer(before), None);
    assert!(!subject.is_open());
    // Nobody else is up, so it is asked although it is ejected: that it answers counts, that it fails does not.
    assert_eq!(subject.fail(Failure::ConnectFailed), None);
    let panic = subject.begin();
    assert_eq!(subject.answer(panic), Some(Change::Up));
}

#[test]
fn checks_take_it_down_and_bring_it_back() {
    let mut subject = Subject::new(CHECKED);
    assert_eq!(subject.check(true), None);
    assert_eq!((subject.check(false), subject.check(false)), (None, None));
    assert_eq!(subject.check(true), None);
    assert_eq!((subject.check(false), subject.check(false)), (None, None));
    assert_eq!(subject.check(false), Some(Change::Down));
    assert!(!subject.is_open());
    let pass = subject.begin();
    assert_eq!(subject.answer(pass), None, "streams do not bring it back");
    assert_eq!(
        (subject.check(true), subject.check(false)),
        (None, None),
        "not in a row"
    );
    assert_eq!(subject.check(true), None);
    assert_eq!(subject.check(true), Some(Change::Up));
    // The very first decides by itself.
    let mut subject = Subject::new(CHECKED);
    assert_eq!(subject.check(false), Some(Change::Down));
    assert_eq!(subject.check(true), None);
    assert_eq!(subject.check(true), Some(Change::Up));
}

#[test]
fn an_ejected_endpoint_that_is_checked_comes_back_by_its_checks() {
    let mut subject = Subject::new(CHECKED);
    assert_eq!(subject.check(true), None);
    subject.eject(10);
    assert_eq!((subject.check(true), subject.check(true)), (None, None));
    subject.wait(10);
    assert!(!subject.is_open(), "no stream has to try it");
    assert_eq!(subject.check(true), Some(Change::Up));
    // Checks that fail meanwhile take it down, which ends the ejection.
    subject.eject(20);
    assert_eq!((subject.check(false), subject.check(false)), (None, None));
    assert_eq!(subject.check(false), Some(Change::Down));
    assert_eq!(subject.state(), "down");
    assert_eq!(subject.check(true), None);
    assert_eq!(subject.check(true), Some(Change::Up));
}

#[derive(Debug, Clone, Copy)]
enum Step {
    Begin,
    /// What becomes of the stream of that number, of those that are open.
    Fail(usize, Failure),
    Answer(usize),
    Complete(usize),
    Leave(usize),
    Wait(u64),
    Check(bool),
}

fn step() -> impl Strategy<Value = Step> {
    let failure = prop::sample::select(Failure::ALL.to_vec());
    prop_oneof![
        4 => Just(Step::Begin),
        4 => (0..8_usize, failure).prop_map(|(stream, failure)| Step::Fail(stream, failure)),
        1 => (0..8_usize).prop_map(Step::Answer),
        1 => (0..8_usize).prop_map(Step::Complete),
        1 => (0..8_usize).prop_map(Step::Leave),
        2 => (0..12_000_u64).prop_map(Step::Wait),
        1 => any::<bool>().prop_map(Step::Check),
    ]
}

proptest! {
    /// Whatever happens: it is up or there is a reason, it is never away for longer than the longest ejection
    /// without a stream that may try it (or a check that decides), and no two streams try it at once.
    #[test]
    fn nothing_is_lost(steps in prop::collection::vec(step(), 0..200), is_checked: bool) {
        let mut subject = Subject::new(if is_checked { CHECKED } else { SETTINGS });
        let mut open: Vec<Pass> = Vec::new();
        let mut trials: Vec<(u32, Duration)> = Vec::new();
        for step in steps {
            let was_up = subject.health.is_up();
            let stream = |at: usize, open: &mut Vec<Pass>| {
                (!open.is_empty()).then(|| open.swap_remove(at % open.len()))
            };
            let change = match step {
                Step::Begin => {
                    let may_try = !subject.health.is_up() && subject.is_open();
                    let pass = subject.begin();
                    prop_assert_eq!(pass.is_trial(), may_try);
                    if pass.is_trial() {
                        let is_alone = trials.iter().all(|(epoch, at)| {
                            *epoch != pass.epoch() || subject.now >= *at + SETTINGS.eject_max
                        });
                        prop_assert!(is_alone);
                        trials.push((pass.epoch(), subject.now));
                    }
                    open.push(pass);
                    None
                }
                Step::Fail(at, failure) => stream(at, &mut open)
                    .and_then(|pass| subject.health.failed(failure, pass, subject.now)),
                Step::Answer(at) => stream(at, &mut open).and_then(|pass| subject.answer(pass)),
                Step::Complete(at) => {
                    stream(at, &mut open);
                    subject.health.completed();
                    None
                }
                Step::Leave(at) => {
                    if let Some(pass) = stream(at, &mut open) {
                        subject.health.left(pass);
                        trials.retain(|(epoch, _)| !pass.is_trial() || *epoch != pass.epoch());
                    }
                    None
                }
                Step::Wait(ms) => {
                    subject.now += Duration::from_millis(ms);
                    None
                }
                Step::Check(is_good) => subject.check(is_good),
            };
            let is_up = subject.health.is_up();
            let expected = match change {
                None => was_up,
                Some(Change::Up) => true,
                Some(Change::Down) => false,
                Some(Change::Ejected { lasts, .. }) => {
                    prop_assert!(lasts >= SETTINGS.eject && lasts <= SETTINGS.eject_max);
                    false
                }
            };
            prop_assert_eq!(is_up, expected);
            let summary = subject.health.summary(subject.now);
            prop_assert_eq!(summary.reason.is_none(), is_up);
            let later = subject.now + SETTINGS.eject_max + MOMENT;
            prop_assert!(is_up || is_checked || subject.health.is_open(later));
        }
        // Two checks are enough for one that is well.
        subject.now += SETTINGS.eject_max;
        if is_checked {
            subject.check(true);
            subject.check(true);
            prop_assert!(subject.health.is_up());
        }
    }
}
