//! How does the client get a connection, in the clear or by TLS, and what came over it?

use std::{
    cell::Cell,
    io,
    path::Path,
    pin::Pin,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll},
};

use nix::sys::socket::{setsockopt, sockopt};
use rustls::{
    ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::CryptoProvider,
    pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject as _},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpSocket, TcpStream},
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::target::Target;

/// Whom the client trusts.
#[derive(Debug, Clone, Copy)]
pub enum Trust<'a> {
    /// The certificates of a PEM file.
    Authority(&'a Path),
    /// Anyone: all is on this machine.
    Anyone,
}

/// Makes connections to one target.
#[derive(Debug)]
pub struct Connector {
    target: Target,
    tls: Option<Arc<ClientConfig>>,
    /// How much the kernel keeps for a client that does not read; 0 leaves it to the kernel.
    receive_buffer_bytes: usize,
    received_bytes: Rc<Cell<u64>>,
}

impl Connector {
    /// A connector that offers `alpn` where the target is TLS.
    ///
    /// # Errors
    /// When the authority's file cannot be read.
    pub fn new(target: Target, trust: Trust<'_>, alpn: &str) -> io::Result<Self> {
        let tls = target.is_tls.then(|| tls(trust, alpn)).transpose()?;
        Ok(Self {
            target,
            tls,
            receive_buffer_bytes: 0,
            received_bytes: Rc::default(),
        })
    }

    /// Bounds what the kernel keeps of each connection to come.
    #[must_use]
    pub fn with_receive_buffer(mut self, bytes: usize) -> Self {
        self.receive_buffer_bytes = bytes;
        self
    }

    /// Where it connects.
    #[must_use]
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// What came over all its connections, before any of it was parsed; with TLS what was inside.
    #[must_use]
    pub fn received_bytes(&self) -> u64 {
        self.received_bytes.get()
    }

    /// Connects.
    ///
    /// # Errors
    /// When the target refuses, or its certificate is not trusted.
    pub async fn connect(&self) -> io::Result<Connection> {
        let socket = match self.target.address {
            std::net::SocketAddr::V4(_) => TcpSocket::new_v4()?,
            std::net::SocketAddr::V6(_) => TcpSocket::new_v6()?,
        };
        if self.receive_buffer_bytes > 0 {
            setsockopt(&socket, sockopt::RcvBuf, &self.receive_buffer_bytes)?;
        }
        let tcp = socket.connect(self.target.address).await?;
        tcp.set_nodelay(true)?;
        let io = match &self.tls {
            None => Io::Plain(tcp),
            Some(tls) => {
                let name = ServerName::try_from(self.target.host.clone())
                    .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
                let tls = TlsConnector::from(Arc::clone(tls));
                Io::Tls(Box::new(tls.connect(name, tcp).await?))
            }
        };
        Ok(Connection {
            io,
            received_bytes: Rc::clone(&self.received_bytes),
        })
    }
}

/// A connection that counts what is received.
#[derive(Debug)]
pub struct Connection {
    io: Io,
    received_bytes: Rc<Cell<u64>>,
}

#[derive(Debug)]
enum Io {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = match &mut self.io {
            Io::Plain(io) => Pin::new(io).poll_read(context, buffer),
            Io::Tls(io) => Pin::new(io).poll_read(context, buffer),
        };
        let length = (buffer.filled().len() - before) as u64;
        self.received_bytes.set(self.received_bytes.get() + length);
        polled
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match &mut self.io {
            Io::Plain(io) => Pin::new(io).poll_write(context, bytes),
            Io::Tls(io) => Pin::new(io).poll_write(context, bytes),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.io {
            Io::Plain(io) => Pin::new(io).poll_flush(context),
            Io::Tls(io) => Pin::new(io).poll_flush(context),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.io {
            Io::Plain(io) => Pin::new(io).poll_shutdown(context),
            Io::Tls(io) => Pin::new(io).poll_shutdown(context),
        }
    }
}

fn tls(trust: Trust<'_>, alpn: &str) -> io::Result<Arc<ClientConfig>> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?;
    let mut config = match trust {
        Trust::Authority(file) => {
            let mut roots = RootCertStore::empty();
            let certificates = CertificateDer::pem_file_iter(file).map_err(io::Error::other)?;
            for certificate in certificates {
                let certificate = certificate.map_err(io::Error::other)?;
                roots.add(certificate).map_err(io::Error::other)?;
            }
            builder.with_root_certificates(roots).with_no_client_auth()
        }
        Trust::Anyone => builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(TrustAnyone(provider)))
            .with_no_client_auth(),
    };
    config.alpn_protocols = vec![alpn.as_bytes().to_vec()];
    Ok(Arc::new(config))
}

/// Lets every certificate pass.
#[derive(Debug)]
struct TrustAnyone(Arc<CryptoProvider>);

impl ServerCertVerifier for TrustAnyone {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
