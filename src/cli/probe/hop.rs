//! Which hop does it look like, and what is to be set there?

use std::fmt;

use http::HeaderMap;

/// What stands between, as far as fields of requests and responses tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hop {
    /// nginx, and what is built of it.
    Nginx,
    /// The Apache HTTP server.
    Apache,
    /// Envoy, and meshes built of it.
    Envoy,
    /// Caddy.
    Caddy,
    /// Varnish.
    Varnish,
    /// Squid, as forward proxies of companies often are.
    Squid,
    /// Microsoft's IIS with ARR.
    Iis,
    /// Weir.
    Weir,
    /// Cloudflare.
    Cloudflare,
    /// Amazon `CloudFront`.
    CloudFront,
    /// Fastly.
    Fastly,
    /// Akamai.
    Akamai,
    /// A load balancer of AWS.
    Aws,
    /// A load balancer of Google.
    Google,
}

/// What a hop does to streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// It holds back heads or events.
    Buffers,
    /// It compresses, and does not flush.
    Compresses,
    /// It cuts what is silent.
    CutsSilence,
    /// It makes cut streams look complete.
    HidesTruncation,
    /// It reads on although the client has left.
    IgnoresCancellation,
    /// It speaks HTTP/1.0 to what is behind it.
    SpeaksHttp10,
    /// It loses or changes what the client asked.
    ChangesRequest,
}

/// What each hop is known by: a field, and what its value holds, in lower case.
const MARKS: &[(Hop, &str, &str)] = &[
    (Hop::Cloudflare, "cf-ray", ""),
    (Hop::Cloudflare, "server", "cloudflare"),
    (Hop::CloudFront, "x-amz-cf-id", ""),
    (Hop::CloudFront, "via", "cloudfront"),
    (Hop::Fastly, "x-fastly-request-id", ""),
    (Hop::Fastly, "fastly-client-ip", ""),
    (Hop::Fastly, "x-served-by", "cache-"),
    (Hop::Akamai, "server", "akamai"),
    (Hop::Akamai, "akamai-origin-hop", ""),
    (Hop::Aws, "server", "awselb"),
    (Hop::Aws, "x-amzn-trace-id", ""),
    (Hop::Google, "via", "1.1 google"),
    (Hop::Google, "x-cloud-trace-context", ""),
    (Hop::Envoy, "server", "envoy"),
    (Hop::Envoy, "x-envoy-upstream-service-time", ""),
    (Hop::Envoy, "x-envoy-expected-rq-timeout-ms", ""),
    (Hop::Varnish, "x-varnish", ""),
    (Hop::Varnish, "via", "varnish"),
    (Hop::Nginx, "server", "nginx"),
    (Hop::Nginx, "server", "openresty"),
    (Hop::Apache, "server", "apache"),
    (Hop::Caddy, "server", "caddy"),
    (Hop::Caddy, "via", "caddy"),
    (Hop::Squid, "via", "squid"),
    (Hop::Squid, "server", "squid"),
    (Hop::Iis, "server", "microsoft-iis"),
    (Hop::Iis, "x-powered-by", "arr/"),
    (Hop::Weir, "via", "weir"),
];

