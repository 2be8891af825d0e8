//! Are replies read alike however they come, and requests written right?

mod body;
mod connection;
mod differential;
mod head;
mod request;
mod sending;

use http::HeaderMap;

use super::{
    body::Progress,
    head::{Asked, Head, HeadReader},
};

/// What was read of one reply.
#[derive(Debug, PartialEq, Eq)]
struct Read {
    status: u16,
    /// The fields, a line each.
    fields: String,
    body: String,
    /// The trailers, a line each.
    trailers: String,
    progress: Progress,
    /// How many bytes after the reply there are.
    left_over: usize,
    is_kept: bool,
}

/// Reads a reply from these pieces; the error is why there is none.
fn read<'a>(
    asked: Asked,
    pieces: impl IntoIterator<Item = &'a [u8]>,
) -> Result<Read, &'static str> {
    let mut reader = HeadReader::new(asked);
    let (mut head, mut body, mut left_over) = (None::<Head>, Vec::new(), 0);
    for piece in pieces {
        let mut piece = piece.to_vec();
        let mut at = 0;
        if head.is_none() {
            let Some((found, used)) = reader.feed(&piece)? else {
                continue;
            };
            (head, at) = (Some(found), used);
        }
        let Some(head) = &mut head else { continue };
        let rest = &mut piece[at..];
        let mut used = 0;
        if head.body.progress() == Progress::Going {
            let decoded = head.body.decode(rest);
            body.extend_from_slice(&rest[decoded.payload]);
            used = decoded.used;
        }
        left_over += rest.len() - used;
    }
    let mut head = head.ok_or("there is no whole head")?;
    let mut progress = head.body.progress();
    let mut trailers = None;
    if progress == Progress::Done {
        match head.body.take_trailers() {
            Ok(taken) => trailers = taken,
            Err(reason) => progress = Progress::Bad(reason),
        }
    }
    Ok(Read {
        status: head.parts.status.as_u16(),
        fields: lines(&head.parts.headers),
        body: String::from_utf8_lossy(&body).into_owned(),
        trailers: lines(&trailers.unwrap_or_default()),
        progress,
        left_over,
        is_kept: head.is_kept,
    })
}

/// Reads a reply whole, cut in two at every byte, and byte by byte: what is read must be the same.
fn read_every_way(asked: Asked, reply: &[u8]) -> Result<Read, &'static str> {
    let whole = read(asked, [reply]);
    let told = String::from_utf8_lossy(reply);
    for at in 1..reply.len() {
        let (first, second) = reply.split_at(at);
        let mut cut = read(asked, [first, second]);
        // What comes after a fault does not count.
        if let (Ok(cut), Ok(whole)) = (&mut cut, &whole)
            && cut.progress != Progress::Done
        {
            cut.left_over = whole.left_over;
        }
        assert_eq!(cut, whole, "{told:?}, cut at {at}");
    }
    let bytewise = read(asked, reply.chunks(1));
    assert_eq!(
        bytewise.map(|read| (read.body, read.trailers)),
        whole
            .as_ref()
            .map(|read| (read.body.clone(), read.trailers.clone()))
            .map_err(|reason| *reason),
        "{told:?}, byte by byte"
    );
    whole
}

fn lines(fields: &HeaderMap) -> String {
    let line = |(name, value): (&http::HeaderName, &http::HeaderValue)| {
        format!("{name}: {}\n", String::from_utf8_lossy(value.as_bytes()))
    };
    fields.iter().map(line).collect()
}
