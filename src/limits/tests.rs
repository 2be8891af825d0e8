//! Is every place given back, and does no limit let one too many in?

use std::{collections::HashMap, net::Ipv6Addr, num::NonZeroU32};

use proptest::prelude::*;

use super::*;

fn rate(every_ms: u64, burst: u32) -> Rate {
    Rate {
        every: Duration::from_millis(every_ms),
        burst: NonZeroU32::new(burst).unwrap(),
    }
}

fn limits(streams_max: Option<usize>) -> Arc<Limits> {
    Limits::new(Settings {
        streams_max,
        memory: MemoryBudget::Off,
        ..Settings::default()
    })
}

fn ip(number: u8) -> IpAddr {
    IpAddr::from([192, 0, 2, number])
}

fn kind(admitted: Result<Place, Refusal>) -> Option<Kind> {
    admitted.err().map(|refusal| refusal.kind)
}

#[derive(Debug, Clone)]
enum Step {
    Come { route: usize, peer: Option<u8> },
    Leave { index: usize },
    Reload { streams_max: Option<usize> },
}

fn step() -> impl Strategy<Value = Step> {
    let peer = prop_oneof![Just(None), (0..3_u8).prop_map(Some)];
    prop_oneof![
        4 => (0..2_usize, peer).prop_map(|(route, peer)| Step::Come { route, peer }),
        3 => any::<usize>().prop_map(|index| Step::Leave { index }),
        1 => prop_oneof![Just(None), (1..6_usize).prop_map(Some)]
            .prop_map(|streams_max| Step::Reload { streams_max }),
    ]
}

proptest! {
    /// Whatever comes, goes and is reloaded: what is counted is what is open, and each limit is kept.
    #[test]
    fn places_are_never_lost_and_never_given_twice(steps in prop::collection::vec(step(), 0..200)) {
        const PROCESS_MAX: usize = 7;
        const PEER_MAX: usize = 2;
        let limits = limits(Some(PROCESS_MAX));
        let gates = |streams_max| {
            ["a", "b"].map(|name| limits.gate(name, Admission {
                streams_max,
                streams_per_peer_max: Some(PEER_MAX),
                rate: None,
            }))
        };
        let mut streams_max = None;
        let mut doors = gates(streams_max);
        let mut open: Vec<(usize, Option<u8>, Place)> = Vec::new();
        for step in steps {
            match step {
                Step::Leave { index } if !open.is_empty() => {
                    open.swap_remove(index % open.len());
                }
                Step::Leave { .. } => {}
                Step::Reload { streams_max: most } => {
                    streams_max = most;
                    doors = gates(most);
                }
                Step::Come { route, peer } => {
                    let of_route = open.iter().filter(|(of, ..)| *of == route);
                    let of_peer = of_route.clone().filter(|(_, of, _)| *of == peer).count();
                    let is_full = open.len() >= PROCESS_MAX
                        || streams_max.is_some_and(|most| of_route.count() >= most);
                    let expected = if is_full {
                        Some(Kind::TooManyStreams)
                    } else if peer.is_some() && of_peer >= PEER_MAX {
                        Some(Kind::PeerTooManyStreams)
                    } else {
                        None
                    };
                    match doors[route].admit(peer.map(ip)) {
                        Ok(place) => {
                            prop_assert_eq!(expected, None);
                            open.push((route, peer, place));
                        }
                        Err(refusal) => prop_assert_eq!(Some(refusal.kind), expected),
                    }
                }
            }
            prop_assert_eq!(limits.process.streams.load(Relaxed), open.len());
            for (route, door) in doors.iter().enumerate() {
                let of_route = open.iter().filter(|(of, ..)| *of == route);
                prop_assert_eq!(door.route.open.streams.load(Relaxed), of_route.clone().count());
                let peers: HashMap<_, usize> = of_route
                    .filter_map(|(_, peer, _)| *peer)
                    .fold(HashMap::new(), |mut peers, peer| {
                        *peers.entry(peer).or_default() += 1;
                        peers
                    });
                prop_assert_eq!(door.route.open.peers.count(), peers.len());
            }
        }
        open.clear();
        prop_assert_eq!(limits.process.streams.load(Relaxed), 0);
        prop_assert!(doors.iter().all(|door| door.route.open.peers.count() == 0));
    }
}

#[test]
fn workers_never_share_the_last_place() {
    let limits = limits(None);
    let gate = limits.gate(
        "a",
        Admission {
            streams_max: Some(3),
            ..Admission::default()
        },
    );
    let most = AtomicUsize::new(0);
    let open = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..2000 {
                    let Ok(place) = gate.admit(None) else {
                        std::thread::yield_now();
                        continue;
                    };
                    let now = open.fetch_add(1, Relaxed) + 1;
                    most.fetch_max(now, Relaxed);
                    open.fetch_sub(1, Relaxed);
                    drop(place);
                }
            });
        }
    });
    assert!((1..=3).contains(&most.into_inner()));
    assert_eq!(gate.route.open.streams.load(Relaxed), 0);
    assert_eq!(limits.process.streams.load(Relaxed), 0);
}

