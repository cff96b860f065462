//! A gateway that starts while its etcd is down: it serves what it had, says so, and takes over what changed meanwhile. A file that is
//! not its own, or not whole, is not used.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::gateway::upstream;
use crate::support::upstream as servers;
use crate::support::valve::Valve;
use crate::support::{Conf, Etcd, Gateway, client, ports, soon, until};

/// Ten times what a gateway may take to be current once etcd is back.
const RECOVERY: Duration = Duration::from_secs(50);

fn kept(gateway: &Gateway) -> PathBuf {
    gateway.dir().join("data/last-good.etcd")
}

/// Whether a file has these bytes somewhere.
fn has(path: &Path, needle: &str) -> bool {
    fs::read(path).is_ok_and(|bytes| bytes.windows(needle.len()).any(|window| window == needle.as_bytes()))
}

/// The lines of the log that tell of something applied.
fn applied(gateway: &Gateway) -> Vec<Value> {
    let lines = gateway.log();
    let all = lines.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    all.filter(|line| line["message"] == "configuration applied").collect()
}

/// A gateway behind a valve, whose etcd is dead and that was killed and started again since: it serves from its file.
fn without_etcd(etcd: &mut Etcd, objects: &[(String, Value)]) -> (Gateway, Valve) {
    let valve = Valve::start(etcd.url(0).strip_prefix("http://").unwrap().parse().unwrap());
    for (key, value) in objects {
        etcd.put(&format!("/sluice/{key}"), &value.to_string());
    }
    let mut gateway = Gateway::start(Conf::new().tcp(ports::free()).etcd(&[format!("http://{}", valve.addr)], "keeper"));
    let file = kept(&gateway);
    soon("all that it has is kept", || objects.iter().all(|(key, _)| has(&file, key)));
    gateway.kill9();
    etcd.kill9(0);
    assert!(client::refused(etcd.url(0).strip_prefix("http://").unwrap().parse().unwrap()), "etcd is dead");
    gateway.start_again();
    (gateway, valve)
}

fn stale(gateway: &Gateway) -> (u64, u64, Value) {
    let of = |name| gateway.count(name, &[]);
    (of("sluice_store_up"), of("sluice_config_stale"), gateway.control("GET", "/v1/store").json())
}

#[test]
fn a_start_without_etcd_serves_what_it_had_and_then_what_changed() {
    let mut etcd = Etcd::start();
    let (server, port) = (servers::echo(), ports::free());
    let gone = ports::free();
    let objects = [
        ("stream_routes/1".to_owned(), json!({"upstream": upstream(&[&server.node()])})),
        ("listeners/stays".to_owned(), json!({"addr": format!("127.0.0.1:{port}")})),
        ("listeners/goes".to_owned(), json!({"addr": format!("127.0.0.1:{gone}")})),
    ];
    let (mut gateway, valve) = without_etcd(&mut etcd, &objects);
    let (addr, gone) = (ports::local(port), ports::local(gone));
    let mut session = client::connect(addr);
    client::ping(&mut session, b"without etcd").unwrap();
    client::ping(&mut client::connect(gone), b"and this one").unwrap();
    let (up, is_stale, shown) = stale(&gateway);
    assert_eq!((up, is_stale, &shown["up"], &shown["stale"]), (0, 1, &json!(false), &json!(true)), "{shown}");
    assert!(shown["last_good"]["revision"].as_u64().unwrap() > 0 && shown["last_good"]["saved_at"].is_string(), "{shown}");
    assert!(gateway.log().contains("the last good set serves"), "the log tells it");
    assert_eq!(gateway.admin().put("upstreams", "1", &json!({"nodes": {}})).status, 503, "it cannot be written to");
    assert_eq!(gateway.count("sluice_ready", &[]), 1);

    // nothing can be heard of the change before it is whole
    valve.shut();
    etcd.spawn(0);
    etcd.wait_ready();
    etcd.delete("/sluice/listeners/goes");
    let before = applied(&gateway).len();
    assert!(!client::refused(gone), "it knows of nothing");
    valve.open();
    until(RECOVERY, "the deleted listener is gone", || client::refused(gone).then_some(()));
    soon("it is current", || stale(&gateway) == (1, 0, json!({"up": true, "stale": false, "held": 0, "last_good": null})));
    client::ping(&mut session, b"the session goes on").unwrap();
    client::ping(&mut client::connect(addr), b"new ones come").unwrap();
    let after = applied(&gateway);
    assert_eq!(after.len(), before + 1, "{after:?}");
    let change = &after[before];
    assert_eq!((&change["put"], &change["deleted"]), (&json!(0), &json!(1)), "nothing else was touched: {change}");
    soon("the file follows", || !has(&kept(&gateway), "listeners/goes") && has(&kept(&gateway), "listeners/stays"));
    assert!(gateway.alive());
}

