//! Which endpoint of these loads?
//!
//! Sans-IO: loads and turns are arguments (invariant 1).

/// How the next endpoint is chosen: `balance = "…"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Method {
    /// Each in turn.
    RoundRobin,
    /// The one with the fewest open streams; in turn where several are equal.
    #[default]
    LeastStreams,
}

/// Chooses one of `open_streams` (one entry an endpoint, `None` where it must not be taken).
///
/// `turn` counts up with each choice; it decides among equals.
#[must_use]
pub fn choose(method: Method, open_streams: &[Option<usize>], turn: usize) -> Option<usize> {
    let count = open_streams.len();
    let in_turn = (0..count).map(|step| (turn + step) % count);
    let mut open = in_turn.filter_map(|index| open_streams[index].map(|load| (index, load)));
    match method {
        Method::RoundRobin => open.next(),
        Method::LeastStreams => open.min_by_key(|&(_, load)| load),
    }
    .map(|(index, _)| index)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_in_turn_and_the_least_loaded() {
        use Method::{LeastStreams, RoundRobin};
        type Row = (Method, &'static [Option<usize>], usize, Option<usize>);
        let rows: &[Row] = &[
            (RoundRobin, &[], 0, None),
            (RoundRobin, &[None, None], 1, None),
            (RoundRobin, &[Some(9), Some(0), Some(0)], 0, Some(0)),
            (RoundRobin, &[Some(9), Some(0), Some(0)], 4, Some(1)),
            (RoundRobin, &[Some(9), None, Some(0)], 1, Some(2)),
            (LeastStreams, &[Some(2), Some(1), Some(3)], 0, Some(1)),
            (LeastStreams, &[Some(1), Some(1), Some(1)], 2, Some(2)),
            (LeastStreams, &[Some(1), Some(1), None], 2, Some(0)),
        ];
        for &(method, loads, turn, expected) in rows {
            assert_eq!(
                choose(method, loads, turn),
                expected,
                "{method:?} {loads:?} {turn}"
            );
        }
    }
}
