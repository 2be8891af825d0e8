//! Which content coding does a client get its stream in?
//!
//! The route's codings, the request's `Accept-Encoding` (RFC 9110 §12.5.3), and `no-transform` on either
//! side decide; then the process's budget.

use std::rc::Rc;

use http::{HeaderMap, HeaderValue, header};
use tracing::debug;

use super::{Exchange, Proxy, headers, negotiate::thousandths};
use crate::transcode::compress::{Coding, Compressor, Press, Settings};

/// The coding that the client wants most of those that the route has; of equals, the route's first.
pub(super) fn choose(settings: &Settings, request: &HeaderMap) -> Option<Coding> {
    if settings.codings.is_empty() || headers::forbids_transforming(request) {
        return None;
    }
    let accept = Accept::of(request);
    // What is not named at all is acceptable, and the last thing to be wanted.
    let mut best = (None, accept.named("identity").unwrap_or(0));
    for coding in settings.codings.iter().rev() {
        let quality = accept.quality(coding.name());
        if quality > 0 && quality >= best.1 {
            best = (Some(*coding), quality);
        }
    }
    best.0
}

impl Proxy {
    /// Makes a reply's fields those of its conversion, and the compressor that goes with them.
    pub(super) fn converted(
        &self,
        exchange: &Exchange,
        media_type: &'static str,
        fields: &mut HeaderMap,
    ) -> Option<Compressor> {
        let settings = &exchange.route.policy.compress;
        // Here the fields are still the reply's own.
        let compressor = open(&self.press, settings, exchange.coding, fields);
        headers::converted(fields, media_type);
        if let Some(compressor) = &compressor {
            let name = HeaderValue::from_static(compressor.coding().name());
            fields.insert(header::CONTENT_ENCODING, name);
        }
        compressor
    }
}

/// Makes the compressor of a converted reply, where nothing forbids it, and says in its fields that
/// another client may get another coding.
fn open(
    press: &Rc<Press>,
    settings: &Settings,
    wanted: Option<Coding>,
    reply: &mut HeaderMap,
) -> Option<Compressor> {
    if settings.codings.is_empty() || headers::forbids_transforming(reply) {
        return None;
    }
    headers::vary_by_accept_encoding(reply);
    let coding = wanted?;
    let compressor = press.compressor(coding, settings.window_log);
    if compressor.is_none() {
        debug!(
            coding = coding.name(),
            "What compressed streams may hold is spent; this one goes out plain."
        );
    }
    compressor
}

/// What a request says of codings: names in lower case, with their qualities in thousandths.
struct Accept(Vec<(String, u16)>);

impl Accept {
    fn of(request: &HeaderMap) -> Self {
        let members = headers::list(request, &header::ACCEPT_ENCODING);
        Self(members.map(read).collect())
    }

    /// How much it wants this coding; what it does not speak of, not at all.
    fn quality(&self, name: &str) -> u16 {
        self.named(name).or_else(|| self.named("*")).unwrap_or(0)
    }

    fn named(&self, name: &str) -> Option<u16> {
        let found = self.0.iter().find(|(named, _)| named == name);
        found.map(|(_, quality)| *quality)
    }
}

