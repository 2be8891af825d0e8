//! Which certificate does a client get, and what is agreed with it?

mod facts;

use std::{fmt, sync::Arc};

use rustls::{
    ServerConfig,
    client::verify_server_name,
    crypto::{CryptoProvider, aws_lc_rs},
    pki_types::ServerName,
    server::{ClientHello, ParsedCertificate, ResolvesServerCert},
    sign::CertifiedKey,
};
use thiserror::Error;

use super::{CertificateSettings, HttpVersions};
use crate::{
    pem::{self, PemError},
    telemetry::metrics::listener::Certificate,
};

/// Why a listener's TLS could not be set up.
#[derive(Debug, Error)]
pub enum TlsError {
    /// The certificate's file cannot be used.
    #[error("tls certificate {path} {source}")]
    Certificate {
        /// The file.
        path: String,
        /// What is wrong with it.
        source: PemError,
    },
    /// The key's file cannot be used.
    #[error("tls key {path} {source}")]
    Key {
        /// The file.
        path: String,
        /// What is wrong with it.
        source: PemError,
    },
    /// The two files do not belong together, or rustls cannot use them.
    #[error("tls certificate {certificate} with key {key}: {reason}")]
    Pair {
        /// The certificate's file.
        certificate: String,
        /// The key's file.
        key: String,
        /// What rustls says.
        reason: String,
    },
    /// rustls cannot be set up.
    #[error("tls: {0}")]
    Setup(#[from] rustls::Error),
}

/// Sets up TLS 1.2 and 1.3 with these certificates; the first is for clients that name none of them. Gives
/// what is to be told of them, too.
///
/// # Errors
/// A file cannot be used, or a key does not belong to its certificate.
pub fn server_config(
    certificates: &[CertificateSettings],
    http: HttpVersions,
) -> Result<(Arc<ServerConfig>, Vec<Certificate>), TlsError> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let keys = certificates
        .iter()
        .map(|settings| load(settings, &provider))
        .collect::<Result<Vec<_>, _>>()?;
    let facts = keys.iter().filter_map(|key| facts::of(&key.cert)).collect();
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(BySni { keys }));
    config.ticketer = aws_lc_rs::Ticketer::new()?;
    config.alpn_protocols = [
        (http.is_http2, &b"h2"[..]),
        (http.is_http1, &b"http/1.1"[..]),
    ]
    .into_iter()
    .filter(|(is_spoken, _)| *is_spoken)
    .map(|(_, name)| name.to_vec())
    .collect();
    Ok((Arc::new(config), facts))
}

fn load(
    settings: &CertificateSettings,
    provider: &CryptoProvider,
) -> Result<Arc<CertifiedKey>, TlsError> {
    let (certificate, key) = (
        settings.certificate.display().to_string(),
        settings.key.display().to_string(),
    );
    let chain =
        pem::certificates(&settings.certificate).map_err(|source| TlsError::Certificate {
            path: certificate.clone(),
            source,
        })?;
    let private = pem::private_key(&settings.key).map_err(|source| TlsError::Key {
        path: key.clone(),
        source,
    })?;
    CertifiedKey::from_der(chain, private, provider)
        .map(Arc::new)
        .map_err(|error| TlsError::Pair {
            certificate,
            key,
            reason: if matches!(error, rustls::Error::InconsistentKeys(_)) {
                "the key does not belong to the certificate".to_owned()
            } else {
                error.to_string()
            },
        })
}

/// Chooses the first certificate that is valid for the name that the client asks for.
struct BySni {
    keys: Vec<Arc<CertifiedKey>>,
}

impl fmt::Debug for BySni {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} certificates", self.keys.len())
    }
}

impl ResolvesServerCert for BySni {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let named = hello
            .server_name()
            .and_then(|name| ServerName::try_from(name).ok())
            .and_then(|name| self.keys.iter().find(|key| is_for(key, &name)));
        named.or_else(|| self.keys.first()).cloned()
    }
}

fn is_for(key: &CertifiedKey, name: &ServerName<'_>) -> bool {
    key.end_entity_cert()
        .and_then(ParsedCertificate::try_from)
        .is_ok_and(|certificate| verify_server_name(&certificate, name).is_ok())
}
