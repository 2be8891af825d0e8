//! Which requests belong together?

use std::{hash::Hasher as _, net::IpAddr};

use fnv::FnvHasher;
use http::{HeaderName, Request, header};

/// What of a request sends it to the same endpoint as others: `hash = { … }`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HashBy {
    /// Who asks.
    Peer,
    /// A field's value.
    Header(HeaderName),
    /// A cookie's value.
    Cookie(String),
    /// The value of a parameter of the query, as it is written.
    Query(String),
}

/// A request's key, hashed; carried in its extensions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Key(pub(super) u64);

impl HashBy {
    /// The request's key; `None` where it has no such thing, so that any endpoint will do.
    #[must_use]
    pub fn key<B>(&self, request: &Request<B>, peer: Option<IpAddr>) -> Option<Key> {
        match self {
            Self::Peer => Some(match peer? {
                IpAddr::V4(ip) => Key(hash(&ip.octets())),
                IpAddr::V6(ip) => Key(hash(&ip.octets())),
            }),
            Self::Header(name) => Some(Key(hash(request.headers().get(name)?.as_bytes()))),
            Self::Cookie(name) => cookie(request, name).map(|value| Key(hash(value))),
            Self::Query(name) => {
                let mut parameters = request.uri().query()?.split('&');
                let value = parameters.find_map(|parameter| {
                    let (found, value) = parameter.split_once('=')?;
                    (found == name).then_some(value)
                });
                Some(Key(hash(value?.as_bytes())))
            }
        }
    }
}

fn cookie<'a, B>(request: &'a Request<B>, name: &str) -> Option<&'a [u8]> {
    let fields = request.headers().get_all(header::COOKIE).iter();
    let mut pairs = fields.flat_map(|field| field.as_bytes().split(|byte| *byte == b';'));
    pairs.find_map(|pair| {
        let rest = pair.trim_ascii().strip_prefix(name.as_bytes())?;
        rest.strip_prefix(b"=")
    })
}

/// The same in every process and every version, so that several balancers agree (FNV-1a).
pub(super) fn hash(bytes: &[u8]) -> u64 {
    let mut hasher = FnvHasher::default();
    hasher.write(bytes);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request() -> Request<()> {
        Request::get("/chat?room=7&user=a%20b&room=8")
            .header("x-user", "ann")
            .header("cookie", "a=1; session=xyz")
            .header("cookie", "sessions=no")
            .body(())
            .unwrap()
    }

    #[test]
    fn what_is_the_same_has_the_same_key() {
        let of = |bytes: &[u8]| Some(Key(hash(bytes)));
        let peer: Option<IpAddr> = Some("192.0.2.7".parse().unwrap());
        for (by, key) in [
            (HashBy::Peer, of(&[192, 0, 2, 7])),
            (
                HashBy::Header(HeaderName::from_static("x-user")),
                of(b"ann"),
            ),
            (HashBy::Header(HeaderName::from_static("x-room")), None),
            (HashBy::Cookie("session".into()), of(b"xyz")),
            (HashBy::Cookie("sess".into()), None),
            (HashBy::Query("room".into()), of(b"7")),
            (HashBy::Query("user".into()), of(b"a%20b")),
            (HashBy::Query("use".into()), None),
        ] {
            assert_eq!(by.key(&request(), peer), key, "{by:?}");
        }
        assert_eq!(HashBy::Peer.key(&request(), None), None, "a unix socket");
        assert_eq!(hash(b"foobar"), 0x8594_4171_F739_67E8, "FNV-1a, 64 bits");
    }
}
