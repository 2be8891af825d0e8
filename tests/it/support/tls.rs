//! Certificates made at run time, and clients that trust them.

use std::{path::Path, sync::Arc};

use rcgen::{CertifiedKey, KeyPair, generate_simple_self_signed};
use rustls::{
    ClientConfig, RootCertStore, ServerConfig, SupportedProtocolVersion,
    pki_types::{PrivateKeyDer, ServerName},
};
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, TlsConnector, client::TlsStream};

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

/// A certificate and its key.
pub type Certified = CertifiedKey<KeyPair>;

/// Connects to `address` as a client that asks for `host`, trusts `certificate` and offers `alpn`.
pub async fn connect(
    address: &str,
    host: &str,
    certificate: &Certified,
    alpn: &[&str],
) -> std::io::Result<TlsStream<TcpStream>> {
    let config = client_config(certificate, alpn, rustls::ALL_VERSIONS);
    connect_with(config, address, host).await
}

/// What a client speaks that trusts `certificate`, offers `alpn` and knows these versions.
pub fn client_config(
    certificate: &Certified,
    alpn: &[&str],
    versions: &[&'static SupportedProtocolVersion],
) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add(certificate.cert.der().clone()).expect("a root");
    let mut config = ClientConfig::builder_with_protocol_versions(versions)
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    config
}

/// Connects to `address` as a client that asks for `host`.
pub async fn connect_with(
    config: ClientConfig,
    address: &str,
    host: &str,
) -> std::io::Result<TlsStream<TcpStream>> {
    let stream = TcpStream::connect(address).await?;
    let name = ServerName::try_from(host.to_owned()).expect("a name");
    let connector = TlsConnector::from(Arc::new(config));
    soon("a TLS handshake", connector.connect(name, stream)).await
}

/// A connection that a backend has accepted over TLS.
pub type ServerStream = tokio_rustls::server::TlsStream<TcpStream>;

/// Accepts a client with `certificate`, agreeing to the first of `alpn` that it offers.
pub async fn accept(
    stream: TcpStream,
    certificate: &Certified,
    alpn: &[&str],
) -> std::io::Result<ServerStream> {
    let key = PrivateKeyDer::try_from(certificate.signing_key.serialize_der()).expect("a key");
    let mut config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.cert.der().clone()], key)
        .expect("a certificate");
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    soon("a TLS handshake", acceptor.accept(stream)).await
}
