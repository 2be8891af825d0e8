//! What does an encoder write?

use compression_core::util::WriteBuffer;

/// Runs `step` with fresh room until it says that it is done, and returns all that it wrote.
pub fn drain(mut step: impl FnMut(&mut WriteBuffer<'_>) -> bool) -> Vec<u8> {
    let mut coded = Vec::new();
    loop {
        let mut room = [0; 4096];
        let mut buffer = WriteBuffer::new_initialized(&mut room);
        let is_done = step(&mut buffer);
        coded.extend_from_slice(buffer.written());
        if is_done {
            return coded;
        }
    }
}
