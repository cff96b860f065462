//! Two streams against each other over a socket: what arrives is what was sent, however it is written and read.

use std::io::IoSlice;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;
use crate::tls::fixture::{self, Issuer};
use crate::tls::{self, Alpn, Client, Identity, Profile};

/// A client's stream and a server's.
async fn pair(offered: Alpn, spoken: Alpn) -> Result<(Stream, Stream), tls::Failed> {
    let issuer = Issuer::new();
    let identity = Identity::new(&fixture::ssl("1", &["a.test"], vec![issuer.pair(&["a.test"])])).unwrap();
    let client = Client::new(Profile { verify: true, ca: Some(issuer.pem().into()), ..Profile::default() }).unwrap();
    let bound = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (near, far) = tokio::join!(TcpStream::connect(bound.local_addr().unwrap()), bound.accept());
    let (near, far) = (near.unwrap(), far.unwrap().0);
    let (client, identity) = (&client, &identity);
    // each owns its socket, so that the end of one is seen by the other
    let connect = async move {
        let channel = tls::connect(&near, client, Some("a.test"), "", offered).await?;
        Ok::<_, tls::Failed>(Stream::new(near, channel))
    };
    let accept = async move {
        let mut bytes = Vec::new();
        let hello = tls::gather(&far, &mut bytes).await?;
        let channel = tls::accept(&far, identity.config(spoken).clone(), &hello, bytes).await?;
        Ok::<_, tls::Failed>(Stream::new(far, channel))
    };
    let (connected, accepted) = tokio::join!(connect, accept);
    Ok((connected?, accepted?))
}

fn pattern(bytes: usize) -> Vec<u8> {
    (0..=250_u8).cycle().take(bytes).collect()
}

/// Sends all of it and says the end, while all of the other side's is read in small pieces.
async fn both(stream: Stream, data: &[u8], step: usize) -> Vec<u8> {
    let (mut read, mut write) = tokio::io::split(stream);
    let mut got = Vec::new();
    let (sent, ()) = tokio::join!(
        async {
            write.write_all(data).await.unwrap();
            write.shutdown().await
        },
        async {
            let mut room = vec![0; step];
            loop {
                match read.read(&mut room).await.unwrap() {
                    0 => return,
                    n => got.extend_from_slice(&room[..n]),
                }
            }
        }
    );
    sent.unwrap();
    got
}

#[tokio::test]
async fn bulk_both_ways_with_readers_of_little_room_arrives_whole() {
    let (client, server) = pair(Alpn::Silent, Alpn::Silent).await.unwrap();
    let data = pattern(5 << 20);
    let (a, b) = tokio::join!(both(client, &data, 1000), both(server, &data, 70_000));
    assert!(a == data && b == data, "{} and {} bytes of {}", a.len(), b.len(), data.len());
}

#[tokio::test]
async fn parts_that_are_written_together_arrive_in_their_order() {
    let (mut client, mut server) = pair(Alpn::Silent, Alpn::Silent).await.unwrap();
    let (head, body) = (pattern(200), pattern(100_000));
    let wrote = client.write_vectored(&[IoSlice::new(&head), IoSlice::new(&[]), IoSlice::new(&body)]).await.unwrap();
    assert_eq!(wrote, PLAIN, "as much as one write takes");
    client.flush().await.unwrap();
    let mut got = vec![0; wrote];
    server.read_exact(&mut got).await.unwrap();
    assert!(got == [head, body].concat()[..wrote]);
}

#[tokio::test]
async fn the_end_is_told_after_all_that_was_written() {
    let (mut client, mut server) = pair(Alpn::Silent, Alpn::Silent).await.unwrap();
    client.write_all(b"last words").await.unwrap();
    client.shutdown().await.unwrap();
    let mut got = Vec::new();
    server.read_to_end(&mut got).await.unwrap();
    assert_eq!((&got[..], server.channel().ended()), (&b"last words"[..], true));
}

#[tokio::test]
async fn what_nobody_read_goes_along_when_a_stream_is_taken_apart() {
    let (mut client, mut server) = pair(Alpn::Silent, Alpn::Silent).await.unwrap();
    client.write_all(b"abcdef").await.unwrap();
    let mut two = [0; 2];
    server.read_exact(&mut two).await.unwrap();
    let mut parts = server.into_parts();
    assert_eq!((&two, parts.channel.take_early().as_slice(), parts.unsent.len()), (b"ab", &b"cdef"[..], 0));
}

#[tokio::test]
async fn the_protocol_is_the_best_that_both_sides_know() {
    for (offered, spoken, agreed) in [
        (Alpn::Http, Alpn::Http, Some(&b"h2"[..])),
        (Alpn::Http, Alpn::Http1, Some(b"http/1.1")),
        (Alpn::Http1, Alpn::Http, Some(b"http/1.1")),
        (Alpn::Silent, Alpn::Http, None),
        (Alpn::Http, Alpn::Silent, None),
    ] {
        let (client, server) = pair(offered, spoken).await.unwrap();
        assert_eq!((client.channel().protocol(), server.channel().protocol()), (agreed, agreed), "{offered:?} {spoken:?}");
    }
    assert!(pair(Alpn::Http2, Alpn::Http1).await.is_err(), "a client that knows nothing of it is told so");
}
