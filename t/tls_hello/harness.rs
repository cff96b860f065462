//! What must hold for any bytes that a client sends where a ClientHello is awaited. Run by `t/tls_hello.rs` with seeds and by
//! `fuzz/` with a fuzzer.

use rustls::server::Acceptor;
use sluice::tls::hello::{Bad, Hello, LIMIT, Scan, Step};

/// The first answer that is not "more", with the bytes in pieces.
fn answer<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> Option<Result<Hello, Bad>> {
    let (mut scan, mut bytes) = (Scan::default(), Vec::new());
    for piece in pieces {
        bytes.extend_from_slice(piece);
        match scan.step(&bytes) {
            Ok(Step::More) => assert!(bytes.len() < LIMIT, "waits for more than the limit"),
            Ok(Step::Hello(hello)) => return Some(Ok(hello)),
            Err(bad) => return Some(Err(bad)),
        }
    }
    None
}

/// A hello as the TLS library reads it, if it takes it: the name.
struct Read(Option<String>);

fn library(mut bytes: &[u8]) -> Option<Read> {
    let mut acceptor = Acceptor::default();
    while !bytes.is_empty() {
        acceptor.read_tls(&mut bytes).ok()?;
        if let Some(accepted) = acceptor.accept().ok()? {
            let name = |name: &str| name.trim_end_matches('.').to_ascii_lowercase();
            return Some(Read(accepted.client_hello().server_name().map(name)));
        }
    }
    None
}

/// Whether the list of names says to have but this one entry. The library passes over what follows it; others read it (RFC 6066, 3), so
/// that it is refused here.
fn is_alone(bytes: &[u8], name: &str) -> bool {
    let at = bytes.windows(name.len()).position(|part| part.eq_ignore_ascii_case(name.as_bytes()));
    let list = at.and_then(|at| bytes.get(at.checked_sub(5)?..at.checked_sub(3)?));
    list.is_some_and(|list| usize::from(u16::from_be_bytes([list[0], list[1]])) == name.len() + 3)
}

/// Checks one input: two bytes that say how it is cut, then what the client sends.
pub fn check(data: &[u8]) {
    let Some((cut, bytes)) = data.split_at_checked(2) else { return };
    let bytes = &bytes[..bytes.len().min(LIMIT)];
    let size = usize::from(cut[0]) % 64 + 1;
    let first = usize::from(cut[1]).min(bytes.len());
    let (head, tail) = bytes.split_at(first);
    let at_once = answer(std::iter::once(bytes));
    let in_pieces = answer(std::iter::once(head).chain(tail.chunks(size)));
    assert_eq!(at_once, in_pieces, "the answer hangs on how the bytes were cut");
    match (at_once, library(bytes)) {
        (Some(Ok(hello)), Some(Read(name))) => assert_eq!(hello.sni.as_deref(), name.as_deref(), "two names in one hello"),
        (Some(Err(Bad::Malformed)), Some(Read(Some(name)))) if !is_alone(bytes, &name) => {}
        (Some(Err(bad @ (Bad::NotTls | Bad::Malformed))), Some(Read(name))) => panic!("{bad}, but the library takes it, for {name:?}"),
        _ => {}
    }
}
