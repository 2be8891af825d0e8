//! Which settings are allowed, and will be regretted?
//!
//! Each warning says what happens and what to write instead.

use std::time::Duration;

use humantime::format_duration;

use super::{address, bridges, fault::Remark, section::Section, trusted_proxies};
use crate::{
    balance::Method,
    edge,
    edge::ListenerAddress,
    limits::{self, Allowance},
    route::{self, PathPattern, To, shadow},
    upstream::{self, EndpointSettings, HttpVersion, Target},
};

type Listeners<'a> = [(Section<'a>, edge::Settings)];
type Upstreams<'a> = [(Section<'a>, upstream::Settings)];
type Routes<'a> = [(Section<'a>, route::Settings)];

/// Gathers the warnings of a file without faults, in the order of its lines.
pub(super) fn of(
    file: &Section<'_>,
    listeners: &Listeners<'_>,
    upstreams: &Upstreams<'_>,
    routes: &Routes<'_>,
) -> Vec<Remark> {
    let mut warnings = Vec::new();
    process(file, &mut warnings);
    for (section, settings) in listeners {
        listener(section, settings, &mut warnings);
    }
    connections(file, listeners, upstreams, &mut warnings);
    for (section, settings) in upstreams {
        upstream(section, settings, &mut warnings);
        if !routes
            .iter()
            .any(|(_, route)| route.upstream == settings.name)
        {
            let message = "no route uses it; take it out, or name it in a route's upstream";
            warnings.push(section.remark("", message));
        }
    }
    for route in routes {
        let (section, settings) = route;
        bridges::warnings(route, upstreams, &mut warnings);
        heartbeat(section, settings, &mut warnings);
        timeouts(section, settings, &mut warnings);
        rewrite(section, settings, &mut warnings);
        compress(section, settings, &mut warnings);
        limits(section, settings, &mut warnings);
    }
    shadowed(routes, &mut warnings);
    warnings.sort_by_key(|warning| warning.line);
    warnings
}

fn process(file: &Section<'_>, warnings: &mut Vec<Remark>) {
    let process = file.section("process");
    let drain = process.duration("drain");
    let delay = process.duration("drain_delay");
    if drain + delay > 5 * MINUTE {
        let delayed = match delay {
            Duration::ZERO => String::new(),
            _ => format!(" after a drain_delay of {}", format_duration(delay)),
        };
        let message = format!(
            "drain is {}{delayed}, but supervisors kill a process that takes so long to stop (systemd \
             after 90s); write \"30s\", or raise the supervisor's own limit too",
            format_duration(drain)
        );
        warnings.push(process.remark("drain", &message));
    }
    trusts_everyone(&process, warnings);
    let admin = file.section("admin");
    let has_token = admin.value("token").or(admin.value("token_file")).is_some();
    if let Some(ListenerAddress::Tcp(address)) = admin.text("address", address::listener)
        && !address.ip().is_loopback()
        && !has_token
    {
        let message = "address can be reached from other machines, so without a token only /livez, \
                       /readyz and /metrics are there; set token_file for the rest, or write \
                       \"127.0.0.1\" before the port";
        warnings.push(admin.remark("address", message));
    }
    if admin.value("token").is_some() && admin.value("token_file").is_some() {
        let message = "token is not used, as token_file stands beside it; take it out";
        warnings.push(admin.remark("token", message));
    }
}

fn listener(section: &Section<'_>, settings: &edge::Settings, warnings: &mut Vec<Remark>) {
    if !settings.tls.is_empty() && !settings.http.is_http2 {
        let message = "http leaves out \"2\", so browsers open at most 6 streams to this host; \
                       write [\"1.1\", \"2\"]";
        warnings.push(section.remark("http", message));
    }
    trusts_everyone(section, warnings);
}

