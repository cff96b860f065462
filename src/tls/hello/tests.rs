//! Hellos whole, cut at every place, and broken in every way. The generated ones are in `t/tls_hello.rs`.

use super::*;
use crate::tls::{Channel, Client, Profile};

/// What our own client says first, with a post-quantum key share.
fn real(name: &str) -> Vec<u8> {
    let client = Client::new(Profile { sni: Some(name.into()), ..Profile::default() }).unwrap();
    let name = client.name(None, "").unwrap();
    let mut hello = Vec::new();
    Channel::client(client.config(crate::tls::Alpn::Silent).clone(), name).unwrap().begin(&mut Vec::new(), &mut hello).unwrap();
    hello
}

/// A hello message with these extensions, in records of at most `most` bytes.
fn made(extensions: &[u8], most: usize) -> Vec<u8> {
    let short = |n: usize| u16::try_from(n).unwrap().to_be_bytes();
    let mut body = [&[3, 3][..], &[7; 32], &[0], &[0, 2, 0x13, 1], &[1, 0]].concat();
    body.extend(short(extensions.len()));
    body.extend(extensions);
    let mut message = vec![1, 0];
    message.extend(short(body.len()));
    message.extend(body);
    message.chunks(most).flat_map(|part| [&[22, 3, 1][..], &short(part.len()), part].concat()).collect()
}

fn named(content: &[u8]) -> Vec<u8> {
    let short = |n: usize| u16::try_from(n).unwrap().to_be_bytes();
    let name = [&[0][..], &short(content.len()), content].concat();
    let list = [&short(name.len())[..], &name].concat();
    [&[0, 0][..], &short(list.len()), &list].concat()
}

fn whole(bytes: &[u8]) -> Result<Step, Bad> {
    Scan::default().step(bytes)
}

fn sni(bytes: &[u8]) -> Option<Box<str>> {
    match whole(bytes) {
        Ok(Step::Hello(hello)) => hello.sni,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_post_quantum_hello_cut_anywhere_is_found_as_soon_as_it_is_whole() {
    let hello = real("A.Test.com");
    assert!(hello.len() > 1448, "{} bytes fit one segment", hello.len());
    for cut in 0..hello.len() {
        let mut scan = Scan::default();
        assert_eq!(scan.step(&hello[..cut]), Ok(Step::More), "{cut}");
        assert_eq!(scan.step(&hello), Ok(Step::Hello(Hello { sni: Some("a.test.com".into()), old: false })), "{cut}");
    }
}

#[test]
fn a_hello_byte_by_byte_in_records_of_every_size_is_found() {
    let extensions = [named(b"b.test.com."), vec![0xff, 0xff, 0, 200], vec![9; 200]].concat();
    for most in [1, 2, 3, 4, 5, 64, 1000] {
        let hello = made(&extensions, most);
        let mut scan = Scan::default();
        for end in 1..hello.len() {
            assert_eq!(scan.step(&hello[..end]), Ok(Step::More), "records of {most}, {end}");
        }
        assert_eq!(scan.step(&hello), Ok(Step::Hello(Hello { sni: Some("b.test.com".into()), old: false })), "records of {most}");
    }
}

#[test]
fn what_is_no_tls_is_told_at_its_first_wrong_byte() {
    let ssl2 = [0x80, 0x2e, 1, 0, 2, 0, 0x15];
    for (bytes, at) in [(&b"GET / HTTP/1.1\r\n"[..], 1), (&ssl2, 1), (&[22, 2, 0], 2), (&[0; 8], 1), (&[21, 3, 3, 0, 2, 2, 40], 1)] {
        for end in 1..bytes.len() {
            assert_eq!(whole(&bytes[..end]), if end >= at { Err(Bad::NotTls) } else { Ok(Step::More) }, "{bytes:?} {end}");
        }
    }
}

#[test]
fn names_are_taken_as_they_are_compared() {
    for (name, found) in [
        (&b"x.org"[..], Some("x.org")),
        (b"X.ORG.", Some("x.org")),
        (b"_dns.x-1.org", Some("_dns.x-1.org")),
        (b"127.0.0.1", None),
        (b"::1", None),
    ] {
        assert_eq!(sni(&made(&named(name), 500)).as_deref(), found);
    }
    assert_eq!(sni(&made(&[], 500)), None);
    for bad in [&b""[..], b".", b"a..b", b"a b", b"a\0b", b"\xff", b"[::1]", &[b'x'; 254]] {
        assert_eq!(whole(&made(&named(bad), 500)), Err(Bad::Malformed), "{bad:?}");
    }
}

#[test]
fn a_hello_against_the_grammar_is_none() {
    let twice = [named(b"a"), named(b"b")].concat();
    let two = [&[0, 0, 0, 10, 0, 8][..], &[0, 0, 1, b'a', 0, 0, 1, b'b']].concat();
    for extensions in [&twice[..], &two, &[0, 0, 0, 0], &[0, 0, 0, 9, 1], &[5]] {
        assert_eq!(whole(&made(extensions, 500)), Err(Bad::Malformed), "{extensions:?}");
    }
    assert_eq!(whole(&[22, 3, 1, 0, 0]), Err(Bad::Malformed), "an empty record");
    assert_eq!(whole(&[22, 3, 1, 0x40, 1]), Err(Bad::Malformed), "a record longer than any");
    assert_eq!(whole(&[22, 3, 1, 0, 4, 2]), Err(Bad::Malformed), "a ServerHello");
}

#[test]
fn no_more_than_sixteen_kibibytes_are_waited_for() {
    assert_eq!(whole(&[22, 3, 1, 0x40, 0, 1, 0, 0x40, 0]), Err(Bad::TooLarge), "told by its header");
    let padding = |length: usize| [vec![0, 21], u16::try_from(length).unwrap().to_be_bytes().to_vec(), vec![0; length]].concat();
    let fits = made(&padding(LIMIT - RECORD - MESSAGE - 2 - 32 - 1 - 4 - 2 - 2 - 4), LIMIT);
    assert_eq!(fits.len(), LIMIT);
    assert_eq!(sni(&fits), None);
    // as small as records can be, so that the headers weigh five times what they carry
    let drip = made(&padding(8000), 1);
    assert_eq!(whole(&drip[..LIMIT - 1]), Ok(Step::More));
    assert_eq!(whole(&drip[..LIMIT]), Err(Bad::TooLarge));
}

#[test]
fn a_client_that_knows_nothing_newer_than_tls_1_1_is_told_apart() {
    let old = |bytes: &[u8]| matches!(whole(bytes), Ok(Step::Hello(Hello { old: true, .. })));
    let versions = [0, 43, 0, 3, 2, 3, 4];
    let mut hello = made(&versions, 500);
    assert!(!old(&hello));
    hello[10] = 1;
    assert!(!old(&hello), "the extension goes before the old field");
    let mut hello = made(&[], 500);
    assert!(!old(&hello));
    hello[10] = 2;
    assert!(old(&hello));
}
