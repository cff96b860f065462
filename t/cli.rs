//! The command line: arguments in, text and exit code out.

use std::ffi::OsString;
use std::path::Path;

use serde_json::{Value, json};
use sluice::base::id::Kind;
use sluice::cli::{Acts, dispatch};

const ACTS: Acts = Acts {
    run: |conf| if conf.listeners.is_empty() { Err(anyhow::anyhow!("cannot bind")) } else { Ok(()) },
    refusals: |conf| conf.listeners.iter().filter(|l| l.value.get("tls").is_some()).map(|l| format!("{}: no TLS", l.id)).collect(),
    schema: |kind| Ok(json!({ "title": kind.singular() })),
    seal: |_, text| Ok(format!("sealed {}", text.len())),
};

fn sluice(args: &[&str]) -> (u8, String, String) {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let args = std::iter::once("sluice").chain(args.iter().copied()).map(OsString::from);
    let code = dispatch(args, ACTS, &mut out, &mut err);
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    (code, text(out), text(err))
}

fn file(dir: &Path, text: &str) -> String {
    let path = dir.join("config.yaml");
    assert!(std::fs::write(&path, text).is_ok(), "{}", path.display());
    path.display().to_string()
}

#[test]
fn check_says_ok_or_what_is_wrong() {
    let dir = tempfile::tempdir().unwrap();
    let path = file(dir.path(), "gateway: {dns_resolver: [1.1.1.1], stream_proxy: {tcp: [9100]}}");
    let (code, out, _) = sluice(&["check", "--config", &path]);
    assert_eq!((code, out.as_str()), (0, "notice: gateway.dns_resolver: this build asks the system's resolver only\nok: 1 listeners\n"));

    let path = file(dir.path(), "gateway:\n  stream_porxy: {}\n");
    let (code, out, _) = sluice(&["check", "--config", &path]);
    assert!(code == 1 && out.contains("config.yaml:2: unknown key `stream_porxy`"), "{code} {out}");
    let (code, out, _) = sluice(&["check", "--config", &path, "--format", "json"]);
    let answer: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, &answer["valid"], &answer["errors"][0]["line"]), (1, &json!(false), &json!(2)));

    let path = file(dir.path(), "gateway: {stream_proxy: {tcp: [{addr: 9100, tls: true}]}}");
    let (code, out, _) = sluice(&["check", "--config", &path]);
    assert_eq!((code, out.as_str()), (1, "refused: conf-tcp-0: no TLS\n"));
}

#[test]
fn run_hands_the_configuration_on_and_reports_what_failed() {
    let dir = tempfile::tempdir().unwrap();
    let path = file(dir.path(), "gateway: {stream_proxy: {tcp: [9100]}}");
    assert_eq!(sluice(&["run", "--config", &path]).0, 0);
    let path = file(dir.path(), "");
    let (code, _, err) = sluice(&["run", "-c", &path]);
    assert_eq!((code, err.as_str()), (1, "error: cannot bind\n"));
    let (code, _, err) = sluice(&["run", "--config", "nowhere.yaml"]);
    assert!(code == 1 && err.starts_with("error: nowhere.yaml: cannot be read: "), "{err}");
}

#[test]
fn a_schema_is_printed_for_every_kind_by_either_name() {
    for kind in Kind::ALL {
        for name in [kind.singular(), kind.dir()] {
            let (code, out, _) = sluice(&["schema", name]);
            assert_eq!((code, serde_json::from_str::<Value>(&out).unwrap()["title"].as_str()), (0, Some(kind.singular())));
        }
    }
    assert_eq!(sluice(&["schema", "gadget"]).0, 2);
}

#[test]
fn help_and_version_are_no_errors_and_nonsense_is_usage() {
    assert_eq!(sluice(&["version"]).1, format!("sluice {}\n", env!("CARGO_PKG_VERSION")));
    assert_eq!(sluice(&["--version"]).1, format!("sluice {}\n", env!("CARGO_PKG_VERSION")));
    let (code, out, _) = sluice(&["--help"]);
    assert!(code == 0 && ["run", "check", "schema", "version"].iter().all(|word| out.contains(word)), "{out}");
    for args in [&[][..], &["rnu"], &["run", "--port", "1"], &["check", "--format", "xml"]] {
        assert_eq!(sluice(args).0, 2, "{args:?}");
    }
}
