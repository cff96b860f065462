//! Clients that speak TLS 1.3: how many handshakes, how much, how many at rest. They verify nobody and resume nothing.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, Error, SignatureScheme, StreamOwned, version};

use crate::client::{Done, MESSAGE};

type Session = StreamOwned<ClientConnection, TcpStream>;

/// The name that is asked for.
const NAME: &str = "bench.example";

/// Takes every certificate: it is the proxy's work that is measured.
#[derive(Debug)]
struct Anybody;

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ECDSA_NISTP256_SHA256]
    }
}

fn config() -> io::Result<Arc<ClientConfig>> {
    let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
    let builder = builder.with_protocol_versions(&[&version::TLS13]).map_err(io::Error::other)?;
    let mut config = builder.dangerous().with_custom_certificate_verifier(Arc::new(Anybody)).with_no_client_auth();
    config.resumption = Resumption::disabled();
    Ok(Arc::new(config))
}

fn open(config: &Arc<ClientConfig>, to: SocketAddr) -> io::Result<Session> {
    let stream = TcpStream::connect(to)?;
    stream.set_nodelay(true)?;
    let name = ServerName::try_from(NAME).map_err(io::Error::other)?;
    Ok(StreamOwned::new(ClientConnection::new(config.clone(), name).map_err(io::Error::other)?, stream))
}

fn echo(session: &mut Session) -> io::Result<()> {
    session.write_all(&MESSAGE)?;
    session.flush()?;
    session.read_exact(&mut [0; MESSAGE.len()])
}

/// The same on several threads; each adds what it did to the count.
fn together(threads: usize, work: impl Fn(&AtomicU64) -> io::Result<()> + Sync) -> (u64, f64, u64) {
    let (count, failed, begin) = (AtomicU64::new(0), AtomicU64::new(0), Instant::now());
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                if work(&count).is_err() {
                    failed.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    });
    (count.into_inner(), begin.elapsed().as_secs_f64(), failed.into_inner())
}

/// Connect, full handshake, one echo, close; over and over. A unit is a connection.
pub fn rate(to: SocketAddr, time: Duration, connections: usize) -> io::Result<Done> {
    let (config, begin) = (config()?, Instant::now());
    let (units, seconds, failed) = together(connections, |count| {
        while begin.elapsed() < time {
            let mut session = open(&config, to)?;
            echo(&mut session)?;
            session.conn.send_close_notify();
            session.flush()?;
            count.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    });
    Ok(Done { units: units as f64, seconds, failed })
}

/// Sends as much as goes. A unit is 10⁹ bytes.
pub fn bulk(to: SocketAddr, time: Duration, connections: usize) -> io::Result<Done> {
    let (config, begin, chunk) = (config()?, Instant::now(), vec![b'b'; 256 * 1024]);
    let (bytes, seconds, failed) = together(connections, |count| {
        let mut session = open(&config, to)?;
        while begin.elapsed() < time {
            session.write_all(&chunk)?;
            count.fetch_add(chunk.len() as u64, Ordering::Relaxed);
        }
        Ok(())
    });
    Ok(Done { units: bytes as f64 / 1e9, seconds, failed })
}

/// Opens connections, one echo on each, says `open`, and holds them until its standard input ends. A unit is a connection.
pub fn idle(to: SocketAddr, connections: usize) -> io::Result<Done> {
    let (config, begin, mut held) = (config()?, Instant::now(), Vec::new());
    for _ in 0..connections {
        let mut session = open(&config, to)?;
        echo(&mut session)?;
        held.push(session);
    }
    println!("open");
    io::copy(&mut io::stdin(), &mut io::sink())?;
    Ok(Done { units: held.len() as f64, seconds: begin.elapsed().as_secs_f64(), failed: 0 })
}