#[tokio::test(start_paused = true)]
async fn a_peer_may_come_again_when_it_was_told_to_and_not_before() {
    let limits = limits(None);
    let admission = Admission {
        rate: Some(rate(1500, 2)),
        ..Admission::default()
    };
    let gate = limits.gate("a", admission);
    let come = || gate.admit(Some(ip(1)));
    assert!(come().is_ok() && come().is_ok());
    let refusal = come().unwrap_err();
    assert_eq!(refusal.kind, Kind::RateLimited);
    assert_eq!(refusal.retry_after_seconds, Some(2));
    assert!(gate.admit(Some(ip(2))).is_ok(), "another peer");
    assert!(gate.admit(None).is_ok(), "a peer without an address");
    tokio::time::advance(Duration::from_millis(1400)).await;
    assert_eq!(kind(come()), Some(Kind::RateLimited));
    // A generation with the same rate goes on counting, one with another begins anew.
    let same = limits.gate("a", admission);
    assert_eq!(kind(same.admit(Some(ip(1)))), Some(Kind::RateLimited));
    let other = Admission {
        rate: Some(rate(1500, 3)),
        ..admission
    };
    assert!(limits.gate("a", other).admit(Some(ip(1))).is_ok());
    tokio::time::advance(Duration::from_millis(600)).await;
    assert!(come().is_ok());
    assert_eq!(kind(come()), Some(Kind::RateLimited));
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_addresses_fills_a_bounded_table_and_locks_nobody_out() {
    let limits = PeerRate::new(rate(60_000, 1));
    let stranger = |network: u64| {
        let bits = u128::from(network) << 64 | u128::from(fastrand::u64(..));
        PeerKey::of(IpAddr::V6(Ipv6Addr::from_bits(bits)))
    };
    let known = PeerKey::of(IpAddr::from([192, 0, 2, 1]));
    assert!(limits.check(known).is_ok());
    for network in 0..2 * rate::PEERS_MAX as u64 {
        assert!(
            limits
                .check(stranger(0x2001_0db8_0000_0000 + network))
                .is_ok()
        );
    }
    assert!(limits.peers() <= rate::PEERS_MAX);
    assert!(limits.peers() > rate::PEERS_MAX / 2);
    assert!(limits.check(known).is_err(), "it is held as before");
    tokio::time::advance(Duration::from_mins(2)).await;
    limits.forget_quiet();
    assert_eq!(limits.peers(), 0);
    assert!(limits.check(known).is_ok());
}

#[test]
fn peers_are_ipv4_addresses_and_ipv6_networks() {
    let key = |text: &str| PeerKey::of(text.parse().unwrap());
    assert_eq!(key("2001:db8:0:1::1"), key("2001:db8:0:1:ffff::2"));
    assert_ne!(key("2001:db8:0:1::1"), key("2001:db8:0:2::1"));
    assert_eq!(key("::ffff:192.0.2.1"), key("192.0.2.1"));
    assert_ne!(key("192.0.2.1"), key("192.0.2.2"));
    assert_ne!(key("::1"), key("127.0.0.1"));
}

#[test]
fn a_spent_budget_refuses_until_there_is_some_room() {
    let limits = limits(None);
    let gate = limits.gate("a", Admission::default());
    let renew = |memory| {
        limits.renew(Settings {
            memory,
            ..Settings::default()
        });
        limits.look_at_memory()
    };
    assert!(gate.admit(None).is_ok());
    // Whatever this process has allocated, it is more than a byte.
    assert!(limits.allocated_bytes() > 1);
    renew(MemoryBudget::Bytes(1));
    let refusal = gate.admit(None).unwrap_err();
    assert_eq!(refusal.kind, Kind::OutOfMemory);
    assert!(
        refusal
            .retry_after_seconds
            .is_some_and(|seconds| seconds > 0)
    );
    assert_eq!(limits.memory_budget_bytes(), Some(1));
    renew(MemoryBudget::Bytes(1 << 50));
    assert!(gate.admit(None).is_ok());
    renew(MemoryBudget::Bytes(1));
    assert_eq!(kind(gate.admit(None)), Some(Kind::OutOfMemory));
    renew(MemoryBudget::Off);
    assert!(gate.admit(None).is_ok());
    assert_eq!(limits.memory_budget_bytes(), None);
}

#[test]
fn what_no_route_counts_any_more_is_forgotten() {
    let limits = limits(None);
    let gate = limits.gate("a", Admission::default());
    let place = gate.admit(None).unwrap();
    drop(gate);
    let renew = || limits.renew(Settings::default());
    renew();
    assert_eq!(lock(&limits.routes).len(), 1, "a stream is open");
    drop(place);
    renew();
    assert_eq!(lock(&limits.routes).len(), 0);
}
