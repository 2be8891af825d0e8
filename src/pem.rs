//! What certificates and keys does a PEM file hold?

use std::path::Path;

use rustls::pki_types::{
    CertificateDer, PrivateKeyDer,
    pem::{self, PemObject as _},
};
use thiserror::Error;

/// Why a PEM file cannot be used.
#[derive(Debug, Error)]
pub enum PemError {
    /// It cannot be read.
    #[error("cannot be read: {0}")]
    Read(#[from] std::io::Error),
    /// It is not PEM.
    #[error("is not PEM: {0}")]
    Syntax(String),
    /// It is PEM of something else.
    #[error("holds no {0}; expected a PEM block {1}")]
    Missing(&'static str, &'static str),
}

/// All certificates of a file, in its order; at least one.
///
/// # Errors
/// The file cannot be read, is not PEM, or holds no certificate.
pub fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, PemError> {
    let bytes = std::fs::read(path)?;
    let certificates = CertificateDer::pem_slice_iter(&bytes)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| PemError::Syntax(error.to_string()))?;
    if certificates.is_empty() {
        return Err(PemError::Missing("certificate", "BEGIN CERTIFICATE"));
    }
    Ok(certificates)
}

/// The first private key of a file (PKCS#8, PKCS#1 or SEC1).
///
/// # Errors
/// The file cannot be read, is not PEM, or holds no key.
pub fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, PemError> {
    let bytes = std::fs::read(path)?;
    PrivateKeyDer::from_pem_slice(&bytes).map_err(|error| {
        if matches!(error, pem::Error::NoItemsFound) {
            PemError::Missing("private key", "BEGIN PRIVATE KEY")
        } else {
            PemError::Syntax(error.to_string())
        }
    })
}
