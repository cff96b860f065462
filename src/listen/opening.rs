//! What a connection says before it is routed, where its listener waits for it. Routes nothing, and takes no byte that a node
//! should get.

use std::future::poll_fn;
use std::pin::pin;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};

use super::secure::{self, Greeting};
use crate::base::addr::{Remote, canonical};
use crate::base::reason::Reason;
use crate::live::sessions::{Claim, Session};
use crate::model::{Listener, ProxyProtocol};
use crate::net::proxy_header;
use crate::telemetry::Metrics;

/// The header has to be there so long after the connection was accepted.
const HEADER: Duration = Duration::from_secs(5);

/// What a connection said. Where nothing is awaited of a client, nothing is known, and nothing was read.
#[derive(Debug, Default)]
pub(super) struct Opening {
    /// What it began with, where a ClientHello is awaited.
    pub(super) greeting: Option<Greeting>,
}

impl Opening {
    /// The name in its ClientHello: in lower case, without a trailing dot.
    pub(super) fn sni(&self) -> Option<&str> {
        self.greeting.as_ref().and_then(Greeting::sni)
    }

    /// Whether a ClientHello was awaited, and something else came.
    pub(super) const fn is_bare(&self) -> bool {
        matches!(self.greeting, Some(Greeting::Bare(_)))
    }
}

/// Whether a listener waits for anything before it routes.
pub(super) const fn awaited(listener: &Listener) -> bool {
    listener.proxy_protocol.is_some() || listener.tls
}

/// Reads what the listener waits for; somebody may end the session meanwhile. `began` is when it was accepted.
///
/// # Errors
/// What the session ends with. Dropping the future loses bytes.
pub(super) async fn read(
    stream: &TcpStream,
    listener: &Listener,
    session: &Session,
    began: Instant,
    metrics: &Metrics,
) -> Result<Opening, Reason> {
    let mut stages = pin!(async {
        if let Some(accept) = &listener.proxy_protocol {
            header(stream, accept, session, began).await?;
        }
        if !listener.tls {
            return Ok(Opening::default());
        }
        Ok(Opening { greeting: Some(secure::greet(stream, session, began, metrics).await?) })
    });
    poll_fn(|cx| match session.poll_end(cx) {
        std::task::Poll::Ready(reason) => std::task::Poll::Ready(Err(reason)),
        std::task::Poll::Pending => stages.as_mut().poll(cx),
    })
    .await
}

