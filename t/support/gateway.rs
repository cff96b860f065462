//! The real program in a folder of its own: started, asked, hurt, restarted.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal};
use serde_json::{Value, json};

use super::conf::Conf;
use super::http::{self, Answer};
use super::metrics::Scrape;
use super::{poll, ports};

/// A gateway process and its folder. Dropping it kills the process and removes the folder.
pub struct Gateway {
    dir: tempfile::TempDir,
    pub conf: Conf,
    child: Child,
    wrapper: Vec<String>,
    runs: u32,
}

impl Gateway {
    /// Starts one and waits until it is ready.
    pub fn start(conf: Conf) -> Self {
        Self::start_under(&[], conf)
    }

    /// [`Gateway::start`] behind a command that sets something up and then executes its arguments: `prlimit`, `setpriv`.
    pub fn start_under(wrapper: &[&str], conf: Conf) -> Self {
        let mut gateway = Self::launch(wrapper, conf);
        gateway.wait_ready();
        gateway
    }

    /// Starts one without waiting.
    pub fn launch(wrapper: &[&str], conf: Conf) -> Self {
        let dir = tempfile::Builder::new().prefix("sluice-t-").tempdir().unwrap();
        let wrapper: Vec<String> = wrapper.iter().map(ToString::to_string).collect();
        let child = spawn(dir.path(), &wrapper, &conf, 0);
        Self { dir, conf, child, wrapper, runs: 1 }
    }

    /// The gateway's own folder.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The embedded store's path in the configuration.
    pub fn store(&self) -> PathBuf {
        self.conf.store.clone().unwrap_or_else(|| self.dir().join("store.redb"))
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits for a 200 of `/readyz`; fails at once if the process ends.
    pub fn wait_ready(&mut self) {
        poll::soon("the gateway is ready", || {
            if let Some(status) = self.child.try_wait().unwrap() {
                panic!("the gateway ended with {status} before it was ready");
            }
            self.readyz().is_some_and(|a| a.status == 200)
        });
    }

    /// Everything that it wrote to its standard output and error, all runs.
    pub fn log(&self) -> String {
        log_of(self.dir.path())
    }

    pub fn signal(&self, signal: Signal) {
        rustix::process::kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Kills it the hard way and waits until it is gone.
    pub fn kill9(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Waits until it ended by itself.
    pub fn wait_exit(&mut self, deadline: Duration) -> ExitStatus {
        poll::until(deadline, "the gateway ends", || self.child.try_wait().unwrap())
    }

    /// Whether the process is there.
    pub fn alive(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Starts it again after it ended, on the same folder and configuration, and asserts that it is another process.
    pub fn start_again(&mut self) {
        let before = self.pid();
        assert!(self.child.try_wait().unwrap().is_some(), "it still runs");
        self.child = spawn(self.dir.path(), &self.wrapper, &self.conf, self.runs);
        self.runs += 1;
        assert_ne!(self.pid(), before, "a new process has a new id");
        self.wait_ready();
    }

    /// From the next start on, the program runs without the command that it was started behind.
    pub fn unwrap_command(&mut self) {
        self.wrapper.clear();
    }

    pub fn admin_addr(&self) -> SocketAddr {
        ports::local(self.conf.admin_port)
    }

    pub fn metrics_addr(&self) -> SocketAddr {
        ports::local(self.conf.metrics_port)
    }

    pub fn admin(&self) -> Admin {
        Admin { addr: self.admin_addr(), key: self.conf.admin_key.clone() }
    }

    /// One request to the control API; the path begins with `/v1/`.
    pub fn control(&self, method: &str, path: &str) -> Answer {
        http::call(ports::local(self.conf.control_port), method, path, &[], b"").unwrap_or_else(|e| panic!("{method} {path}: {e}"))
    }

    /// The list in the answer of a control API path.
    pub fn control_list(&self, path: &str) -> Vec<Value> {
        let answer = self.control("GET", path);
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        let Value::Object(fields) = answer.json() else { panic!("{path}: {}", answer.text()) };
        fields.into_iter().find_map(|(_, v)| v.as_array().cloned()).unwrap_or_else(|| panic!("{path} has no list"))
    }

    /// A rejection of the control API by the object's name (`stream_routes/1`).
    pub fn rejection(&self, key: &str) -> Option<Value> {
        self.control_list("/v1/rejections").into_iter().find(|r| r["key"] == key)
    }

    pub fn readyz(&self) -> Option<Answer> {
        http::call(self.metrics_addr(), "GET", "/readyz", &[], b"").ok()
    }

    pub fn scrape(&self) -> Scrape {
        let answer = http::call(self.metrics_addr(), "GET", "/metrics", &[], b"").unwrap();
        assert_eq!(answer.status, 200, "{}", answer.text());
        Scrape::parse(&answer.text())
    }

    /// Sessions of a route that ended for a reason.
    pub fn closed_for(&self, route: &str, reason: &str) -> u64 {
        self.count("sluice_connections_closed_total", &[("route", route), ("reason", reason)])
    }

    /// A counter, as the whole number that it is.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "counters of tests are small and not negative")]
    pub fn count(&self, name: &str, labels: &[(&str, &str)]) -> u64 {
        self.scrape().sum(name, labels) as u64
    }

    /// Open file descriptors of the process.
    pub fn fds(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.pid())).unwrap().count()
    }

    /// Resident memory.
    pub fn resident_mib(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() / 1024
    }

    /// Processor time that the process has used.
    pub fn cpu(&self) -> Duration {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid())).unwrap();
        let after_name = stat.rsplit_once(") ").unwrap().1;
        let ticks: u64 = after_name.split(' ').skip(11).take(2).map(|n| n.parse::<u64>().unwrap()).sum();
        // the unit of /proc is a hundredth of a second on every Linux machine
        Duration::from_millis(ticks * 10)
    }

