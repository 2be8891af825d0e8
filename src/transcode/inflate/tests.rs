//! Does every coding come undone, whole, in pieces and when it means harm?

use compression_codecs::{
    BrotliEncoder, DeflateEncoder, EncodeV2, GzipEncoder, ZlibEncoder, ZstdEncoder,
    brotli::params::EncoderParams, zstd::params::CParameter,
};
use compression_core::{
    Level,
    util::{PartialBuffer, WriteBuffer},
};

use super::Inflater;

/// Each coding with what writes it; `deflate` as it should be and as it often is.
fn codings() -> Vec<(&'static str, Box<dyn EncodeV2>)> {
    let level = Level::Fastest;
    vec![
        ("gzip", Box::new(GzipEncoder::new(level.into()))),
        ("deflate", Box::new(ZlibEncoder::new(level.into()))),
        ("Deflate", Box::new(DeflateEncoder::new(level.into()))),
        (
            "br",
            Box::new(BrotliEncoder::new(EncoderParams::default().quality(level))),
        ),
        ("zstd", Box::new(ZstdEncoder::new(1))),
    ]
}

/// Runs `step` with fresh room until it says that it is done, and returns all that it wrote.
fn drain(mut step: impl FnMut(&mut WriteBuffer<'_>) -> bool) -> Vec<u8> {
    let mut coded = Vec::new();
    loop {
        let mut room = [0; 4096];
        let mut buffer = WriteBuffer::new_initialized(&mut room);
        let is_done = step(&mut buffer);
        coded.extend_from_slice(buffer.written());
        if is_done {
            return coded;
        }
    }
}

/// `piece`, coded and flushed as a streaming sender does.
fn flushed(encoder: &mut dyn EncodeV2, piece: &[u8]) -> Vec<u8> {
    let mut plain = PartialBuffer::new(piece);
    let mut coded = drain(|room| {
        encoder.encode(&mut plain, room).unwrap();
        plain.unwritten().is_empty()
    });
    coded.extend(drain(|room| encoder.flush(room).unwrap()));
    coded
}

fn finished(encoder: &mut dyn EncodeV2) -> Vec<u8> {
    drain(|room| encoder.finish(room).unwrap())
}

fn pieces() -> Vec<Vec<u8>> {
    let text = |n: u32| format!("{{\"n\":{n},\"text\":\"{}\"}}\n", "ab".repeat(n as usize));
    let mut pieces: Vec<_> = (0..20).map(|n| text(n).into_bytes()).collect();
    let mut state = 1_u32;
    let noise = std::iter::repeat_with(|| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    });
    pieces.push(noise.take(100_000).collect());
    pieces.push(vec![b'x'; 300_000]);
    pieces.push(b"{\"last\":true}\n".to_vec());
    pieces
}

/// Undoes `coded`, given in pieces of `chunk_bytes`, with so much room at once.
fn inflate(name: &str, coded: &[u8], chunk_bytes: usize, room: usize) -> Result<Vec<u8>, String> {
    let mut inflater = Inflater::for_coding(name).unwrap();
    let mut plain = Vec::new();
    for mut chunk in coded.chunks(chunk_bytes) {
        loop {
            let mut out = Vec::new();
            let outcome = inflater.push(&mut chunk, &mut out, room);
            assert!(out.len() <= room, "{name}");
            plain.extend_from_slice(&out);
            outcome.map_err(|error| error.to_string())?;
            if out.len() < room {
                assert!(chunk.is_empty(), "{name}");
                break;
            }
        }
    }
    if inflater.is_finished() {
        Ok(plain)
    } else {
        Err("cut".to_owned())
    }
}

#[test]
fn a_flushed_piece_is_available_at_once() {
    for (name, mut encoder) in codings() {
        let mut inflater = Inflater::for_coding(name).unwrap();
        assert!(inflater.is_finished(), "an empty body is whole");
        for piece in pieces() {
            let coded = flushed(encoder.as_mut(), &piece);
            let mut out = b"before".to_vec();
            inflater
                .push(&mut coded.as_slice(), &mut out, 1 << 20)
                .unwrap();
            assert!(
                out == [b"before", piece.as_slice()].concat(),
                "{name} {}",
                piece.len()
            );
            assert!(!inflater.is_finished());
        }
        let coded = finished(encoder.as_mut());
        let mut out = Vec::new();
        inflater
            .push(&mut coded.as_slice(), &mut out, 1 << 20)
            .unwrap();
        assert!(out.is_empty());
        assert!(inflater.is_finished(), "{name}");
    }
}

