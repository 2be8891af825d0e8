//! Do streams that are nearly sound get the same verdict, however they are cut?

use proptest::{
    collection::vec,
    prelude::{Just, ProptestConfig, Strategy, any, prop_oneof},
    prop_assert_eq, proptest,
    sample::{Index, select},
};

use super::{EndOfInput, FRAMINGS, check};

/// One thing that goes wrong on the way.
#[derive(Debug, Clone)]
enum Change {
    Replace(Index, u8),
    Insert(Index, u8),
    Remove(Index),
    Repeat(Index, Index),
    Cut(Index),
}

impl Change {
    fn apply(&self, stream: &mut Vec<u8>) {
        if stream.is_empty() {
            return;
        }
        match self {
            Self::Replace(at, byte) => {
                let at = at.index(stream.len());
                stream[at] = *byte;
            }
            Self::Insert(at, byte) => stream.insert(at.index(stream.len()), *byte),
            Self::Remove(at) => {
                stream.remove(at.index(stream.len()));
            }
            Self::Repeat(start, length) => {
                let start = start.index(stream.len());
                let end = start + length.index(stream.len() - start);
                let again = stream[start..end].to_vec();
                stream.splice(start..start, again);
            }
            Self::Cut(at) => stream.truncate(at.index(stream.len())),
        }
    }
}

fn change() -> impl Strategy<Value = Change> {
    let likely = select(b"\0\x01\x02\x80\xFF\r\n \"\\{}[],:;=-#0129".to_vec());
    let byte = prop_oneof![likely, any::<u8>()];
    let at = any::<Index>;
    prop_oneof![
        3 => (at(), byte.clone()).prop_map(|(at, byte)| Change::Replace(at, byte)),
        2 => (at(), byte).prop_map(|(at, byte)| Change::Insert(at, byte)),
        2 => at().prop_map(Change::Remove),
        1 => (at(), at()).prop_map(|(start, length)| Change::Repeat(start, length)),
        1 => at().prop_map(Change::Cut),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn every_cut_gets_the_same_verdict(
        changes in vec(change(), 1..5),
        cuts in vec(1..9_usize, 1..5),
        end in prop_oneof![Just(EndOfInput::Verified), Just(EndOfInput::Unverified)],
        record_bytes_max in prop_oneof![Just(1 << 20), 0..60_usize],
    ) {
        for framing in FRAMINGS.iter().filter(|framing| framing.name != "chunks") {
            let mut stream = framing.sample.to_vec();
            for change in &changes {
                change.apply(&mut stream);
            }
            let whole = check::decode(framing, &[&stream], end, record_bytes_max);
            let by_byte: Vec<_> = stream.chunks(1).collect();
            for chunks in [check::cut(&stream, &cuts), by_byte] {
                let outcome = check::decode(framing, &chunks, end, record_bytes_max);
                prop_assert_eq!(&outcome, &whole, "{:?} {}", framing, stream.escape_ascii());
            }
        }
    }
}