#[test]
fn a_gateway_that_is_told_to_stop_keeps_what_it_had_last() {
    let etcd = Etcd::start();
    let mut gateway = Gateway::start(Conf::new().tcp(ports::free()).etcd(&etcd.urls(), "keeper"));
    soon("there is a file", || kept(&gateway).exists());
    for n in 0..5 {
        // changes without a rest, which would be kept some time later only
        gateway.put_live("upstreams", &format!("last{n}"), &upstream(&[]));
    }
    gateway.signal(rustix::process::Signal::TERM);
    assert_eq!(gateway.wait_exit(RECOVERY).code(), Some(0));
    assert!(has(&kept(&gateway), "upstreams/last4"));
}

#[test]
fn an_etcd_that_came_back_empty_deletes_nothing_until_somebody_accepts_it() {
    let mut etcd = Etcd::start();
    let backup = etcd.save();
    let server = servers::hello();
    let route = ("stream_routes/1".to_owned(), json!({"upstream": upstream(&[&server.node()])}));
    let more = (0..19).map(|n| (format!("upstreams/u{n}"), json!({"nodes": {}})));
    let objects: Vec<(String, Value)> = std::iter::once(route).chain(more).collect();
    let (gateway, _valve) = without_etcd(&mut etcd, &objects);
    let addr = ports::local(gateway.conf.tcp[0].parse().unwrap());
    assert!(client::served(addr));
    etcd.restore(&backup);
    etcd.spawn(0);
    etcd.wait_ready();
    until(RECOVERY, "all is held", || (gateway.count("sluice_config_held", &[]) == 20).then_some(()));
    assert!(client::served(addr));
    assert_eq!(gateway.control("GET", "/v1/store").json(), json!({"up": true, "stale": true, "held": 20, "last_good": null}));
    assert_eq!(gateway.control("POST", "/v1/accept").status, 200);
    soon("all is gone", || client::closed(addr));
    soon("and not kept", || !has(&kept(&gateway), "upstreams/u7"));
}

#[test]
fn a_file_that_is_not_whole_or_not_its_own_is_not_used() {
    let mut etcd = Etcd::start();
    let server = servers::hello();
    etcd.put("/sluice/stream_routes/1", &json!({"upstream": upstream(&[&server.node()])}).to_string());
    let first = Gateway::start(Conf::new().tcp(ports::free()).etcd(&etcd.urls(), "first"));
    soon("a good one is there", || has(&kept(&first), "stream_routes/1"));
    let good = fs::read(kept(&first)).unwrap();
    drop(first);
    etcd.kill9(0);
    let mut damaged = good.clone();
    *damaged.last_mut().unwrap() ^= 1;
    let older = [b"sluice last good set 0\n".as_slice(), &good[23..]].concat();
    let alien = b"[Unit]\nDescription=somebody else's file\n".to_vec();
    let cases = [
        (damaged, "it is damaged", "/sluice"),
        (good[..good.len() / 2].to_vec(), "it is damaged", "/sluice"),
        (good, "it is of the prefix /sluice", "/other"),
        (older, "it has the form of another version", "/sluice"),
        (alien, "it is not a last good set, and is left as it is", "/sluice"),
    ];
    let dir = tempfile::tempdir().unwrap();
    let gateways = cases.iter().enumerate().map(|(n, (bytes, _, prefix))| {
        let path = dir.path().join(format!("set-{n}"));
        fs::write(&path, bytes).unwrap();
        let mut conf = Conf::new().tcp(ports::free()).etcd(&etcd.urls(), &format!("gateway-{n}"));
        (conf.last_good, conf.prefix) = (Some(path), Some((*prefix).to_owned()));
        Gateway::launch(&[], conf)
    });
    let mut gateways: Vec<Gateway> = gateways.collect();
    for (gateway, (_, why, _)) in gateways.iter().zip(&cases) {
        soon("it waits, not ready", || gateway.readyz().is_some_and(|answer| answer.status == 503));
        assert!(gateway.log().contains(&format!("\"reason\":\"{why}\"")), "{why}");
    }
    etcd.spawn(0);
    etcd.wait_ready();
    etcd.put("/other/stream_routes/1", &json!({"upstream": upstream(&[&server.node()])}).to_string());
    for (gateway, (bytes, why, prefix)) in gateways.iter_mut().zip(&cases) {
        until(RECOVERY, "it is ready", || gateway.readyz().filter(|answer| answer.status == 200));
        soon(&format!("served: {why}"), || client::served(ports::local(gateway.conf.tcp[0].parse().unwrap())));
        let path = gateway.conf.last_good.clone().unwrap();
        if why.ends_with("left as it is") {
            assert_eq!(fs::read(&path).unwrap(), *bytes, "{why}");
            assert!(!dir.path().join("set-4.lock").exists(), "nothing is made beside it either");
        } else {
            soon(&format!("replaced: {why}"), || has(&path, &format!("{prefix}/stream_routes/1")) && fs::read(&path).unwrap() != *bytes);
        }
    }
}
