//! Which keys may an `[upstream.NAME]` hold?

use super::{
    super::schema::{Key, Kind, Schema, duration, key},
    TRUST,
};

pub(crate) static UPSTREAM: Schema = Schema {
    title: "[upstream.NAME]",
    keys: &[
        key(
            "endpoints",
            Kind::Elements {
                allowed: r#"a list such as ["http://127.0.0.1:11434"]"#,
                schema: &ENDPOINT,
            },
        )
        .required(),
        key(
            "http",
            Kind::Choice {
                now: &["1.1", "2", "auto"],
                later: &[],
            },
        )
        .or(r#""1.1""#),
        key(
            "balance",
            Kind::Choice {
                now: &["least-streams", "round-robin", "p2c", "hash"],
                later: &[],
            },
        )
        .or(r#""least-streams""#),
        key("hash", Kind::Section(&HASH)),
        MAX_STREAMS,
        key("queue", Kind::Section(&QUEUE)),
        duration("slow_start", "1s", "1h").or_off().or(r#""off""#),
        key("dns", Kind::Section(&DNS)),
        duration("connect_timeout", "1ms", "5m").or(r#""5s""#),
        key("retry", Kind::Section(&RETRY)),
        key("tls", Kind::Section(&UPSTREAM_TLS)),
        key("websocket", Kind::Switch(&WEBSOCKET)),
        key("poll", Kind::Section(&POLL)),
        key("health", Kind::Section(&HEALTH)),
    ],
};

static HEALTH: Schema = Schema {
    title: "[upstream.NAME.health]",
    keys: &[
        key("failures", Kind::Count { from: 0, to: 1000 }).or("5"),
        duration("within", "1s", "1h").or(r#""1m""#),
        duration("eject", "100ms", "1h").or(r#""10s""#),
        duration("eject_max", "100ms", "24h").or(r#""5m""#),
        key("check", Kind::Section(&CHECK)),
    ],
};

static CHECK: Schema = Schema {
    title: "[upstream.NAME.health.check]",
    keys: &[
        key("path", Kind::Text(r#"a path such as "/healthz""#)),
        key("host", Kind::Text("a host, with its port where it has one")),
        key(
            "status",
            Kind::Text(r#"a status or a range of them, such as "200" or "200-399""#),
        )
        .or(r#""200-399""#),
        duration("every", "100ms", "1h").or(r#""5s""#),
        duration("timeout", "10ms", "5m").or(r#""2s""#),
        key("rise", Kind::Count { from: 1, to: 100 }).or("2"),
        key("fall", Kind::Count { from: 1, to: 100 }).or("3"),
    ],
};

static ENDPOINT: Schema = Schema {
    title: "[[upstream.NAME.endpoints]]",
    keys: &[
        key(
            "url",
            Kind::Text(r#"a URL such as "http://127.0.0.1:11434""#),
        )
        .required(),
        key("weight", Kind::Count { from: 1, to: 1000 }).or("1"),
        MAX_STREAMS,
    ],
};

static QUEUE: Schema = Schema {
    title: "[upstream.NAME.queue]",
    keys: &[
        key(
            "size",
            Kind::Count {
                from: 0,
                to: 1_000_000,
            },
        )
        .or("100"),
        duration("timeout", "10ms", "1h").or(r#""10s""#),
    ],
};

static DNS: Schema = Schema {
    title: "[upstream.NAME.dns]",
    keys: &[
        key(
            "mode",
            Kind::Choice {
                now: &["name", "each"],
                later: &[],
            },
        )
        .or(r#""name""#),
        key(
            "server",
            Kind::Text(r#"an address such as "10.0.0.2", or with a port "127.0.0.1:8600""#),
        ),
        duration("min_ttl", "100ms", "1h").or(r#""1s""#),
        duration("max_ttl", "100ms", "24h").or(r#""30s""#),
    ],
};

static HASH: Schema = Schema {
    title: "[upstream.NAME.hash]",
    keys: &[
        key("header", Kind::Text("a field's name")),
        key("cookie", Kind::Text("a cookie's name")),
        key("query", Kind::Text("the name of a parameter of the query")),
    ],
};

static RETRY: Schema = Schema {
    title: "[upstream.NAME.retry]",
    keys: &[
        key("attempts", Kind::Count { from: 1, to: 16 }).or("3"),
        key(
            "on",
            Kind::List(r#"a list of "reset" and of statuses such as "503""#),
        )
        .or(r#"["reset"]"#),
        key("budget", Kind::Count { from: 0, to: 100 }).or("20"),
    ],
};

static UPSTREAM_TLS: Schema = Schema {
    title: "[upstream.NAME.tls]",
    keys: &TRUST,
};

static WEBSOCKET: Schema = Schema {
    title: "[upstream.NAME.websocket]",
    keys: &[
        key(
            "subprotocol",
            Kind::Text(r#"a name such as "graphql-transport-ws""#),
        ),
        key("send", Kind::List("a list of text messages"))
            .or("[]")
            .secret(),
    ],
};

static POLL: Schema = Schema {
    title: "[upstream.NAME.poll]",
    keys: &[
        key("cursor", Kind::Section(&CURSOR)),
        key("query", Kind::Text(r#"a parameter's name such as "index""#)).required(),
        key("initial", Kind::Text("a cursor")),
        duration("every", "10ms", "1h").or(r#""1s""#),
        key("backoff", Kind::Section(&BACKOFF)),
    ],
};

static CURSOR: Schema = Schema {
    title: "[upstream.NAME.poll.cursor]",
    keys: &[
        key("header", Kind::Text(r#"a field such as "x-consul-index""#)),
        key("at", Kind::Text(r#"a JSON Pointer such as "/last_seq""#)),
        key("last", Kind::Text(r#"a JSON Pointer such as "/result""#)),
        key(
            "add",
            Kind::Count {
                from: 1,
                to: 1_000_000,
            },
        ),
    ],
};

static BACKOFF: Schema = Schema {
    title: "[upstream.NAME.poll.backoff]",
    keys: &[
        duration("first", "10ms", "1h").or(r#""1s""#),
        duration("most", "10ms", "1h").or(r#""30s""#),
    ],
};

const MAX_STREAMS: Key = key(
    "max_streams",
    Kind::Count {
        from: 1,
        to: 1_000_000,
    },
);
