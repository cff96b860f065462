//! TLS as a client and as a server, for tests: by the same library that the gateway uses, with settings of its own. Where another
//! implementation matters, the test starts one.

use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection, SignatureScheme, StreamOwned};
use serde_json::{Value, json};

use super::upstream::Server;
use super::{client, ports};

/// A connection with TLS.
pub type Tls = StreamOwned<ClientConnection, std::net::TcpStream>;

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

fn chain(path: &Path) -> Vec<CertificateDer<'static>> {
    CertificateDer::pem_file_iter(path).unwrap().map(Result::unwrap).collect()
}

fn key(path: &Path) -> PrivateKeyDer<'static> {
    PrivateKeyDer::from_pem_file(path).unwrap()
}

fn roots(ca: &Path) -> RootCertStore {
    let mut roots = RootCertStore::empty();
    for cert in chain(ca) {
        roots.add(cert).unwrap();
    }
    roots
}

/// A client that takes any certificate.
pub fn any() -> ClientConfig {
    dangerous(None)
}

/// A client that takes any certificate and has one of its own.
pub fn with(pair: &(std::path::PathBuf, std::path::PathBuf)) -> ClientConfig {
    dangerous(Some(pair))
}

fn dangerous(pair: Option<&(std::path::PathBuf, std::path::PathBuf)>) -> ClientConfig {
    let builder = ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions().unwrap();
    let builder = builder.dangerous().with_custom_certificate_verifier(Arc::new(Trusting));
    match pair {
        Some((cert, private)) => builder.with_client_auth_cert(chain(cert), key(private)).unwrap(),
        None => builder.with_no_client_auth(),
    }
}

/// A client that takes certificates of one authority for the name that it asked for.
pub fn trusting(ca: &Path) -> ClientConfig {
    let builder = ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions().unwrap();
    builder.with_root_certificates(roots(ca)).with_no_client_auth()
}

/// Connects and shakes hands.
pub fn connect(to: SocketAddr, name: &str, config: ClientConfig) -> io::Result<Tls> {
    connect_shared(to, name, &Arc::new(config))
}

/// [`connect`] with sessions that are remembered between calls.
pub fn connect_shared(to: SocketAddr, name: &str, config: &Arc<ClientConfig>) -> io::Result<Tls> {
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let conn = ClientConnection::new(config.clone(), name).map_err(io::Error::other)?;
    let mut stream = StreamOwned::new(conn, client::try_connect(to)?);
    while stream.conn.is_handshaking() {
        stream.conn.complete_io(&mut stream.sock)?;
    }
    Ok(stream)
}

/// Connects with a name, sends `mmm` and reads to the end. An error is one of the handshake, or what a server says after it.
pub fn send(to: SocketAddr, name: &str, config: ClientConfig) -> io::Result<Vec<u8>> {
    let mut stream = connect(to, name, config)?;
    stream.write_all(b"mmm")?;
    read_all(&mut stream)
}

/// Reads to the end, with a `close_notify` before it or not.
pub fn read_all(stream: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut all = Vec::new();
    match stream.read_to_end(&mut all) {
        Ok(_) => Ok(all),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(all),
        Err(error) => Err(error),
    }
}

/// Whether a client gets the `hello world` of the plain server behind.
pub fn served(to: SocketAddr, name: &str) -> bool {
    send(to, name, any()).is_ok_and(|said| said == b"hello world\n")
}

/// What an object of the kind `ssls` needs of files.
pub fn ssl((cert, private): &(std::path::PathBuf, std::path::PathBuf), snis: &[&str]) -> Value {
    json!({"cert": text(cert), "key": text(private), "snis": snis})
}

/// A file.
pub fn text(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap()
}

/// What a server with a certificate speaks. With an authority, clients need a certificate of it.
pub fn serving((cert, private): &(std::path::PathBuf, std::path::PathBuf), clients: Option<&Path>) -> Arc<ServerConfig> {
    let builder = ServerConfig::builder_with_provider(provider()).with_safe_default_protocol_versions().unwrap();
    let builder = match clients {
        Some(ca) => {
            builder.with_client_cert_verifier(WebPkiClientVerifier::builder_with_provider(Arc::new(roots(ca)), provider()).build().unwrap())
        }
        None => builder.with_no_client_auth(),
    };
    Arc::new(builder.with_single_cert(chain(cert), key(private)).unwrap())
}

/// A server that says `hello <name that it was asked for>` after the first byte, and closes. With an authority, clients need a
/// certificate of it.
pub fn server(pair: &(std::path::PathBuf, std::path::PathBuf), clients: Option<&Path>) -> Server {
    let config = serving(pair, clients);
    Server::start(SocketAddr::from(([0, 0, 0, 0], ports::free())), move |stream, _| {
        let mut stream = StreamOwned::new(ServerConnection::new(config.clone()).unwrap(), stream);
        let mut first = [0; 64];
        if stream.read(&mut first).is_ok_and(|n| n > 0) {
            let name = stream.conn.server_name().unwrap_or("nobody").to_owned();
            // a client that is gone hears nothing
            let _ = stream.write_all(format!("hello {name}\n").as_bytes());
            stream.conn.send_close_notify();
            let _ = stream.flush();
        }
    })
}

#[derive(Debug)]
struct Trusting;

impl ServerCertVerifier for Trusting {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider().signature_verification_algorithms.supported_schemes()
    }
}
