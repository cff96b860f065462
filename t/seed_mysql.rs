//! The seed's own story, with its own words: its configuration snippet, its requests sent by `curl`, a real database server behind it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use serde_json::json;

use crate::support::{Conf, Gateway, client, namespace, poll};

/// The key that the seed's requests carry.
const SEED_KEY: &str = "edd1c9f034335f136f87ad84b625c8f1";

/// The seed's request for its database, letter by letter.
const CURL_MYSQL: &str = r#"curl http://127.0.0.1:9180/apisix/admin/stream_routes/1 -H 'X-API-KEY: edd1c9f034335f136f87ad84b625c8f1' -X PUT -d '
{
"server_addr": "127.0.0.10",
"server_port": 9101,
"upstream": {
"nodes": {
"127.0.0.1:3306": 1
},
"type": "roundrobin"
}
}'"#;

/// The seed's first request.
const CURL_FIRST: &str = r#"curl http://127.0.0.1:9180/apisix/admin/stream_routes/1 -H 'X-API-KEY: edd1c9f034335f136f87ad84b625c8f1' -X PUT -d '
{
"remote_addr": "127.0.0.1",
"upstream": {
"nodes": {
"127.0.0.1:1995": 1
},
"type": "roundrobin"
}
}'"#;

/// The seed's second request.
const CURL_SECOND: &str = r#"curl http://127.0.0.1:9180/apisix/admin/stream_routes/1 -H 'X-API-KEY: edd1c9f034335f136f87ad84b625c8f1' -X PUT -d '
{
"server_addr": "127.0.0.1",
"server_port": 2000,
"upstream": {
"nodes": {
"127.0.0.1:1995": 1
},
"type": "roundrobin"
}
}'"#;

/// A child process that ends with the test.
pub struct Daemon(pub Child);

