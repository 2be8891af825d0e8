//! Where does a run begin that has no corpus?

use libfuzzer_sys::fuzzer_mutate;

/// Changes an input as libFuzzer does; now and then begins with the `seed` of some number in its place.
///
/// So a run needs no files to begin with, and what it begins with is never older than the code.
pub fn mutate(
    data: &mut [u8],
    size: usize,
    max_size: usize,
    noise: u32,
    seed: impl FnOnce(usize) -> Vec<u8>,
) -> usize {
    let mut size = size;
    if noise.is_multiple_of(SELDOM) {
        let seed = seed((noise / SELDOM) as usize);
        size = seed.len().min(max_size);
        data[..size].copy_from_slice(&seed[..size]);
    }
    fuzzer_mutate(data, size, max_size)
}

/// One in how many inputs begins anew.
const SELDOM: u32 = 100;
