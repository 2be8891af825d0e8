//! Where does a worker thread write before it hands over?

use std::cell::RefCell;

/// The most that a worker keeps when a huge event has passed through, in bytes.
const BYTES_KEPT: usize = 1024 * 1024;

/// What responses are written into, lent to one stream at a time and only for as long as that is polled.
#[derive(Debug, Default)]
pub struct Output(RefCell<Vec<u8>>);

impl Output {
    /// Lends the buffer, empty, for one poll.
    pub fn with<T>(&self, write: impl FnOnce(&mut Vec<u8>) -> T) -> T {
        let mut out = self.0.take();
        out.clear();
        let written = write(&mut out);
        if out.capacity() <= BYTES_KEPT {
            self.0.replace(out);
        }
        written
    }
}
