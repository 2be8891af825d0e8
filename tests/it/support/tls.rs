//! Certificates made at run time, and clients that trust them.

use std::{path::Path, sync::Arc};

use rcgen::{CertifiedKey, KeyPair, generate_simple_self_signed};
use rustls::{ClientConfig, RootCertStore, pki_types::ServerName};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::soon;

/// A certificate for these names, written to `NAME.pem` and `NAME.key` in `directory`.
pub fn certificate(directory: &Path, name: &str, hosts: &[&str]) -> CertifiedKey<KeyPair> {
    let hosts: Vec<String> = hosts.iter().map(|&host| host.to_owned()).collect();
    let made = generate_simple_self_signed(hosts).expect("a certificate");
    std::fs::write(directory.join(format!("{name}.pem")), made.cert.pem()).expect("a file");
    let key = made.signing_key.serialize_pem();
    std::fs::write(directory.join(format!("{name}.key")), key).expect("a file");
    made
}

/// Connects to `address` as a client that asks for `host`, trusts `certificate` and offers `alpn`.
pub async fn connect(
    address: &str,
    host: &str,
    certificate: &CertifiedKey<KeyPair>,
    alpn: &[&str],
) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add(certificate.cert.der().clone()).expect("a root");
    let mut config = ClientConfig::builder()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    let stream = TcpStream::connect(address).await?;
    let name = ServerName::try_from(host.to_owned()).expect("a name");
    let connector = TlsConnector::from(Arc::new(config));
    soon("a TLS handshake", connector.connect(name, stream)).await
}