/// One member, such as `br;q=0.5`.
fn read(member: &str) -> (String, u16) {
    let (name, weight) = member.split_once(';').unwrap_or((member, ""));
    let quality = match weight.trim().split_once('=') {
        Some((q, value)) if q.trim().eq_ignore_ascii_case("q") => thousandths(value.trim()),
        _ => 1000,
    };
    let name = name.trim().to_ascii_lowercase();
    // RFC 9110 §8.4.1.3 has them mean the same.
    let name = if name == "x-gzip" {
        "gzip".to_owned()
    } else {
        name
    };
    (name, quality)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transcode::compress::Budget;

    fn settings(codings: &[Coding]) -> Settings {
        Settings {
            codings: codings.to_vec(),
            ..Settings::default()
        }
    }

    fn request(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn the_client_says_what_it_wants_and_the_route_decides_among_equals() {
        use Coding::{Brotli, Gzip, Zstd};
        let all = &[Zstd, Brotli, Gzip][..];
        let rows: &[(&[Coding], Option<&'static str>, Option<Coding>)] = &[
            (&[], Some("gzip"), None),
            (all, None, None),
            (all, Some(""), None),
            (all, Some("deflate, compress"), None),
            (all, Some("gzip, deflate, br, zstd"), Some(Zstd)),
            (&[Gzip, Zstd], Some("gzip, deflate, br, zstd"), Some(Gzip)),
            (all, Some("gzip, deflate"), Some(Gzip)),
            (all, Some("GZip"), Some(Gzip)),
            (all, Some("x-gzip"), Some(Gzip)),
            (all, Some("gzip;q=1, zstd;q=0.9, br;q=0.95"), Some(Gzip)),
            (all, Some("gzip;q=0.8,br ; Q=0.801"), Some(Brotli)),
            (all, Some("zstd;q=0, br;q=0.000, gzip;q=0.001"), Some(Gzip)),
            (&[Zstd], Some("zstd;q=0"), None),
            (all, Some("*"), Some(Zstd)),
            (all, Some("zstd;q=0, *"), Some(Brotli)),
            (all, Some("*;q=0.5, gzip"), Some(Gzip)),
            (all, Some("*;q=0, gzip;q=0.5"), Some(Gzip)),
            (all, Some("*;q=0"), None),
            (all, Some("identity"), None),
            (all, Some("identity, gzip;q=0.5"), None),
            (all, Some("identity;q=0.5, gzip;q=0.5"), Some(Gzip)),
            (all, Some("identity;q=0, gzip;q=0.1"), Some(Gzip)),
            (&[Zstd], Some("identity;q=0, gzip"), None),
            (all, Some("gzip;q=x"), Some(Gzip)),
            (all, Some(",, gzip ,"), Some(Gzip)),
        ];
        for (codings, accept, chosen) in rows {
            let fields: Vec<_> = accept
                .iter()
                .map(|accept| ("accept-encoding", *accept))
                .collect();
            let found = choose(&settings(codings), &request(&fields));
            assert_eq!(found, *chosen, "{codings:?} {accept:?}");
        }
        let lines = [("accept-encoding", "gzip;q=0.5"), ("accept-encoding", "br")];
        assert_eq!(choose(&settings(all), &request(&lines)), Some(Brotli));
    }

    #[test]
    fn no_transform_is_obeyed_on_both_sides() {
        let press = Rc::new(Press::new(Budget::new(usize::MAX)));
        let settings = settings(&[Coding::Gzip]);
        for (control, is_compressed) in [
            ("no-cache", true),
            ("no-transformation, x=no-transform", true),
            ("no-transform", false),
            ("no-cache, No-Transform", false),
        ] {
            let fields = [("accept-encoding", "gzip"), ("cache-control", control)];
            let chosen = choose(&settings, &request(&fields));
            assert_eq!(chosen.is_some(), is_compressed, "{control}");
            let mut reply = request(&[("cache-control", control)]);
            let opened = open(&press, &settings, Some(Coding::Gzip), &mut reply);
            assert_eq!(opened.is_some(), is_compressed, "{control}");
            assert_eq!(reply.contains_key("vary"), is_compressed, "{control}");
        }
    }

    #[test]
    fn what_could_have_been_compressed_varies() {
        let press = Rc::new(Press::new(Budget::new(0)));
        for (codings, wanted, vary) in [
            (&[Coding::Gzip][..], Some(Coding::Gzip), "Accept-Encoding"),
            (&[Coding::Gzip], None, "Accept-Encoding"),
            (&[], None, ""),
        ] {
            let mut reply = HeaderMap::new();
            assert!(open(&press, &settings(codings), wanted, &mut reply).is_none());
            let said = reply.get("vary").map_or("", |vary| vary.to_str().unwrap());
            assert_eq!(said, vary);
        }
    }
}
