//! Real servers and clients of UDP behind the gateway: names, logs, logins.

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use crate::support::gateway::{Gateway, upstream};
use crate::support::{Conf, namespace, soon};

/// A server's process; dropping it kills it.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        // it may have ended already
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn start(command: &str, args: &[&str], log: &Path) -> Server {
    let out = std::fs::File::create(log).unwrap();
    let errors = out.try_clone().unwrap();
    let child = Command::new(command).args(args).stdin(Stdio::null()).stdout(out).stderr(errors).spawn();
    Server(child.unwrap_or_else(|e| panic!("{command}: {e}; `make setup-test` installs it")))
}

/// What a client said on its standard output, its input being `input`.
fn run(command: &str, args: &[&str], input: &str) -> String {
    let mut child = Command::new(command)
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|e| panic!("{command}: {e}; `make setup-test` installs it"));
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// A gateway with a UDP port that leads to a node.
fn gateway(port: u16, node: &str, responses: Option<u32>) -> Gateway {
    let gateway = Gateway::start(Conf::new().udp(port));
    let mut route: Value = json!({"upstream": upstream(&[node])});
    if let Some(responses) = responses {
        route["udp_responses"] = responses.into();
    }
    gateway.put_live("stream_routes", "r", &route);
    gateway
}

fn datagrams(gateway: &Gateway, direction: &str) -> u64 {
    gateway.count("sluice_udp_datagrams_total", &[("route", "r"), ("direction", direction)])
}

#[test]
fn ten_thousand_names_are_asked_and_none_is_lost() {
    namespace::network("udp_servers::ten_thousand_names_are_asked_and_none_is_lost", || {
        let dir = tempfile::tempdir().unwrap();
        let args = ["--keep-in-foreground", "--conf-file=/dev/null", "--no-resolv", "--no-hosts", "--bind-interfaces", "--user=root"];
        let rest = ["--port=5300", "--listen-address=127.0.0.1", "--address=/example.test/192.0.2.7", "--local-ttl=60", "--pid-file="];
        let _server = start("dnsmasq", &[&args[..], &rest[..]].concat(), &dir.path().join("dnsmasq.log"));
        let gateway = gateway(53, "127.0.0.1:5300", Some(1));
        let dig = |args: &[&str], input: &str| run("dig", &[&["@127.0.0.1", "+short", "+tries=1", "+time=10"], args].concat(), input);
        soon("dnsmasq answers through the gateway", || dig(&["up.example.test"], "") == "192.0.2.7\n");
        let before = datagrams(&gateway, "out");
        let list = dir.path().join("names");
        let names: Vec<String> = (0..10_000).map(|n| format!("n{n}.example.test A +short +tries=1 +time=10")).collect();
        std::fs::write(&list, names.join("\n")).unwrap();
        // one dig asks from a port of its own for every name: ten thousand sessions. Several at once would now and then share a port,
        // which they let the system do, and lose answers to each other
        let answer = dig(&["-f", list.to_str().unwrap()], "");
        let wrong = answer.lines().find(|line| *line != "192.0.2.7");
        let dropped = gateway.count("sluice_udp_dropped_total", &[]);
        let moved = (datagrams(&gateway, "in"), datagrams(&gateway, "out"));
        assert_eq!((answer.lines().count(), wrong), (10_000, None), "{moved:?} passed on, {dropped} dropped");
        soon("every answer is counted", || datagrams(&gateway, "out") - before == 10_000);
        soon("every session ended with its answer", || gateway.closed_for("r", "ok") == datagrams(&gateway, "out"));
    });
}

#[test]
fn syslog_goes_one_way() {
    namespace::network("udp_servers::syslog_goes_one_way", || {
        let dir = tempfile::tempdir().unwrap();
        let (conf, lines) = (dir.path().join("rsyslog.conf"), dir.path().join("lines"));
        let text = format!(
            "module(load=\"imudp\")\ninput(type=\"imudp\" address=\"127.0.0.1\" port=\"5140\" rcvbufSize=\"2m\")\n\
             template(name=\"plain\" type=\"string\" string=\"%msg%\\n\")\naction(type=\"omfile\" file=\"{}\" template=\"plain\")\n",
            lines.display()
        );
        std::fs::write(&conf, text).unwrap();
        let pid = dir.path().join("pid");
        let args = ["-n", "-f", conf.to_str().unwrap(), "-i", pid.to_str().unwrap()];
        let _server = start("rsyslogd", &args, &dir.path().join("rsyslog.log"));
        let gateway = gateway(514, "127.0.0.1:5140", Some(0));
        let said = || std::fs::read_to_string(&lines).unwrap_or_default();
        let logger =
            |args: &[&str]| run("logger", &[&["--server", "127.0.0.1", "--udp", "--port", "514", "--tag", "t"], args].concat(), "");
        soon("rsyslog writes what comes through the gateway", || {
            logger(&["ready"]);
            said().contains("ready")
        });
        let list = dir.path().join("list");
        let text: Vec<String> = (0..1_000).map(|n| format!("line {n}")).collect();
        std::fs::write(&list, text.join("\n")).unwrap();
        logger(&["--file", list.to_str().unwrap()]);
        soon("all lines are there", || said().contains("line 999"));
        let got: Vec<String> = said().lines().filter(|l| l.contains("line ")).map(|l| l.trim().to_owned()).collect();
        assert_eq!(got, text, "each once, in order");
        assert_eq!(datagrams(&gateway, "out"), 0);
    });
}

const RADIUS: &str = r#"
prefix = /usr
logdir = DIR
radacctdir = DIR
run_dir = DIR
libdir = /usr/lib/freeradius
pidfile = DIR/pid
security { allow_vulnerable_openssl = yes }
listen {
type = auth
ipaddr = 127.0.0.1
port = 1812
virtual_server = default
}
client gateway { ipaddr = 127.0.0.1
secret = testing123 }
modules {
pap { }
}
server default { authorize {
if (&User-Password == "hello") {
update control {
Auth-Type := Accept
}
}
else {
update control {
Auth-Type := Reject
}
}
}
authenticate {
}
}
"#;

#[test]
fn a_radius_login_is_one_question_and_one_answer() {
    namespace::network("udp_servers::a_radius_login_is_one_question_and_one_answer", || {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().to_str().unwrap();
        std::fs::write(dir.path().join("radiusd.conf"), RADIUS.replace("DIR", folder)).unwrap();
        let _server = start("freeradius", &["-f", "-d", folder, "-l", "stdout"], &dir.path().join("radius.log"));
        let gateway = gateway(11812, "127.0.0.1:1812", Some(1));
        let gate: SocketAddr = "127.0.0.1:11812".parse().unwrap();
        let login = |password: &str| {
            let said = format!("User-Name = \"bob\", User-Password = \"{password}\"");
            run("radclient", &["-x", "-r", "1", "-t", "2", &gate.to_string(), "auth", "testing123"], &said)
        };
        soon("freeradius answers through the gateway", || login("hello").contains("Received Access-Accept"));
        let before = datagrams(&gateway, "out");
        assert!(login("wrong").contains("Received Access-Reject"));
        let many = "User-Name = \"bob\", User-Password = \"hello\"\n\n".repeat(200);
        let said = run("radclient", &["-r", "1", "-t", "5", "-p", "20", "-s", &gate.to_string(), "auth", "testing123"], &many);
        assert!(said.contains("Accepted      : 200"), "{said}");
        soon("every answer is counted", || datagrams(&gateway, "out") - before == 201);
    });
}