/// Reads the PROXY header, and believes a trusted peer. A header without the addresses of two ends leaves the peer as the client.
async fn header(stream: &TcpStream, accept: &ProxyProtocol, session: &Session, began: Instant) -> Result<(), Reason> {
    let received = match timeout_at(began + HEADER, proxy_header::receive(stream)).await {
        Ok(received) => received.map_err(|error| error.to_string()),
        Err(elapsed) => Err(elapsed.to_string()),
    };
    let header = received.map_err(|error| {
        tracing::debug!(session = session.id, peer = %session.peer, error, "PROXY header");
        Reason::ProxyHeader
    })?;
    let peer = session.peer.0.ip();
    if let Some(ends) = header.ends.filter(|_| accept.trusted.iter().any(|block| block.contains(peer))) {
        session.set_claim(Claim { client: Remote(canonical(ends.source)), server: Remote(canonical(ends.destination)) });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::time::SystemTime;

    use tokio::io::AsyncWriteExt;
    use tokio::net::TcpListener;

    use super::*;
    use crate::base::addr::{Local, Port, Protocol, Transport};
    use crate::live::sessions::{Arrival, Registered, Sessions};
    use crate::snapshot::fixture;

    struct Case {
        client: TcpStream,
        server: TcpStream,
        session: Registered,
    }

    async fn case() -> Case {
        let bound = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = bound.local_addr().unwrap();
        let client = TcpStream::connect(addr).await.unwrap();
        let (server, peer) = bound.accept().await.unwrap();
        let session = Sessions::default().register(Arrival {
            listener: fixture::id("l"),
            port: Port { transport: Transport::Tcp, addr },
            protocol: Protocol::Tcp,
            peer: Remote(peer),
            local: Local(addr),
            started: SystemTime::UNIX_EPOCH,
        });
        Case { client, server, session }
    }

    fn listener(trusted: &[&str]) -> Listener {
        let trusted = trusted.iter().map(|text| text.parse().unwrap()).collect();
        Listener { proxy_protocol: Some(ProxyProtocol { trusted }), ..fixture::listener("l", "1") }
    }

    async fn client_of(line: &[u8], trusted: &[&str]) -> Result<Option<SocketAddr>, Reason> {
        let mut case = case().await;
        case.client.write_all(line).await.unwrap();
        case.client.shutdown().await.unwrap();
        let listener = listener(trusted);
        read(&case.server, &listener, &case.session, Instant::now(), &Metrics::new().unwrap()).await?;
        let client = case.session.client();
        Ok((client != case.session.peer).then_some(client.0))
    }

    #[tokio::test]
    async fn only_a_trusted_peer_speaks_for_another() {
        let line = b"PROXY TCP4 192.0.2.1 198.51.100.7 4200 443\r\n";
        assert_eq!(client_of(line, &["10.0.0.0/8", "127.0.0.0/8"]).await, Ok(Some("192.0.2.1:4200".parse().unwrap())));
        assert_eq!(client_of(line, &["10.0.0.0/8"]).await, Ok(None));
        assert_eq!(client_of(line, &[]).await, Ok(None), "nobody is trusted unless named");
        let mapped = b"PROXY TCP6 ::ffff:192.0.2.1 ::1 4200 443\r\n";
        assert_eq!(client_of(mapped, &["127.0.0.1"]).await, Ok(Some("192.0.2.1:4200".parse().unwrap())), "IPv4 in IPv6 clothes");
    }

    #[tokio::test]
    async fn a_header_that_names_nobody_leaves_the_peer_as_the_client() {
        assert_eq!(client_of(b"PROXY UNKNOWN\r\n", &["127.0.0.1"]).await, Ok(None));
        assert_eq!(client_of(b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0", &["127.0.0.1"]).await, Ok(None), "LOCAL");
    }

    #[tokio::test]
    async fn without_a_header_there_is_no_session_whoever_sends_it() {
        for bytes in [&b""[..], b"GET / HTTP/1.1\r\n\r\n", b"PROXY TCP4 1.1.1.1"] {
            for trusted in [&["127.0.0.1"][..], &[]] {
                assert_eq!(client_of(bytes, trusted).await, Err(Reason::ProxyHeader));
            }
        }
    }

    #[tokio::test]
    async fn a_slow_header_ends_at_the_deadline_however_alive_it_is() {
        let mut case = case().await;
        tokio::time::pause();
        let (listener, began) = (listener(&[]), Instant::now());
        // a byte a second for as long as it is let: only a deadline for all of the header ends that
        let drip = async {
            for byte in b"PROXY UNKNOWN and so on" {
                case.client.write_all(&[*byte]).await.unwrap();
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        };
        let (ended, ()) = tokio::join!(
            async { (read(&case.server, &listener, &case.session, began, &Metrics::new().unwrap()).await.map(drop), began.elapsed()) },
            drip
        );
        assert_eq!((ended.0, ended.1.as_secs()), (Err(Reason::ProxyHeader), HEADER.as_secs()));
    }

    #[tokio::test]
    async fn somebody_may_end_a_session_whose_header_has_not_come() {
        let case = case().await;
        let (listener, session) = (listener(&[]), case.session.clone());
        let metrics = Metrics::new().unwrap();
        let (ended, ()) = tokio::join!(read(&case.server, &listener, &case.session, Instant::now(), &metrics), async {
            session.end(Reason::AdminKilled);
        });
        assert_eq!(ended.map(drop), Err(Reason::AdminKilled));
    }
}
