//! Load for `bench/run.py`: `load <what> <ip:port> [seconds] [connections]`, what being echo, sink, rate, pingpong, bulk or idle.
//! Clients print one JSON line.

mod client;
mod poll;
mod serve;

use std::net::SocketAddr;
use std::time::Duration;

fn main() -> std::io::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let usage = || std::io::Error::other("usage: load echo|sink|rate|pingpong|bulk|idle IP:PORT [SECONDS] [CONNECTIONS]");
    let number = |at: usize, otherwise: f64| args.get(at).map_or(Ok(otherwise), |n| n.parse::<f64>().map_err(|_| usage()));
    let (what, to) = match args.as_slice() {
        [what, to, ..] => (what.as_str(), to.parse::<SocketAddr>().map_err(|_| usage())?),
        _ => return Err(usage()),
    };
    let time = Duration::from_secs_f64(number(2, 3.0)?);
    let connections = number(3, 64.0)? as usize;
    let done = match what {
        "echo" => return serve::run(serve::Kind::Echo, to),
        "sink" => return serve::run(serve::Kind::Sink, to),
        "rate" => client::rate(to, time, connections),
        "pingpong" => client::pingpong(to, time, connections),
        "bulk" => client::bulk(to, time, connections),
        "idle" => client::idle(to, connections),
        _ => return Err(usage()),
    }?;
    println!("{{\"units\": {}, \"seconds\": {:.3}, \"failed\": {}}}", done.units, done.seconds, done.failed);
    Ok(())
}