/// Numbers of connections that the descriptors of a process such as this one do not allow.
fn connections(
    file: &Section<'_>,
    listeners: &Listeners<'_>,
    upstreams: &Upstreams<'_>,
    warnings: &mut Vec<Remark>,
) {
    let Some(Allowance { files, connections }) = limits::allowance() else {
        return;
    };
    let process = file.section("process");
    let asked = process.count("connections");
    // Over HTTP/2 streams share connections to endpoints, so that nearly all may be clients'.
    let is_one_each = |(_, upstream): &(_, upstream::Settings)| upstream.http == HttpVersion::Http1;
    let enough = if upstreams.iter().any(is_one_each) {
        connections
    } else {
        files
    };
    if let Some(asked) = asked.filter(|asked| *asked > enough) {
        let message = format!(
            "connections is {asked}, but a process may open {files} files here, which is enough for \
             {enough}; {RAISE}, or write less"
        );
        warnings.push(process.remark("connections", &message));
    }
    let most = asked.unwrap_or(connections);
    for (section, settings) in listeners {
        let limits = section.section("limits");
        let asked = settings.connections_max;
        if asked <= most || limits.value("connections").is_none() {
            continue;
        }
        let why = if process.value("connections").is_none() {
            format!("a process may open {files} files here, which is enough for {most}; {RAISE}")
        } else {
            format!("all listeners together have {most} ([process] connections); raise that")
        };
        let message = format!("connections is {asked}, but {why}, or write less");
        warnings.push(limits.remark("connections", &message));
    }
}

fn trusts_everyone(section: &Section<'_>, warnings: &mut Vec<Remark>) {
    let networks = trusted_proxies(section).unwrap_or_default();
    if networks.iter().any(|network| network.prefix_len() == 0) {
        let message = "trusted_proxies holds every address, so any client can claim to be another; \
                       name the networks of your proxies";
        warnings.push(section.remark("trusted_proxies", message));
    }
}

fn upstream(section: &Section<'_>, settings: &upstream::Settings, warnings: &mut Vec<Remark>) {
    if section.value("hash").is_some() && settings.balance != Method::Hash {
        let message = "hash has no effect; write balance = \"hash\", or leave it out";
        warnings.push(section.remark("hash", message));
    }
    let mut endpoints = settings.endpoints.iter();
    if section.value("queue").is_some() && endpoints.all(|one| one.streams_max.is_none()) {
        let message = "queue has no effect, as no endpoint is ever full; set max_streams";
        warnings.push(section.remark("queue", message));
    }
    let has_name = |endpoint: &EndpointSettings| match &endpoint.target {
        Target::Address(address) => address.name().is_some(),
        Target::Service { .. } => true,
    };
    if section.value("dns").is_some() && !settings.endpoints.iter().any(has_name) {
        let message = "dns has no effect, as no endpoint has a name to look up; leave it out";
        warnings.push(section.remark("dns", message));
    }
    if settings.endpoints.iter().any(|one| one.target.is_tls()) {
        return;
    }
    if settings.http == HttpVersion::Auto {
        let message = "http is \"auto\", which asks TLS, and no endpoint is https, so it is always \
                       \"1.1\"; write \"2\" if the endpoints speak HTTP/2";
        warnings.push(section.remark("http", message));
    }
    if settings.tls.ca.is_some() || settings.tls.server_name.is_some() {
        let message = "tls is not used, as no endpoint is https; write https:// or take it out";
        warnings.push(section.remark("tls", message));
    }
}

fn heartbeat(section: &Section<'_>, settings: &route::Settings, warnings: &mut Vec<Remark>) {
    if matches!(settings.policy.to, To::AsIs) {
        return;
    }
    let heartbeat = section.section("heartbeat");
    let cut = "many proxies and load balancers cut a connection after 60s of silence";
    match settings.policy.heartbeat.every {
        None => {
            let message = format!("every is \"off\", and {cut}; write \"15s\"");
            warnings.push(heartbeat.remark("every", &message));
        }
        Some(every) if every > Duration::from_secs(55) => {
            let every = format_duration(every);
            let message = format!("every is {every}, and {cut}; write \"55s\" or less");
            warnings.push(heartbeat.remark("every", &message));
        }
        Some(_) => {}
    }
    let first_byte = settings.policy.timeouts.first_byte;
    if let Some(before_reply) = settings.policy.heartbeat.before_reply
        && before_reply >= first_byte
    {
        let message = format!(
            "before_reply is {}, and the wait for the reply ends after {} (timeouts first_byte), so \
             it never comes to that; write less",
            format_duration(before_reply),
            format_duration(first_byte)
        );
        warnings.push(heartbeat.remark("before_reply", &message));
    }
}

