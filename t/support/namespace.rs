//! Tests that need ports or mounts of their own run in namespaces: the test's function starts the test binary again inside, for that one
//! test, and there runs the inner part.

use std::process::Command;

/// Names the test that runs inside.
const INSIDE: &str = "SLUICE_TEST_INSIDE";

/// Runs `inner` in a fresh network namespace with loopback up. `test` is the test's full name, as the test binary lists it.
pub fn network(test: &str, inner: impl FnOnce()) {
    run(test, "--net", inner);
}

/// [`network`], with a mount namespace of its own too.
pub fn network_and_mounts(test: &str, inner: impl FnOnce()) {
    run(test, "--net --mount", inner);
}

/// [`network`], with processes of its own too: what `inner` leaves running ends with it.
pub fn network_and_processes(test: &str, inner: impl FnOnce()) {
    run(test, "--net --pid --fork --mount-proc", inner);
}

fn run(test: &str, namespaces: &str, inner: impl FnOnce()) {
    if std::env::var(INSIDE).as_deref() == Ok(test) {
        return inner();
    }
    // root keeps its capabilities; others get a user namespace in which they are root
    let user = if rustix::process::geteuid().is_root() { "" } else { "--map-root-user" };
    let script =
        format!("exec unshare {user} {namespaces} sh -c 'ip link set lo up && exec \"$0\" --exact \"$1\" --nocapture' \"$0\" \"$1\"");
    let output = Command::new("sh")
        .args(["-c", &script])
        .arg(std::env::current_exe().unwrap())
        .arg(test)
        .env(INSIDE, test)
        .env("RUST_BACKTRACE", "0")
        .output()
        .unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "inside the namespace:\n{said}");
    // a name that matches no test would pass without running anything
    assert!(said.contains("1 passed"), "{test} is not the name of a test:\n{said}");
}

mod tests {
    #[test]
    fn fixed_ports_are_free_inside() {
        super::network("support::namespace::tests::fixed_ports_are_free_inside", || {
            let one = std::net::TcpListener::bind("127.0.0.10:80").unwrap();
            assert_eq!(one.local_addr().unwrap().to_string(), "127.0.0.10:80");
            assert!(std::env::var(super::INSIDE).is_ok());
        });
    }
}
