//! Ports that two parts of the file want. Asks the file only, never the system.

use std::net::SocketAddr;

use crate::conf::error::{Fault, Place};
use crate::conf::stream::Claimed;

/// One part's claim to a TCP address.
pub(super) struct Claim {
    pub(super) key: &'static str,
    pub(super) place: Place,
    pub(super) addr: SocketAddr,
}

/// Compares the servers of the gateway itself with each other and with the listeners, and those of HTTP with those of TCP.
pub(super) fn clash(claims: &[Claim], tcp: &[Claimed], http: &[Claimed]) -> Result<(), Fault> {
    for (index, claim) in claims.iter().enumerate() {
        if let Some(other) = claims.iter().skip(index + 1).find(|other| same(claim.addr, other.addr)) {
            return Err(fault(&[&other.place, &claim.place], claim.key, other.key, claim.addr, other.addr));
        }
        for listener in tcp.iter().chain(http) {
            if let Some(addr) = listener.addrs.iter().find(|addr| same(claim.addr, **addr)) {
                return Err(fault(&[&listener.place, &claim.place], claim.key, listener.key, claim.addr, *addr));
            }
        }
    }
    for listener in http {
        for other in tcp {
            // a wildcard beside one of its addresses can be bound, and is served
            if let Some(addr) = listener.addrs.iter().find(|addr| other.addrs.contains(addr)) {
                return Err(fault(&[&listener.place, &other.place], listener.key, other.key, *addr, *addr));
            }
        }
    }
    Ok(())
}

fn fault(places: &[&Place], one: &str, other: &str, a: SocketAddr, b: SocketAddr) -> Fault {
    let place = places.iter().find(|place| ***place != Place::Nowhere).map_or(Place::Nowhere, |place| (*place).clone());
    Fault::new(place, format!("{one} ({a}) and {other} ({b}) want the same port"))
}

/// Whether both cannot be bound. Port 0 is any free port; an unspecified address covers every one of its family, `::` of both.
fn same(a: SocketAddr, b: SocketAddr) -> bool {
    let covers = |a: SocketAddr, b: SocketAddr| a.ip().is_unspecified() && (a.is_ipv6() || b.is_ipv4());
    a.port() != 0 && a.port() == b.port() && (a.ip() == b.ip() || covers(a, b) || covers(b, a))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_that_cannot_both_be_bound_clash() {
        for (a, b, clashes) in [
            ("127.0.0.1:9091", "127.0.0.1:9091", true),
            ("127.0.0.1:9091", "127.0.0.1:9092", false),
            ("127.0.0.1:9091", "127.0.0.2:9091", false),
            ("0.0.0.0:9091", "127.0.0.1:9091", true),
            ("[::]:9091", "127.0.0.1:9091", true),
            ("0.0.0.0:9091", "[::1]:9091", false),
            ("127.0.0.1:0", "127.0.0.1:0", false),
        ] {
            assert_eq!(same(a.parse().unwrap(), b.parse().unwrap()), clashes, "{a} {b}");
            assert_eq!(same(b.parse().unwrap(), a.parse().unwrap()), clashes, "{b} {a}");
        }
    }
}
