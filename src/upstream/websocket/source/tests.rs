//! Do the frames of a server become records and endings, and are its pings answered?

use std::future::poll_fn;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};

use super::*;
use crate::transcode::framing::{DecodeError, EndOfInput, Opening};

const MAX: usize = 200;

/// A frame of the server, which masks nothing. `first` is the byte of flags and kind.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let length = u8::try_from(payload.len()).unwrap();
    let mut frame = match length {
        0..=125 => vec![first, length],
        _ => vec![first, 126, 0, length],
    };
    frame.extend_from_slice(payload);
    frame
}

fn open(send: &[&str]) -> (WebSocketSource<DuplexStream>, DuplexStream) {
    let (ours, theirs) = duplex(64 * 1024);
    let send: Vec<String> = send.iter().map(|text| (*text).to_owned()).collect();
    (WebSocketSource::new(ours, &send, MAX), theirs)
}

/// The records of one stream, and how it ended.
type Outcome = (Vec<Vec<u8>>, Result<EndOfInput, SourceError>);

async fn outcome(source: &mut WebSocketSource<DuplexStream>) -> Outcome {
    let mut decoder = (parcels::FRAMING.decoder)(&Opening {
        record_bytes_max: MAX,
        content_type: "",
    });
    let mut records = Vec::new();
    let mut scratch = vec![0; 1024];
    loop {
        match poll_fn(|cx| source.poll_fill(cx, &mut scratch)).await {
            Ok(Fill::Bytes(bytes)) => {
                let mut input = &bytes[..];
                loop {
                    let mut rest = input;
                    let Some(record) = decoder.next(&mut rest).unwrap() else {
                        break;
                    };
                    records.push(record.data.unwrap().to_vec());
                    input = &input[input.len() - rest.len()..];
                }
            }
            Ok(Fill::End { end, .. }) => return (records, Ok(end)),
            Ok(Fill::Scratch(_)) => panic!("records are copied"),
            Err(error) => return (records, Err(error)),
        }
    }
}

/// What comes of these bytes, and of the end of the connection behind them.
async fn check(bytes: &[u8]) -> Outcome {
    let (mut source, mut server) = open(&[]);
    server.write_all(bytes).await.unwrap();
    server.shutdown().await.unwrap();
    outcome(&mut source).await
}

/// The frames that the client has sent, unmasked: kind and payload.
async fn sent(server: &mut DuplexStream) -> Vec<(u8, Vec<u8>)> {
    let mut bytes = Vec::new();
    server.read_to_end(&mut bytes).await.unwrap();
    let (mut frames, mut rest) = (Vec::new(), &bytes[..]);
    while let [first, length, ..] = *rest {
        assert_eq!(length & 0x80, 0x80, "a client masks");
        let length = usize::from(length & 0x7F);
        let (mask, payload) = rest[2..6 + length].split_at(4);
        let unmasked = payload.iter().zip(mask.iter().cycle()).map(|(a, b)| a ^ b);
        frames.push((first, unmasked.collect()));
        rest = &rest[6 + length..];
    }
    frames
}

fn bad(reason: &'static str) -> Result<EndOfInput, SourceError> {
    let framing = "websocket";
    Err(DecodeError::BadFraming { framing, reason }.into())
}

#[tokio::test]
async fn messages_become_records_however_they_are_framed_and_cut() {
    let long = [b'x'; MAX];
    let stream = [
        frame(0x81, b"text"),
        frame(0x82, b"\x00\xFF"),
        frame(0x01, b"frag\xC3"),
        frame(0x89, b"ping inside"),
        frame(0x00, b"\xBCm"),
        frame(0x80, b"ents"),
        frame(0x8A, b""),
        frame(0x81, b""),
        frame(0x81, &long),
        frame(0x88, &1000_u16.to_be_bytes()),
    ]
    .concat();
    let records = [
        &b"text"[..],
        b"\x00\xFF",
        "fragüments".as_bytes(),
        b"",
        &long,
    ];
    for size in [1, 2, 3, 7, 64, stream.len()] {
        let (mut source, mut server) = open(&[]);
        let mut got = Vec::new();
        let pieces = async {
            for piece in stream.chunks(size) {
                server.write_all(piece).await.unwrap();
                tokio::task::yield_now().await;
            }
        };
        let read = async { got.push(outcome(&mut source).await) };
        tokio::join!(pieces, read);
        let (datas, end) = got.pop().unwrap();
        assert_eq!(datas, records, "pieces of {size}");
        assert_eq!(end, Ok(EndOfInput::Verified));
        drop(source);
        let pong = (0x8A, b"ping inside".to_vec());
        let close = (0x88, 1000_u16.to_be_bytes().to_vec());
        assert_eq!(sent(&mut server).await, [pong, close], "pieces of {size}");
    }
}

