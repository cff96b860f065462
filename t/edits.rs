//! Edits under load: listeners and routes come and go at random while sessions run; nobody notices whose listener stayed, and nothing leaks.

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpStream};

use serde_json::json;

use crate::support::gateway::{Gateway, upstream};
use crate::support::upstream as servers;
use crate::support::{Conf, client, ports, soon};

const CONNECTIONS: usize = 200;
const EDITS: u32 = 300;
const LISTENERS: usize = 8;

/// xorshift: the same numbers from the same seed, on every machine.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % n as u64).unwrap()
    }
}

fn seed() -> u64 {
    let given = std::env::var("SLUICE_SEED").ok().and_then(|s| s.parse().ok());
    let seed = given.unwrap_or_else(|| u64::from(std::process::id()) * 0x9E37_79B9 + 1);
    eprintln!("SLUICE_SEED={seed}");
    seed
}

struct Client {
    stream: TcpStream,
    /// The listener it came through.
    through: usize,
}

#[test]
fn edits_break_no_session_of_a_listener_that_stays() {
    let mut dice = Dice(seed());
    let server = servers::echo();
    let fixed = ports::free();
    let gateway = Gateway::start(Conf::new().tcp(fixed).drain_timeout("1s"));
    let admin = gateway.admin();
    let route = |n: usize| json!({"order": n, "upstream": upstream(&[&server.node()])});
    admin.must_put("stream_routes", "base", &json!({"order": 1000, "upstream": upstream(&[&server.node()])}));
    soon("the first session", || echoes(ports::local(fixed)));
    let baseline = steady_fds(&gateway);

    // listener 0 is conf's, the others are the store's
    let mut addrs: Vec<SocketAddr> = vec![ports::local(fixed)];
    addrs.extend((1..LISTENERS).map(|_| ports::free_addr()));
    let mut up: BTreeMap<usize, bool> = (1..LISTENERS).map(|n| (n, false)).collect();
    let mut clients: Vec<Client> = Vec::new();

    for edit in 0..EDITS {
        let n = 1 + dice.below(LISTENERS - 1);
        match dice.below(4) {
            0 if up[&n] => {
                admin.must_delete("listeners", &n.to_string());
                up.insert(n, false);
                clients.retain(|c| c.through != n);
            }
            0 | 1 => {
                let labels = json!({"edit": edit.to_string()});
                admin.must_put("listeners", &n.to_string(), &json!({"protocol": "tcp", "addr": addrs[n].to_string(), "labels": labels}));
                up.insert(n, true);
            }
            2 => drop(admin.must_put("stream_routes", &format!("r{n}"), &route(n))),
            _ => {
                // 404 when it is not there
                admin.delete("stream_routes", &format!("r{n}"));
            }
        }
        if clients.len() < CONNECTIONS {
            let through = Some(n).filter(|n| up[n]).unwrap_or(0);
            let stream = crate::support::until(crate::support::poll::SOON, "a new session", || session(addrs[through]));
            clients.push(Client { stream, through });
        }
        let at = dice.below(clients.len());
        let c = &mut clients[at];
        client::ping(&mut c.stream, b"still there?").unwrap_or_else(|e| panic!("edit {edit}, listener {}: {e}", c.through));
    }
    while clients.len() < CONNECTIONS {
        clients.push(Client { stream: session(addrs[0]).expect("a session"), through: 0 });
    }
    for (n, c) in clients.iter_mut().enumerate() {
        client::ping(&mut c.stream, b"at the end").unwrap_or_else(|e| panic!("session {n} of listener {}: {e}", c.through));
    }

    drop(clients);
    for (n, _) in up.iter().filter(|(_, up)| **up) {
        admin.must_delete("listeners", &n.to_string());
    }
    soon("open files are back at what they were", || gateway.fds() <= baseline);
    assert_eq!(gateway.count("sluice_connections_active", &[]), 0);
    assert!(echoes(addrs[0]), "it still serves");
}

/// A session that was echoed to once; `None` while its port is not open yet.
fn session(to: SocketAddr) -> Option<TcpStream> {
    let mut stream = client::try_connect(to).ok()?;
    client::ping(&mut stream, b"hello").ok()?;
    Some(stream)
}

fn echoes(to: SocketAddr) -> bool {
    session(to).is_some()
}

/// Open files once they no longer change: the first sessions may have left things that stay.
fn steady_fds(gateway: &Gateway) -> usize {
    let mut last = usize::MAX;
    crate::support::until(crate::support::poll::SOON, "a steady number of open files", || {
        std::thread::park_timeout(std::time::Duration::from_millis(100));
        let now = gateway.fds();
        let same = now == last;
        last = now;
        same.then_some(now)
    })
}

#[test]
fn removing_a_listener_lets_its_sessions_drain_and_then_ends_them() {
    let server = servers::echo();
    let gateway = Gateway::start(Conf::new());
    let addr = ports::free_addr();
    gateway.admin().must_put("stream_routes", "r", &json!({"upstream": upstream(&[&server.node()])}));
    let listener = |addr: SocketAddr| json!({"protocol": "tcp", "addr": addr.to_string(), "drain_timeout": "1s"});
    gateway.admin().must_put("listeners", "l", &listener(addr));
    let mut stream = crate::support::until(crate::support::poll::SOON, "a session", || session(addr));
    gateway.admin().must_delete("listeners", "l");
    soon("new connections are refused", || client::refused(addr));
    client::ping(&mut stream, b"draining").expect("the session lives on while it drains");
    assert_eq!(client::read_all(&mut stream).0, Vec::<u8>::new(), "and ends with the drain time");
    soon("with its reason", || gateway.closed_for("r", "listener_removed") == 1);
    gateway.admin().must_put("listeners", "l", &listener(addr));
    soon("the port can be opened again", || echoes(addr));
}

#[test]
fn an_address_may_move_from_one_listener_to_another() {
    let server = servers::echo();
    let gateway = Gateway::start(Conf::new());
    let admin = gateway.admin();
    let (a, b) = (ports::free_addr(), ports::free_addr());
    admin.must_put("stream_routes", "r", &json!({"upstream": upstream(&[&server.node()])}));
    let listener = |addr: SocketAddr| json!({"protocol": "tcp", "addr": addr.to_string()});
    admin.must_put("listeners", "one", &listener(a));
    soon("one serves", || echoes(a));
    admin.must_put("listeners", "two", &listener(a));
    soon("the second claim is a conflict that names the winner", || {
        let list = gateway.control_list("/v1/listeners");
        list.iter().any(|l| l["listener"] == "two" && l["state"] == "conflict" && l.to_string().contains("one"))
    });
    let mut kept = session(a).expect("a session");
    admin.must_put("listeners", "one", &listener(b));
    soon("one serves at its new address", || echoes(b));
    soon("two took over by itself", || {
        gateway.control_list("/v1/listeners").iter().any(|l| l["listener"] == "two" && l["state"] == "active")
    });
    soon("and serves", || echoes(a));
    client::ping(&mut kept, b"kept").expect("the old session goes on");
}
