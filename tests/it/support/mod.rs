//! What do the tests of the whole proxy stand on?
//!
//! A proxy in this process on free ports, backends that do as they are told byte by byte, and
//! clients that see each byte. Every wait has a limit; nothing sleeps to be in time.

pub mod backend;
pub mod backend2;
pub mod client;
pub mod client2;
pub mod coded;
pub mod dns;
pub mod polled;
pub mod process;
pub mod tls;
pub mod websocket;

use std::{cell::RefCell, future::Future, path::Path, time::Duration};

use weir::{
    app::{App, Reloaded, Running, StartError},
    config,
};

/// The longest that anything in a test may take.
pub const LIMIT: Duration = Duration::from_secs(20);

/// Waits for `future`, which must come about.
pub async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(LIMIT, future).await {
        Ok(value) => value,
        Err(tokio::time::error::Elapsed { .. }) => panic!("waited in vain for {what}"),
    }
}

/// Bytes without a pattern that a lost or doubled piece would keep.
pub fn noise(length: usize) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(length as u64);
    std::iter::repeat_with(|| random.u8(..))
        .take(length)
        .collect()
}

/// The content type of the backends' streams.
pub const NDJSON: &str = "application/x-ndjson";

/// A proxy in front of a fresh backend, on a route with these keys.
pub async fn proxied(route: &str) -> (backend::Backend, Weir) {
    let backend = backend::Backend::bind().await;
    let weir = Weir::route(&backend.endpoint(), route);
    (backend, weir)
}

/// The same, with these keys of the process.
pub async fn proxied_at(route: &str, process: &str) -> (backend::Backend, Weir) {
    let backend = backend::Backend::bind().await;
    let upstream = format!("endpoints = [\"{}\"]", backend.endpoint());
    let weir = Weir::start_at(&Weir::toml(&upstream, route), process);
    (backend, weir)
}

/// A proxy in front of a fresh backend that speaks HTTP/2, on a route with these keys.
pub async fn proxied2(route: &str) -> (backend2::Backend2, Weir) {
    let backend = backend2::Backend2::bind().await;
    let upstream = format!("endpoints = [\"{}\"]\nhttp = \"2\"", backend.endpoint());
    let weir = Weir::upstream(&upstream, route);
    (backend, weir)
}

/// A proxy at work in this process.
pub struct Weir {
    running: RefCell<Option<Running>>,
    /// The listeners' addresses, in the order of the file.
    pub addresses: Vec<String>,
    /// The admin listener's address.
    pub admin: Option<String>,
}

impl Weir {
    /// Starts a proxy on this configuration, with one thread and a drain of one second.
    pub fn start(toml: &str) -> Self {
        Self::start_at(toml, "threads = 1\ndrain = \"1s\"")
    }

    /// Starts a proxy on this configuration, with these keys of the process.
    pub fn start_at(toml: &str, process: &str) -> Self {
        let text = format!("[process]\n{process}\n{toml}");
        let loaded = config::parse(&text, Path::new("test.toml"))
            .unwrap_or_else(|faults| panic!("{faults}\n{text}"));
        let app = App::bind(loaded.config).unwrap_or_else(|error| panic!("{error}"));
        let addresses = app.addresses();
        let admin = app.admin_address().map(str::to_owned);
        let running = app.start().unwrap_or_else(|error| panic!("{error}"));
        Self {
            running: RefCell::new(Some(running)),
            addresses,
            admin,
        }
    }

    /// Starts a proxy with one listener, one upstream at `endpoint` and one route with these keys.
    pub fn route(endpoint: &str, route: &str) -> Self {
        Self::upstream(&format!("endpoints = [\"{endpoint}\"]"), route)
    }

    /// Starts a proxy with one listener, one upstream and one route with these keys.
    pub fn upstream(upstream: &str, route: &str) -> Self {
        Self::start(&Self::toml(upstream, route))
    }

    fn toml(upstream: &str, route: &str) -> String {
        format!(
            "[[listener]]\naddress = \"127.0.0.1:0\"\n\
             [upstream.test]\n{upstream}\n\
             [[route]]\nname = \"test\"\nupstream = \"test\"\n{route}\n"
        )
    }

    /// Has it serve as this configuration says, besides the keys of the process.
    pub async fn reload(&mut self, toml: &str) -> Result<Reloaded, StartError> {
        let text = format!("[process]\nthreads = 1\ndrain = \"1s\"\n{toml}");
        let loaded = config::parse(&text, Path::new("test.toml"))
            .unwrap_or_else(|faults| panic!("{faults}\n{text}"));
        let running = self.running.get_mut().as_mut().expect("it runs");
        let reloaded = running.reload(loaded.config).await?;
        self.addresses = running.addresses();
        Ok(reloaded)
    }

    /// The first listener's address.
    pub fn address(&self) -> &str {
        &self.addresses[0]
    }

    /// Begins to drain.
    pub fn stop(&self) {
        let mut running = self.running.borrow_mut();
        running.as_mut().expect("it runs").stop();
    }

    /// Waits until the proxy has ended after [`Weir::stop`].
    pub async fn ended(self) {
        let running = self.running.take().expect("it runs");
        soon(
            "the proxy's end",
            tokio::task::spawn_blocking(|| running.join()),
        )
        .await
        .expect("the proxy ends without a panic");
    }
}

impl Drop for Weir {
    fn drop(&mut self) {
        if let Some(mut running) = self.running.take() {
            running.stop();
            running.join();
        }
    }
}
