//! Literal bytes, seeded noise, and real sockets.

use proptest::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;

const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

fn ends(source: &str, destination: &str) -> Ends {
    Ends { source: source.parse().unwrap(), destination: destination.parse().unwrap() }
}

/// A header of version 2: command, kind, the length said, the bytes there.
fn two(command: u8, kind: u8, len: u16, rest: &[u8]) -> Vec<u8> {
    [SIGNATURE, &[command, kind], &len.to_be_bytes(), rest].concat()
}

fn inet() -> Vec<u8> {
    vec![192, 0, 2, 1, 198, 51, 100, 7, 0x10, 0x68, 0x01, 0xBB]
}

fn header(bytes: &[u8]) -> Header {
    match parse(bytes) {
        Step::Header(header) => header,
        other @ (Step::NeedMore | Step::Bad(_)) => panic!("{}: {other:?}", bytes.escape_ascii()),
    }
}

#[test]
fn lines_of_version_1_are_read() {
    let longest = b"PROXY TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffe 65535 65535\r\n";
    let long_unknown = [b"PROXY UNKNOWN ".as_slice(), &[b'x'; 91], b"\r\n"].concat();
    assert_eq!((longest.len(), long_unknown.len()), (104, v1::LONGEST));
    for (line, says) in [
        (&b"PROXY TCP4 192.0.2.1 198.51.100.7 4200 443\r\n"[..], Some(ends("192.0.2.1:4200", "198.51.100.7:443"))),
        (b"PROXY TCP4 0.0.0.0 255.255.255.255 0 65535\r\n", Some(ends("0.0.0.0:0", "255.255.255.255:65535"))),
        (b"PROXY TCP6 2001:db8::1 ::1 1 2\r\n", Some(ends("[2001:db8::1]:1", "[::1]:2"))),
        (longest, Some(ends("[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535", "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffe]:65535"))),
        (b"PROXY UNKNOWN\r\n", None),
        (b"PROXY UNKNOWN ffff::1 what ever\r\n", None),
        (&long_unknown, None),
    ] {
        assert_eq!(header(line), Header { ends: says, additions: 0, consumed: line.len() }, "{}", line.escape_ascii());
        assert_eq!(header(&[line, b"hello\r\n"].concat()).consumed, line.len(), "what follows is the client's");
        for cut in 0..line.len() {
            assert_eq!(parse(&line[..cut]), Step::NeedMore, "{}", line[..cut].escape_ascii());
        }
    }
}

#[test]
fn lines_that_are_none_are_refused() {
    let endless = [b"PROXY UNKNOWN ".as_slice(), &[b'x'; 93]].concat();
    let late = [b"PROXY UNKNOWN ".as_slice(), &[b'x'; 92], b"\r\n"].concat();
    for (line, bad) in [
        (&b"GET / HTTP/1.1\r\n"[..], Bad::Absent),
        (b"PROXX TCP4", Bad::Absent),
        (b"PROXY\r\n", Bad::Absent),
        (b"proxy TCP4 1.1.1.1 1.1.1.1 1 1\r\n", Bad::Absent),
        (b"\x16\x03\x01", Bad::Absent),
        (&endless, Bad::TooLong),
        (&late, Bad::TooLong),
        (b"PROXY TCP4 1.1.1.1 1.1.1.1 1 1\n", Bad::Line),
        (b"PROXY TCP4 1.1.1.1 1.1.1.1 1\r\n", Bad::Line),
        (b"PROXY TCP4 1.1.1.1 1.1.1.1 1 1 \r\n", Bad::Line),
        (b"PROXY TCP4 1.1.1.1 1.1.1.1 1 1 1\r\n", Bad::Line),
        (b"PROXY TCP4 \xff 1.1.1.1 1 1\r\n", Bad::Line),
        (b"PROXY UNKNOWN\n", Bad::Line),
        (b"PROXY \r\n", Bad::Family),
        (b"PROXY  TCP4 1.1.1.1 1.1.1.1 1 1\r\n", Bad::Family),
        (b"PROXY TCP5 1.1.1.1 1.1.1.1 1 1\r\n", Bad::Family),
        (b"PROXY UDP4 1.1.1.1 1.1.1.1 1 1\r\n", Bad::Family),
        (b"PROXY UNKNOWNX\r\n", Bad::Family),
        (b"PROXY TCP4  1.1.1.1 1.1.1.1 1\r\n", Bad::Address),
        (b"PROXY TCP4 1.1.1 1.1.1.1 1 1\r\n", Bad::Address),
        (b"PROXY TCP4 01.1.1.1 1.1.1.1 1 1\r\n", Bad::Address),
        (b"PROXY TCP4 ::1 ::1 1 1\r\n", Bad::Address),
        (b"PROXY TCP6 1.1.1.1 1.1.1.1 1 1\r\n", Bad::Address),
        (b"PROXY TCP6 fe80::1%eth0 ::1 1 1\r\n", Bad::Address),
        (b"PROXY TCP4 1.1.1.1 1.1.1.1 65536 1\r\n", Bad::Address),
        (b"PROXY TCP4 1.1.1.1 1.1.1.1 -1 1\r\n", Bad::Address),
        (b"PROXY TCP4 1.1.1.1 1.1.1.1 +1 1\r\n", Bad::Address),
        (b"PROXY TCP4 1.1.1.1 1.1.1.1 01 1\r\n", Bad::Address),
        (b"PROXY TCP4 1.1.1.1 1.1.1.1 1 1\r\r\n", Bad::Address),
        (b"PROXY TCP4 1.1.1.1 1.1.1.1  1\r\n", Bad::Address),
    ] {
        assert_eq!(parse(line), Step::Bad(bad), "{}", line.escape_ascii());
    }
}

