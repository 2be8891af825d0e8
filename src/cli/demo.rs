//! What does `weir demo` show? A proxy in front of a backend that speaks NDJSON, with nothing to set up.
//!
//! The backend is a real server on a port of its own ([`start_backend`]); the proxy in front of it
//! reads [`config_text`] as it would read a file; [`what_to_try`] tells the user where to look.

mod backend;
mod script;

use std::{
    io::Write,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::Path,
};

pub use backend::{Backend, start_backend};

use super::{
    DemoArgs, Exit,
    run::{Source, serve},
};
use crate::config;

/// Serves the demo until it is told to stop.
pub fn run(args: &DemoArgs, output: &mut impl Write, errors: &mut impl Write) -> Exit {
    let backend = match start_backend() {
        Ok(backend) => backend,
        Err(error) => {
            // Nobody is left to be told where standard error is gone.
            let _ = writeln!(
                errors,
                "weir demo: the backend could not be started: {error}"
            );
            return Exit::Failure;
        }
    };
    let text = config_text(args.address, backend.address());
    match config::parse(&text, Path::new("(demo)")) {
        Ok(loaded) => serve(loaded.config, Source::default(), errors, |addresses| {
            let found = addresses.first().and_then(|address| address.parse().ok());
            let admin = addresses
                .last()
                .and_then(|last| last.strip_prefix("admin="));
            let text = what_to_try(found.unwrap_or(args.address), admin.unwrap_or_default());
            let _ = output.write_all(text.as_bytes());
            let _ = output.flush();
        }),
        Err(faults) => {
            let _ = writeln!(errors, "{faults}");
            Exit::Config
        }
    }
}

/// The `proxy.toml` of the demo: one route a stream, and the page for every other path.
///
/// `address` is where the proxy is to listen, `backend` where [`start_backend`] does.
#[must_use]
pub fn config_text(address: SocketAddr, backend: SocketAddr) -> String {
    format!(
        r#"[process]
drain = "1s"

[admin]
address = "127.0.0.1:0"
tap = true                # the streams say nothing that is not public

[[listener]]
address = "{address}"

[upstream.demo]
endpoints = ["http://{backend}"]

[[route]]
name = "ticker"
path = "/ticker"
upstream = "demo"
from = "ndjson"

[[route]]
name = "chat"
path = "/chat"
upstream = "demo"
from = "ndjson"

[[route]]
name = "silent"
path = "/silent"
upstream = "demo"
from = "ndjson"

[route.heartbeat]
every = "2s"              # 15s would do; this is often enough to be watched

[route.timeouts]
idle = "15m"              # longer than the backend's silence

[[route]]
name = "broken"
path = "/broken"
upstream = "demo"
from = "ndjson"

[[route]]
name = "page"
path = "/*"
upstream = "demo"
to = "as-is"
"#
    )
}

/// What to tell the user once the proxy accepts connections at `address`, and operators' at `admin`.
#[must_use]
pub fn what_to_try(address: SocketAddr, admin: &str) -> String {
    let base = format!("http://{}", reachable(address));
    format!(
        "\
Weir stands in front of a backend that speaks newline-delimited JSON. Read it as Server-Sent Events:

  curl -N {base}/ticker    # an event a second
  curl -N {base}/chat      # a chat, word by word
  curl -N {base}/silent    # a silent backend: the lone colons are heartbeats
  curl -N {base}/broken    # a backend that is cut off: the last event says so

All four in a browser: {base}/
What operators see of them: http://{admin}/
Ctrl-C ends the demo.
"
    )
}

/// The address a client on this machine can use: "every address" is none to connect to.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(match address {
            SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::LOCALHOST),
            SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::LOCALHOST),
        });
    }
    address
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn the_configuration_is_toml_and_names_both_addresses() {
        let text = config_text(address("[::1]:8080"), address("127.0.0.1:4321"));

        assert!(toml::de::DeTable::parse(&text).is_ok(), "{text}");
        assert!(text.contains("[[listener]]\naddress = \"[::1]:8080\"\n"));
        assert!(text.contains("endpoints = [\"http://127.0.0.1:4321\"]\n"));
    }

    #[test]
    fn every_stream_of_the_backend_has_its_route() {
        let text = config_text(address("127.0.0.1:8080"), address("127.0.0.1:4321"));

        for name in ["ticker", "chat", "silent", "broken"] {
            assert!(script::steps(&format!("/{name}")).is_some(), "{name}");
            let route = format!(
                "[[route]]\nname = \"{name}\"\npath = \"/{name}\"\nupstream = \"demo\"\nfrom = \"ndjson\"\n"
            );
            assert!(text.contains(&route), "{name}: {text}");
        }
    }

    #[test]
    fn what_to_try_can_be_pasted_into_a_shell() {
        for (listens, base) in [
            ("127.0.0.1:8080", "http://127.0.0.1:8080"),
            ("0.0.0.0:80", "http://127.0.0.1:80"),
            ("[::]:80", "http://[::1]:80"),
        ] {
            let text = what_to_try(address(listens), "127.0.0.1:9900");
            assert!(
                text.contains("see of them: http://127.0.0.1:9900/\n"),
                "{text}"
            );
            for path in ["/ticker", "/chat", "/silent", "/broken"] {
                assert!(text.contains(&format!("curl -N {base}{path} ")), "{text}");
            }
            assert!(text.contains(&format!("browser: {base}/\n")), "{text}");
        }
    }
}