impl Drop for Daemon {
    fn drop(&mut self) {
        // it may have ended already
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn run(program: &str, args: &[&str]) -> Output {
    Command::new(program).args(args).stdin(Stdio::null()).output().unwrap_or_else(|e| panic!("{program}: {e}"))
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// A real server on 127.0.0.1:3306 whose root needs no password.
pub fn mariadb(dir: &Path) -> Daemon {
    let data = dir.join("mysql");
    fs::create_dir(&data).unwrap();
    fs::set_permissions(dir, fs::Permissions::from_mode(0o755)).unwrap();
    let datadir = format!("--datadir={}", data.display());
    let made = run("mariadb-install-db", &["--no-defaults", "--user=root", "--auth-root-authentication-method=normal", &datadir]);
    assert!(made.status.success(), "{}", said(&made));
    let log = fs::File::create(dir.join("mysql.log")).unwrap();
    let server = Command::new("mariadbd")
        .args(["--no-defaults", "--user=root", "--bind-address=127.0.0.1", "--port=3306", "--skip-name-resolve", &datadir])
        .arg(format!("--socket={}", dir.join("mysql.sock").display()))
        .arg(format!("--pid-file={}", dir.join("mysql.pid").display()))
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .spawn()
        .unwrap();
    let server = Daemon(server);
    poll::until(Duration::from_secs(60), "MariaDB answers", || query("127.0.0.1", 3306).status.success().then_some(()));
    server
}

fn query(host: &str, port: u16) -> Output {
    let (host, port) = (format!("--host={host}"), format!("--port={port}"));
    run("mariadb", &["--no-defaults", "--protocol=TCP", "--connect-timeout=10", &host, &port, "-u", "root", "-N", "-B", "-e", "SELECT 1+1"])
}

fn redis(dir: &Path) -> Daemon {
    let server = Command::new("redis-server")
        .args(["--port", "6379", "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--daemonize", "no"])
        .current_dir(dir)
        .stdout(fs::File::create(dir.join("redis.log")).unwrap())
        .spawn()
        .unwrap();
    let server = Daemon(server);
    poll::soon("Redis answers", || said(&run("redis-cli", &["-p", "6379", "ping"])).starts_with("PONG"));
    server
}

fn seed_conf() -> Conf {
    let mut conf = Conf::new().tcp("9100 # by default uses 0.0.0.0").tcp("\"127.0.0.10:9101\"");
    conf.top = "apisix";
    conf.admin_port = 9180;
    conf.admin_key = SEED_KEY.into();
    conf
}

/// Runs one of the seed's commands and asserts the status of its answer.
fn curl(command: &str) {
    let output = run("sh", &["-c", &format!("{command} -s -w '\\n%{{http_code}}'")]);
    let said = said(&output);
    let status = said.trim_end().rsplit('\n').next().unwrap_or_default();
    assert!(output.status.success() && (status == "201" || status == "200"), "{command}\n{said}");
}

#[test]
fn mysql_through_the_seeds_own_configuration_and_redis_through_a_port_opened_at_run_time() {
    let name = "seed_mysql::mysql_through_the_seeds_own_configuration_and_redis_through_a_port_opened_at_run_time";
    namespace::network(name, || {
        let dir = tempfile::tempdir().unwrap();
        let _mariadb = mariadb(dir.path());
        let gateway = Gateway::start(seed_conf());

        curl(CURL_MYSQL);
        poll::soon("MySQL answers through 127.0.0.10:9101", || said(&query("127.0.0.10", 9101)).trim() == "2");
        for _ in 0..20 {
            assert_eq!(said(&query("127.0.0.10", 9101)).trim(), "2");
        }
        let lost = query("127.0.0.1", 9100);
        assert!(!lost.status.success() && said(&lost).contains("Lost connection"), "through 9100: {}", said(&lost));

        let _redis = redis(dir.path());
        let admin = gateway.admin();
        admin.must_put(
            "stream_routes",
            "redis",
            &json!({"server_port": 9379, "upstream": {"nodes": {"127.0.0.1:6379": 1}, "type": "roundrobin"}}),
        );
        admin.must_put("listeners", "redis", &json!({"protocol": "tcp", "addr": "127.0.0.1:9379"}));
        poll::soon("Redis answers through the new port", || said(&run("redis-cli", &["-p", "9379", "ping"])).starts_with("PONG"));
        assert_eq!(said(&run("redis-cli", &["-p", "9379", "set", "k", "v"])).trim(), "OK");
        assert_eq!(said(&run("redis-cli", &["-p", "9379", "get", "k"])).trim(), "v");

        admin.must_delete("listeners", "redis");
        poll::soon("the port is closed again", || client::refused("127.0.0.1:9379".parse().unwrap()));
        assert_eq!(said(&query("127.0.0.10", 9101)).trim(), "2", "MySQL does not notice");
    });
}

#[test]
fn the_seeds_first_two_requests_route_as_it_says() {
    namespace::network("seed_mysql::the_seeds_first_two_requests_route_as_it_says", || {
        let upstream = crate::support::upstream::hello_on(1995);
        let gateway = Gateway::start(seed_conf().tcp("2000"));
        let (port_9100, port_2000) = ("127.0.0.1:9100".parse().unwrap(), "127.0.0.1:2000".parse().unwrap());
        assert!(client::closed(port_9100), "no route yet");

        curl(CURL_FIRST);
        poll::soon("a client of 127.0.0.1 reaches 127.0.0.1:1995", || client::served(port_9100));
        curl(CURL_SECOND);
        poll::soon("only port 2000 of 127.0.0.1 is routed", || client::closed(port_9100));
        assert!(client::served(port_2000));
        assert!(client::closed("127.0.0.2:2000".parse().unwrap()), "another server address");
        assert!(upstream.connections() >= 2);
        drop(gateway);
    });
}

#[test]
fn the_seeds_well_known_key_is_refused_where_others_could_reach_it() {
    namespace::network("seed_mysql::the_seeds_well_known_key_is_refused_where_others_could_reach_it", || {
        let mut conf = seed_conf();
        conf.admin_ip = "0.0.0.0".into();
        let mut gateway = Gateway::launch(&[], conf);
        let status = gateway.wait_exit(poll::SOON);
        assert!(!status.success(), "{status}");
        assert!(gateway.log().contains("admin_key"), "{}", gateway.log());
    });
}
