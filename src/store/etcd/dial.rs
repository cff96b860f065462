//! How a client of one member is made: its time limits, and TLS from files that may be replaced while the process runs.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use etcd_client::{Certificate, Channel, Client, ConnectOptions, Identity, TlsOptions};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{DigitallySignedStruct, SignatureScheme};
use tonic::transport::Endpoint;

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
        let (tls, mark) = self.tls.as_ref().map(read).transpose()?.unzip();
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
        read(tls).ok().map(|(_, mark)| mark)
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
    StoreError::Unusable { path: url.to_owned(), reason: error.to_string() }
}

/// Reads the files. The mark is another one when their content is.
fn read(options: &EtcdTls) -> Result<(TlsOptions, u64), StoreError> {
    let mut mark = DefaultHasher::new();
    let mut read = |path: &Path| {
        let bytes = std::fs::read(path).map_err(|error| unusable(&path.display().to_string(), &error))?;
        bytes.hash(&mut mark);
        Ok::<_, StoreError>(bytes)
    };
    let mut tls = match &options.ca {
        _ if options.unverified => TlsOptions::new(),
        Some(ca) => TlsOptions::new().ca_certificate(Certificate::from_pem(read(ca)?)),
        None => TlsOptions::new().with_enabled_roots(),
    };
    if let Some((cert, key)) = &options.identity {
        tls = tls.identity(Identity::from_pem(read(cert)?, read(key)?));
    }
    if let Some(name) = &options.sni {
        tls = tls.domain_name(name);
    }
    Ok((tls, mark.finish()))
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
