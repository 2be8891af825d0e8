//! Do the endpoints answer when nobody else asks?
//!
//! Each endpoint is checked once in the process, whatever the number of workers, over a connection of its own
//! each time: that the endpoint takes new ones is part of the question.

use std::{sync::Arc, time::Duration};

use http::{HeaderValue, Request, StatusCode, header, uri::PathAndQuery};
use thiserror::Error;
use tokio::{
    task::JoinHandle,
    time::{sleep, timeout},
};
use tracing::debug;

use super::{
    CheckSettings, Connector, Member, Shared, attempt,
    connect::{ConnectError, Connected},
    http1::{self, Asked},
    http2,
    source::Scratch,
    upload::Upload,
};

/// How often an upstream is asked for its endpoints, which may change.
const FOLLOW: Duration = Duration::from_secs(1);
/// The latest that an endpoint is checked for the first time.
const FIRST_MAX: Duration = Duration::from_secs(1);
/// By how much the time between two checks varies, of itself: so that endpoints, and proxies that were
/// started together, drift apart.
const JITTER: f64 = 0.1;

/// The checks of the upstreams at work; dropped, they end.
pub struct Checks {
    scratch: Scratch,
    running: Vec<(Arc<Shared>, Task)>,
}

/// A task that ends when this is dropped.
struct Task(JoinHandle<()>);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Checks {
    /// Checks nothing yet; replies are read into `scratch`.
    #[must_use]
    pub fn new(scratch: Scratch) -> Self {
        Self {
            scratch,
            running: Vec::new(),
        }
    }

    /// Checks the endpoints of these upstreams, where they ask for it, and no others any more. To be called
    /// within a runtime of one thread.
    pub fn follow(&mut self, upstreams: &[Arc<Shared>]) {
        let stays = |shared: &Arc<Shared>| upstreams.iter().any(|one| Arc::ptr_eq(one, shared));
        self.running.retain(|(shared, _)| stays(shared));
        for shared in upstreams {
            let mut running = self.running.iter();
            let is_new = !running.any(|(one, _)| Arc::ptr_eq(one, shared));
            if let Some(check) = shared.settings.health.check.as_ref().filter(|_| is_new) {
                let checker = Checker {
                    connector: Connector::new(&shared.settings, shared.trust.as_ref()),
                    settings: check.clone(),
                    scratch: self.scratch.clone(),
                };
                let task = tokio::task::spawn_local(follow_members(Arc::clone(shared), checker));
                self.running.push((Arc::clone(shared), Task(task)));
            }
        }
    }
}

/// Checks the endpoints that the upstream has, as they come and go.
async fn follow_members(shared: Arc<Shared>, checker: Checker) {
    let mut running: Vec<(Arc<Member>, Task)> = Vec::new();
    loop {
        let members = shared.members();
        let stays = |member: &Arc<Member>| members.iter().any(|one| Arc::ptr_eq(one, member));
        running.retain(|(member, _)| stays(member));
        for member in members.iter() {
            if !running.iter().any(|(one, _)| Arc::ptr_eq(one, member)) {
                let check = checker.clone().check_again(Arc::clone(member));
                running.push((Arc::clone(member), Task(tokio::task::spawn_local(check))));
            }
        }
        sleep(FOLLOW).await;
    }
}

/// Checks the endpoints of one upstream.
#[derive(Clone)]
struct Checker {
    connector: Connector,
    settings: CheckSettings,
    scratch: Scratch,
}

/// Why a check failed.
#[derive(Debug, Error)]
enum CheckError {
    #[error("it took longer than {}", humantime::format_duration(*.0))]
    Timeout(Duration),
    #[error("connecting: {0}")]
    Connect(#[from] ConnectError),
    #[error("no reply")]
    NoReply,
    #[error("the reply's status is {}", .0.as_u16())]
    Status(StatusCode),
}

impl Checker {
    /// Checks one endpoint for as long as it is polled.
    async fn check_again(self, member: Arc<Member>) {
        let every = self.settings.every;
        sleep(every.min(FIRST_MAX).mul_f64(fastrand::f64())).await;
        loop {
            let limit = self.settings.timeout;
            let checked = timeout(limit, self.check(&member)).await;
            match checked.unwrap_or(Err(CheckError::Timeout(limit))) {
                // What we lack ourselves says nothing of the endpoint.
                Err(CheckError::Connect(error)) if error.is_ours() => {}
                Ok(()) => member.condition.checked(Ok(())),
                Err(error) => {
                    debug!(endpoint = member.label(), %error, "A check failed.");
                    member.condition.checked(Err(&error));
                }
            }
            sleep(every.mul_f64(1.0 + JITTER * (fastrand::f64() * 2.0 - 1.0))).await;
        }
    }

    async fn check(&self, member: &Member) -> Result<(), CheckError> {
        let connected = self.connector.connect(member).await?;
        let Some(path) = &self.settings.path else {
            return Ok(());
        };
        let status = self
            .ask(self.request(path, member), connected, member)
            .await;
        let status = status.ok_or(CheckError::NoReply)?;
        if !self.settings.status.contains(&status.as_u16()) {
            return Err(CheckError::Status(status));
        }
        Ok(())
    }

    fn request(&self, path: &PathAndQuery, member: &Member) -> Box<Request<Upload>> {
        let mut request = Request::new(Upload::none());
        *request.uri_mut() = path.clone().into();
        let host = self.settings.host.clone();
        let host = host.or_else(|| HeaderValue::try_from(member.address.authority()).ok());
        let fields = request.headers_mut();
        fields.extend(host.map(|host| (header::HOST, host)));
        fields.insert(header::USER_AGENT, HeaderValue::from_static(USER_AGENT));
        fields.insert(header::ACCEPT, HeaderValue::from_static("*/*"));
        Box::new(request)
    }

    /// The status of the reply; the connection is closed before any of its body is read.
    async fn ask(
        &self,
        request: Box<Request<Upload>>,
        connected: Connected,
        member: &Member,
    ) -> Option<StatusCode> {
        if connected.is_http2 {
            let pool = http2::Pool::default();
            let connection = pool.begin(connected.io).await.ok()?;
            let scheme = attempt::scheme(&member.address);
            let (head, _) = connection.send(request, scheme).await.ok()?;
            return Some(head.status);
        }
        let connection = http1::Connection::new(connected.io);
        let answer = connection.send(request, Asked::Other, &self.scratch);
        Some(answer.await.ok()?.head.parts.status)
    }
}

/// What checks call themselves.
const USER_AGENT: &str = concat!("weir/", env!("CARGO_PKG_VERSION"), " (health check)");
