//! How much may all compressed streams of the process hold?

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

/// The memory that compressed streams share, counted by what each holds at most.
#[derive(Debug)]
pub struct Budget {
    bytes_max: AtomicUsize,
    /// Invariant: the sum of all grants; no grant takes it beyond `bytes_max`.
    granted_bytes: AtomicUsize,
}

/// One stream's part of the budget, given back on drop.
#[derive(Debug)]
pub(super) struct Grant {
    budget: Arc<Budget>,
    bytes: usize,
}

impl Budget {
    /// Makes a budget of so many bytes.
    #[must_use]
    pub fn new(bytes_max: usize) -> Arc<Self> {
        Arc::new(Self {
            bytes_max: AtomicUsize::new(bytes_max),
            granted_bytes: AtomicUsize::new(0),
        })
    }

    /// Makes it a budget of so many bytes from here on; what is granted stays granted.
    pub fn resize(&self, bytes_max: usize) {
        self.bytes_max.store(bytes_max, Ordering::Relaxed);
    }

    /// How many bytes may be granted.
    #[must_use]
    pub fn bytes_max(&self) -> usize {
        self.bytes_max.load(Ordering::Relaxed)
    }

    /// How many bytes are granted now.
    #[must_use]
    pub fn granted_bytes(&self) -> usize {
        self.granted_bytes.load(Ordering::Relaxed)
    }

    /// Grants so many bytes, if as many are left.
    pub(super) fn grant(self: &Arc<Self>, bytes: usize) -> Option<Grant> {
        let bytes_max = self.bytes_max.load(Ordering::Relaxed);
        let add = |granted: usize| {
            let sum = granted.checked_add(bytes)?;
            (sum <= bytes_max).then_some(sum)
        };
        self.granted_bytes
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, add)
            .ok()?;
        Some(Grant {
            budget: Arc::clone(self),
            bytes,
        })
    }
}

impl Drop for Grant {
    fn drop(&mut self) {
        self.budget
            .granted_bytes
            .fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grants_end_where_the_budget_does_and_come_back() {
        let budget = Budget::new(100);
        let first = budget.grant(60).unwrap();
        assert!(budget.grant(41).is_none() && budget.grant(usize::MAX).is_none());
        let second = budget.grant(40).unwrap();
        assert_eq!(budget.granted_bytes(), 100);
        assert!(budget.grant(1).is_none());
        drop(first);
        assert_eq!(budget.granted_bytes(), 40);
        let third = budget.grant(60).unwrap();
        budget.resize(50);
        drop(second);
        assert!(budget.grant(1).is_none(), "more is granted than there is");
        drop(third);
        assert_eq!(budget.granted_bytes(), 0);
        assert!(budget.grant(51).is_none() && budget.grant(50).is_some());
    }
}
