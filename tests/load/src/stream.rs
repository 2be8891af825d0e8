//! How does an open stream go? It is read part by part, and judged when it ends.

use crate::{
    client::{Carrier, Client},
    clock::now_ns,
    http1::Http1,
    reader::Reader,
};

/// Why something ended that should have gone on, in words.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Cut(pub String);

impl From<std::io::Error> for Cut {
    fn from(error: std::io::Error) -> Self {
        Self(error.to_string())
    }
}

impl From<h2::Error> for Cut {
    fn from(error: h2::Error) -> Self {
        Self(error.to_string())
    }
}

/// What the head of a reply says that matters here.
#[derive(Debug)]
pub struct Head {
    /// The status code.
    pub status: u16,
    /// The media type as it stands there; empty without one.
    pub content_type: String,
    /// Whether the connection carries nothing after it.
    pub is_last: bool,
}

/// An open stream.
#[derive(Debug)]
pub struct Stream {
    /// Reads what comes.
    pub(crate) reader: Reader,
    /// Brings it.
    pub(crate) body: Body,
}

/// What brings a stream's parts.
#[derive(Debug)]
pub(crate) enum Body {
    Http1(Box<Http1>),
    Http2(h2::RecvStream),
}

impl Stream {
    /// How many records have come.
    #[must_use]
    pub fn events(&self) -> u64 {
        self.reader.events()
    }

    /// Waits for the next part and counts what is in it; `false` when the stream has ended well.
    ///
    /// # Errors
    /// When the stream is cut off, or ends inside an event.
    pub async fn part(&mut self, client: &Client) -> Result<bool, Cut> {
        let Self { reader, body } = self;
        let goes_on = match body {
            Body::Http1(http1) => {
                let mut take =
                    |bytes: &[u8]| reader.push(bytes, now_ns(), &mut client.tally.borrow_mut());
                http1.part(&client.scratch, &mut take).await?
            }
            Body::Http2(body) => match body.data().await.transpose()? {
                Some(bytes) => {
                    reader.push(&bytes, now_ns(), &mut client.tally.borrow_mut());
                    body.flow_control().release_capacity(bytes.len())?;
                    true
                }
                None => false,
            },
        };
        if !goes_on && !self.reader.is_between_events() {
            return Err(Cut("the stream ended inside an event".into()));
        }
        Ok(goes_on)
    }

    /// The connection, where it can carry another stream after this one.
    #[must_use]
    pub fn into_carrier(self) -> Option<Carrier> {
        match self.body {
            Body::Http1(http1) => http1.is_reusable().then_some(Carrier::Http1(http1)),
            Body::Http2(_) => None,
        }
    }
}
