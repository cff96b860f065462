//! A real etcd in folders of its own: one member or three, started, hurt, restored. Talked to by `etcdctl`.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal};

use super::{poll, ports};

/// Longer than etcd needs to start on a loaded machine.
const START: Duration = Duration::from_secs(60);

/// A cluster. Dropping it kills its members and removes their folders.
pub struct Etcd {
    dir: tempfile::TempDir,
    members: Vec<Member>,
    /// What `etcdctl` is told beside the endpoints: `--user root:x`.
    pub login: Option<String>,
    extra: Vec<String>,
    /// What `etcdctl` is told about TLS; empty: it is not spoken.
    tls: Vec<String>,
    /// Folders get a new name with every restore.
    restores: u32,
}

struct Member {
    client: u16,
    peer: u16,
    child: Option<Child>,
    /// It was stopped where it is.
    is_frozen: bool,
}

impl Etcd {
    /// One member.
    pub fn start() -> Self {
        Self::cluster(1)
    }

    /// So many members.
    pub fn cluster(members: usize) -> Self {
        Self::with(members, &[])
    }

    /// So many members, each with more arguments.
    pub fn with(members: usize, extra: &[&str]) -> Self {
        let mut etcd = Self::planned(members, extra);
        for n in 0..members {
            etcd.spawn(n);
        }
        etcd.wait_ready();
        etcd
    }

    /// One member that speaks TLS and asks for certificates of the same authority; `ours` is one.
    pub fn start_tls(authority: &Path, server: &(PathBuf, PathBuf), ours: &(PathBuf, PathBuf)) -> Self {
        let text = |path: &Path| path.to_str().unwrap().to_owned();
        let (ca, cert, key) = (text(authority), text(&server.0), text(&server.1));
        let mut etcd = Self::planned(1, &["--client-cert-auth", "--trusted-ca-file", &ca, "--cert-file", &cert, "--key-file", &key]);
        let (cert, key) = (text(&ours.0), text(&ours.1));
        etcd.tls = ["--insecure-skip-tls-verify", "--cacert", &ca, "--cert", &cert, "--key", &key].map(str::to_owned).into();
        etcd.spawn(0);
        etcd.wait_ready();
        etcd
    }

    /// A cluster whose ports are chosen and of which nothing runs yet.
    pub fn planned(members: usize, extra: &[&str]) -> Self {
        let member = |_| Member { client: ports::free(), peer: ports::free(), child: None, is_frozen: false };
        let dir = tempfile::Builder::new().prefix("sluice-etcd-").tempdir().unwrap();
        let extra = extra.iter().map(ToString::to_string).collect();
        Self { dir, members: (0..members).map(member).collect(), login: None, extra, tls: Vec::new(), restores: 0 }
    }

    /// The address of a member.
    pub fn url(&self, n: usize) -> String {
        let scheme = if self.tls.is_empty() { "http" } else { "https" };
        format!("{scheme}://127.0.0.1:{}", self.members[n].client)
    }

    /// The addresses of all members.
    pub fn urls(&self) -> Vec<String> {
        (0..self.members.len()).map(|n| self.url(n)).collect()
    }

    pub fn pid(&self, n: usize) -> u32 {
        self.members[n].child.as_ref().expect("it runs").id()
    }

