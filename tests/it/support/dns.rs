//! A name server that says what it is told to.

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex},
};

use hickory_resolver::proto::{
    op::{Message, ResponseCode},
    rr::{Name, RData, Record, RecordType, rdata::SRV},
};
use tokio::{net::UdpSocket, task::JoinHandle};

use super::soon;

/// A name server on a free port.
pub struct Dns {
    /// Where it listens.
    pub address: SocketAddr,
    zone: Arc<Mutex<Zone>>,
    task: JoinHandle<()>,
}

#[derive(Default)]
struct Zone {
    records: HashMap<(Name, RecordType), Vec<Record>>,
    is_failing: bool,
    /// How often each name was asked for, of whatever type.
    asked: HashMap<Name, usize>,
}

impl Dns {
    /// A server that knows no name.
    pub async fn bind() -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a free port");
        let address = socket.local_addr().expect("a bound port");
        let zone: Arc<Mutex<Zone>> = Arc::default();
        let answers = Arc::clone(&zone);
        let task = tokio::spawn(async move {
            let mut buffer = [0; 4096];
            while let Ok((length, peer)) = socket.recv_from(&mut buffer).await {
                let query = Message::from_vec(&buffer[..length]).expect("a query");
                let reply = answers.lock().unwrap().answer(&query);
                let reply = reply.to_vec().expect("a reply");
                // A client that has left asks no more.
                let _ = socket.send_to(&reply, peer).await;
            }
        });
        Self {
            address,
            zone,
            task,
        }
    }

    /// From now on this name has these addresses, for so many seconds.
    pub fn addresses(&self, name: &str, ttl: u32, ips: &[&str]) {
        let record = |ip: &IpAddr| Record::from_rdata(self::name(name), ttl, RData::from(*ip));
        let ips: Vec<IpAddr> = ips.iter().map(|ip| ip.parse().expect("an ip")).collect();
        let of = |is_v6: bool| {
            let ips = ips.iter().filter(|ip| ip.is_ipv6() == is_v6);
            ips.map(record).collect()
        };
        self.set(name, RecordType::A, of(false));
        self.set(name, RecordType::AAAA, of(true));
    }

    /// From now on this service has these places: priority, weight, port and host.
    pub fn service(&self, name: &str, ttl: u32, places: &[(u16, u16, u16, &str)]) {
        let record = |&(priority, weight, port, host): &(u16, u16, u16, &str)| {
            let srv = SRV::new(priority, weight, port, self::name(host));
            Record::from_rdata(self::name(name), ttl, RData::SRV(srv))
        };
        self.set(name, RecordType::SRV, places.iter().map(record).collect());
    }

    /// From now on it says of every name that it cannot answer, or answers again.
    pub fn fail(&self, is_failing: bool) {
        self.zone.lock().unwrap().is_failing = is_failing;
    }

    /// How often this name has been asked for.
    pub fn asked(&self, name: &str) -> usize {
        let zone = self.zone.lock().unwrap();
        zone.asked.get(&self::name(name)).copied().unwrap_or(0)
    }

    /// Waits until this name has been asked for twice more, so that what holds now has been taken in.
    pub async fn taken_in(&self, name: &str) {
        let before = self.asked(name);
        // Each look-up may ask for both families.
        soon("a look-up", async {
            while self.asked(name) < before + 4 {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }

    fn set(&self, name: &str, kind: RecordType, records: Vec<Record>) {
        let mut zone = self.zone.lock().unwrap();
        zone.records.insert((self::name(name), kind), records);
    }
}

impl Drop for Dns {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Zone {
    fn answer(&mut self, query: &Message) -> Message {
        let asked = query.queries.first().expect("a question").clone();
        let name = asked.name().to_lowercase();
        *self.asked.entry(name.clone()).or_default() += 1;
        let is_known = self.records.keys().any(|(known, _)| *known == name);
        let answers = self.records.get(&(name, asked.query_type()));
        let answers = answers.cloned().unwrap_or_default();
        let mut reply = Message::response(query.metadata.id, query.metadata.op_code);
        reply.add_query(asked);
        if self.is_failing {
            reply.metadata.response_code = ResponseCode::ServFail;
        } else if is_known {
            reply.add_answers(answers);
        } else {
            reply.metadata.response_code = ResponseCode::NXDomain;
        }
        reply
    }
}

fn name(text: &str) -> Name {
    Name::from_ascii(format!("{text}."))
        .expect("a name")
        .to_lowercase()
}
