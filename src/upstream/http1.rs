//! How is an HTTP/1.1 endpoint asked, and when is its connection kept?
//!
//! Our own reader and writer of messages: a silent reply holds no buffer, payload is read into the
//! thread's scratch and decoded where it lies, and an endless reply has no limit but those on its parts.
//! What is read and written is decided by `head`, `body`, `chunked` and `request`, which know no sockets.

mod body;
mod chunked;
mod connection;
mod fields;
mod head;
mod length;
mod pool;
mod request;
mod rewind;
mod sending;
mod source;
#[cfg(test)]
mod tests;

pub use self::rewind::Rewind;
pub(super) use self::{
    connection::{Answer, Connection, SendError},
    head::Asked,
    pool::Pool,
    source::Http1Source,
};

/// How many fields a head, or the trailers, may have.
const FIELDS_MAX: usize = 100;
