//! How does an upgraded connection (WebSocket and others) cross the proxy?

mod frames;
mod side;

use std::{future::poll_fn, rc::Rc, task::Poll};

use http::{Response, StatusCode, header, response};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::copy_bidirectional;
use tracing::debug;

use self::side::{End, UpstreamSide};
use super::{
    body::ResponseBody, ending::Ending, headers, link::StreamLink, record::Record, streams::Written,
};
use crate::{
    drain,
    upstream::{Lease, Rewind},
};

/// An upstream's connection that has changed its protocol.
pub(super) struct Switched {
    pub(super) head: response::Parts,
    pub(super) io: Rewind,
    pub(super) lease: Lease,
}

/// The client's 101, and the tunnel behind it as a task of its own: it ends when either side closes.
pub(super) fn open(
    client: OnUpgrade,
    switched: Switched,
    mut record: Record,
    watch: drain::Watch,
    link: Rc<StreamLink>,
) -> Response<ResponseBody> {
    let Switched {
        mut head,
        io,
        lease,
    } = switched;
    let endpoint = lease.endpoint();
    let upstream = UpstreamSide::new(io, lease, &head.headers);
    let protocol = head.headers.get(header::UPGRADE).cloned();
    headers::strip_hop_by_hop(&mut head.headers);
    if let Some(protocol) = protocol {
        headers::upgrade_to(&mut head.headers, protocol);
    }
    record.write(Written::Tunnel);
    record.status.set(Some(StatusCode::SWITCHING_PROTOCOLS));
    record.answered(endpoint);
    record.begin(&watch);
    record.log_start();
    tokio::task::spawn_local(async move {
        // Moved in whole: what it says is logged when the tunnel ends.
        let mut record = record;
        let (mut upstream, _link) = (upstream, link);
        let mut watch = watch;
        let client = match client.await {
            Ok(client) => client,
            Err(error) => {
                debug!(%error, "An upgrade did not come about.");
                record.ending = Ending::UpstreamError;
                return;
            }
        };
        let mut client = TokioIo::new(client);
        let closed = poll_fn(|cx| {
            // Its place among those that are woken is all that a tunnel has to do with a drain.
            let _ = watch.poll(cx);
            if record.is_closed.get() {
                return Poll::Ready(());
            }
            Poll::Pending
        });
        let ending = tokio::select! {
            copied = copy_bidirectional(&mut client, &mut upstream) => {
                if let Err(error) = &copied {
                    debug!(%error, "A tunnel was cut.");
                }
                if let Ok((_, to_client)) = copied {
                    record.bytes.set(to_client);
                }
                match upstream.end() {
                    Some(End::Cut) => Ending::UpstreamTruncated,
                    // Where the upstream did nothing wrong, it was the client's side that failed.
                    Some(End::ByClient) | None if copied.is_err() => Ending::ClientGone,
                    Some(End::ByClient | End::Complete) | None => Ending::Complete,
                }
            }
            () = closed => Ending::Closed,
        };
        record.ending = ending;
    });
    Response::from_parts(head, ResponseBody::empty())
}