    /// The threads of the process: name and niceness.
    pub fn threads(&self) -> Vec<(String, i32)> {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.pid())).unwrap();
        // a thread may end in between
        let stats = tasks.filter_map(|task| fs::read_to_string(task.unwrap().path().join("stat")).ok());
        let thread = |stat: String| {
            let (name, rest) = stat.split_once('(')?.1.rsplit_once(") ")?;
            Some((name.to_owned(), rest.split(' ').nth(16)?.parse().ok()?))
        };
        stats.map(|stat| thread(stat).expect("the form of proc_pid_stat(5)")).collect()
    }

    /// The access log's lines that are complete.
    pub fn access_log(&self) -> Vec<Value> {
        let text = fs::read_to_string(self.dir().join("access.log")).unwrap_or_default();
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        whole.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"))).collect()
    }

    /// Puts an object and waits until every worker uses it.
    pub fn put_live(&self, kind: &str, id: &str, value: &Value) {
        self.admin().must_put(kind, id, value);
        let written = self.admin().get(&format!("/{kind}/{id}")).json()["modifiedIndex"].as_u64().expect("a revision");
        poll::soon(&format!("{kind}/{id} is applied"), || self.applied() >= written);
    }

    /// The store revision that every worker uses.
    pub fn applied(&self) -> u64 {
        self.control("GET", "/v1/config").json()["applied"].as_u64().unwrap_or_default()
    }

    /// A tcp listener object on an address, with an id, put at run time; waits until the port accepts.
    pub fn listen(&self, id: &str, addr: SocketAddr) {
        self.admin().must_put("listeners", id, &json!({"protocol": "tcp", "addr": addr.to_string()}));
        poll::soon(&format!("{addr} accepts"), || std::net::TcpStream::connect(addr).is_ok());
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- what the gateway said ---\n{}", self.log());
        }
        // it may have ended already
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn log_of(dir: &Path) -> String {
    let mut names: Vec<_> = fs::read_dir(dir).unwrap().map(|e| e.unwrap().path()).collect();
    names.retain(|p| p.file_name().unwrap().to_string_lossy().starts_with("run-"));
    names.sort();
    names.iter().map(|p| fs::read_to_string(p).unwrap_or_default()).collect()
}

/// The program that the tests test.
pub fn program() -> &'static str {
    env!("CARGO_BIN_EXE_sluice")
}

fn spawn(dir: &Path, wrapper: &[String], conf: &Conf, run: u32) -> Child {
    let file = dir.join("config.yaml");
    fs::write(&file, conf.text(dir)).unwrap();
    let mut words = wrapper.iter().map(String::as_str).chain([program(), "run", "--config", file.to_str().unwrap()]);
    let out = |stream: &str| fs::File::create(dir.join(format!("run-{run:03}.{stream}"))).unwrap();
    Command::new(words.next().unwrap())
        .args(words)
        .current_dir(dir)
        .stdin(Stdio::null())
        .stdout(out("out"))
        .stderr(out("err"))
        .spawn()
        .unwrap()
}

/// The Admin API of a gateway.
#[derive(Clone, Debug)]
pub struct Admin {
    pub addr: SocketAddr,
    pub key: String,
}

impl Admin {
    /// Any request; the path goes on after `/apisix/admin`.
    pub fn call(&self, method: &str, path: &str, body: &[u8]) -> Answer {
        self.try_call(method, path, body).unwrap_or_else(|e| panic!("{method} {path}: {e}"))
    }

    /// [`Admin::call`] where a lost connection is an answer too.
    pub fn try_call(&self, method: &str, path: &str, body: &[u8]) -> std::io::Result<Answer> {
        http::call(self.addr, method, &format!("/apisix/admin{path}"), &[("X-API-KEY", &self.key)], body)
    }

    pub fn get(&self, path: &str) -> Answer {
        self.call("GET", path, b"")
    }

    pub fn put(&self, kind: &str, id: &str, value: &Value) -> Answer {
        self.call("PUT", &format!("/{kind}/{id}"), value.to_string().as_bytes())
    }

    pub fn post(&self, kind: &str, value: &Value) -> Answer {
        self.call("POST", &format!("/{kind}"), value.to_string().as_bytes())
    }

    pub fn delete(&self, kind: &str, id: &str) -> Answer {
        self.call("DELETE", &format!("/{kind}/{id}"), b"")
    }

    /// A put that must succeed.
    pub fn must_put(&self, kind: &str, id: &str, value: &Value) -> Answer {
        let answer = self.put(kind, id, value);
        assert!(answer.ok(), "PUT {kind}/{id} {value}: {} {}", answer.status, answer.text());
        answer
    }

    /// A delete that must succeed.
    pub fn must_delete(&self, kind: &str, id: &str) {
        let answer = self.delete(kind, id);
        assert_eq!(answer.status, 200, "DELETE {kind}/{id}: {}", answer.text());
    }
}

/// `{"nodes": {"a:p": 1, …}, "type": "roundrobin"}`
pub fn upstream(nodes: &[&str]) -> Value {
    let nodes: serde_json::Map<String, Value> = nodes.iter().map(|n| ((*n).to_owned(), json!(1))).collect();
    json!({"nodes": nodes, "type": "roundrobin"})
}
