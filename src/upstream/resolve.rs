//! Where are the endpoints, as DNS says now?
//!
//! One task a name looks it up again whenever its TTL is over, or an endpoint could not be connected to.
//! The system's configuration is read each time, so that a change of it counts without a restart.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use hickory_resolver::{
    TokioResolver,
    config::{LookupIpStrategy, NameServerConfig, ResolveHosts, ResolverConfig},
    lookup::Lookup as Answer,
    net::{NetError, runtime::TokioRuntimeProvider},
    proto::rr::{RData, rdata::SRV},
};
use tokio::{
    task::JoinSet,
    time::{sleep, sleep_until},
};
use tracing::{info, warn};

use super::{
    DnsSettings, EndpointAddress, Shared, Target,
    member::{Identity, Resolved, Terms},
    shared::Lookup,
};

/// How long after the first failure a name is looked up again; twice as long after each further one.
const RETRY_FIRST: Duration = Duration::from_secs(1);
/// The longest that it takes until a name that fails is looked up again.
const RETRY_MAX: Duration = Duration::from_secs(15);
/// How many endpoints one name may come to; what is beyond that is left out.
const FOUND_MAX: usize = 1000;
/// What weight 0 comes to: "a very small chance of being selected" (RFC 2782).
const WEIGHT_OF_ZERO: f64 = 0.01;

/// What a look-up came to: for how long it holds, or what went wrong.
type Outcome = Result<Duration, String>;

impl Shared {
    /// Whatever keeps the endpoints up to date: one task for each name, which never ends.
    pub fn lookups(self: &Arc<Self>) -> impl Iterator<Item = impl Future<Output = ()> + 'static> {
        let endpoints = self.settings.endpoints.iter().enumerate();
        endpoints.filter_map(|(index, endpoint)| {
            let lookup = self.lookup_of(endpoint)?;
            let shared = Arc::clone(self);
            Some(async move { shared.keep(index, lookup).await })
        })
    }

    /// Looks endpoint number `index` up again and again.
    async fn keep(&self, index: usize, lookup: Lookup) {
        let DnsSettings {
            ttl_min, ttl_max, ..
        } = self.settings.dns;
        let mut failures = 0_u32;
        loop {
            let outcome = self.look_up(index, lookup).await;
            self.report(index, &outcome, failures);
            self.known(index);
            let wait = if let Ok(ttl) = outcome {
                failures = 0;
                ttl.min(ttl_max)
            } else {
                let wait = RETRY_FIRST.saturating_mul(1 << failures.min(8));
                failures += 1;
                wait.min(RETRY_MAX)
            };
            let next = tokio::time::Instant::now() + wait;
            sleep(ttl_min).await;
            tokio::select! {
                () = sleep_until(next) => {}
                () = self.signals().doubt.notified() => {}
            }
        }
    }

    fn report(&self, index: usize, outcome: &Outcome, failures: u32) {
        let upstream = self.name();
        let endpoint = self.settings.endpoints[index].target.to_string();
        match outcome {
            Err(error) if failures == 0 => {
                warn!(
                    upstream,
                    endpoint, error, "A name cannot be resolved; what was found last stays."
                );
            }
            Ok(_) if failures > 0 => info!(upstream, endpoint, "A name is resolved again."),
            Err(_) | Ok(_) => {}
        }
    }

    async fn look_up(&self, index: usize, lookup: Lookup) -> Outcome {
        let endpoint = &self.settings.endpoints[index];
        let client = Client::new(&self.settings.dns, lookup);
        match (&endpoint.target, lookup) {
            (Target::Service { name, is_tls }, _) => {
                self.service(&client, index, name, *is_tls).await
            }
            (Target::Address(address), Lookup::Each) => {
                let (ips, ttl) = client.addresses(address.name().unwrap_or_default()).await?;
                let found = ips.iter().take(FOUND_MAX).map(|ip| {
                    let ip = Some(*ip);
                    let at = Identity::at(address.clone());
                    (Identity { ip, ..at }, endpoint.terms())
                });
                self.found(index, found.collect());
                Ok(ttl)
            }
            (Target::Address(address), Lookup::Name | Lookup::Service) => {
                let found = client.addresses(address.name().unwrap_or_default()).await;
                let (resolved, outcome) = apart(found);
                for member in self.present_at(index) {
                    member.resolve(resolved.clone());
                }
                outcome
            }
        }
    }

    /// Looks up where a service is, and then where its places are.
    async fn service(&self, client: &Client, index: usize, name: &str, is_tls: bool) -> Outcome {
        let (records, mut ttl) = client.service(name).await?;
        let streams_max = self.settings.endpoints[index].streams_max;
        let found = records.iter().map(|record| {
            let identity = Identity {
                address: place(record, is_tls),
                ip: None,
                // Whoever can forge an answer must not be able to choose the name (RFC 6125 §6.2.1).
                server_name: Some(domain(name).to_owned()),
            };
            let weight = match record.weight {
                0 => WEIGHT_OF_ZERO,
                weight => f64::from(weight),
            };
            let terms = Terms {
                weight,
                priority: record.priority,
                streams_max,
            };
            (identity, terms)
        });
        let found = found.collect();
        // Those that are new have no streams before their addresses are known, as connecting waits for them.
        self.found(index, found);
        let mut lookups = JoinSet::new();
        for member in self.present_at(index) {
            let client = client.clone();
            lookups.spawn(async move {
                let name = member.address.name()?;
                let (resolved, outcome) = apart(client.addresses(name).await);
                member.resolve(resolved);
                // One that has no address is passed over; the others hold as long as they say.
                outcome.ok()
            });
        }
        while let Some(held) = lookups.join_next().await {
            ttl = ttl.min(held.ok().flatten().unwrap_or(RETRY_MAX));
        }
        Ok(ttl)
    }
}

