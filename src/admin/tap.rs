//! How does an operator see what a stream writes?
//!
//! As Server-Sent Events: events as the client gets them, and what is no event, cut as it was written, as
//! the data of one. What Weir itself has to say is in events whose names begin with `tap-`.

use std::{rc::Rc, sync::atomic::Ordering::Relaxed, time::Duration};

use bytes::Bytes;
use http::{Response, StatusCode};
use serde_json::json;
use tokio::{
    sync::mpsc,
    time::{MissedTickBehavior, interval},
};
use tracing::info;

use super::{
    Desk, feed,
    query::Parameters,
    reply::{self, Body, Left, give},
    streams,
};
use crate::proxy::streams::{Piece, Query, StreamId, Tapped, Tapping, tap};

/// How often it is told what was left out.
const EVERY: Duration = Duration::from_secs(1);

/// `GET /streams/ID/tap`
pub(super) async fn open(id: StreamId, parameters: &Parameters, desk: &Rc<Desk>) -> Response<Body> {
    if !desk.served().has_taps {
        let text = "taps show what streams carry, so they are off unless the file says [admin] tap = true\n";
        return reply::text(StatusCode::FORBIDDEN, text);
    }
    let Ok(place) = desk.watchers.clone().try_acquire_owned() else {
        return feed::too_many();
    };
    let (given, tapping) = tap(parameters.rate);
    let query = |reply| Query::Tap(id.number, given, reply);
    match desk.workers.ask(id.worker, query).await {
        Some(Tapped::Begun) => {}
        Some(Tapped::Unknown) => return streams::unknown(),
        Some(Tapped::Tunnel) => {
            let text = "this is a tunnel, and what it carries is not Weir's to read\n";
            return reply::text(StatusCode::CONFLICT, text);
        }
        Some(Tapped::TooMany) => return feed::too_many(),
        None => return streams::unanswered(id, desk),
    }
    info!(stream = %id, "An operator taps a stream.");
    let (sender, pieces) = mpsc::channel(1);
    tokio::task::spawn_local(async move {
        let _place = place;
        // An error means that the watcher has left, which ends the tap at the stream's side, too.
        let _ = copy(tapping, sender).await;
    });
    reply::events(pieces)
}

async fn copy(mut tapping: Tapping, sender: mpsc::Sender<Bytes>) -> Result<(), Left> {
    give(&sender, Bytes::from_static(b": tapped\n\n")).await?;
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut told = 0;
    loop {
        tokio::select! {
            piece = tapping.pieces.recv() => match piece {
                Some(piece) => give(&sender, event(&piece)).await?,
                None => break,
            },
            _ = ticks.tick() => {}
            () = sender.closed() => return Ok(()),
        }
        let missed = tapping.missed.load(Relaxed);
        if missed > told {
            told = missed;
            let missed = json!({ "missed": missed });
            give(
                &sender,
                format!("event: tap-missed\ndata: {missed}\n\n").into(),
            )
            .await?;
        }
    }
    let ending = tapping.ended.await.ok();
    let missed = tapping.missed.load(Relaxed);
    let end = json!({ "ending": ending, "missed": missed });
    give(&sender, format!("event: tap-end\ndata: {end}\n\n").into()).await
}

/// The copy as it goes out; comments stay comments.
fn event(piece: &Piece) -> Bytes {
    match piece {
        Piece::Event(bytes) if bytes.ends_with(b"\n\n") => bytes.clone(),
        // Heartbeats, and the time to wait before coming back: whoever reads by blank lines sees them, too.
        Piece::Event(bytes) => [&**bytes, b"\n"].concat().into(),
        Piece::Bytes(bytes) => {
            let text = String::from_utf8_lossy(bytes);
            let text = text.replace("\r\n", "\n").replace('\r', "\n");
            let lines = text.trim_end_matches('\n').split('\n');
            let mut event = String::new();
            lines.for_each(|line| event.extend(["data: ", line, "\n"]));
            event.push('\n');
            event.into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Bytes, Piece, event};

    #[test]
    fn what_is_no_event_becomes_the_data_of_one() {
        let check = |bytes: &'static [u8], expected: &str| {
            let event = event(&Piece::Bytes(Bytes::from_static(bytes)));
            assert_eq!(String::from_utf8_lossy(&event), expected);
        };
        let heartbeat = Piece::Event(Bytes::from_static(b":\n"));
        assert_eq!(&event(&heartbeat)[..], b":\n\n");
        check(b"{\"a\":1}\n", "data: {\"a\":1}\n\n");
        check(b"a\r\nb\rc", "data: a\ndata: b\ndata: c\n\n");
        check(b"\xff\n\n", "data: \u{fffd}\n\n");
    }
}
