//! Does a changed file take over by itself, and a bad one not?

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

use tempfile::TempDir;

use crate::support::{NDJSON, backend::Backend, client::Client, process::Process, soon, tls};

/// What the file says, with events of this name.
fn text(endpoint: &str, name: &str) -> String {
    format!(
        "[process]\nthreads = 1\ndrain = \"1s\"\nwatch = true\n\
         [[listener]]\naddress = \"127.0.0.1:0\"\n\
         [upstream.test]\nendpoints = [\"{endpoint}\"]\n\
         [[route]]\nname = \"test\"\nupstream = \"test\"\nevent = {{ name = \"{name}\" }}\n"
    )
}

fn place(directory: &TempDir) -> PathBuf {
    directory.path().join("proxy.toml")
}

fn start(path: &Path) -> Process {
    Process::run(path.to_str().expect("text"))
}

/// The name of the events that a new stream has.
async fn name(address: &str, backend: &Backend) -> String {
    let mut client = Client::get(address, "/", "").await;
    let mut upstream = backend.stream(NDJSON).await;
    client.head().await;
    upstream.chunk("1\n").await;
    let event = client.chunk().await.expect("an event");
    let name = event.strip_prefix("event: ").expect("a name");
    name.lines().next().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn a_changed_file_is_read_again_and_a_bad_one_changes_nothing() {
    let backend = Backend::bind().await;
    let directory = tempfile::tempdir().unwrap();
    let path = place(&directory);
    fs::write(&path, text(&backend.endpoint(), "a")).unwrap();
    let mut weir = start(&path);
    let address = weir.address();
    assert_eq!(name(&address, &backend).await, "a");

    // In place, in two steps.
    let whole = text(&backend.endpoint(), "b");
    let (first, rest) = whole.split_at(40);
    fs::write(&path, first).unwrap();
    fs::write(&path, format!("{first}{rest}")).unwrap();
    let log = weir.errors_until("The configuration is reloaded.");
    assert!(log.contains("generation=2"), "{log}");
    soon("the new names", async {
        while name(&address, &backend).await != "b" {}
    })
    .await;

    // By another file in its place, which is bad.
    let put = |text: &str| {
        let other = directory.path().join("proxy.toml.new");
        fs::write(&other, text).unwrap();
        fs::rename(&other, &path).unwrap();
    };
    put(&format!("{whole}colour = \"red\"\n"));
    let log = weir.errors_until("Reload refused; the old configuration stays.");
    assert!(log.contains("\"colour\" is no key here"), "{log}");
    assert_eq!(name(&address, &backend).await, "b");

    // What stands beside it is nobody's business.
    fs::write(directory.path().join("other"), "x").unwrap();
    put(&text(&backend.endpoint(), "c"));
    let log = weir.errors_until("The configuration is reloaded.");
    assert!(log.contains("generation=3"), "{log}");
    assert!(!log.contains("Reload refused"), "{log}");

    // Who is told so stops watching.
    let unwatched = text(&backend.endpoint(), "d").replace("watch = true", "watch = false");
    put(&unwatched);
    weir.errors_until("generation=4");
    put(&text(&backend.endpoint(), "e"));
    weir.signal("HUP");
    let log = weir.errors_until("generation=5");
    assert!(!log.contains("The file has changed"), "{log}");
}

/// How the kubelet brings a `ConfigMap` up to date: a directory of its own, and one link that is swapped.
#[tokio::test]
async fn a_swapped_config_map_is_seen() {
    let backend = Backend::bind().await;
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    let version = |number: &str, name: &str| {
        fs::create_dir(at(number)).unwrap();
        fs::write(
            at(number).join("proxy.toml"),
            text(&backend.endpoint(), name),
        )
        .unwrap();
        symlink(number, at("..data_tmp")).unwrap();
        fs::rename(at("..data_tmp"), at("..data")).unwrap();
    };
    version("..1", "a");
    symlink("..data/proxy.toml", at("proxy.toml")).unwrap();
    let mut weir = start(&at("proxy.toml"));
    let address = weir.address();
    for (number, name, generation, before) in [
        ("..2", "b", "generation=2", "..1"),
        ("..3", "c", "generation=3", "..2"),
    ] {
        version(number, name);
        fs::remove_dir_all(at(before)).unwrap();
        let log = weir.errors_until("The configuration is reloaded.");
        assert!(log.contains(generation), "{log}");
        soon("the new names", async {
            while self::name(&address, &backend).await != name {}
        })
        .await;
    }
}

#[tokio::test]
async fn a_renewed_certificate_is_seen() {
    let directory = tempfile::tempdir().unwrap();
    let path = place(&directory);
    let certificates = tempfile::tempdir().unwrap();
    let old = tls::certificate(certificates.path(), "a", &["localhost"]);
    let at = |name: &str| certificates.path().join(name);
    let tls_keys = format!(
        "tls = {{ certificate = {:?}, key = {:?} }}\n[upstream.test]",
        at("a.pem"),
        at("a.key")
    );
    let text = text("http://127.0.0.1:1", "a").replace("[upstream.test]", &tls_keys);
    fs::write(&path, text).unwrap();
    let mut weir = start(&path);
    let address = weir.address();
    tls::connect(&address, "localhost", &old, &[])
        .await
        .unwrap();
    let new = tls::certificate(certificates.path(), "a", &["localhost"]);
    // The pair is written in two steps: between them it may be refused.
    soon("the new certificate", async {
        while tls::connect(&address, "localhost", &new, &[])
            .await
            .is_err()
        {
            tokio::task::yield_now().await;
        }
    })
    .await;
    weir.errors_until("The configuration is reloaded.");
}
