//! Whether a peer that is kept waiting is still there. Takes no byte: what it has sent belongs to whoever serves it later.

use tokio::io::Interest;
use tokio::net::TcpStream;

/// Waits until the peer is gone: it reset the connection, or sent FIN and not a single byte before.
///
/// FIN behind bytes is no farewell but the end of a request, by a peer that may well read an answer. Cancel safe.
pub async fn gone(stream: &TcpStream) {
    match stream.peek(&mut [0]).await {
        Ok(0) | Err(_) => {}
        // a failure to wait is a failure of the stream
        Ok(_) => drop(stream.ready(Interest::ERROR).await),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use socket2::SockRef;
    use std::time::Duration;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;
    use tokio::time::timeout;

    async fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        (client, listener.accept().await.unwrap().0)
    }

    async fn leaves(server: &TcpStream) -> bool {
        timeout(Duration::from_secs(10), gone(server)).await.is_ok()
    }

    #[tokio::test]
    async fn a_peer_that_closes_in_silence_is_gone() {
        let (client, server) = pair().await;
        assert!(timeout(Duration::from_millis(50), gone(&server)).await.is_err(), "it is there");
        drop(client);
        assert!(leaves(&server).await);
    }

    #[tokio::test]
    async fn a_peer_that_resets_is_gone_whatever_it_has_sent() {
        let (mut client, server) = pair().await;
        client.write_all(b"hello").await.unwrap();
        assert!(timeout(Duration::from_millis(50), gone(&server)).await.is_err(), "it is there");
        SockRef::from(&client).set_linger(Some(Duration::ZERO)).unwrap();
        drop(client);
        assert!(leaves(&server).await);
    }

    #[tokio::test]
    async fn a_peer_that_has_asked_and_said_all_is_still_there_and_nothing_of_it_is_lost() {
        let (mut client, mut server) = pair().await;
        client.write_all(b"hello").await.unwrap();
        client.shutdown().await.unwrap();
        assert!(timeout(Duration::from_millis(50), gone(&server)).await.is_err());
        let mut said = String::new();
        server.read_to_string(&mut said).await.unwrap();
        assert_eq!(said, "hello");
    }
}