    /// Starts a member, on what its folder holds.
    pub fn spawn(&mut self, n: usize) {
        assert!(self.members[n].child.is_none(), "it runs");
        let name = |n: usize| format!("m{n}");
        let peers: Vec<String> = self.members.iter().enumerate().map(|(n, m)| format!("{}=http://127.0.0.1:{}", name(n), m.peer)).collect();
        let (url, peer) = (self.url(n), format!("http://127.0.0.1:{}", self.members[n].peer));
        let log = fs::OpenOptions::new().create(true).append(true).open(self.dir.path().join(format!("log-{n}"))).unwrap();
        let child = Command::new("etcd")
            .args(["--name", &name(n), "--data-dir"])
            .arg(self.data(n))
            .args(["--listen-client-urls", &url, "--advertise-client-urls", &url])
            .args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer])
            .args(["--initial-cluster", &peers.join(","), "--heartbeat-interval", "50", "--election-timeout", "500"])
            .args(&self.extra)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .expect("etcd is installed (make setup-test)");
        self.members[n].child = Some(child);
    }

    /// Waits until the members that run answer together.
    pub fn wait_ready(&self) {
        poll::until(START, "etcd answers", || self.try_ctl(&["get", "ready?"]));
    }

    fn data(&self, n: usize) -> PathBuf {
        self.dir.path().join(format!("data-{n}-{}", self.restores))
    }

    fn signal(&self, n: usize, signal: Signal) {
        rustix::process::kill_process(Pid::from_child(self.members[n].child.as_ref().expect("it runs")), signal).unwrap();
    }

    /// Kills a member the hard way and waits until it is gone.
    pub fn kill9(&mut self, n: usize) {
        let mut child = self.members[n].child.take().expect("it runs");
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Ends a member the usual way and waits until it is gone.
    pub fn stop(&mut self, n: usize) {
        self.signal(n, Signal::TERM);
        self.members[n].child.take().expect("it runs").wait().unwrap();
    }

    /// Stops a member's process where it is; its connections stay open.
    pub fn freeze(&mut self, n: usize) {
        self.signal(n, Signal::STOP);
        self.members[n].is_frozen = true;
        let state = || fs::read_to_string(format!("/proc/{}/stat", self.pid(n))).unwrap();
        poll::soon("the process is stopped", || state().rsplit_once(") ").unwrap().1.starts_with('T'));
    }

    /// Lets a frozen member go on.
    pub fn thaw(&mut self, n: usize) {
        self.signal(n, Signal::CONT);
        self.members[n].is_frozen = false;
    }

    /// Runs `etcdctl` on the members that run, or on all if all are frozen; `None` if it fails.
    pub fn try_ctl(&self, args: &[&str]) -> Option<String> {
        self.try_ctl_with(args, "")
    }

    /// The members that run and are not frozen, or if there are none, those that are.
    fn alive(&self) -> Vec<String> {
        let urls = |is_frozen: bool| {
            let wanted = |n: &usize| self.members[*n].child.is_some() && self.members[*n].is_frozen == is_frozen;
            (0..self.members.len()).filter(wanted).map(|n| self.url(n)).collect::<Vec<_>>()
        };
        let awake = urls(false);
        if awake.is_empty() { urls(true) } else { awake }
    }

    /// [`Etcd::try_ctl`] that reads this from its standard input.
    fn try_ctl_with(&self, args: &[&str], input: &str) -> Option<String> {
        let alive = self.alive();
        let mut command = Command::new("etcdctl");
        command.env("ETCDCTL_API", "3").args(["--endpoints", &alive.join(","), "--command-timeout", "5s"]);
        command.args(&self.tls);
        if let Some(login) = &self.login {
            command.args(["--user", login]);
        }
        command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("etcdctl is installed (make setup-test)");
        // what does not read its input needs none
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        let output = child.wait_with_output().unwrap();
        output.status.success().then(|| String::from_utf8(output.stdout).unwrap())
    }

    /// [`Etcd::try_ctl`] that must succeed.
    pub fn ctl(&self, args: &[&str]) -> String {
        self.try_ctl(args).unwrap_or_else(|| panic!("etcdctl {args:?} failed\n{}", self.log()))
    }

    pub fn put(&self, key: &str, value: &str) {
        self.ctl(&["put", "--", key, value]);
    }

    pub fn delete(&self, key: &str) {
        assert_eq!(self.ctl(&["del", "--", key]).trim(), "1", "{key} was there");
    }

    /// Deletes and puts in one transaction.
    pub fn txn(&self, deletes: &[String], puts: &[(String, String)]) {
        let deletes = deletes.iter().map(|key| format!("del {key:?}\n"));
        let puts = puts.iter().map(|(key, value)| format!("put {key:?} {value:?}\n"));
        let ops: String = deletes.chain(puts).collect();
        let answer = self.try_ctl_with(&["txn"], &format!("\n{ops}\n\n"));
        assert!(answer.is_some_and(|answer| answer.starts_with("SUCCESS")), "etcdctl txn {ops}\n{}", self.log());
    }

    /// The member that leads.
    pub fn leader(&self) -> usize {
        let leads = |n: &usize| {
            let status = self.ctl(&["endpoint", "status", "-w", "json"]);
            let all: serde_json::Value = serde_json::from_str(&status).unwrap();
            let own = all.as_array().unwrap().iter().find(|one| one["Endpoint"] == self.url(*n)).cloned();
            own.is_some_and(|one| one["Status"]["leader"] == one["Status"]["header"]["member_id"])
        };
        poll::until(START, "there is a leader", || (0..self.members.len()).find(leads))
    }

    /// The newest revision.
    pub fn revision(&self) -> u64 {
        let status: serde_json::Value = serde_json::from_str(&self.ctl(&["get", "none", "-w", "json"])).unwrap();
        status["header"]["revision"].as_u64().unwrap()
    }

    /// Throws all history away but the newest revision.
    pub fn compact(&self) {
        self.ctl(&["compact", "--physical", &self.revision().to_string()]);
    }

    /// A copy of everything.
    pub fn save(&self) -> PathBuf {
        let file = self.dir.path().join("backup");
        // it may be there from before
        let _ = fs::remove_file(&file);
        let (url, path) = (self.url(0), file.to_str().unwrap().to_owned());
        let saved =
            Command::new("etcdctl").env("ETCDCTL_API", "3").args(["--endpoints", &url, "snapshot", "save", &path]).output().unwrap();
        assert!(saved.status.success(), "{saved:?}");
        file
    }

    /// Puts the only member back to what a copy holds; it is not running and is not started.
    pub fn restore(&mut self, backup: &Path) {
        assert!(self.members.len() == 1 && self.members[0].child.is_none());
        self.restores += 1;
        let peer = format!("http://127.0.0.1:{}", self.members[0].peer);
        let restored = Command::new("etcdctl")
            .env("ETCDCTL_API", "3")
            .args(["snapshot", "restore"])
            .arg(backup)
            .args(["--name", "m0", "--initial-cluster", &format!("m0={peer}"), "--initial-advertise-peer-urls", &peer, "--data-dir"])
            .arg(self.data(0))
            .output()
            .unwrap();
        assert!(restored.status.success(), "{restored:?}");
    }

    /// Asks for passwords from now on: `root` and a user who may do everything under a prefix.
    pub fn enable_auth(&mut self, user: &str, password: &str, prefix: &str) {
        let user_and_password = format!("{user}:{password}");
        for args in [
            &["user", "add", "root:root"][..],
            &["user", "grant-role", "root", "root"],
            &["user", "add", &user_and_password],
            &["role", "add", "keeper"],
            &["role", "grant-permission", "keeper", "readwrite", prefix, "--prefix"],
            &["user", "grant-role", user, "keeper"],
            &["auth", "enable"],
        ] {
            // the role root may be there already, or not
            if self.try_ctl(args).is_none() {
                assert_eq!(args[..2], ["user", "grant-role"], "etcdctl {args:?}\n{}", self.log());
                self.ctl(&["role", "add", "root"]);
                self.ctl(args);
            }
        }
        self.login = Some("root:root".to_owned());
    }

    /// The last lines that the members wrote.
    pub fn log(&self) -> String {
        let of = |n: usize| fs::read_to_string(self.dir.path().join(format!("log-{n}"))).unwrap_or_default();
        let tail = |text: String| text.lines().rev().take(40).map(ToOwned::to_owned).collect::<Vec<_>>();
        (0..self.members.len()).flat_map(|n| tail(of(n)).into_iter().rev()).collect::<Vec<_>>().join("\n")
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        for child in self.members.iter_mut().filter_map(|member| member.child.as_mut()) {
            // also if it is frozen; it may have ended already
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
