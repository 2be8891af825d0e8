//! Which endpoint of these loads?
//!
//! Sans-IO: loads, turns and randomness are arguments (invariant 1).

/// How the next endpoint is chosen: `balance = "…"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Method {
    /// Each in turn, as often as its weight.
    RoundRobin,
    /// The one with the fewest open streams for its weight; in turn where several are equal.
    #[default]
    LeastStreams,
    /// The less loaded of two drawn at random: nearly as even, and without all balancers choosing the same.
    PowerOfTwo,
    /// Requests of the same key go to the same endpoint, unless that has more than its share.
    Hash,
}

/// An endpoint that may be chosen.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Candidate {
    /// Its open streams.
    pub open_streams: usize,
    /// How many streams it is to have beside others; more than 0.
    pub weight: f64,
    /// Those of a lower number come first; the others are for when none of them may be taken (RFC 2782).
    pub priority: u16,
    /// What tells it from the others, the same in every process.
    pub id: u64,
}

/// What decides besides the loads.
#[derive(Debug, Clone, Copy)]
pub struct Draw {
    /// Counts up with each request, and stays the request's own wherever that goes afterwards.
    pub turn: usize,
    /// How many endpoints the request has been to; they are not to be chosen again.
    pub tried: usize,
    /// Anything.
    pub random: u64,
    /// The request's key, hashed; for [`Method::Hash`].
    pub key: u64,
}

/// Chooses one of `endpoints`, which are `None` where they must not be taken.
#[must_use]
pub fn choose(method: Method, endpoints: &[Option<Candidate>], draw: Draw) -> Option<usize> {
    let mut priorities = endpoints.iter().flatten().map(|one| one.priority);
    let first = priorities.next()?;
    let (least, most) = priorities.fold((first, first), |(least, most), priority| {
        (least.min(priority), most.max(priority))
    });
    if least == most {
        return of_equals(method, endpoints, draw);
    }
    let is_first = |one: &Candidate| one.priority == least;
    let firsts: Vec<_> = endpoints.iter().map(|one| one.filter(is_first)).collect();
    of_equals(method, &firsts, draw)
}

/// Chooses among endpoints of one priority.
fn of_equals(method: Method, endpoints: &[Option<Candidate>], draw: Draw) -> Option<usize> {
    match method {
        Method::RoundRobin => in_turn(endpoints, draw),
        Method::LeastStreams => least_loaded(endpoints, draw.turn),
        Method::PowerOfTwo => less_loaded_of_two(endpoints, draw.random),
        Method::Hash => by_key(endpoints, draw.key),
    }
}

/// The endpoint whose turn it is; the next that may be taken where that one may not.
///
/// Unequal weights get their turns spread out, not in a row: multiples of the golden ratio fall evenly
/// into the weights' shares, whichever these are and however they change.
///
/// What one endpoint leaves is spread over the others. Of equals each gets as much, since the turns of one
/// out of n are n apart; else those turns all lie in its share of the weights, and are drawn anew.
fn in_turn(endpoints: &[Option<Candidate>], draw: Draw) -> Option<usize> {
    let open = || weighted(endpoints);
    let (_, first) = open().next()?;
    if open().all(|(_, weight)| (weight - first).abs() < f64::EPSILON) {
        let turn = draw.turn % open().count();
        return open().nth(turn).map(|(index, _)| index);
    }
    let turn = (draw.turn as u64).wrapping_mul(GOLDEN_RATIO);
    let point = match draw.tried {
        0 => turn,
        tried => mix(turn.wrapping_add(tried as u64)),
    };
    at_share(open, fraction(point))
}

/// The golden ratio's fraction, of 2^64.
const GOLDEN_RATIO: u64 = 0x9E37_79B9_7F4A_7C15;