#[test]
fn headers_of_version_2_are_read() {
    let of_inet = Some(ends("192.0.2.1:4200", "198.51.100.7:443"));
    let inet6 = [&[0x20, 1, 0xD, 0xB8][..], &[0; 11], &[1], &[0; 15], &[1], &[0, 1, 0, 2]].concat();
    let of_inet6 = Some(ends("[2001:db8::1]:1", "[::1]:2"));
    let most = vec![0xEE; LONGEST - 16 - 12];
    for (bytes, says, additions) in [
        (two(0x21, 0x11, 12, &inet()), of_inet, 0),
        (two(0x21, 0x12, 12, &inet()), of_inet, 0),
        (two(0x21, 0x11, 12 + 7, &[inet(), vec![4, 0, 4, 1, 2, 3, 4]].concat()), of_inet, 7),
        (two(0x21, 0x11, 4080, &[inet(), most].concat()), of_inet, 4068),
        (two(0x21, 0x21, 36, &inet6), of_inet6, 0),
        (two(0x21, 0x22, 36, &inet6), of_inet6, 0),
        (two(0x21, 0x31, 216, &[0; 216]), None, 0),
        (two(0x21, 0x32, 217, &[0; 217]), None, 1),
        (two(0x21, 0x00, 0, &[]), None, 0),
        (two(0x21, 0x10, 0, &[]), None, 0),
        (two(0x21, 0x01, 3, &[1, 2, 3]), None, 3),
        (two(0x20, 0x00, 0, &[]), None, 0),
        (two(0x20, 0x11, 12, &inet()), None, 12),
        (two(0x20, 0xFF, 2, &[1, 2]), None, 2),
    ] {
        assert_eq!(header(&bytes), Header { ends: says, additions, consumed: bytes.len() }, "{}", bytes.escape_ascii());
        assert_eq!(header(&[&bytes[..], b"PROXY"].concat()).consumed, bytes.len(), "what follows is the client's");
        for cut in 0..bytes.len() {
            assert_eq!(parse(&bytes[..cut]), Step::NeedMore, "{}", bytes[..cut].escape_ascii());
        }
    }
}

#[test]
fn headers_of_version_2_that_are_none_are_refused_as_soon_as_they_show() {
    for (bytes, bad) in [
        (two(0x11, 0x11, 12, &[]), Bad::Version),
        (two(0x31, 0x11, 12, &[]), Bad::Version),
        (two(0x22, 0x11, 12, &[]), Bad::Command),
        (two(0x2F, 0x11, 12, &[]), Bad::Command),
        (two(0x21, 0x41, 12, &[]), Bad::Family),
        (two(0x21, 0x13, 12, &[]), Bad::Family),
        (two(0x21, 0x11, 11, &[]), Bad::Short),
        (two(0x21, 0x21, 35, &[]), Bad::Short),
        (two(0x21, 0x31, 215, &[]), Bad::Short),
        (two(0x21, 0x11, 4081, &[]), Bad::TooLong),
        (two(0x20, 0x00, u16::MAX, &[]), Bad::TooLong),
        (b"\r\n\r\n\0\r\nQUIX".to_vec(), Bad::Absent),
        (b"\r\nGET".to_vec(), Bad::Absent),
        (vec![0], Bad::Absent),
    ] {
        assert_eq!(parse(&bytes), Step::Bad(bad), "{}", bytes.escape_ascii());
    }
}

#[test]
fn headers_are_written_byte_for_byte() {
    let (four, six) = (ends("192.0.2.1:4200", "198.51.100.7:443"), ends("[2001:db8::1]:1", "[::1]:2"));
    assert_eq!(v1::write(&four), b"PROXY TCP4 192.0.2.1 198.51.100.7 4200 443\r\n");
    assert_eq!(v1::write(&six), b"PROXY TCP6 2001:db8::1 ::1 1 2\r\n");
    assert_eq!(v2::write(&four), two(0x21, 0x11, 12, &inet()));
    assert_eq!(v2::write(&six)[12..16], [0x21, 0x21, 0, 36]);
    for mixed in [ends("192.0.2.1:1", "[::1]:2"), ends("[::1]:2", "192.0.2.1:1")] {
        assert_eq!(v1::write(&mixed), b"PROXY UNKNOWN\r\n");
        assert_eq!(v2::write(&mixed), two(0x21, 0x00, 0, &[]));
    }
}

