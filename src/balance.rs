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
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Candidate {
    /// Its open streams.
    pub open_streams: usize,
    /// How many streams it is to have beside others; at least 1.
    pub weight: u32,
    /// What tells it from the others, the same in every process.
    pub id: u64,
}

/// What decides besides the loads.
#[derive(Debug, Clone, Copy)]
pub struct Draw {
    /// Counts up with each choice.
    pub turn: usize,
    /// Anything.
    pub random: u64,
    /// The request's key, hashed; for [`Method::Hash`].
    pub key: u64,
}

/// Chooses one of `endpoints`, which are `None` where they must not be taken.
#[must_use]
pub fn choose(method: Method, endpoints: &[Option<Candidate>], draw: Draw) -> Option<usize> {
    match method {
        Method::RoundRobin => in_turn(endpoints, draw.turn),
        Method::LeastStreams => least_loaded(endpoints, draw.turn),
        Method::PowerOfTwo => less_loaded_of_two(endpoints, draw.random),
        Method::Hash => by_key(endpoints, draw.key),
    }
}

/// The endpoint whose turn it is; the next that may be taken where that one may not.
fn in_turn(endpoints: &[Option<Candidate>], turn: usize) -> Option<usize> {
    let weights = endpoints
        .iter()
        .flatten()
        .map(|endpoint| endpoint.weight as usize);
    let all: usize = weights.sum();
    let mut left = turn.checked_rem(all)?;
    for (index, endpoint) in endpoints.iter().enumerate() {
        let Some(endpoint) = endpoint else { continue };
        match left.checked_sub(endpoint.weight as usize) {
            Some(rest) => left = rest,
            None => return Some(index),
        }
    }
    None
}

fn least_loaded(endpoints: &[Option<Candidate>], turn: usize) -> Option<usize> {
    let count = endpoints.len();
    let from_turn = (0..count).map(|step| (turn + step) % count);
    let open = from_turn.filter_map(|index| Some((index, endpoints[index]?)));
    open.min_by(|(_, one), (_, other)| load(*one).total_cmp(&load(*other)))
        .map(|(index, _)| index)
}

fn less_loaded_of_two(endpoints: &[Option<Candidate>], random: u64) -> Option<usize> {
    let open = || {
        endpoints
            .iter()
            .enumerate()
            .filter_map(|(index, one)| Some((index, (*one)?)))
    };
    let count = open().count();
    let (first, second) = ((random >> 32) as usize, (random & 0xFFFF_FFFF) as usize);
    let first = first.checked_rem(count)?;
    // The second is another one, where there is another.
    let second = second
        .checked_rem(count - 1)
        .map_or(first, |step| (first + 1 + step) % count);
    let (one, other) = (open().nth(first)?, open().nth(second)?);
    Some(if load(other.1) < load(one.1) {
        other.0
    } else {
        one.0
    })
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
    let weights: f64 = open().map(|(_, endpoint)| f64::from(endpoint.weight)).sum();
    let has_room = |endpoint: Candidate| {
        let even = count(streams + 1) * f64::from(endpoint.weight) / weights;
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
    let mixed = mix(endpoint.id ^ mix(key));
    // Between 0 and 1, and neither of them.
    #[expect(clippy::cast_precision_loss, reason = "53 bits fit")]
    let fraction = ((mixed >> 11) as f64 + 0.5) / (1_u64 << 53) as f64;
    f64::from(endpoint.weight) / -fraction.ln()
}

/// Spreads every bit over all (the finalizer of `SplitMix64`).
fn mix(value: u64) -> u64 {
    let value = (value ^ (value >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    value ^ (value >> 31)
}

fn load(endpoint: Candidate) -> f64 {
    count(endpoint.open_streams) / f64::from(endpoint.weight)
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
                weight,
                id: 1000 + index as u64,
            })
        };
        loads.iter().enumerate().map(candidate).collect()
    }

    fn draw(turn: usize) -> Draw {
        Draw {
            turn,
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
            (RoundRobin, &[(0, 2), (0, 1)], 1, Some(0)),
            (RoundRobin, &[(0, 2), (0, 1)], 2, Some(1)),
            (LeastStreams, &[], 0, None),
            (LeastStreams, &[(2, 1), (1, 1), (3, 1)], 0, Some(1)),
            (LeastStreams, &[(1, 1), (1, 1), (1, 1)], 2, Some(2)),
            (LeastStreams, &[(1, 1), (1, 1), (0, 0)], 2, Some(0)),
            (LeastStreams, &[(3, 4), (1, 1)], 0, Some(0)),
        ];
        for &(method, loads, turn, expected) in rows {
            let chosen = choose(method, &endpoints(loads), draw(turn));
            assert_eq!(chosen, expected, "{method:?} {loads:?} {turn}");
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
