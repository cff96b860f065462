//! Load for the programs beside it: `load <what> <ip:port> [seconds] [connections] [size]`. Clients print one JSON line.

mod churn;
mod client;
mod message;
mod paced;
mod poll;
mod serve;
mod tls;
mod udp;

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use client::Done;

const WHAT: &str = "servers: echo sink http http-bodies udp-echo; clients: rate pingpong bulk idle tls-rate tls-bulk tls-idle \
                    udp-packets udp-sessions udp-idle churn http-paced";

fn main() -> io::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let usage = || io::Error::other(format!("usage: load WHAT IP:PORT [SECONDS] [CONNECTIONS] [SIZE]; {WHAT}"));
    let number = |at: usize, otherwise: f64| args.get(at).map_or(Ok(otherwise), |n| n.parse::<f64>().map_err(|_| usage()));
    let (what, to) = match args.as_slice() {
        [what, to, ..] => (what.as_str(), to.parse::<SocketAddr>().map_err(|_| usage())?),
        _ => return Err(usage()),
    };
    let time = Duration::from_secs_f64(number(2, 3.0)?);
    let (connections, size) = (number(3, 64.0)? as usize, number(4, 64.0)? as usize);
    if what == "churn" {
        return churn::run(to, time, connections).map(|seen| tell(&seen));
    }
    if what == "http-paced" {
        // the size is how many requests a second
        return paced::run(to, time, connections, size as f64).map(|seen| tell(&seen));
    }
    let Done { units, seconds, failed } = match what {
        "echo" => serve::run(serve::Kind::Echo, to),
        "sink" => serve::run(serve::Kind::Sink, to),
        "http" => serve::run(serve::Kind::Http, to),
        "http-bodies" => serve::run(serve::Kind::HttpBodies, to),
        "udp-echo" => udp::echo(to),
        "rate" => client::rate(to, time, connections),
        "pingpong" => client::pingpong(to, time, connections),
        "bulk" => client::bulk(to, time, connections),
        "idle" => client::idle(to, connections),
        "tls-rate" => tls::rate(to, time, connections),
        "tls-bulk" => tls::bulk(to, time, connections),
        "tls-idle" => tls::idle(to, connections),
        "udp-packets" => udp::packets(to, time, connections, size),
        // as many sessions as connections, 64 at a time
        "udp-sessions" => udp::sessions(to, connections, 64),
        "udp-idle" => udp::idle(to, connections),
        _ => return Err(usage()),
    }?;
    println!("{{\"units\": {units}, \"seconds\": {seconds:.3}, \"failed\": {failed}}}");
    Ok(())
}

fn tell(seen: &churn::Seen) {
    let at = |share: f64| seen.latencies.get((seen.latencies.len() as f64 * share) as usize).map_or(0.0, |l| l.as_secs_f64() * 1e6);
    let (p50, p99, echoes) = (at(0.5), at(0.99), seen.latencies.len());
    let (opened, failed) = (seen.opened, seen.failed);
    println!("{{\"opened\": {opened}, \"failed\": {failed}, \"echoes\": {echoes}, \"p50_us\": {p50:.0}, \"p99_us\": {p99:.0}}}");
}
