//! How a client of one member is made: its time limits, and TLS from files that may be replaced while the process runs.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use etcd_client::{Certificate, Channel, Client, ConnectOptions, Identity, TlsOptions};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::sign::CertifiedKey;
use rustls::{DigitallySignedStruct, SignatureScheme};
use tonic::transport::Endpoint;

use super::fault::chain;
use super::{EtcdOptions, EtcdTls};
use crate::store::StoreError;

/// Pings on a connection with a watch on it. A server closes connections that ping more often than every 5 s.
const PING: Duration = Duration::from_secs(6);
const PONG: Duration = Duration::from_secs(3);
/// The longest time that a connect may take.
const CONNECT: Duration = Duration::from_secs(2);

/// What clients are made from.
pub(super) struct Dial {
    tls: Option<EtcdTls>,
    connect: Duration,
}

impl Dial {
    pub(super) fn new(options: &EtcdOptions) -> Self {
        Self { tls: options.tls.clone(), connect: CONNECT.min(options.timeout) }
    }

    /// A client that connects when it is first used, and the mark of the files that it was made from.
    pub(super) async fn client(&self, url: &str) -> Result<(Client, u64), StoreError> {
        let read = |tls| {
            let files = Files::read(tls)?;
            Ok::<_, StoreError>((files.mark, files.options(tls)?))
        };
        let (mark, tls) = self.tls.as_ref().map(read).transpose()?.unzip();
        let connect = ConnectOptions::new()
            .with_keep_alive(PING, PONG)
            .with_keep_alive_while_idle(false)
            .with_connect_timeout(self.connect)
            .with_require_leader(true);
        let made = match tls {
            Some(tls) if self.tls.as_ref().is_some_and(|tls| tls.unverified) => {
                Client::from_channel(self.unverified(url, tls)?, Some(connect)).await
            }
            Some(tls) => Client::connect([url], Some(connect.with_tls(tls))).await,
            // the system's authorities
            None if url.starts_with("https://") => {
                Client::connect([url], Some(connect.with_tls(TlsOptions::new().with_enabled_roots()))).await
            }
            None => Client::connect([url], Some(connect)).await,
        };
        let client = made.map_err(|error| unusable(url, &error))?;
        Ok((client, mark.unwrap_or_default()))
    }

    /// The mark of the files as they are now; `None`: there are none, or one cannot be read.
    pub(super) fn mark(&self) -> Option<u64> {
        let tls = self.tls.as_ref().filter(|tls| tls.identity.is_some() || tls.ca.is_some())?;
        Files::read(tls).ok().map(|files| files.mark)
    }

    fn unverified(&self, url: &str, tls: TlsOptions) -> Result<Channel, StoreError> {
        let endpoint = Endpoint::from_shared(url.to_owned()).map_err(|error| unusable(url, &error))?;
        let endpoint = endpoint
            .http2_keep_alive_interval(PING)
            .keep_alive_timeout(PONG)
            .keep_alive_while_idle(false)
            .connect_timeout(self.connect)
            .tls_config_with_verifier(tls, Arc::new(Anybody(Arc::new(aws_lc_rs::default_provider()))));
        Ok(Channel::Tonic(endpoint.map_err(|error| unusable(url, &error))?.connect_lazy()))
    }
}

fn unusable(url: &str, error: &dyn std::error::Error) -> StoreError {
    StoreError::Unusable { path: url.to_owned(), reason: chain(error) }
}

/// What is in the files.
struct Files {
    ca: Option<Vec<u8>>,
    /// A certificate and its key.
    identity: Option<(Vec<u8>, Vec<u8>)>,
    /// Another one when their content is.
    mark: u64,
}

impl Files {
    fn read(options: &EtcdTls) -> Result<Self, StoreError> {
        let mut mark = DefaultHasher::new();
        let mut read = |path: &Path| {
            let bytes = std::fs::read(path).map_err(|error| unusable(&path.display().to_string(), &error))?;
            bytes.hash(&mut mark);
            Ok::<_, StoreError>(bytes)
        };
        let ca = options.ca.as_deref().filter(|_| !options.unverified).map(&mut read).transpose()?;
        let identity = options.identity.as_ref().map(|(cert, key)| Ok::<_, StoreError>((read(cert)?, read(key)?))).transpose()?;
        Ok(Self { ca, identity, mark: mark.finish() })
    }

    /// The options of the client, which would say no more than that something is wrong with some file.
    fn options(self, options: &EtcdTls) -> Result<TlsOptions, StoreError> {
        let mut tls = TlsOptions::new();
        match (self.ca, &options.ca) {
            _ if options.unverified => {}
            (Some(pem), Some(path)) => {
                certificates(path, &pem)?;
                tls = tls.ca_certificate(Certificate::from_pem(pem));
            }
            _ => tls = tls.with_enabled_roots(),
        }
        if let (Some((cert, key)), Some((cert_path, key_path))) = (self.identity, &options.identity) {
            pair((cert_path, &cert), (key_path, &key))?;
            tls = tls.identity(Identity::from_pem(cert, key));
        }
        if let Some(name) = &options.sni {
            tls = tls.domain_name(name);
        }
        Ok(tls)
    }
}

/// The certificates of a file; at least one.
fn certificates(path: &Path, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, StoreError> {
    let found = CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>().unwrap_or_default();
    if found.is_empty() { Err(no_pem(path, "there is no certificate in PEM in it")) } else { Ok(found) }
}

/// Whether a certificate and a key are, and belong together.
fn pair(cert: (&Path, &[u8]), key: (&Path, &[u8])) -> Result<(), StoreError> {
    let chain = certificates(cert.0, cert.1)?;
    // the crate's own errors repeat lines of the text
    let found = PrivateKeyDer::from_pem_slice(key.1).map_err(|_| no_pem(key.0, "there is no private key in PEM in it"))?;
    let signing = aws_lc_rs::default_provider().key_provider.load_private_key(found);
    let signing = signing.map_err(|_| no_pem(key.0, "its private key cannot be used"))?;
    match CertifiedKey::new(chain, signing).keys_match() {
        Ok(()) => Ok(()),
        Err(rustls::Error::InconsistentKeys(_)) => Err(no_pem(key.0, &format!("it is not the key of {}", cert.0.display()))),
        Err(error) => Err(unusable(&cert.0.display().to_string(), &error)),
    }
}

fn no_pem(path: &Path, reason: &str) -> StoreError {
    StoreError::Unusable { path: path.display().to_string(), reason: reason.to_owned() }
}

/// Takes any certificate, of anybody. That the other side has its key is still proved.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
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
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
