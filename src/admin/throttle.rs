//! Slows down whoever guesses keys: a bounded table of addresses and their failures. Knows neither keys nor requests.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Failures within a window that close it.
const FAILURES: u32 = 10;
/// How long failures are remembered, from the first of them.
const WINDOW: Duration = Duration::from_secs(60);
/// Addresses that are remembered; one more takes the place of the one whose window ends first.
const CLIENTS: usize = 1024;

/// The failures of the last minute.
#[derive(Debug, Default)]
pub(super) struct Throttle(Mutex<HashMap<IpAddr, Window>>);

#[derive(Clone, Copy, Debug)]
struct Window {
    ends: Instant,
    failures: u32,
}

impl Throttle {
    /// For how much longer this client gets no try; `None` if it may.
    pub(super) fn closed(&self, peer: IpAddr) -> Option<Duration> {
        let clients = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let window = clients.get(&client(peer)).filter(|window| window.failures >= FAILURES)?;
        window.ends.checked_duration_since(Instant::now()).filter(|rest| !rest.is_zero())
    }

    /// Notes a failure; true if it is the one that closes the window.
    pub(super) fn failed(&self, peer: IpAddr) -> bool {
        let now = Instant::now();
        let mut clients = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let client = client(peer);
        if !clients.contains_key(&client) && clients.len() >= CLIENTS {
            make_room(&mut clients, now);
        }
        let fresh = Window { ends: now + WINDOW, failures: 0 };
        let window = clients.entry(client).or_insert(fresh);
        if window.ends <= now {
            *window = fresh;
        }
        window.failures = window.failures.saturating_add(1);
        window.failures == FAILURES
    }

    /// Forgets the failures of a client that had a right key.
    pub(super) fn succeeded(&self, peer: IpAddr) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&client(peer));
    }
}

fn make_room(clients: &mut HashMap<IpAddr, Window>, now: Instant) {
    clients.retain(|_, window| window.ends > now);
    if clients.len() < CLIENTS {
        return;
    }
    let first = clients.iter().min_by_key(|(_, window)| window.ends).map(|(client, _)| *client);
    if let Some(first) = first {
        clients.remove(&first);
    }
}

/// Whoever has one IPv6 address has the 64 bits below it as well.
fn client(peer: IpAddr) -> IpAddr {
    match peer {
        IpAddr::V4(_) => peer,
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::advance;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn the_tenth_failure_closes_the_rest_of_the_minute() {
        let throttle = Throttle::default();
        let peer = ip("10.0.0.1");
        for n in 1..=9 {
            assert!(!throttle.failed(peer), "{n}");
            advance(Duration::from_secs(1)).await;
        }
        assert_eq!(throttle.closed(peer), None);
        assert!(throttle.failed(peer));
        assert_eq!((throttle.closed(peer), throttle.closed(ip("10.0.0.2"))), (Some(Duration::from_secs(51)), None));
        advance(Duration::from_secs(51)).await;
        assert_eq!(throttle.closed(peer), None);
        assert!(!throttle.failed(peer), "a new window begins");
        assert_eq!(throttle.closed(peer), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_success_and_the_end_of_the_window_forget() {
        let throttle = Throttle::default();
        let peer = ip("10.0.0.1");
        for forget in [true, false] {
            (1..FAILURES).for_each(|_| assert!(!throttle.failed(peer)));
            if forget {
                throttle.succeeded(peer);
            } else {
                advance(WINDOW).await;
            }
            assert!(!throttle.failed(peer));
            assert_eq!(throttle.closed(peer), None);
            throttle.succeeded(peer);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_table_is_bounded_and_the_oldest_leave_first() {
        let throttle = Throttle::default();
        assert_eq!((0..FAILURES).filter(|_| throttle.failed(ip("10.0.0.1"))).count(), 1);
        for n in 0..u32::try_from(CLIENTS).unwrap() * 4 {
            advance(Duration::from_millis(1)).await;
            throttle.failed(std::net::Ipv4Addr::from_bits(0x0b00_0000 + n).into());
        }
        let clients = throttle.0.lock().unwrap();
        assert_eq!(clients.len(), CLIENTS);
        assert!(!clients.contains_key(&ip("10.0.0.1")) && clients.contains_key(&ip("11.0.15.255")));
    }

    #[tokio::test(start_paused = true)]
    async fn addresses_of_one_network_are_one_client() {
        let throttle = Throttle::default();
        assert_eq!((0..FAILURES).filter(|n| throttle.failed(ip(&format!("2001:db8::{n}")))).count(), 1);
        assert!(throttle.closed(ip("2001:db8::ffff:ffff:ffff:ffff")).is_some());
        assert_eq!(throttle.closed(ip("2001:db8:0:1::")), None);
    }
}
