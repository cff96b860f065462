//! A certificate authority of a test: made by `openssl`, in a folder of its own.

use std::path::{Path, PathBuf};
use std::process::Command;

/// The authority. Its files go with it.
pub struct Authority {
    dir: tempfile::TempDir,
}

impl Authority {
    pub fn new() -> Self {
        let authority = Self { dir: tempfile::Builder::new().prefix("sluice-ca-").tempdir().unwrap() };
        let subject = ["-subj", "/CN=authority of a test", "-days", "2", "-nodes", "-x509", "-newkey", "ec"];
        let curve = ["-pkeyopt", "ec_paramgen_curve:prime256v1", "-keyout", "ca.key", "-out", "ca.crt"];
        authority.openssl(&[&["req"][..], &subject, &curve].concat());
        authority
    }

    /// One whose own certificate is of X.509 version 1.
    pub fn plain() -> Self {
        let authority = Self::new();
        authority.openssl(&["req", "-new", "-key", "ca.key", "-subj", "/CN=authority of old", "-out", "ca.csr"]);
        authority.openssl(&["x509", "-req", "-in", "ca.csr", "-signkey", "ca.key", "-days", "2", "-out", "ca.crt"]);
        authority.is_of_version_1("ca.crt");
        authority
    }

    /// The authority's own certificate.
    pub fn cert(&self) -> PathBuf {
        self.path("ca.crt")
    }

    /// A certificate for these names (`DNS:x`, `IP:127.0.0.1`) and its key.
    pub fn issue(&self, file: &str, names: &str) -> (PathBuf, PathBuf) {
        self.issue_with(file, names, &["ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"])
    }

    /// [`Authority::issue`] with an RSA key.
    pub fn issue_rsa(&self, file: &str, names: &str) -> (PathBuf, PathBuf) {
        self.issue_with(file, names, &["rsa:2048"])
    }

    /// [`Authority::issue`] as an authority for the public would: valid for some months, with the place of its revocations.
    pub fn issue_public(&self, file: &str, names: &str) -> (PathBuf, PathBuf) {
        let names = format!("{names}\ncrlDistributionPoints=URI:http://crl.test/list.crl\nkeyUsage=critical,digitalSignature");
        self.issue_for("90", file, &names, &["ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"])
    }

    /// A certificate of X.509 version 1, and its key: what `openssl x509 -req` makes of a request without `-extfile`.
    pub fn issue_plain(&self, file: &str) -> (PathBuf, PathBuf) {
        let (cert, key, request) = (format!("{file}.crt"), format!("{file}.key"), format!("{file}.csr"));
        let subject = format!("/CN={file}");
        self.openssl(&["req", "-subj", &subject, "-nodes", "-newkey", "rsa:2048", "-keyout", &key, "-out", &request]);
        let signed = ["-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2"];
        self.openssl(&[&["x509", "-req", "-in", &request, "-out", &cert][..], &signed].concat());
        self.is_of_version_1(&cert);
        (self.path(&cert), self.path(&key))
    }

    fn is_of_version_1(&self, file: &str) {
        let text = Command::new("openssl").args(["x509", "-noout", "-text", "-in", file]).current_dir(self.dir.path()).output().unwrap();
        assert!(String::from_utf8_lossy(&text.stdout).contains("Version: 1 "), "this openssl makes another version by itself");
    }

    /// A list that says that these certificates are revoked, and no others.
    pub fn revoked(&self, file: &str, certs: &[&Path]) -> PathBuf {
        self.revoked_with("crlnumber=number\n", file, certs)
    }

    /// [`Authority::revoked`] in version 1, which is what `openssl` makes of a configuration that says nothing of numbers.
    pub fn revoked_v1(&self, file: &str, certs: &[&Path]) -> PathBuf {
        self.revoked_with("", file, certs)
    }

    fn revoked_with(&self, number: &str, file: &str, certs: &[&Path]) -> PathBuf {
        let conf = format!("[ca]\ndefault_ca=own\n[own]\ndatabase=index.txt\ndefault_md=sha256\n{number}");
        std::fs::write(self.path("ca.cnf"), conf).unwrap();
        std::fs::write(self.path("index.txt"), "").unwrap();
        std::fs::write(self.path("number"), "01\n").unwrap();
        let signer = ["ca", "-config", "ca.cnf", "-cert", "ca.crt", "-keyfile", "ca.key"];
        for cert in certs {
            self.openssl(&[&signer[..], &["-revoke", cert.to_str().unwrap()]].concat());
        }
        self.openssl(&[&signer[..], &["-gencrl", "-crldays", "2", "-out", file]].concat());
        self.path(file)
    }

    fn issue_with(&self, file: &str, names: &str, algorithm: &[&str]) -> (PathBuf, PathBuf) {
        self.issue_for("2", file, names, algorithm)
    }

    fn issue_for(&self, days: &str, file: &str, names: &str, algorithm: &[&str]) -> (PathBuf, PathBuf) {
        let (cert, key, request) = (format!("{file}.crt"), format!("{file}.key"), format!("{file}.csr"));
        let subject = format!("/CN={file}");
        let made = ["-keyout", key.as_str(), "-out", request.as_str()];
        self.openssl(&[&["req", "-subj", &subject, "-nodes", "-newkey"][..], algorithm, &made].concat());
        std::fs::write(self.path("names"), format!("subjectAltName={names}\nextendedKeyUsage=serverAuth,clientAuth\n")).unwrap();
        let signed = ["-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial", "-days", days, "-extfile", "names"];
        self.openssl(&[&["x509", "-req", "-in", &request, "-out", &cert][..], &signed].concat());
        (self.path(&cert), self.path(&key))
    }

    fn path(&self, file: &str) -> PathBuf {
        self.dir.path().join(file)
    }

    fn openssl(&self, args: &[&str]) {
        let dir: &Path = self.dir.path();
        let output = Command::new("openssl").args(args).current_dir(dir).output().expect("openssl is installed (make setup-test)");
        assert!(output.status.success(), "openssl {args:?}\n{}", String::from_utf8_lossy(&output.stderr));
    }
}