fn least_loaded(endpoints: &[Option<Candidate>], turn: usize) -> Option<usize> {
    let count = endpoints.len();
    let from_turn = (0..count).map(|step| (turn + step) % count);
    let open = from_turn.filter_map(|index| Some((index, endpoints[index]?)));
    open.min_by(|(_, one), (_, other)| load(*one).total_cmp(&load(*other)))
        .map(|(index, _)| index)
}

/// Draws two, each as often as its weight, and takes the less loaded.
fn less_loaded_of_two(endpoints: &[Option<Candidate>], random: u64) -> Option<usize> {
    let open = || weighted(endpoints);
    let first = at_share(open, fraction(random))?;
    let others = || open().filter(move |(index, _)| *index != first);
    let Some(second) = at_share(others, fraction(mix(random))) else {
        return Some(first);
    };
    let load_of = |index: usize| endpoints[index].map(load);
    Some(if load_of(second) < load_of(first) {
        second
    } else {
        first
    })
}

/// The endpoints that may be taken, with their weights.
fn weighted(endpoints: &[Option<Candidate>]) -> impl Iterator<Item = (usize, f64)> {
    let weight = |(index, one): (usize, &Option<Candidate>)| Some((index, (*one)?.weight));
    endpoints.iter().enumerate().filter_map(weight)
}

/// The one in whose share of all weights `point` lies, which is from 0 to 1.
fn at_share<I: Iterator<Item = (usize, f64)>>(open: impl Fn() -> I, point: f64) -> Option<usize> {
    let all: f64 = open().map(|(_, weight)| weight).sum();
    let mut left = point * all;
    for (index, weight) in open() {
        left -= weight;
        if left < 0.0 {
            return Some(index);
        }
    }
    // What rounding left over is the last one's.
    open().last().map(|(index, _)| index)
}

/// The endpoint that scores highest for the key among those that have at most [`SHARE_MAX`] of what an
/// even spread would give them: an endpoint that comes or goes moves only its own keys, and one key that
/// everybody asks for does not drown its endpoint (consistent hashing with bounded loads).
fn by_key(endpoints: &[Option<Candidate>], key: u64) -> Option<usize> {
    let open = || {
        endpoints
            .iter()
            .enumerate()
            .filter_map(|(index, one)| Some((index, (*one)?)))
    };
    let streams: usize = open().map(|(_, endpoint)| endpoint.open_streams).sum();
    let weights: f64 = open().map(|(_, endpoint)| endpoint.weight).sum();
    let has_room = |endpoint: Candidate| {
        let even = count(streams + 1) * endpoint.weight / weights;
        count(endpoint.open_streams + 1) <= (SHARE_MAX * even).ceil()
    };
    open()
        .filter(|(_, endpoint)| has_room(*endpoint))
        .max_by(|(_, one), (_, other)| score(*one, key).total_cmp(&score(*other, key)))
        .map(|(index, _)| index)
}

/// How much of an even share an endpoint may have before its keys go elsewhere.
const SHARE_MAX: f64 = 1.25;

/// Weighted rendezvous hashing: the share of keys for which an endpoint scores highest is its weight's.
fn score(endpoint: Candidate, key: u64) -> f64 {
    endpoint.weight / -fraction(mix(endpoint.id ^ mix(key))).ln()
}

/// The bits as a number between 0 and 1, and neither of them.
#[expect(clippy::cast_precision_loss, reason = "53 bits fit")]
fn fraction(bits: u64) -> f64 {
    ((bits >> 11) as f64 + 0.5) / (1_u64 << 53) as f64
}

