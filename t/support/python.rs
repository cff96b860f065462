//! Programs in Python beside the tests, run by the system's own interpreter, which has the Debian packages.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use serde_json::Value;

/// A program that serves. It ends when this is dropped.
pub struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        // it may have ended already
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn python(file: &str, args: &[&str]) -> Command {
    let mut command = Command::new("/usr/bin/python3");
    command.arg(format!("{}/t/{file}", env!("CARGO_MANIFEST_DIR"))).args(args).env("no_proxy", "*");
    command
}

/// Starts a program that prints its port first, and tells its address.
pub fn serve(file: &str, args: &[&str]) -> (Server, String) {
    let mut server = Server(python(file, args).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap());
    let mut port = String::new();
    BufReader::new(server.0.stdout.take().unwrap()).read_line(&mut port).unwrap();
    (server, format!("127.0.0.1:{}", port.trim()))
}

/// The JSON that a program prints.
pub fn ask(file: &str, args: &[&str]) -> Value {
    let output = python(file, args).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    serde_json::from_str(&said).unwrap_or_else(|e| panic!("{e}: {said}{}", String::from_utf8_lossy(&output.stderr)))
}
