//! Cases Q: what the configuration file may say about listeners, and what is refused at the start, with which words.

use crate::support::poll::{SOON, soon};
use crate::support::{Conf, Gateway, client, namespace, ports};

/// Starts with these entries of `stream_proxy.tcp` and returns what the program said when it refused to.
fn refusal(entry: &str) -> String {
    let mut gateway = Gateway::launch(&[], Conf::new().tcp(entry));
    let status = gateway.wait_exit(SOON);
    assert!(!status.success(), "{entry}: {status}");
    gateway.log()
}

#[test]
fn entries_that_are_no_address_are_refused_with_apisix_words() {
    for (case, entry, says) in [
        ("Q11", "80.5", "80.5"),
        ("Q13", "\"80.5\"", "invalid port format: 80.5"),
        ("Q13", "\"1e3\"", "invalid port format: 1e3"),
        ("a.1", "0", "port out of range (1-65535): 0"),
        ("a.1", "65536", "port out of range (1-65535): 65536"),
        ("a.1", "\"0-100\"", "port out of range (1-65535): 0-100"),
        ("a.1", "\"100-70000\"", "port out of range (1-65535): 100-70000"),
        ("a.1", "\"127.0.0.1:0\"", "port out of range (1-65535): 127.0.0.1:0"),
        ("a.1", "\"3000-2000\"", "invalid port range (start > end): 3000-2000"),
        ("a.1", "\"127.0.0.1:\"", "missing port: 127.0.0.1:"),
    ] {
        let said = refusal(entry);
        assert!(said.contains(says), "{case}: {entry}: {says}\n{said}");
    }
    assert!(refusal("\"3000-2000\"").contains("invalid stream_proxy.tcp entry: "), "a.1: the prefix");
}

#[test]
fn every_form_of_an_address_is_bound() {
    namespace::network("cases_q::every_form_of_an_address_is_bound", || {
        let conf = Conf::new()
            .tcp("9100")
            .tcp("\"127.0.0.1:9101\"")
            .tcp("\":9102\"")
            .tcp("\"[::1]:9103\"")
            .tcp("\"9104-9106\"")
            .tcp("\"127.0.0.1:9107-9108\"")
            .tcp("\n        addr: 9109");
        let gateway = Gateway::start(conf);
        for port in 9100..=9109 {
            let host = if port == 9103 { "[::1]" } else { "127.0.0.1" };
            let to = format!("{host}:{port}").parse().unwrap();
            soon(&format!("Q09: {to} accepts"), || client::closed(to));
        }
        assert!(client::refused("127.0.0.2:9101".parse().unwrap()), "Q09: only its address");
        assert!(!client::refused("127.0.0.2:9100".parse().unwrap()), "Q09: every address");
        assert_eq!(gateway.control_list("/v1/listeners").len(), 10, "Q09");
    });
}

#[test]
fn what_the_file_may_not_say_is_refused_with_its_line() {
    for (case, text, says) in [
        ("file", "deployment:\n  config_provider: file\n", "file"),
        ("unknown", "gateway:\n  stream_porxy:\n    tcp:\n      - 9100\n", "stream_proxy"),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("config.yaml");
        std::fs::write(&file, text).unwrap();
        let mut command = std::process::Command::new(crate::support::gateway::program());
        let output = command.args(["run", "--config", file.to_str().unwrap()]).current_dir(dir.path()).output().unwrap();
        let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(!output.status.success(), "{case}: {said}");
        assert!(said.contains(says) && said.contains("config.yaml:"), "{case}: {says}, and the line\n{said}");
    }
}

#[test]
fn an_entry_with_tls_is_open_beside_a_plain_one() {
    let (plain, secure) = (ports::free(), ports::free());
    let gateway = Gateway::start(Conf::new().tcp(plain).tcp(format!("{{addr: {secure}, tls: true}}")));
    assert_eq!(gateway.rejection("listeners/conf-tcp-1"), None);
    assert!(client::closed(ports::local(plain)) && client::closed(ports::local(secure)), "no route, and no ClientHello");
    soon("each with its reason", || gateway.closed_for("", "no_route") == 1 && gateway.closed_for("", "tls_handshake") == 1);
}

#[test]
fn a_range_of_udp_ports_is_as_many_sockets() {
    namespace::network("cases_q::a_range_of_udp_ports_is_as_many_sockets", || {
        let gateway = Gateway::start(Conf::new().udp("9300-9305"));
        let ports = gateway.control_list("/v1/listeners");
        assert_eq!((ports.len(), ports.iter().filter(|l| l["state"] == "active" && l["protocol"] == "udp").count()), (6, 6), "Q05");
        assert!((9300..=9305).all(|port| std::net::UdpSocket::bind(("0.0.0.0", port)).is_err()), "Q05");
    });
}

#[test]
fn with_mode_stream_only_the_stream_part_runs() {
    let port = ports::free();
    let gateway = Gateway::start(Conf::new().tcp(port));
    let states: Vec<String> = gateway.control_list("/v1/listeners").iter().map(|l| l["state"].as_str().unwrap().to_owned()).collect();
    assert_eq!(states, ["active"], "Q01");
    assert_eq!(gateway.count("sluice_listeners", &[("state", "active")]), 1, "Q01");
}
