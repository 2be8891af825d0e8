//! How does an upgraded connection (WebSocket and others) cross the proxy?

use std::rc::Rc;

use http::{Response, StatusCode, header};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::copy_bidirectional;
use tracing::debug;

use super::{body::ResponseBody, ending::Ending, headers, link::StreamLink, record::Record};
use crate::{drain, upstream::UpgradeReply};

/// The client's 101, and the tunnel behind it as a task of its own: it ends when either side closes.
pub(super) fn open(
    client: OnUpgrade,
    reply: UpgradeReply,
    mut record: Record,
    watch: drain::Watch,
    link: Rc<StreamLink>,
) -> Response<ResponseBody> {
    let UpgradeReply {
        mut response,
        lease,
    } = reply;
    let upstream = hyper::upgrade::on(&mut response);
    let protocol = response.headers().get(header::UPGRADE).cloned();
    let (mut head, _) = response.into_parts();
    headers::strip_hop_by_hop(&mut head.headers);
    if let Some(protocol) = protocol {
        headers::upgrade_to(&mut head.headers, protocol);
    }
    record.to = "tunnel";
    record.endpoint = Some(lease.endpoint());
    record.status = Some(StatusCode::SWITCHING_PROTOCOLS);
    record.log_start();
    tokio::task::spawn_local(async move {
        // Moved in whole: what it says is logged when the tunnel ends.
        let mut record = record;
        let (_lease, _watch, _link) = (lease, watch, link);
        let (client, upstream) = match tokio::try_join!(client, upstream) {
            Ok(both) => both,
            Err(error) => {
                debug!(%error, "An upgrade did not come about.");
                record.ending = Ending::UpstreamError;
                return;
            }
        };
        let (mut client, mut upstream) = (TokioIo::new(client), TokioIo::new(upstream));
        record.ending = match copy_bidirectional(&mut client, &mut upstream).await {
            Ok((_, to_client)) => {
                record.bytes = to_client;
                Ending::Complete
            }
            Err(error) => {
                debug!(%error, "A tunnel was cut.");
                Ending::UpstreamTruncated
            }
        };
    });
    Response::from_parts(head, ResponseBody::empty())
}