/// Whom to ask.
#[derive(Clone)]
struct Client {
    /// Or what is wrong with the system's configuration.
    resolver: Result<TokioResolver, String>,
    /// Whether the system may know what DNS does not, by another way (nsswitch.conf(5)).
    is_system: bool,
}

type Found = Result<(Arc<[IpAddr]>, Duration), String>;

impl Client {
    fn new(dns: &DnsSettings, lookup: Lookup) -> Self {
        Self {
            resolver: resolver(dns, lookup).map_err(|error| error.to_string()),
            is_system: dns.server.is_none(),
        }
    }

    /// The addresses of a host, at least one.
    async fn addresses(&self, name: &str) -> Found {
        let error = match self.ask(name).await {
            Ok(found) => return Ok(found),
            Err(error) => error,
        };
        if self.is_system
            && let Ok(addresses) = tokio::net::lookup_host((name, 0)).await
        {
            let ips: Arc<[IpAddr]> = addresses.map(|address| address.ip()).collect();
            if !ips.is_empty() {
                return Ok((ips, TTL_OF_SYSTEM));
            }
        }
        Err(error)
    }

    /// The addresses of a host, as DNS or the hosts file has them.
    async fn ask(&self, name: &str) -> Found {
        let answer = self.resolver.as_ref().map_err(String::clone)?;
        let answer = answer.lookup_ip(name).await;
        let answer = answer.map_err(|error| error.to_string())?;
        let ips: Arc<[IpAddr]> = answer.iter().collect();
        if ips.is_empty() {
            return Err("it has no address".to_owned());
        }
        Ok((ips, ttl(answer.as_lookup())))
    }

    /// The places of a service, those of the lowest priority first.
    async fn service(&self, name: &str) -> Result<(Vec<SRV>, Duration), String> {
        let answer = self.resolver.as_ref().map_err(String::clone)?;
        let answer = answer.srv_lookup(name).await;
        let answer = answer.map_err(|error| error.to_string())?;
        let records = answer.answers().iter().filter_map(|record| {
            let RData::SRV(record) = &record.data else {
                return None;
            };
            // A root as the target says that the service is not available here (RFC 2782).
            (!record.target.is_root()).then(|| record.clone())
        });
        let mut records: Vec<_> = records.collect();
        if records.is_empty() {
            return Err("its records name no place".to_owned());
        }
        records.sort_by_cached_key(|one| (one.priority, one.target.clone(), one.port));
        records.truncate(FOUND_MAX);
        Ok((records, ttl(&answer)))
    }
}

/// How long what the system says of itself, without a TTL, is taken to hold.
const TTL_OF_SYSTEM: Duration = Duration::from_secs(10);

fn resolver(dns: &DnsSettings, lookup: Lookup) -> Result<TokioResolver, NetError> {
    let mut builder = match dns.server {
        None => TokioResolver::builder_tokio()?,
        Some(server) => TokioResolver::builder_with_config(
            ResolverConfig::from_parts(None, Vec::new(), vec![name_server(server)]),
            TokioRuntimeProvider::default(),
        ),
    };
    let options = builder.options_mut();
    // What is kept is kept by us, for as long as the settings say.
    options.cache_size = 0;
    options.ip_strategy = match lookup {
        // A host with addresses of both families is to be one endpoint.
        Lookup::Each => LookupIpStrategy::Ipv4thenIpv6,
        Lookup::Name | Lookup::Service => LookupIpStrategy::Ipv6AndIpv4,
    };
    if dns.server.is_some() {
        options.use_hosts_file = ResolveHosts::Never;
    }
    builder.build()
}

fn name_server(server: SocketAddr) -> NameServerConfig {
    let mut config = NameServerConfig::udp_and_tcp(server.ip());
    for connection in &mut config.connections {
        connection.port = server.port();
    }
    config
}

/// How long all of an answer holds.
fn ttl(answer: &Answer) -> Duration {
    let ttls = answer.answers().iter().map(|record| record.ttl);
    Duration::from_secs(ttls.min().unwrap_or_default().into())
}

/// What an endpoint is told, and what comes of it for the next look-up.
fn apart(found: Found) -> (Resolved, Outcome) {
    match found {
        Ok((ips, ttl)) => (Ok(ips), Ok(ttl)),
        Err(reason) => (Err(reason.as_str().into()), Err(reason)),
    }
}

fn place(record: &SRV, is_tls: bool) -> EndpointAddress {
    let host = record.target.to_utf8().to_ascii_lowercase();
    let (host, port) = (host.trim_end_matches('.').to_owned(), record.port);
    if is_tls {
        EndpointAddress::Https { host, port }
    } else {
        EndpointAddress::Http { host, port }
    }
}

/// The domain that a service is in: its records' name without the labels of service and protocol.
fn domain(name: &str) -> &str {
    let mut rest = name;
    while let Some((label, after)) = rest.split_once('.')
        && label.starts_with('_')
    {
        rest = after;
    }
    rest
}
