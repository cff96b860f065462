//! The page on routes of `VKProxy`, example by example, with curl before and nginx behind: once in our words, once imported.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use crate::support::gateway::program;
use crate::support::{Conf, Gateway, curl, ports, soon};

/// A server that is ended with the test.
struct Nginx(Child);

impl Drop for Nginx {
    fn drop(&mut self) {
        // it may have ended already
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// nginx on two addresses, which answers with the name of the address and what it was asked.
fn nginx(dir: &Path, one: SocketAddr, two: SocketAddr) -> Nginx {
    let said = "$request_method $request_uri $http_x_edge";
    let server = |name: &str, addr: SocketAddr| format!("server {{ listen {addr}; location / {{ return 200 \"{name} {said}\"; }} }}\n");
    let conf = format!(
        "daemon off; master_process off; pid {at}/nginx.pid; error_log stderr; events {{}}
         http {{ access_log off; client_body_temp_path {at}/b; proxy_temp_path {at}/p; fastcgi_temp_path {at}/f; uwsgi_temp_path {at}/u;
                 scgi_temp_path {at}/s;\n{}{} }}",
        server("one", one),
        server("two", two),
        at = dir.display(),
    );
    let file = dir.join("nginx.conf");
    fs::write(&file, conf).unwrap();
    let mut command = Command::new("nginx");
    command.args(["-e", "stderr", "-p"]).arg(dir).arg("-c").arg(file).stdin(Stdio::null()).stderr(Stdio::null());
    let nginx = Nginx(command.spawn().expect("nginx is installed (make setup-test)"));
    soon("nginx listens", || TcpStream::connect(one).is_ok() && TcpStream::connect(two).is_ok());
    nginx
}

/// Where everything is.
struct Places {
    web: SocketAddr,
    tcp: SocketAddr,
    one: SocketAddr,
    two: SocketAddr,
    dir: tempfile::TempDir,
    _nginx: Nginx,
}

impl Places {
    fn new() -> Self {
        let (one, two, dir) = (ports::free_addr(), ports::free_addr(), tempfile::tempdir().unwrap());
        let nginx = nginx(dir.path(), one, two);
        Self { web: ports::free_addr(), tcp: ports::free_addr(), one, two, dir, _nginx: nginx }
    }
}

/// The hosts, paths and the rest of each example's `Match`.
fn matches() -> Vec<(&'static str, Value)> {
    vec![
        ("exact-host", json!({"Hosts": ["a.com"], "Paths": ["*"]})),
        ("end-of-host", json!({"Hosts": ["*b.com"], "Paths": ["*"]})),
        ("any-host", json!({"Hosts": ["*"], "Paths": ["/any"]})),
        ("exact-path", json!({"Hosts": ["p.org"], "Paths": ["/a"]})),
        ("begin-of-path", json!({"Hosts": ["q.org"], "Paths": ["/a*"]})),
        ("get", json!({"Hosts": ["m.org"], "Paths": ["*"], "Methods": ["GET"]})),
        ("where", json!({"Hosts": ["s.org"], "Paths": ["*"], "Statement": "Method = 'GET'"})),
        ("changed", json!({"Hosts": ["t.org"], "Paths": ["/v1*"]})),
        ("limited", json!({"Hosts": ["l.org"], "Paths": ["*"]})),
        ("second", json!({"Hosts": ["o.org"], "Paths": ["*"]})),
        ("first", json!({"Hosts": ["o.org"], "Paths": ["*"], "Statement": "Header('x-env') = 'test'"})),
    ]
}

fn transforms() -> Value {
    json!([{"PathRemovePrefix": "/v1"}, {"RequestHeader": "x-edge", "Set": "sluice"}, {"ResponseHeader": "x-edge", "Set": "out", "When": "Always"}])
}

/// The examples as they stand there.
fn appsettings(places: &Places) -> String {
    let mut routes = json!({"tcpTestRoute": {"ClusterId": "one", "Timeout": "00:00:11"}});
    for (id, matching) in matches() {
        routes[id] = json!({"Match": matching, "ClusterId": "one", "Timeout": "00:00:11"});
    }
    routes["changed"]["Transforms"] = transforms();
    routes["changed"]["Metadata"] = json!({"team": "edge"});
    routes["limited"]["Limit"] =
        json!({"By": "Key", "Header": "X-Real-Client", "Policy": "FixedWindow", "PermitLimit": 3, "Window": "00:10:00"});
    routes["second"]["Order"] = json!(1);
    routes["first"]["ClusterId"] = json!("two");
    let cluster = |at: SocketAddr| json!({"LoadBalancingPolicy": "RoundRobin", "Destinations": [{"Address": format!("http://{at}")}]});
    json!({"ReverseProxy": {
        "Listen": {
            "web": {"Protocols": ["HTTP1"], "Address": [places.web.to_string()]},
            "tcpTest": {"Protocols": ["TCP"], "Address": [places.tcp.to_string()], "RouteId": "tcpTestRoute"},
        },
        "Routes": routes,
        "Clusters": {"one": cluster(places.one), "two": cluster(places.two)},
    }})
    .to_string()
}

/// The same in our words, each object with its path.
fn objects(places: &Places) -> Vec<(&'static str, &'static str, Value)> {
    let mut objects: Vec<_> = [("one", places.one), ("two", places.two)]
        .map(|(id, at)| ("upstreams", id, json!({"type": "roundrobin", "nodes": {at.to_string(): 1}})))
        .into();
    for (id, matching) in matches() {
        let words: serde_json::Map<String, Value> =
            matching.as_object().unwrap().iter().map(|(word, value)| (word.to_lowercase(), value.clone())).collect();
        let mut route = json!({"match": words, "upstream_id": "one", "timeout": "11s"});
        match id {
            "changed" => (route["transforms"], route["metadata"]) = (transforms(), json!({"team": "edge"})),
            "limited" => {
                route["limit"] =
                    json!({"by": "key", "header": "X-Real-Client", "policy": "fixed_window", "permit_limit": 3, "window": "10m"});
            }
            "second" => route["order"] = json!(1),
            "first" => route["upstream_id"] = json!("two"),
            _ => {}
        }
        objects.push(("routes", id, route));
    }
    objects.push(("stream_routes", "tcp", json!({"server_port": places.tcp.port(), "upstream_id": "one", "timeout": "11s"})));
    objects.push(("listeners", "tcp", json!({"protocol": "tcp", "addr": places.tcp.to_string()})));
    objects.push(("listeners", "web", json!({"protocol": "http", "addr": places.web.to_string()})));
    objects
}

/// Every request of the page: its example, what is asked, the status, and what nginx says it got.
fn check(places: &Places) {
    let rows: [(&str, &str, &str, u16, &str); 19] = [
        ("exact-host", "GET a.com /x?y=1", "", 200, "one GET /x?y=1 "),
        ("exact-host", "GET aa.com /x", "", 404, ""),
        ("end-of-host", "GET ab.com /", "", 200, "one GET / "),
        ("end-of-host", "GET ba.com /", "", 404, ""),
        ("any-host", "GET anything.org /any", "", 200, "one GET /any "),
        ("exact-path", "GET p.org /a", "", 200, "one GET /a "),
        ("exact-path", "GET p.org /ab", "", 404, ""),
        ("begin-of-path", "GET q.org /ab", "", 200, "one GET /ab "),
        ("begin-of-path", "GET q.org /bb", "", 404, ""),
        ("get", "GET m.org /", "", 200, "one GET / "),
        ("get", "POST m.org /", "", 404, ""),
        ("where", "GET s.org /", "", 200, "one GET / "),
        ("where", "PUT s.org /", "", 404, ""),
        ("changed", "GET t.org /v1/users?id=1", "", 200, "one GET /users?id=1 sluice"),
        ("limited", "GET l.org /", "X-Real-Client: 1.1.1.1", 200, "one GET / "),
        ("limited", "GET l.org /", "X-Real-Client: 1.1.1.2", 200, "one GET / "),
        ("order", "GET o.org /", "x-env: test", 200, "two GET / "),
        ("order", "GET o.org /", "x-env: prod", 200, "one GET / "),
        ("order", "GET o.org /", "", 200, "one GET / "),
    ];
    let ask = |ask: &str, line: &str| {
        let words: Vec<&str> = ask.split(' ').collect();
        let host = format!("Host: {}", words[1]);
        let lines: Vec<&str> = [host.as_str(), line].into_iter().filter(|line| !line.is_empty()).collect();
        curl::ask(places.web, words[0], words[2], &lines, None)
    };
    for (example, asked, line, status, body) in rows {
        let answer = ask(asked, line);
        assert_eq!((answer.status(), String::from_utf8_lossy(&answer.body).as_ref()), (status, body), "{example}: {asked} {line}");
        assert_eq!(answer.header("x-edge"), (example == "changed").then_some("out"), "{example}");
    }
    let rest: Vec<u16> = (0..3).map(|_| ask("GET l.org /", "X-Real-Client: 1.1.1.1").status()).collect();
    assert_eq!(rest, [200, 200, 429], "three of each client in a window");
    assert!(ask("GET l.org /", "X-Real-Client: 1.1.1.1").header("retry-after").is_some());
    assert_eq!(curl::ask(places.tcp, "GET", "/over-tcp", &[], None).body, b"one GET /over-tcp ");
}

#[test]
fn the_examples_of_the_page_work_in_our_words() {
    let places = Places::new();
    let gateway = Gateway::start(Conf::new());
    for (kind, id, object) in objects(&places) {
        gateway.put_live(kind, id, &object);
    }
    soon("both listen", || TcpStream::connect(places.web).is_ok() && TcpStream::connect(places.tcp).is_ok());
    check(&places);
}

#[test]
fn the_examples_of_the_page_work_as_they_were_imported() {
    let places = Places::new();
    let gateway = Gateway::start(Conf::new());
    let file = places.dir.path().join("appsettings.json");
    fs::write(&file, appsettings(&places)).unwrap();
    let done = Command::new(program()).args(["import", "vkproxy", "--strict"]).arg(file).output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let applied = gateway.admin().call("POST", "/apply?wait=applied&timeout=20s", &done.stdout);
    assert_eq!(applied.status, 200, "{}", applied.text());
    soon("both listen", || TcpStream::connect(places.web).is_ok() && TcpStream::connect(places.tcp).is_ok());
    check(&places);
}