fn timeouts(section: &Section<'_>, settings: &route::Settings, warnings: &mut Vec<Remark>) {
    let timeouts = section.section("timeouts");
    let set = &settings.policy.timeouts;
    let idle = format_duration(set.idle);
    if let Some(total) = set.total {
        let total = format_duration(total);
        let message = format!(
            "total is {total}, which ends every stream then, however lively it is; write \"off\", \
             as idle ends the dead ones"
        );
        warnings.push(timeouts.remark("total", &message));
    }
    max_age(section, settings, warnings);
    let every = settings.policy.heartbeat.every.unwrap_or_default();
    if set.idle < Duration::from_secs(30) {
        let message = format!(
            "idle is {idle}, so a stream ends when its upstream thinks that long (heartbeats do not \
             count); write \"5m\""
        );
        warnings.push(timeouts.remark("idle", &message));
    } else if set.idle <= every && !matches!(settings.policy.to, To::AsIs) {
        let message = format!(
            "idle is {idle}, so streams end before their first heartbeat; write more than \
             heartbeat every"
        );
        warnings.push(timeouts.remark("idle", &message));
    }
    if set.write > 5 * MINUTE {
        let message = format!(
            "write is {}, so long does a client that reads nothing keep its place on the upstream; \
             write \"30s\"",
            format_duration(set.write)
        );
        warnings.push(timeouts.remark("write", &message));
    }
}

fn max_age(section: &Section<'_>, settings: &route::Settings, warnings: &mut Vec<Remark>) {
    let timeouts = section.section("timeouts");
    let set = &settings.policy.timeouts;
    let Some(max_age) = set.max_age else {
        return;
    };
    let age = format_duration(max_age);
    if matches!(settings.policy.to, To::AsIs) {
        let message = format!(
            "max_age is {age}, but to is \"as-is\" and only what is converted has boundaries to end \
             at; take it out"
        );
        warnings.push(timeouts.remark("max_age", &message));
    } else if let Some(total) = set.total
        && total <= max_age
    {
        let message = format!(
            "max_age is {age}, but total ends every stream after {}; write less, or total = \"off\"",
            format_duration(total)
        );
        warnings.push(timeouts.remark("max_age", &message));
    }
}

fn rewrite(section: &Section<'_>, settings: &route::Settings, warnings: &mut Vec<Remark>) {
    let Some(strip) = &settings.policy.rewrite.strip_prefix else {
        return;
    };
    let with_slash = format!("{strip}/");
    let is_possible = match &settings.path {
        PathPattern::Exact(path) => path == strip || path.starts_with(&with_slash),
        PathPattern::Prefix(prefix) => {
            prefix.starts_with(&with_slash) || with_slash.starts_with(prefix.as_str())
        }
    };
    if !is_possible {
        let message = format!(
            "strip_prefix is {strip:?}, which no path of this route begins with, so every request \
             gets a 404; write the beginning of its path"
        );
        let rewrite = section.section("rewrite");
        warnings.push(rewrite.remark("strip_prefix", &message));
    }
}

fn compress(section: &Section<'_>, settings: &route::Settings, warnings: &mut Vec<Remark>) {
    if matches!(settings.policy.to, To::AsIs) && !settings.policy.compress.codings.is_empty() {
        let message = "codings is not used, as to is \"as-is\" and only what is converted is \
                       compressed; take it out";
        warnings.push(section.section("compress").remark("codings", message));
    }
}

fn limits(section: &Section<'_>, settings: &route::Settings, warnings: &mut Vec<Remark>) {
    let section = section.section("limits");
    let admission = settings.policy.limits.admission;
    if section.value("burst").is_some() && admission.rate.is_none() {
        let message = "burst has no effect without a rate; write one, or take it out";
        warnings.push(section.remark("burst", message));
    }
    if let (Some(per_peer), Some(all)) = (admission.streams_per_peer_max, admission.streams_max)
        && per_peer >= all
    {
        let message = format!(
            "streams_per_peer is {per_peer}, and all peers together have {all} (streams), so one \
             can take them all; write less"
        );
        warnings.push(section.remark("streams_per_peer", &message));
    }
}

fn shadowed(routes: &Routes<'_>, warnings: &mut Vec<Remark>) {
    let settings: Vec<route::Settings> = routes.iter().map(|(_, route)| route.clone()).collect();
    for (index, other) in shadow::shadowed(&settings) {
        let (by, line) = (&settings[other].name, routes[other].0.line(""));
        let message =
            format!("can never match: route {by:?} (line {line}) takes every request it could get");
        let (section, _) = &routes[index];
        warnings.push(section.remark("", &message));
    }
}

const RAISE: &str = "raise the limit of open files (LimitNOFILE=, ulimit -Hn)";
const MINUTE: Duration = Duration::from_mins(1);
