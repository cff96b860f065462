//! A real Prometheus in a folder of its own, and promtool.

use std::fs;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use super::sheet::root;
use crate::support::{http, ports, soon};

/// A running Prometheus. Dropping it kills it.
pub struct Prometheus {
    addr: SocketAddr,
    dir: tempfile::TempDir,
    child: Child,
}

impl Prometheus {
    /// Starts one with the configuration and the alerts that we ship, but for the targets of the gateways and the pace.
    pub fn start(gateways: [SocketAddr; 2]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let addr = ports::free_addr();
        let mut text = fs::read_to_string(root().join("conf/prometheus/prometheus.yml")).unwrap();
        let shipped = ["gateway-1:9091", "gateway-2:9091", "localhost:9090", "_interval: 15s"];
        let ours = [gateways[0].to_string(), gateways[1].to_string(), addr.to_string(), "_interval: 1s".to_owned()];
        for (from, to) in shipped.iter().zip(ours) {
            assert!(text.contains(from), "{from} is not in the configuration that we ship");
            text = text.replace(from, &to);
        }
        fs::write(dir.path().join("prometheus.yml"), text).unwrap();
        fs::copy(root().join("conf/prometheus/alerts.yml"), dir.path().join("alerts.yml")).unwrap();
        let out = fs::File::create(dir.path().join("log")).unwrap();
        let child = Command::new("prometheus")
            .arg(format!("--config.file={}", dir.path().join("prometheus.yml").display()))
            .arg(format!("--storage.tsdb.path={}", dir.path().join("data").display()))
            .arg(format!("--web.listen-address={addr}"))
            .stdin(Stdio::null())
            .stdout(out.try_clone().unwrap())
            .stderr(out)
            .spawn()
            .unwrap_or_else(|e| panic!("prometheus (apt-get install prometheus): {e}"));
        let prometheus = Self { addr, dir, child };
        soon("Prometheus is ready", || http::call(addr, "GET", "/-/ready", &[], b"").is_ok_and(|a| a.status == 200));
        prometheus
    }

    /// What the API says to a path and its arguments.
    pub fn ask(&self, path: &str, arguments: &[(&str, &str)]) -> Value {
        let query: String = form_urlencoded::Serializer::new(String::new()).extend_pairs(arguments).finish();
        http::call(self.addr, "GET", &format!("/api/v1/{path}?{query}"), &[], b"").unwrap().json()
    }

    /// The numbers that an expression has now. Panics if it is none.
    pub fn values(&self, expression: &str) -> Vec<f64> {
        let answer = self.ask("query", &[("query", expression)]);
        assert_eq!(answer["status"], "success", "{expression}: {answer}");
        let number = |sample: &Value| sample["value"][1].as_str().unwrap().parse().unwrap();
        match answer["data"]["resultType"].as_str().unwrap() {
            "vector" => answer["data"]["result"].as_array().unwrap().iter().map(number).collect(),
            other => panic!("{expression}: a {other}"),
        }
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- what Prometheus said ---\n{}", fs::read_to_string(self.dir.path().join("log")).unwrap_or_default());
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs promtool in the folder of rules; all that it said. Panics if it is not content.
pub fn promtool(arguments: &[&str], input: &[u8]) -> String {
    let folder: PathBuf = Path::new(root()).join("conf/prometheus");
    let mut child = Command::new("promtool")
        .args(arguments)
        .current_dir(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|e| panic!("promtool (apt-get install prometheus): {e}"));
    // one that refuses its arguments does not read
    let _ = child.stdin.take().unwrap().write_all(input);
    let output = child.wait_with_output().unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "promtool {arguments:?}: {said}");
    said
}