fn of_one_family() -> impl Strategy<Value = Ends> {
    let four = any::<[([u8; 4], u16); 2]>().prop_map(|pair| pair.map(SocketAddr::from));
    let six = any::<[([u8; 16], u16); 2]>().prop_map(|pair| pair.map(SocketAddr::from));
    prop_oneof![four, six].prop_map(|[source, destination]| Ends { source, destination })
}

/// Headers with some bytes changed, cut or added: most of them get past the signature.
fn noise() -> impl Strategy<Value = Vec<u8>> {
    let begin = prop_oneof![
        of_one_family().prop_map(|ends| v1::write(&ends)),
        of_one_family().prop_map(|ends| v2::write(&ends)),
        Just(SIGNATURE.to_vec()),
        Just(b"PROXY ".to_vec()),
        Just(Vec::new()),
    ];
    let changes = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4);
    (begin, changes, prop::collection::vec(any::<u8>(), 0..300)).prop_map(|(mut bytes, changes, tail)| {
        bytes.extend(tail);
        for (at, byte) in changes {
            if !bytes.is_empty() {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
        }
        bytes
    })
}

proptest! {
    #![proptest_config(ProptestConfig { rng_seed: prop::test_runner::RngSeed::Fixed(0x50_52_4F_58_59), cases: 20_000, ..ProptestConfig::default() })]

    #[test]
    fn what_is_written_is_read(ends in of_one_family(), tail in any::<[u8; 3]>()) {
        for bytes in [v1::write(&ends), v2::write(&ends)] {
            let whole = bytes.len();
            prop_assert_eq!(header(&[bytes, tail.to_vec()].concat()), Header { ends: Some(ends), additions: 0, consumed: whole });
        }
    }

    #[test]
    fn whatever_comes_is_one_step_and_more_bytes_never_change_an_answer(bytes in noise()) {
        let mut settled = Step::NeedMore;
        for len in 0..=bytes.len() {
            let step = parse(&bytes[..len]);
            if settled == Step::NeedMore {
                settled = step;
                match step {
                    Step::NeedMore => prop_assert!(len < LONGEST),
                    Step::Header(header) => prop_assert!(header.consumed == len && header.additions < len),
                    Step::Bad(_) => {}
                }
            } else {
                prop_assert_eq!(step, settled, "at {}", len);
            }
        }
    }
}

async fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    client.set_nodelay(true).unwrap();
    (client, listener.accept().await.unwrap().0)
}

#[tokio::test]
async fn what_follows_the_header_stays_in_the_socket() {
    let wide = ends("192.0.2.1:4200", "198.51.100.7:443");
    let padded = two(0x21, 0x11, 3012, &[inet(), vec![0xEE; 3000]].concat());
    for bytes in [v1::write(&wide), v2::write(&wide), padded] {
        let (mut client, mut server) = pair().await;
        client.write_all(&[&bytes[..], b"and the rest"].concat()).await.unwrap();
        client.shutdown().await.unwrap();
        assert_eq!(receive(&server).await.unwrap().ends, Some(wide));
        let mut rest = String::new();
        server.read_to_string(&mut rest).await.unwrap();
        assert_eq!(rest, "and the rest");
    }
}

#[tokio::test]
async fn a_header_may_come_byte_by_byte() {
    let wide = ends("192.0.2.1:4200", "198.51.100.7:443");
    for bytes in [v1::write(&wide), v2::write(&wide)] {
        let (mut client, server) = pair().await;
        let send = async {
            for byte in bytes.iter().chain(b"x") {
                client.write_all(&[*byte]).await.unwrap();
                tokio::task::yield_now().await;
            }
        };
        let (header, ()) = tokio::join!(receive(&server), send);
        assert_eq!(header.unwrap().consumed, bytes.len());
        let mut next = [0];
        server.readable().await.unwrap();
        assert_eq!((server.try_read(&mut next).unwrap(), &next), (1, b"x"));
    }
}

#[tokio::test]
async fn an_end_before_the_header_is_no_header() {
    for sent in [&b""[..], b"PROXY TCP4", &SIGNATURE[..5]] {
        let (mut client, server) = pair().await;
        client.write_all(sent).await.unwrap();
        drop(client);
        assert!(matches!(receive(&server).await, Err(ReceiveError::Closed)));
    }
    let (mut client, server) = pair().await;
    client.write_all(b"SSH-2.0-x\r\n").await.unwrap();
    assert!(matches!(receive(&server).await, Err(ReceiveError::Bad(Bad::Absent))));
}
