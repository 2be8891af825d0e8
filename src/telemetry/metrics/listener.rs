//! Who is connected to a listener, and until when are its certificates valid?

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use super::lock;

/// The counts of one listener, of all workers: connections are few beside the events that they carry.
#[derive(Debug, Default)]
pub struct ListenerMetrics {
    open: AtomicU64,
    http1: AtomicU64,
    http2: AtomicU64,
    certificates: Mutex<Vec<Certificate>>,
}

/// What operators want to know of a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// The first name that it is for.
    pub name: String,
    /// When it ends, or the first of its chain does, in seconds since 1970.
    pub ends_at: u64,
}

/// One connection, counted as open until it is dropped.
#[derive(Debug)]
pub struct OpenConnection(Arc<ListenerMetrics>);

impl ListenerMetrics {
    /// Counts a connection that has agreed on a version of HTTP.
    #[must_use]
    pub fn connected(self: &Arc<Self>, is_http2: bool) -> OpenConnection {
        let total = if is_http2 { &self.http2 } else { &self.http1 };
        total.fetch_add(1, Relaxed);
        self.open.fetch_add(1, Relaxed);
        OpenConnection(Arc::clone(self))
    }

    /// Says which certificates are in use now; of those of one name, the first to end counts.
    pub fn certify(&self, mut certificates: Vec<Certificate>) {
        certificates
            .sort_by(|one, other| (&one.name, one.ends_at).cmp(&(&other.name, other.ends_at)));
        certificates.dedup_by(|next, kept| next.name == kept.name);
        *lock(&self.certificates) = certificates;
    }

    pub(super) fn open(&self) -> u64 {
        self.open.load(Relaxed)
    }

    /// By version of HTTP.
    pub(super) fn totals(&self) -> [(&'static str, u64); 2] {
        let (http1, http2) = (self.http1.load(Relaxed), self.http2.load(Relaxed));
        [("1.1", http1), ("2", http2)]
    }

    pub(super) fn certificates(&self) -> Vec<Certificate> {
        lock(&self.certificates).clone()
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_certificates_of_one_name_the_first_to_end_counts() {
        let certificate = |name: &str, ends_at| Certificate {
            name: name.to_owned(),
            ends_at,
        };
        let metrics = ListenerMetrics::default();
        metrics.certify(vec![
            certificate("b", 7),
            certificate("a", 9),
            certificate("b", 5),
        ]);
        assert_eq!(
            metrics.certificates(),
            [certificate("a", 9), certificate("b", 5)]
        );
    }
}
