//! What time is it, on the clock that two processes of one machine share?

use nix::time::{ClockId, clock_gettime};

/// The nanoseconds of `CLOCK_MONOTONIC`: since the machine's start, the same in every process.
///
/// # Panics
/// Never: every Linux has this clock.
#[must_use]
pub fn now_ns() -> u64 {
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC).expect("every Linux has this clock");
    let seconds = u64::try_from(now.tv_sec()).expect("it never stands before its start");
    let nanos = u64::try_from(now.tv_nsec()).expect("a part of a second is not negative");
    seconds * 1_000_000_000 + nanos
}
