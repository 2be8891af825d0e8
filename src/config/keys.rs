//! Which keys may a file hold?
//!
//! The one table that the reader, its messages and the test of `proxy.toml.example` share.

mod upstreams;

pub(crate) use self::upstreams::UPSTREAM;
use super::{
    bounds,
    schema::{Key, Kind, Schema, bytes, duration, key, later},
};

/// The sections of the file.
pub(crate) static FILE: Schema = Schema {
    title: "the file",
    keys: &[
        key("process", Kind::Section(&PROCESS)),
        key("admin", Kind::Section(&ADMIN)),
        key("traces", Kind::Section(&TRACES)),
        key("listener", Kind::Sections(&LISTENER)),
        key("upstream", Kind::Named(&UPSTREAM)),
        key("route", Kind::Sections(&ROUTE)),
        later("hub", "streams are not shared or resumed yet"),
    ],
};

pub(crate) static PROCESS: Schema = Schema {
    title: "[process]",
    keys: &[
        // Its default is the number of cores, which no table can hold.
        key("threads", Kind::Count { from: 1, to: 1024 }),
        duration("drain", "0s", "1h").or(r#""30s""#),
        duration("drain_delay", "0s", "10m").or(r#""0s""#),
        key("watch", Kind::Value("true or false")).or("false"),
        TRUSTED_PROXIES.or("[]"),
        bytes("compress_memory", "1MiB", "64GiB").or(r#""64MiB""#),
        key("streams", STREAMS),
        // Its default follows from the process's descriptors.
        key("connections", CONNECTIONS),
        key("memory", Kind::Text(bounds::MEMORY)).or(r#""auto""#),
    ],
};

pub(crate) static ADMIN: Schema = Schema {
    title: "[admin]",
    keys: &[
        ADDRESS,
        key(
            "token",
            Kind::Text("from 16 to 512 visible ASCII characters"),
        )
        .secret(),
        key(
            "token_file",
            Kind::Text("the path of a file that holds a token"),
        ),
        key("tap", Kind::Value("true or false")).or("false"),
    ],
};

pub(crate) static TRACES: Schema = Schema {
    title: "[traces]",
    keys: &[
        key(
            "endpoint",
            Kind::Text(r#"a URL such as "http://127.0.0.1:4318/v1/traces""#),
        )
        .required(),
        key("sample", Kind::Value("a number from 0.0 to 1.0")).or("1.0"),
        key("service_name", Kind::Text("a name")).or(r#""weir""#),
        key(
            "headers",
            Kind::Entries(r#"a table of fields and their values, such as { x-tenant = "a" }"#),
        )
        .secret(),
        key("tls", Kind::Section(&TRACES_TLS)),
    ],
};

pub(crate) static TRACES_TLS: Schema = Schema {
    title: "[traces.tls]",
    keys: &TRUST,
};

pub(crate) static LISTENER: Schema = Schema {
    title: "[[listener]]",
    keys: &[
        ADDRESS,
        key("http", Kind::List(r#"a list of "1.1" and "2""#)).or(r#"["1.1", "2"]"#),
        key("tls", Kind::Sections(&LISTENER_TLS)),
        TRUSTED_PROXIES,
        key("timeouts", Kind::Section(&LISTENER_TIMEOUTS)),
        key("limits", Kind::Section(&LISTENER_LIMITS)),
    ],
};

pub(crate) static LISTENER_TLS: Schema = Schema {
    title: "[listener.tls]",
    keys: &[
        key("certificate", Kind::Text("the path of a PEM file")).required(),
        key("key", Kind::Text("the path of a PEM file")).required(),
    ],
};

pub(crate) static LISTENER_TIMEOUTS: Schema = Schema {
    title: "[listener.timeouts]",
    keys: &[
        duration("handshake", "100ms", "5m").or(r#""10s""#),
        duration("header", "100ms", "5m").or(r#""15s""#),
        duration("idle", "100ms", "1h").or(r#""75s""#),
        duration("unacknowledged", "1s", "1h").or(r#""60s""#),
    ],
};

pub(crate) static LISTENER_LIMITS: Schema = Schema {
    title: "[listener.limits]",
    keys: &[
        key("connections", CONNECTIONS).or("16384"),
        bytes("header", "4KiB", "64KiB").or(r#""32KiB""#),
        key("headers", Kind::Count { from: 16, to: 1000 }).or("100"),
    ],
};

pub(crate) static ROUTE: Schema = Schema {
    title: "[[route]]",
    keys: &[
        key("name", Kind::Text("a name that no other route has")).required(),
        key(
            "host",
            Kind::Text(r#"a host such as "api.example.com" or "*.example.com""#),
        ),
        key(
            "path",
            Kind::Text(r#"a path such as "/api/chat", or "/api/*" for all below"#),
        )
        .or(r#""/*""#),
        key(
            "methods",
            Kind::List(r#"a list such as ["GET", "POST"]; leave it out for every method"#),
        ),
        key(
            "headers",
            Kind::Entries(r#"a table of fields and their values, such as { x-version = "2" }"#),
        )
        .secret(),
        key("upstream", Kind::Text("the name of an [upstream.NAME]")).required(),
        key("from", Kind::Text(r#""auto" or the name of a framing"#)).or(r#""auto""#),
        key(
            "to",
            Kind::Choice {
                now: &["auto", "sse", "ndjson", "json-seq", "as-is"],
                later: &[],
            },
        )
        .or(r#""auto""#),
        key("preset", Kind::Text("the name of a preset")),
        key(
            "charset",
            Kind::Text(r#""auto" or the name of a charset, such as "latin1""#),
        )
        .or(r#""auto""#),
        key(
            "invalid_utf8",
            Kind::Choice {
                now: &["replace", "base64", "error"],
                later: &[],
            },
        )
        .or(r#""replace""#),
        key("event", Kind::Section(&EVENT)),
        key("end", Kind::Section(&END)),
        key("heartbeat", Kind::Section(&HEARTBEAT)),
        key("timeouts", Kind::Section(&TIMEOUTS)),
        key("limits", Kind::Section(&LIMITS)),
        key("rewrite", Kind::Section(&REWRITE)),
        key("compress", Kind::Section(&COMPRESS)),
        later("share", "each request opens its own upstream stream"),
        later("resume", "a reconnecting client starts anew"),
        later("cors", "let the upstream answer preflights"),
        later("auth", "let the upstream check who asks"),
    ],
};

pub(crate) static EVENT: Schema = Schema {
    title: "[route.event]",
    keys: &[
        key("name", Kind::Value(TEXT_OR_PLACE)),
        key("id", Kind::Value(TEXT_OR_PLACE)),
        key("data", Kind::Value(TEXT_OR_PLACE)),
        duration("retry", "1ms", "24h"),
        key("explode", Kind::Text(POINTER)),
        key("unwrap", Kind::Text(POINTER)),
        key("skip", Kind::Sections(&SKIP)),
        key("only_id", Kind::Sections(&ONLY_ID)),
        key(
            "on_bad_record",
            Kind::Choice {
                now: &["pass", "skip", "error"],
                later: &[],
            },
        )
        .or(r#""pass""#),
    ],
};

pub(crate) static SKIP: Schema = Schema {
    title: "[route.event.skip]",
    keys: &CONDITION,
};

pub(crate) static ONLY_ID: Schema = Schema {
    title: "[route.event.only_id]",
    keys: &CONDITION,
};

pub(crate) static END: Schema = Schema {
    title: "[route.end]",
    keys: &[
        key("when", Kind::Sections(&END_WHEN)),
        key("error", Kind::Sections(&END_ERROR)),
        key("event", Kind::Section(&END_EVENT)),
    ],
};

pub(crate) static END_WHEN: Schema = Schema {
    title: "[route.end.when]",
    keys: &CONDITION,
};

pub(crate) static END_ERROR: Schema = Schema {
    title: "[route.end.error]",
    keys: &CONDITION,
};

pub(crate) static END_EVENT: Schema = Schema {
    title: "[route.end.event]",
    keys: &[
        key(
            "name",
            Kind::Text("a string that is not empty and holds no line break"),
        ),
        key("data", Kind::Text("a string")).or(r#""""#),
    ],
};

/// The one key of a table that stands for a place in each record.
pub(crate) static PLACE: Schema = Schema {
    title: "{ at }",
    keys: &[key("at", Kind::Text(POINTER)).required()],
};

pub(crate) static HEARTBEAT: Schema = Schema {
    title: "[route.heartbeat]",
    keys: &[
        duration("every", "1s", "10m").or_off().or(r#""15s""#),
        duration("before_reply", "100ms", "5m")
            .or_off()
            .or(r#""off""#),
    ],
};

pub(crate) static TIMEOUTS: Schema = Schema {
    title: "[route.timeouts]",
    keys: &[
        duration("first_byte", "100ms", "1h").or(r#""60s""#),
        duration("idle", "100ms", "24h").or(r#""5m""#),
        duration("total", "100ms", "30d").or_off().or(r#""off""#),
        duration("max_age", "1s", "30d").or_off().or(r#""off""#),
        duration("write", "100ms", "1h").or(r#""30s""#),
    ],
};

pub(crate) static LIMITS: Schema = Schema {
    title: "[route.limits]",
    keys: &[
        bytes("record", "16B", "64MiB").or(r#""1MiB""#),
        bytes("buffer", "1KiB", "16MiB").or(r#""256KiB""#),
        bytes("body", "1B", "1024GiB"),
        key("streams", STREAMS),
        key("streams_per_peer", STREAMS),
        key("rate", Kind::Text(bounds::RATE)),
        key(
            "burst",
            Kind::Count {
                from: 1,
                to: 1_000_000,
            },
        ),
    ],
};

pub(crate) static REWRITE: Schema = Schema {
    title: "[route.rewrite]",
    keys: &[
        key("strip_prefix", Kind::Text(PREFIX)),
        key("add_prefix", Kind::Text(PREFIX)),
    ],
};

pub(crate) static COMPRESS: Schema = Schema {
    title: "[route.compress]",
    keys: &[
        key(
            "codings",
            Kind::List(r#"a list of "zstd", "gzip" and "br", the one to prefer first"#),
        )
        .or("[]"),
        key(
            "window",
            Kind::Choice {
                now: &["1KiB", "2KiB", "4KiB", "8KiB", "16KiB", "32KiB"],
                later: &[],
            },
        )
        .or(r#""4KiB""#),
    ],
};

const ADDRESS: Key = key(
    "address",
    Kind::Text(r#"an address and a port such as "127.0.0.1:8080", or "unix:/path""#),
)
.required();

const TRUSTED_PROXIES: Key = key(
    "trusted_proxies",
    Kind::List(r#"a list of addresses and networks such as ["10.0.0.0/8", "::1"]"#),
);

/// What the tables of `when`, `error`, `skip` and `only_id` hold.
const CONDITION: [Key; 4] = [
    key("at", Kind::Text(POINTER)),
    key("name", Kind::Text("a string")),
    key(
        "equals",
        Kind::Value("a string, a number, true, false, {} or []"),
    ),
    key("exists", Kind::Value("true or false")),
];

const CONNECTIONS: Kind = Kind::Count {
    from: 1,
    to: 1_000_000,
};

const STREAMS: Kind = Kind::Count {
    from: 1,
    to: 10_000_000,
};

const POINTER: &str = r#"a JSON Pointer such as "/message/content""#;

const TEXT_OR_PLACE: &str = r#"a string, or a place in the record such as { at = "/id" }"#;

const PREFIX: &str = r#"a path such as "/api", without a slash at its end"#;

/// How whom we connect to is trusted.
const TRUST: [Key; 2] = [
    key("ca", Kind::Text("the path of a PEM file")),
    key(
        "server_name",
        Kind::Text("a host name or an address, without a port"),
    ),
];