/// Spreads every bit over all (the finalizer of `SplitMix64`).
fn mix(value: u64) -> u64 {
    let value = (value ^ (value >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    value ^ (value >> 31)
}

/// The load that it would have with one stream more: so weights count from the first stream on.
fn load(endpoint: Candidate) -> f64 {
    count(endpoint.open_streams + 1) / endpoint.weight
}

#[expect(clippy::cast_precision_loss, reason = "nobody has 2^53 streams")]
fn count(streams: usize) -> f64 {
    streams as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoints(loads: &[(usize, u32)]) -> Vec<Option<Candidate>> {
        let candidate = |(index, &(open_streams, weight)): (usize, &(usize, u32))| {
            (weight > 0).then_some(Candidate {
                open_streams,
                weight: f64::from(weight),
                priority: 0,
                id: 1000 + index as u64,
            })
        };
        loads.iter().enumerate().map(candidate).collect()
    }

    fn draw(turn: usize) -> Draw {
        Draw {
            turn,
            tried: 0,
            random: mix(turn as u64),
            key: turn as u64,
        }
    }

    #[test]
    fn each_in_turn_and_the_least_loaded() {
        use Method::{LeastStreams, RoundRobin};
        type Row = (Method, &'static [(usize, u32)], usize, Option<usize>);
        // Loads and weights; weight 0 must not be taken.
        let rows: &[Row] = &[
            (RoundRobin, &[], 0, None),
            (RoundRobin, &[(0, 0), (0, 0)], 1, None),
            (RoundRobin, &[(9, 1), (0, 1), (0, 1)], 0, Some(0)),
            (RoundRobin, &[(9, 1), (0, 1), (0, 1)], 4, Some(1)),
            (RoundRobin, &[(9, 1), (0, 0), (0, 1)], 1, Some(2)),
            (RoundRobin, &[(0, 1), (0, 0), (0, 1)], 3, Some(2)),
            (LeastStreams, &[], 0, None),
            (LeastStreams, &[(2, 1), (1, 1), (3, 1)], 0, Some(1)),
            (LeastStreams, &[(1, 1), (1, 1), (1, 1)], 2, Some(2)),
            (LeastStreams, &[(1, 1), (1, 1), (0, 0)], 2, Some(0)),
            (LeastStreams, &[(3, 4), (1, 1)], 0, Some(0)),
            (LeastStreams, &[(0, 1), (0, 2)], 0, Some(1)),
            (LeastStreams, &[(0, 1), (9, 10)], 0, Some(0)),
            (LeastStreams, &[(0, 1), (8, 10)], 0, Some(1)),
        ];
        for &(method, loads, turn, expected) in rows {
            let chosen = choose(method, &endpoints(loads), draw(turn));
            assert_eq!(chosen, expected, "{method:?} {loads:?} {turn}");
        }
    }

    #[test]
    fn turns_are_as_many_as_the_weights_and_spread_out() {
        let all = endpoints(&[(0, 5), (0, 1), (0, 0), (0, 2)]);
        let mut counts = [0_i32; 4];
        let mut in_a_row = 0;
        for turn in 0..800 {
            let chosen = choose(Method::RoundRobin, &all, draw(turn)).unwrap();
            counts[chosen] += 1;
            in_a_row = if chosen == 0 { in_a_row + 1 } else { 0 };
            assert!(in_a_row <= 4, "turn {turn}");
        }
        for (share, count) in [500, 100, 0, 200].into_iter().zip(counts) {
            assert!((count - share).abs() <= 2, "{counts:?}");
        }
    }

    #[test]
    fn what_one_endpoint_leaves_is_spread_over_the_others() {
        for (weights, shares) in [
            (&[(0, 1), (0, 1)][..], &[0, 600][..]),
            (&[(0, 1), (0, 1), (0, 1)], &[0, 300, 300]),
            (&[(0, 1), (0, 1), (0, 1), (0, 1)], &[0, 200, 200, 200]),
            (&[(0, 2), (0, 1), (0, 1)], &[0, 300, 300]),
            (&[(0, 3), (0, 2), (0, 1)], &[0, 400, 200]),
        ] {
            let all = endpoints(weights);
            let mut left = all.clone();
            left[0] = None;
            let chosen = |turn| choose(Method::RoundRobin, &all, draw(turn));
            let mut counts = vec![0_i32; all.len()];
            for turn in (0..).filter(|turn| chosen(*turn) == Some(0)).take(600) {
                let again = Draw {
                    tried: 1,
                    ..draw(turn)
                };
                counts[choose(Method::RoundRobin, &left, again).unwrap()] += 1;
            }
            for (share, count) in shares.iter().zip(&counts) {
                assert!((count - share).abs() <= 40, "{weights:?}: {counts:?}");
            }
        }
    }

    #[test]
    fn streams_are_as_many_as_the_weights() {
        for method in [Method::LeastStreams, Method::PowerOfTwo] {
            let mut all = endpoints(&[(0, 3), (0, 1), (0, 1)]);
            for turn in 0..500 {
                let chosen = choose(method, &all, draw(turn)).unwrap();
                all[chosen].as_mut().unwrap().open_streams += 1;
            }
            let loads: Vec<usize> = all.iter().flatten().map(|one| one.open_streams).collect();
            let is_near = |load: &usize, share| load.abs_diff(share) <= 25;
            assert!(is_near(&loads[0], 300), "{method:?}: {loads:?}");
            assert!(is_near(&loads[1], 100), "{method:?}: {loads:?}");
        }
    }

    #[test]
    fn a_later_priority_is_for_when_nobody_before_it_may_be_taken() {
        use Method::{Hash, LeastStreams, PowerOfTwo, RoundRobin};
        let mut all = endpoints(&[(0, 1), (9, 1), (9, 1)]);
        for (one, priority) in all.iter_mut().flatten().zip([20, 1, 2]) {
            one.priority = priority;
        }
        for method in [RoundRobin, LeastStreams, PowerOfTwo, Hash] {
            let mut left = all.clone();
            for expected in [Some(1), Some(2), Some(0), None] {
                for turn in 0..5 {
                    assert_eq!(choose(method, &left, draw(turn)), expected, "{method:?}");
                }
                if let Some(index) = expected {
                    left[index] = None;
                }
            }
        }
    }

    #[test]
    fn the_less_loaded_of_any_two_is_never_the_fullest() {
        assert_eq!(choose(Method::PowerOfTwo, &[], draw(1)), None);
        let one = endpoints(&[(0, 0), (5, 1)]);
        assert_eq!(choose(Method::PowerOfTwo, &one, draw(1)), Some(1));
        let three = endpoints(&[(1, 1), (9, 1), (2, 1)]);
        let mut chosen = [0; 3];
        for turn in 0..1000 {
            chosen[choose(Method::PowerOfTwo, &three, draw(turn)).unwrap()] += 1;
        }
        assert_eq!(chosen[1], 0);
        assert!(chosen[0] > 550 && chosen[2] > 250, "{chosen:?}");
    }

    #[test]
    fn keys_stay_where_they_are_when_an_endpoint_goes() {
        let all = endpoints(&[(0, 1), (0, 1), (0, 1), (0, 3)]);
        let mut fewer = all.clone();
        fewer[1] = None;
        let mut counts = [0; 4];
        for key in 0..6000 {
            let before = choose(Method::Hash, &all, draw(key)).unwrap();
            counts[before] += 1;
            if before != 1 {
                assert_eq!(choose(Method::Hash, &fewer, draw(key)), Some(before));
            }
        }
        // Shares of 1, 1, 1 and 3 of 6.
        for (share, count) in [1000_i32, 1000, 1000, 3000].into_iter().zip(counts) {
            assert!((count - share).abs() < 150, "{counts:?}");
        }
    }

    #[test]
    fn one_key_does_not_drown_its_endpoint() {
        let mut all = endpoints(&[(0, 1), (0, 1), (0, 1), (0, 1)]);
        for _ in 0..400 {
            let chosen = choose(Method::Hash, &all, draw(7)).unwrap();
            all[chosen].as_mut().unwrap().open_streams += 1;
        }
        let loads: Vec<usize> = all.iter().flatten().map(|one| one.open_streams).collect();
        assert!(loads.iter().all(|load| *load <= 126), "{loads:?}");
        assert!(loads.contains(&125) || loads.contains(&126), "{loads:?}");
    }
}
