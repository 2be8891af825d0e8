//! How is an upstream asked, and how long is its reply waited for?

use std::{
    future::Future,
    pin::{Pin, pin},
    rc::Rc,
    time::Duration,
};

use http::Request;
use hyper::upgrade::OnUpgrade;
use tokio::time::{Instant, timeout, timeout_at};

use super::{admission, negotiate::Chosen, tunnel};
use crate::{
    error::{Kind, Refusal},
    upstream::{
        Reply, UpgradeReply, Upstream,
        upload::{Upload, UploadWatch},
    },
};

/// A reply on its way, within the route's time limit.
pub(super) type Answer = Pin<Box<dyn Future<Output = Result<Reply, Refusal>>>>;

/// The same, where the connection may become a tunnel.
pub(super) type UpgradeAnswer = Pin<Box<dyn Future<Output = Result<UpgradeReply, Refusal>>>>;

/// How the upstream is asked.
pub(super) enum Asking {
    /// The client's head waits for the reply's, however long that takes.
    Plain(Answer),
    /// The client's head waits for so long.
    Patient(Answer, Duration, Chosen),
    /// The connection may become a tunnel.
    Upgrade(UpgradeAnswer, OnUpgrade),
}

/// What came of asking the upstream.
pub(super) enum Outcome {
    /// It answered.
    Reply(Reply),
    /// It has not answered, and the route's patience is over: the client gets its head now.
    Silence(Chosen, Answer),
    /// It turned the connection into a tunnel.
    Tunnel(OnUpgrade, tunnel::Switched),
}

impl Asking {
    /// Waits for what comes of it.
    pub(super) async fn outcome(self) -> Result<Outcome, Refusal> {
        match self {
            Self::Plain(answer) => Ok(Outcome::Reply(answer.await?)),
            Self::Patient(mut answer, patience, chosen) => {
                match timeout(patience, &mut answer).await {
                    Ok(reply) => Ok(Outcome::Reply(reply?)),
                    Err(_) => Ok(Outcome::Silence(chosen, answer)),
                }
            }
            Self::Upgrade(answer, client) => Ok(match answer.await? {
                UpgradeReply::Switched { head, io, lease } => {
                    Outcome::Tunnel(client, tunnel::Switched { head, io, lease })
                }
                UpgradeReply::Refused(reply) => Outcome::Reply(reply),
            }),
        }
    }
}

/// Asks for a reply.
pub(super) fn send(
    upstream: Rc<Upstream>,
    request: Box<Request<Upload>>,
    limit: Duration,
) -> Answer {
    Box::pin(reply(upstream, request, limit))
}

async fn reply(
    upstream: Rc<Upstream>,
    request: Box<Request<Upload>>,
    limit: Duration,
) -> Result<Reply, Refusal> {
    let upload = request.body().watch();
    let reply = pin!(upstream.send(request));
    within_first_byte(limit, &upload, reply).await
}

/// Asks for what may become a tunnel.
pub(super) fn upgrade(
    upstream: Rc<Upstream>,
    request: Box<Request<Upload>>,
    limit: Duration,
) -> UpgradeAnswer {
    let upload = request.body().watch();
    Box::pin(async move {
        let reply = pin!(upstream.send_upgrade(request));
        within_first_byte(limit, &upload, reply).await
    })
}

/// Waits for a reply's head, for at most `limit` since the request's body last moved.
pub(super) async fn within_first_byte<T>(
    limit: Duration,
    upload: &UploadWatch,
    mut reply: Pin<&mut impl Future<Output = Result<T, Refusal>>>,
) -> Result<T, Refusal> {
    loop {
        let deadline = upload.moved_at() + limit;
        if let Ok(reply) = timeout_at(deadline, &mut reply).await {
            return reply.map_err(|refusal| blame(refusal, upload));
        }
        if upload.moved_at() + limit <= Instant::now() {
            upload.give_up();
            let limit = humantime::format_duration(limit);
            let detail = format!("the upstream did not answer within {limit}");
            return Err(Refusal::new(Kind::FirstByteTimeout, detail));
        }
    }
}

/// The refusal, but where the client's own body broke that.
fn blame(refusal: Refusal, upload: &UploadWatch) -> Refusal {
    if upload.is_too_large() {
        return admission::body_too_large();
    }
    if upload.is_broken() {
        let detail = "the request's body is malformed, or ended before its end";
        return Refusal::new(Kind::BadRequest, detail);
    }
    refusal
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size_of_future<A, B, C, F: Future>(_: fn(A, B, C) -> F) -> usize {
        size_of::<F>()
    }

    /// Each request has one for a while, and the pages that it has touched go to whatever has the same size next:
    /// at 8 KiB that would be the read buffers of HTTP/2, of which one page is enough otherwise.
    #[test]
    fn what_waits_for_a_reply_is_small() {
        let bytes = size_of_future(reply);
        assert!(bytes <= 1280, "{bytes}");
    }
}