/// What to set at a hop against a trouble; what does the one harm by nature has no row.
const ADVICE: &[(Hop, Trouble, &str)] = &[
    (
        Hop::Nginx,
        Trouble::Buffers,
        "proxy_buffering off; in the location, or X-Accel-Buffering: no on the response; over TLS also ssl_buffer_size 4k;",
    ),
    (
        Hop::Nginx,
        Trouble::Compresses,
        "gzip off; in the location, or text/event-stream out of gzip_types (and brotli_types)",
    ),
    (
        Hop::Nginx,
        Trouble::CutsSilence,
        "proxy_read_timeout 1h; in the location (60s by default)",
    ),
    (
        Hop::Nginx,
        Trouble::HidesTruncation,
        "proxy_http_version 1.1; and proxy_set_header Connection \"\"; (before 1.29.7 it speaks HTTP/1.0 upstream, where an end says nothing)",
    ),
    (
        Hop::Nginx,
        Trouble::IgnoresCancellation,
        "proxy_ignore_client_abort off;",
    ),
    (
        Hop::Nginx,
        Trouble::SpeaksHttp10,
        "proxy_http_version 1.1; and proxy_set_header Connection \"\";",
    ),
    (
        Hop::Apache,
        Trouble::Buffers,
        "flushpackets=on on the ProxyPass of the path",
    ),
    (
        Hop::Apache,
        Trouble::Compresses,
        "SetEnv no-gzip 1 (and no-brotli 1) for the path",
    ),
    (
        Hop::Apache,
        Trouble::CutsSilence,
        "timeout=3600 on the ProxyPass of the path, or ProxyTimeout",
    ),
    (
        Hop::Apache,
        Trouble::SpeaksHttp10,
        "take out SetEnv force-proxy-request-1.0",
    ),
    (
        Hop::Apache,
        Trouble::HidesTruncation,
        "take out SetEnv force-proxy-request-1.0",
    ),
    (
        Hop::Envoy,
        Trouble::Buffers,
        "no buffer filter on the route, and ext_proc with response_body_mode STREAMED",
    ),
    (
        Hop::Envoy,
        Trouble::Compresses,
        "text/event-stream out of the compressor's content_type",
    ),
    (
        Hop::Envoy,
        Trouble::CutsSilence,
        "timeout: 0s and idle_timeout: 0s on the route (15s, and stream_idle_timeout, by default)",
    ),
    (
        Hop::Caddy,
        Trouble::Buffers,
        "flush_interval -1 in reverse_proxy",
    ),
    (
        Hop::Caddy,
        Trouble::Compresses,
        "encode with a match that leaves out text/event-stream",
    ),
    (
        Hop::Caddy,
        Trouble::CutsSilence,
        "read_timeout of the transport (off by default)",
    ),
    (
        Hop::Caddy,
        Trouble::IgnoresCancellation,
        "no flush_interval -1: with it a request goes on when its client has left; text/event-stream is flushed without it",
    ),
    (
        Hop::Varnish,
        Trouble::Buffers,
        "set beresp.do_stream = true; or return (pipe); for the path",
    ),
    (
        Hop::Varnish,
        Trouble::Compresses,
        "set beresp.do_gzip = false; for text/event-stream",
    ),
    (
        Hop::Varnish,
        Trouble::CutsSilence,
        "between_bytes_timeout of the backend (60s by default)",
    ),
    (Hop::Squid, Trouble::CutsSilence, "read_timeout"),
    (
        Hop::Iis,
        Trouble::Buffers,
        "Response buffer threshold 0 in the server proxy settings of ARR (256 KB by default)",
    ),
    (
        Hop::Iis,
        Trouble::CutsSilence,
        "Time-out in the server proxy settings of ARR",
    ),
    (
        Hop::Iis,
        Trouble::Compresses,
        "text/event-stream out of dynamicTypes in httpCompression",
    ),
    (
        Hop::Weir,
        Trouble::CutsSilence,
        "heartbeat = { every = \"15s\" } on the route, and idle in its timeouts",
    ),
    (
        Hop::Cloudflare,
        Trouble::Buffers,
        "no Worker that reads the whole body; a tunnel streams text/event-stream only",
    ),
    (
        Hop::Cloudflare,
        Trouble::Compresses,
        "Cache-Control: no-transform on the response, or a compression rule",
    ),
    (
        Hop::Cloudflare,
        Trouble::CutsSilence,
        "heartbeats: its limit is 100 s without a byte, and only some plans can raise it",
    ),
    (
        Hop::CloudFront,
        Trouble::Buffers,
        "the cache policy CachingDisabled for the path",
    ),
    (
        Hop::CloudFront,
        Trouble::Compresses,
        "Compress objects automatically: no, for the path",
    ),
    (
        Hop::CloudFront,
        Trouble::CutsSilence,
        "the origin's response timeout (30s by default)",
    ),
    (
        Hop::CloudFront,
        Trouble::ChangesRequest,
        "the origin request policy AllViewer for the path",
    ),
    (
        Hop::Fastly,
        Trouble::Buffers,
        "set beresp.do_stream = true; and return (pass) for the path",
    ),
    (
        Hop::Fastly,
        Trouble::Compresses,
        "set beresp.gzip = false; for text/event-stream",
    ),
    (
        Hop::Fastly,
        Trouble::CutsSilence,
        "the backend's between bytes timeout",
    ),
    (
        Hop::Aws,
        Trouble::CutsSilence,
        "idle_timeout.timeout_seconds of the load balancer (60 by default)",
    ),
    (
        Hop::Google,
        Trouble::CutsSilence,
        "timeoutSec of the backend service (30 by default; it limits the whole stream)",
    ),
];

impl Hop {
    /// The hops that fields of these heads look like, each once.
    pub(super) fn find(heads: &[&HeaderMap]) -> Vec<Self> {
        let mut found = Vec::new();
        for (hop, field, mark) in MARKS {
            let values = heads.iter().flat_map(|head| head.get_all(*field));
            let mut texts = values.map(|value| String::from_utf8_lossy(value.as_bytes()));
            if texts.any(|text| text.to_ascii_lowercase().contains(mark)) && !found.contains(hop) {
                found.push(*hop);
            }
        }
        found
    }

