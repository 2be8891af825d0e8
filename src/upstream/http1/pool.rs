//! Which connections to an endpoint wait for their next request?

use std::{
    cell::RefCell,
    collections::VecDeque,
    task::{Context, Poll},
    time::Duration,
};

use tokio::{task::unconstrained, time::Instant};

use super::connection::Connection;

/// How long a connection is kept without a request.
const IDLE: Duration = Duration::from_mins(1);
/// How many idle connections are kept, for each endpoint and worker.
const IDLE_CONNECTIONS_MAX: usize = 128;

/// The idle connections to one endpoint, in one worker; the one used last is taken first.
#[derive(Default)]
pub(crate) struct Pool {
    idle: RefCell<VecDeque<Idle>>,
}

/// A connection that waits for a request, and since when.
struct Idle {
    connection: Connection,
    since: Instant,
}

impl Pool {
    /// Takes a connection that is still open as far as can be told.
    pub(crate) async fn take(&self) -> Option<Connection> {
        let found = std::future::poll_fn(|cx| {
            while let Some(mut connection) = self.pop() {
                if connection.poll_is_quiet(cx) {
                    return Poll::Ready(Some(connection));
                }
            }
            Poll::Ready(None)
        });
        // A task that has used up its budget would find every connection quiet.
        unconstrained(found).await
    }

    fn pop(&self) -> Option<Connection> {
        let idle = self.idle.borrow_mut().pop_back()?;
        Some(idle.connection)
    }

    /// Keeps a connection whose last reply has ended.
    pub(super) fn put(&self, mut connection: Connection) {
        connection.reuse();
        let since = Instant::now();
        let mut idle = self.idle.borrow_mut();
        idle.push_back(Idle { connection, since });
        if idle.len() > IDLE_CONNECTIONS_MAX {
            idle.pop_front();
        }
    }

    /// Closes all that is idle.
    pub(crate) fn clear(&self) {
        self.idle.take();
    }

    /// Closes what has been idle for too long and what the endpoint has closed.
    pub(crate) fn sweep(&self, cx: &mut Context<'_>, now: Instant) {
        self.idle.borrow_mut().retain_mut(|idle| {
            now.duration_since(idle.since) < IDLE && idle.connection.poll_is_quiet(cx)
        });
    }
}