/// A decoder with a window of its own may stop when that is full, with nothing left of the input.
#[test]
fn a_long_run_is_available_at_once_whatever_its_length() {
    for bytes in (32_000..34_500)
        .step_by(7)
        .chain((64_000..110_000).step_by(611))
    {
        for (name, mut encoder) in codings() {
            let piece = vec![b'x'; bytes];
            let coded = flushed(encoder.as_mut(), &piece);
            let mut inflater = Inflater::for_coding(name).unwrap();
            let mut out = Vec::new();
            inflater
                .push(&mut coded.as_slice(), &mut out, 1 << 20)
                .unwrap();
            assert_eq!(out.len(), bytes, "{name}");
        }
    }
}

#[test]
fn every_cut_and_every_room_gives_the_same() {
    for (name, mut encoder) in codings() {
        let plain = pieces().concat();
        let mut coded = flushed(encoder.as_mut(), &plain);
        coded.extend(finished(encoder.as_mut()));
        for (chunk_bytes, room) in [
            (1, 1 << 16),
            (1, 7),
            (3, 1000),
            (4096, 1),
            (1 << 20, 65_536),
            (17, 32_768),
        ] {
            let got = inflate(name, &coded, chunk_bytes, room);
            assert!(
                got.as_ref() == Ok(&plain),
                "{name} {chunk_bytes} {room} {:?}",
                got.err()
            );
        }
    }
}

#[test]
fn a_cut_coding_is_not_finished() {
    for (name, mut encoder) in codings() {
        let mut coded = flushed(encoder.as_mut(), b"{\"a\":1}\n");
        coded.extend(finished(encoder.as_mut()));
        for length in 1..coded.len() {
            assert_eq!(
                inflate(name, &coded[..length], 5, 100),
                Err("cut".to_owned()),
                "{name} {length}"
            );
        }
        assert_eq!(inflate(name, &coded, 5, 100), Ok(b"{\"a\":1}\n".to_vec()));
    }
}

#[test]
fn members_and_frames_follow_each_other_where_they_may() {
    for (name, mut encoder) in codings() {
        let mut coded = flushed(encoder.as_mut(), b"a");
        coded.extend(finished(encoder.as_mut()));
        let twice = [coded.as_slice(), &coded].concat();
        for chunk_bytes in [1, 2, twice.len()] {
            let got = inflate(name, &twice, chunk_bytes, 100);
            match name {
                "gzip" | "zstd" => assert_eq!(got, Ok(b"aa".to_vec()), "{name}"),
                _ => assert!(got.unwrap_err().contains("bytes follow its end"), "{name}"),
            }
        }
    }
}

#[test]
fn other_bytes_are_refused_and_never_panic() {
    for (name, mut encoder) in codings() {
        let mut coded = flushed(encoder.as_mut(), &pieces().concat());
        coded.extend(finished(encoder.as_mut()));
        for at in (0..100).chain((100..coded.len()).step_by(19_973)) {
            let mut broken = coded.clone();
            broken[at] ^= 0x55;
            let _ = inflate(name, &broken, 4096, 65_536);
        }
    }
    assert!(inflate("gzip", b"{\"a\":1}\n", 100, 100).is_err());
    assert!(inflate("zstd", b"{\"a\":1}\n", 100, 100).is_err());
    assert!(inflate("br", b"\xFF\xFF\xFF\xFF", 100, 100).is_err());
    assert!(inflate("deflate", b"\xFF\xFF", 100, 100).is_err());
}

#[test]
fn a_gzip_of_other_bytes_is_refused_by_its_checksum() {
    let mut encoder = GzipEncoder::new(Level::Default.into());
    let mut coded = flushed(&mut encoder, b"{\"a\":1}\n");
    coded.extend(finished(&mut encoder));
    let checksum = coded.len() - 8;
    coded[checksum] ^= 1;
    let error = inflate("gzip", &coded, 100, 100).unwrap_err();
    assert_eq!(
        error,
        "the gzip coding cannot be undone: CRC computed does not match"
    );
}

#[test]
fn large_windows_are_refused() {
    for (window_log, is_refused) in [(23, false), (24, true), (27, true)] {
        let params = [CParameter::window_log(window_log)];
        let mut encoder = ZstdEncoder::new_with_params(3, &params);
        let coded = flushed(&mut encoder, b"{}\n");
        let mut inflater = Inflater::for_coding("zstd").unwrap();
        let outcome = inflater.push(&mut coded.as_slice(), &mut Vec::new(), 100);
        assert_eq!(outcome.is_err(), is_refused, "{window_log} {outcome:?}");
    }
    // WBITS of a large window, then 30.
    let error = inflate("br", &[0x11, 0x1E, 0, 0], 4, 100).unwrap_err();
    assert!(error.contains("more than 16 MiB"), "{error}");
}

#[test]
fn only_single_known_codings_are_undone() {
    for name in ["identity", "", "compress", "gzip, br", "gzip,", "dcb", "*"] {
        assert!(Inflater::for_coding(name).is_none(), "{name:?}");
    }
    for name in [" GZIP ", "x-gzip", "X-GZip", "Zstd"] {
        assert!(Inflater::for_coding(name).is_some(), "{name:?}");
    }
}
