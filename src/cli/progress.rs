//! How far is a long conversion?

use std::{
    fs::File,
    io::{self, IsTerminal, Read},
    os::fd::AsFd,
};

use indicatif::{ProgressBar, ProgressBarIter, ProgressStyle};

/// Standard input, which shows on standard error how much of it is read where that is of use: the one is
/// a file, so that its length is known, and the other a terminal that does not show the output as well.
#[must_use]
pub fn standard_input() -> Box<dyn Read> {
    let is_seen = io::stderr().is_terminal() && !io::stdout().is_terminal();
    match file_bytes().filter(|_| is_seen) {
        Some(bytes) => Box::new(shown(io::stdin(), bytes)),
        None => Box::new(io::stdin()),
    }
}

fn shown(input: impl Read, bytes: u64) -> ProgressBarIter<impl Read> {
    let style = "{percent:>3} % [{wide_bar}] {bytes} of {total_bytes}, {bytes_per_sec}, {eta} left";
    let style = ProgressStyle::with_template(style).expect("the test below reads it");
    let bar = ProgressBar::new(bytes).with_style(style);
    bar.with_finish(indicatif::ProgressFinish::AndClear)
        .wrap_read(input)
}

/// How long standard input is, where it is a file.
fn file_bytes() -> Option<u64> {
    let input = io::stdin().as_fd().try_clone_to_owned().ok()?;
    let metadata = File::from(input).metadata().ok()?;
    metadata.is_file().then_some(metadata.len())
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::shown;

    #[test]
    fn what_is_shown_is_what_was_read() {
        let mut input = shown(&b"twelve bytes"[..], 12);
        let mut text = String::new();
        input.read_to_string(&mut text).unwrap();
        assert_eq!(text, "twelve bytes");
        assert_eq!(input.progress.position(), 12);
    }
}
