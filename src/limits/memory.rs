//! Is there memory left for new streams?
//!
//! The allocator's own figure is compared with the budget, as it holds everything: what our streams keep,
//! and what hyper, HTTP/2 and TLS do.

use std::{
    sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use tikv_jemalloc_ctl::{epoch, stats};
use tracing::{info, warn};

use super::cgroup;

/// What the process may have allocated before new streams are refused.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum MemoryBudget {
    /// Four fifths of what the control group may use; no limit where that has none.
    #[default]
    Auto,
    /// No limit.
    Off,
    /// So many bytes.
    Bytes(u64),
}

/// The budget, and whether it is spent.
#[derive(Debug, Default)]
pub(super) struct Memory {
    /// 0 is no limit.
    budget_bytes: AtomicU64,
    is_spent: AtomicBool,
}

impl Memory {
    /// Makes it a budget of so many bytes from here on.
    pub(super) fn set_budget(&self, budget: MemoryBudget) {
        let bytes = match budget {
            MemoryBudget::Auto => cgroup::memory_max_bytes().map(|most| most / 5 * 4),
            MemoryBudget::Off => None,
            MemoryBudget::Bytes(bytes) => Some(bytes),
        };
        self.budget_bytes.store(bytes.unwrap_or(0), Relaxed);
    }

    /// The budget in bytes; `None` is no limit.
    pub(super) fn budget_bytes(&self) -> Option<u64> {
        Some(self.budget_bytes.load(Relaxed)).filter(|bytes| *bytes > 0)
    }

    /// Whether new streams are to be refused.
    pub(super) fn is_spent(&self) -> bool {
        self.is_spent.load(Relaxed)
    }

    /// Compares what is allocated with the budget. Gives the time until it is to be called again.
    pub(super) fn look(&self) -> Duration {
        let Some(budget_bytes) = self.budget_bytes() else {
            self.note(false, 0, 0);
            return LOOK_UNLIMITED;
        };
        let allocated_bytes = allocated_bytes();
        let was_spent = self.is_spent();
        // A little room before anybody is let in again, so that it does not go to and fro.
        let limit = budget_bytes - if was_spent { budget_bytes / 20 } else { 0 };
        self.note(allocated_bytes >= limit, allocated_bytes, budget_bytes);
        LOOK
    }

    fn note(&self, is_spent: bool, allocated_bytes: u64, budget_bytes: u64) {
        if self.is_spent.swap(is_spent, Relaxed) == is_spent {
            return;
        }
        if is_spent {
            warn!(
                allocated_bytes,
                budget_bytes, "The memory budget is spent; new streams are refused."
            );
        } else {
            info!(
                allocated_bytes,
                budget_bytes, "There is memory again; new streams are let in."
            );
        }
    }
}

/// How many bytes the process has allocated now; 0 where the allocator does not say.
pub(super) fn allocated_bytes() -> u64 {
    let allocated = epoch::advance().and_then(|_| stats::allocated::read());
    allocated.map_or(0, |bytes| bytes as u64)
}

/// How often a budget is looked after: what can be allocated in between is to fit beside it.
const LOOK: Duration = Duration::from_millis(250);

/// How often it is looked whether there is one.
const LOOK_UNLIMITED: Duration = Duration::from_secs(5);
