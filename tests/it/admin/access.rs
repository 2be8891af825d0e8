//! Who gets an answer?

use super::{ask, ask_over, json, open, start, toml};
use crate::support::{Weir, backend::Backend, client::Client};

const TOKEN: &str = "0123456789abcdef";

/// The status of each path.
async fn statuses(weir: &Weir, fields: &str) -> Vec<(&'static str, u16)> {
    let mut statuses = Vec::new();
    for path in [
        "/livez",
        "/readyz",
        "/metrics",
        "/",
        "/page.js",
        "/streams",
        "/upstreams",
        "/config",
    ] {
        let (head, _) = ask(weir, &format!("GET {path}"), fields).await;
        statuses.push((path, head.status));
    }
    statuses
}

#[tokio::test]
async fn a_token_opens_what_is_not_for_probes() {
    let backend = Backend::bind().await;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("token");
    std::fs::write(&file, format!("{TOKEN}\n")).unwrap();
    for admin in [
        format!("token = \"{TOKEN}\""),
        format!("token_file = \"{}\"", file.display()),
    ] {
        let weir = start(&backend, &admin, "");
        let closed = [
            ("/metrics", 401),
            ("/streams", 401),
            ("/upstreams", 401),
            ("/config", 401),
        ];
        for fields in ["", "Authorization: Bearer 0123456789abcdeX\r\n"] {
            for (path, status) in statuses(&weir, fields).await {
                let expected = closed.iter().find(|(closed, _)| *closed == path);
                assert_eq!(
                    status,
                    expected.map_or(200, |(_, status)| *status),
                    "{path}"
                );
            }
        }
        let (head, _) = ask(&weir, "DELETE /streams/0-0", "").await;
        assert_eq!(
            (head.status, head.field("www-authenticate")),
            (401, "Bearer realm=\"weir\"")
        );
        let bearer = format!("Authorization: Bearer {TOKEN}\r\n");
        for (path, status) in statuses(&weir, &bearer).await {
            assert_eq!(status, 200, "{path}");
        }
        let (head, _) = ask(&weir, "DELETE /streams/0-0", &bearer).await;
        assert_eq!(head.status, 404);
    }
}

#[tokio::test]
async fn without_a_token_other_machines_get_what_probes_and_scrapers_need() {
    let backend = Backend::bind().await;
    let mut weir = Weir::start(&toml(&backend, "0.0.0.0:0", "tap = true", ""));
    let found = weir.admin.as_ref().unwrap().replace("0.0.0.0", "127.0.0.1");
    weir.admin = Some(found);
    for (path, status) in statuses(&weir, "").await {
        let is_open = ["/livez", "/readyz", "/metrics"].contains(&path);
        assert_eq!(status, if is_open { 200 } else { 403 }, "{path}");
    }
    for line in ["DELETE /streams/0-0", "GET /streams/0-0/tap", "GET /events"] {
        let (head, body) = ask(&weir, line, "").await;
        assert_eq!(head.status, 403, "{line}");
        assert!(body.contains("token_file"), "{body}");
    }
}

#[tokio::test]
async fn pages_of_strangers_end_no_streams() {
    let backend = Backend::bind().await;
    let weir = start(&backend, "", "");
    let (mut client, mut upstream, id) = open(&backend, &weir, "/").await;
    let address = weir.admin.clone().unwrap();
    let line = format!("DELETE /streams/{id}");
    for (fields, status) in [
        ("Origin: http://evil.example\r\n", 403),
        ("Origin: null\r\n", 403),
        ("Sec-Fetch-Site: cross-site\r\n", 403),
        ("Sec-Fetch-Site: same-site\r\n", 403),
    ] {
        assert_eq!(ask(&weir, &line, fields).await.0.status, status, "{fields}");
    }
    // A name that was made to resolve to this machine makes the stranger's page one of the same origin.
    for host in [
        "evil.example",
        "evil.example:9900",
        "127.0.0.1.evil.example",
        "",
    ] {
        let client = Client::connect(&address).await;
        let fields =
            format!("Host: {host}\r\nOrigin: http://{host}\r\nSec-Fetch-Site: same-origin\r\n");
        let (head, _) = ask_over(client, &line, &fields).await;
        assert_eq!(head.status, 421, "{host}");
        let client = Client::connect(&address).await;
        let (head, _) = ask_over(client, "GET /streams", &format!("Host: {host}\r\n")).await;
        assert_eq!(head.status, 421, "{host}");
    }
    upstream.chunk("1\n").await;
    client.chunks_until("data: 1\n\n").await;
    assert_eq!(
        json(&weir, "/streams").await["streams"][0]["state"],
        "flowing"
    );
    let own = format!("Origin: http://{address}\r\nSec-Fetch-Site: same-origin\r\n");
    assert_eq!(ask(&weir, &line, &own).await.0.status, 204);
    client.chunks_to_end().await;
}

#[tokio::test]
async fn a_unix_socket_needs_no_token() {
    let backend = Backend::bind().await;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("admin.sock");
    let weir = Weir::start(&toml(&backend, &format!("unix:{}", path.display()), "", ""));
    let client = Client::connect_unix(&path).await;
    let (head, body) = ask_over(client, "GET /streams", "Host: weir\r\n").await;
    assert_eq!(head.status, 200);
    assert!(body.contains("\"total\":0"), "{body}");
    drop(weir);
    assert!(!path.exists(), "the socket's file goes with its process");
}

/// A browser must run nothing but the page's own files, and show it in no other page.
#[tokio::test]
async fn the_page_allows_nothing_but_itself() {
    let backend = Backend::bind().await;
    let weir = start(&backend, "", "");
    let (head, page) = ask(&weir, "GET /", "Sec-Fetch-Site: cross-site\r\n").await;
    assert_eq!(head.status, 200, "a link to it may stand anywhere");
    let policy = head.field("content-security-policy");
    for part in [
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "frame-ancestors 'none'",
    ] {
        assert!(policy.contains(part), "{part} in {policy}");
    }
    assert!(!policy.contains("unsafe") && !page.contains("<style") && !page.contains("onclick"));
    for (path, content_type) in [("/page.js", "text/javascript"), ("/page.css", "text/css")] {
        assert!(page.contains(&format!("\"{path}\"")));
        let (head, _) = ask(&weir, &format!("GET {path}"), "").await;
        assert!(head.field("content-type").starts_with(content_type));
        assert_eq!(head.field("x-content-type-options"), "nosniff");
    }
    assert!(
        !page.contains("http://") && !page.contains("https://"),
        "it needs nobody else"
    );
}
