//! How often memory is asked for, for a connection, a message and a datagram: counted on the gateway's thread, and pinned.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::runtime::Builder;
use tokio::sync::oneshot;

use super::worker::Context;
use super::{Budget, accept, dgram, gate::Gate};
use crate::base::addr::{Protocol, Transport};
use crate::base::id::Kind;
use crate::base::task;
use crate::live::sessions::Sessions;
use crate::model::{Origin, Resource, Stored, UpstreamRef};
use crate::net::{heap, sock, udp};
use crate::proxy::http;
use crate::snapshot::cell::Cell;
use crate::snapshot::{self, Objects, Snapshot, View, fixture};
use crate::telemetry::AccessLog;

const MESSAGE: usize = 64;

/// A gateway on one thread, this one, with one port.
struct Worker {
    runtime: tokio::runtime::Runtime,
    context: Arc<Context>,
    addr: SocketAddr,
    _stop: oneshot::Sender<oneshot::Sender<()>>,
}

impl Worker {
    fn new(protocol: Protocol, node: SocketAddr) -> Self {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let any = "127.0.0.1:0".parse().unwrap();
        let bound: socket2::Socket = if protocol == Protocol::Udp {
            udp::listen(any, 1).unwrap().remove(0).into()
        } else {
            sock::listen_tcp(any, 1).unwrap().remove(0).into()
        };
        let addr = bound.local_addr().unwrap().as_socket().unwrap();
        let context = context(protocol, addr, node);
        let spec = context.cell.load().ports().values().next().unwrap().clone();
        assert_eq!(spec.port.transport == Transport::Udp, protocol == Protocol::Udp);
        let (gate, (stop, stopped)) = (Arc::new(Gate::new(spec)), oneshot::channel());
        {
            let _inside = runtime.enter();
            let context = context.clone();
            if protocol == Protocol::Udp {
                dgram::start(bound.into(), gate, context, stopped).unwrap();
            } else {
                let listener = TcpListener::from(bound);
                listener.set_nonblocking(true).unwrap();
                task::spawn(accept::run(tokio::net::TcpListener::from_std(listener).unwrap(), gate, context, stopped));
            }
        }
        Self { runtime, context, addr, _stop: stop }
    }

    /// How often the gateway asked for memory while others did their work, until so many sessions are left.
    fn asked(&self, left: usize, work: impl FnOnce() + Send) -> u64 {
        let (begun, done) = (AtomicBool::new(false), AtomicBool::new(false));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !begun.load(Ordering::Acquire) {
                    std::thread::yield_now();
                }
                work();
                done.store(true, Ordering::Release);
            });
            self.runtime.block_on(async {
                // the first wait of each run of the runtime asks for the room to note who waits
                tokio::task::yield_now().await;
                let before = heap::asked();
                begun.store(true, Ordering::Release);
                while !done.load(Ordering::Acquire) || self.context.sessions.count() != left {
                    tokio::task::yield_now().await;
                }
                heap::asked() - before
            })
        })
    }
}

/// What a gateway has whose one port leads to one node.
fn context(protocol: Protocol, addr: SocketAddr, node: SocketAddr) -> Arc<Context> {
    let registries = fixture::registries();
    let listener = crate::model::Listener { protocol, ..fixture::listener("l", &addr.to_string()) };
    let route = fixture::route("r", UpstreamRef::Inline(Arc::new(fixture::upstream(node.port()))));
    let mut objects = Objects::new_sync();
    for (name, resource) in [("l", Resource::Listener(Arc::new(listener))), ("r", Resource::StreamRoute(Arc::new(route)))] {
        let key = fixture::key(resource.kind(), name);
        objects.insert_mut(key.clone(), Arc::new(Stored { key, origin: Origin::Store, created: 1, modified: 1, resource }));
    }
    let touched: BTreeSet<_> = objects.keys().cloned().collect();
    let view = View { objects: &objects, touched: &touched, revision: 1 };
    let cell = Cell::new(snapshot::build(view, &registries, &Snapshot::empty(&registries)).snapshot);
    let metrics = registries.metrics;
    let unrouted = metrics.route(Kind::StreamRoute, None);
    let (access, sessions) = (AccessLog::disabled(), Sessions::default());
    let http = Arc::new(http::Shared { cell: cell.clone(), access: access.clone(), unrouted: unrouted.clone() });
    Arc::new(Context { cell, sessions, access, budget: Budget::new(1024), unrouted, http, fallback_sni: None, metrics })
}

/// A server that sends back what comes.
fn tcp_echo() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            stream.set_nodelay(true).unwrap();
            let mut buf = [0; MESSAGE];
            while stream.read_exact(&mut buf).is_ok() {
                stream.write_all(&buf).unwrap();
            }
        }
    });
    addr
}

fn udp_echo() -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let addr = socket.local_addr().unwrap();
    std::thread::spawn(move || {
        let mut buf = [0; 2048];
        while let Ok((length, from)) = socket.recv_from(&mut buf) {
            socket.send_to(&buf[..length], from).unwrap();
        }
    });
    addr
}

fn exchange(stream: &mut TcpStream, times: usize) {
    let mut buf = [7; MESSAGE];
    for _ in 0..times {
        stream.write_all(&buf).unwrap();
        stream.read_exact(&mut buf).unwrap();
    }
}

fn connections(addr: SocketAddr, count: usize) {
    for _ in 0..count {
        exchange(&mut TcpStream::connect(addr).unwrap(), 1);
    }
}

fn datagrams(client: &UdpSocket, count: usize) {
    let mut buf = [7; MESSAGE];
    for _ in 0..count {
        client.send(&buf).unwrap();
        assert_eq!(client.recv(&mut buf).unwrap(), MESSAGE);
    }
}

#[test]
fn a_connection_asks_for_memory_a_few_times() {
    let worker = Worker::new(Protocol::Tcp, tcp_echo());
    let addr = worker.addr;
    // tables and pools find their size
    worker.asked(0, || connections(addr, 1_000));
    let asked = worker.asked(0, || connections(addr, 1_000));
    // its task, its account, the way to its node, and what the runtime keeps for each socket
    assert_eq!(asked / 1_000, 6, "{asked} for 1,000 connections");
}

#[test]
fn a_message_asks_for_no_memory() {
    let worker = Worker::new(Protocol::Tcp, tcp_echo());
    let mut stream = TcpStream::connect(worker.addr).unwrap();
    stream.set_nodelay(true).unwrap();
    worker.asked(1, || exchange(&mut stream, 100));
    assert_eq!(worker.asked(1, || exchange(&mut stream, 10_000)), 0);
}

#[test]
fn a_datagram_asks_for_no_memory() {
    let worker = Worker::new(Protocol::Udp, udp_echo());
    let client = UdpSocket::bind("127.0.0.1:0").unwrap();
    client.connect(worker.addr).unwrap();
    worker.asked(1, || datagrams(&client, 100));
    assert_eq!(worker.asked(1, || datagrams(&client, 10_000)), 0);
}