    fn name(self) -> &'static str {
        match self {
            Self::Nginx => "nginx",
            Self::Apache => "Apache",
            Self::Envoy => "Envoy",
            Self::Caddy => "Caddy",
            Self::Varnish => "Varnish",
            Self::Squid => "Squid",
            Self::Iis => "IIS",
            Self::Weir => "Weir",
            Self::Cloudflare => "Cloudflare",
            Self::CloudFront => "CloudFront",
            Self::Fastly => "Fastly",
            Self::Akamai => "Akamai",
            Self::Aws => "AWS load balancer",
            Self::Google => "Google load balancer",
        }
    }
}

impl fmt::Display for Hop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Trouble {
    /// What to set against it: at the hops that were recognized, else wherever it may be.
    pub(super) fn advice(self, hops: &[Hop]) -> Vec<String> {
        let rows = ADVICE.iter().filter(|(_, trouble, _)| *trouble == self);
        let ours = rows.filter(|(hop, _, _)| hops.contains(hop));
        let mut advice: Vec<_> = ours.map(|(hop, _, set)| format!("{hop}: {set}")).collect();
        if advice.is_empty() {
            advice.push(format!("any hop: {}", self.anywhere()));
        }
        advice
    }

    fn anywhere(self) -> &'static str {
        match self {
            Self::Buffers => {
                "response buffering off (nginx proxy_buffering off; Apache flushpackets=on; Caddy flush_interval -1; \
                 HAProxy option http-no-delay); X-Accel-Buffering: no, Incremental: ?1 and Cache-Control: no-transform \
                 on the response; company proxies and virus scanners hold back what they can read: use HTTPS, or have \
                 them leave the host out"
            }
            Self::Compresses => {
                "Cache-Control: no-transform on the response, or text/event-stream out of what is compressed (nginx \
                 gzip_types; Apache no-gzip; HAProxy compression type; Traefik excludedContentTypes)"
            }
            Self::CutsSilence => {
                "heartbeats more often than its limit, or a longer limit (nginx proxy_read_timeout; HAProxy timeout \
                 server and timeout client; Apache ProxyTimeout; Envoy idle_timeout; the idle timeout of load balancers)"
            }
            Self::HidesTruncation => {
                "HTTP/1.1 or HTTP/2 to the backend at every hop; until then end streams with an event that clients wait for"
            }
            Self::IgnoresCancellation => {
                "HAProxy option abortonclose; nginx proxy_ignore_client_abort off; Caddy without flush_interval -1; \
                 heartbeats make most others notice at their next write"
            }
            Self::SpeaksHttp10 => {
                "HTTP/1.1 to the backend (nginx proxy_http_version 1.1; Apache without force-proxy-request-1.0)"
            }
            Self::ChangesRequest => {
                "pass the client's method, Accept and Last-Event-ID on to the backend"
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderName, HeaderValue};

    use super::{Hop, Trouble};

    #[test]
    fn hops_are_known_by_their_fields() {
        let check = |fields: &[(&'static str, &'static str)], hops: &[Hop]| {
            let fields = fields.iter().map(|(name, value)| {
                let value = HeaderValue::from_static(value);
                (HeaderName::from_static(name), value)
            });
            let head: HeaderMap = fields.collect();
            assert_eq!(Hop::find(&[&HeaderMap::new(), &head]), hops, "{head:?}");
        };
        check(&[], &[]);
        check(&[("server", "hyper"), ("via", "1.1 other")], &[]);
        check(&[("server", "nginx/1.22.1")], &[Hop::Nginx]);
        check(&[("server", "Apache/2.4 (Debian)")], &[Hop::Apache]);
        check(&[("via", "1.1 weir, 1.1 Caddy")], &[Hop::Caddy, Hop::Weir]);
        check(
            &[
                ("cf-ray", "1"),
                ("server", "cloudflare"),
                ("x-envoy-upstream-service-time", "3"),
            ],
            &[Hop::Cloudflare, Hop::Envoy],
        );
    }

    #[test]
    fn advice_is_for_the_hop_or_for_all() {
        let advice = Trouble::Buffers.advice(&[Hop::Nginx, Hop::Aws]);
        assert_eq!(advice.len(), 1);
        assert!(advice[0].starts_with("nginx: proxy_buffering off;"));
        for hops in [&[][..], &[Hop::Aws]] {
            let advice = Trouble::Compresses.advice(hops);
            assert!(advice[0].starts_with("any hop: ") && advice.len() == 1);
        }
    }
}
