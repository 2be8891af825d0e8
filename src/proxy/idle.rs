//! Which connections of clients wait for their next request?

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    rc::Rc,
    task::{Context, Waker},
};

/// The idle connections of one worker. Those that have carried a request and wait for another hold descriptors that
/// newcomers may need.
#[derive(Debug, Default)]
pub struct IdleConnections {
    /// The first is the one that has been idle for longest.
    wakers: RefCell<BTreeMap<u64, Waker>>,
    entered: Cell<u64>,
}

/// A connection's place among those that are idle, left when dropped.
#[derive(Debug)]
pub struct IdlePlace {
    among: Rc<IdleConnections>,
    number: u64,
}

impl IdleConnections {
    /// Takes a place for the connection that the task serves; it is woken when the connection is dismissed.
    #[must_use]
    pub fn enter(self: &Rc<Self>, cx: &Context<'_>) -> IdlePlace {
        let number = self.entered.get();
        self.entered.set(number + 1);
        self.wakers.borrow_mut().insert(number, cx.waker().clone());
        IdlePlace {
            among: Rc::clone(self),
            number,
        }
    }

    /// Dismisses the connection that has been idle for longest; false where none is idle.
    pub fn dismiss(&self) -> bool {
        let longest = self.wakers.borrow_mut().pop_first();
        longest.map(|(_, waker)| waker.wake()).is_some()
    }
}

impl IdlePlace {
    /// Whether the connection is to go.
    #[must_use]
    pub fn is_dismissed(&self) -> bool {
        !self.among.wakers.borrow().contains_key(&self.number)
    }
}

impl Drop for IdlePlace {
    fn drop(&mut self) {
        self.among.wakers.borrow_mut().remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_one_that_has_been_idle_for_longest_goes_first() {
        let idle = Rc::new(IdleConnections::default());
        let cx = Context::from_waker(Waker::noop());
        assert!(!idle.dismiss());
        let [first, second, third] = [(); 3].map(|()| idle.enter(&cx));
        drop(second);
        assert!(idle.dismiss());
        assert!(first.is_dismissed() && !third.is_dismissed());
        let again = idle.enter(&cx);
        assert!(idle.dismiss());
        assert!(third.is_dismissed() && !again.is_dismissed());
        drop((first, third));
        assert!(idle.dismiss() && again.is_dismissed());
        assert!(!idle.dismiss());
    }
}
