//! Which endpoint of these loads?

/// How the next endpoint is chosen: `balance = "…"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Method {
    /// Each in turn.
    RoundRobin,
    /// The one with the fewest open streams; in turn where several are equal.
    #[default]
    LeastStreams,
}