#[tokio::test]
async fn the_close_code_is_the_ending() {
    let closed = |payload: &[u8]| [frame(0x81, b"last"), frame(0x88, payload)].concat();
    let with = |code: u16, reason: &str| [&code.to_be_bytes(), reason.as_bytes()].concat();
    for payload in [Vec::new(), with(1000, ""), with(1001, "bye")] {
        let (records, end) = check(&closed(&payload)).await;
        assert_eq!((records.len(), end), (1, Ok(EndOfInput::Verified)));
    }
    for (payload, message) in [
        (with(1011, ""), "it closed its WebSocket with 1011"),
        (
            with(4001, "no\n\"more\""),
            r#"it closed its WebSocket with 4001 ("no\n\"more\"")"#,
        ),
    ] {
        let (records, end) = check(&closed(&payload)).await;
        let reason = message.to_owned();
        assert_eq!(
            (records.len(), end),
            (1, Err(SourceError::Closed { reason }))
        );
    }
    let (records, end) = check(&frame(0x81, b"cut")).await;
    assert_eq!((records.len(), end), (1, Err(SourceError::Truncated)));
    let (records, end) = check(&[0x81, 5, b'h']).await;
    assert_eq!((records.len(), end), (0, Err(SourceError::Truncated)));
}

#[tokio::test]
async fn what_breaks_the_protocol_is_named_and_answered() {
    let rows: &[(&[u8], u16, Result<EndOfInput, SourceError>)] = &[
        (&[0xC1, 0], 1002, bad("a frame has reserved bits set")),
        (
            &[0x81, 0x81, 1, 2, 3, 4, 5],
            1002,
            bad("a frame of the server is masked"),
        ),
        (&[0x09, 0], 1002, bad("a control frame is fragmented")),
        (&[0x80, 0], 1002, bad("a frame continues no message")),
        (
            &[0x01, 0, 0x81, 0],
            1002,
            bad("a message begins inside another"),
        ),
        (&[0x83, 0], 1002, bad("a frame is of no known kind")),
        (&[0x8B, 0], 1002, bad("a frame is of no known kind")),
        (&[0x88, 1, 3], 1002, bad("a close frame holds half a code")),
        (
            &[0x81, 2, 0xC3, 0x28],
            1007,
            bad("a text message is not UTF-8"),
        ),
        (&[0x81, 1, 0xC3], 1007, bad("a text message is not UTF-8")),
    ];
    for (bytes, code, ending) in rows {
        let (mut source, mut server) = open(&[]);
        server.write_all(bytes).await.unwrap();
        assert_eq!(outcome(&mut source).await, (Vec::new(), ending.clone()));
        drop(source);
        let close = (0x88, code.to_be_bytes().to_vec());
        assert_eq!(sent(&mut server).await, [close], "{bytes:?}");
    }
}

#[tokio::test]
async fn a_message_over_the_limit_is_refused_by_its_length() {
    let too_large = DecodeError::RecordTooLarge {
        record_bytes_max: MAX,
    };
    let half = [b'x'; MAX / 2];
    let whole = [0x81, 126, 0, 201];
    let fragments = [frame(0x01, &half), frame(0x00, &half), frame(0x80, b"x")].concat();
    for bytes in [&whole[..], &fragments] {
        let (mut source, mut server) = open(&[]);
        server.write_all(bytes).await.unwrap();
        let ending = Err(too_large.clone().into());
        assert_eq!(outcome(&mut source).await, (Vec::new(), ending));
        drop(source);
        let close = (0x88, 1009_u16.to_be_bytes().to_vec());
        assert_eq!(sent(&mut server).await, [close]);
    }
}

#[tokio::test]
async fn what_is_configured_is_sent_first_and_the_server_is_told_that_we_leave() {
    let (mut source, mut server) = open(&["one", "two"]);
    let mut scratch = [0; 16];
    poll_fn(|cx| {
        assert!(source.poll_fill(cx, &mut scratch).is_pending());
        Poll::Ready(())
    })
    .await;
    drop(source);
    let away = 1001_u16.to_be_bytes().to_vec();
    let frames = [
        (0x81, b"one".to_vec()),
        (0x81, b"two".to_vec()),
        (0x88, away),
    ];
    assert_eq!(sent(&mut server).await, frames);
}

#[tokio::test]
async fn pings_are_answered_for_a_client_that_takes_nothing() {
    let (mut source, mut server) = open(&[]);
    let message = frame(0x81, &[b'x'; 100]);
    let room = AHEAD_BYTES_MAX / message.len();
    for _ in 0..room / 2 {
        server.write_all(&message).await.unwrap();
        source.drive(&mut Context::from_waker(Waker::noop()));
    }
    server.write_all(&frame(0x89, b"there?")).await.unwrap();
    source.drive(&mut Context::from_waker(Waker::noop()));
    let mut pong = [0; 12];
    server.read_exact(&mut pong).await.unwrap();
    assert_eq!(pong[0], 0x8A);

    // But no more is read than may be held.
    for _ in 0..2 * room {
        let written = server.write_all(&message);
        if tokio::time::timeout(std::time::Duration::ZERO, written)
            .await
            .is_err()
        {
            break;
        }
        source.drive(&mut Context::from_waker(Waker::noop()));
    }
    let most = AHEAD_BYTES_MAX + 2 * DRIVEN_BYTES;
    assert!((AHEAD_BYTES_MAX..most).contains(&source.ahead.len()));
}
