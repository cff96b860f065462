//! The keys that private keys are sealed with: those of the configuration, and one that is made where there are none. Never seals.

use std::path::{Path, PathBuf};

use anyhow::Context as _;

use super::secret_file;
use crate::base::seal::Keyring;
use crate::base::secret::Secret;
use crate::conf::{Conf, Provider};

/// A new key opens nothing that the lost one has sealed.
const RESTORE: &str = "restore a copy. Removed, it is made anew, and the private keys that it sealed in the store are lost";

/// Where the key lies that was made: beside the store's file.
fn path(store: &Path) -> PathBuf {
    store.with_file_name("seal.key")
}

/// The keyring of a gateway: the entries of the configuration in order, then the key that was made before there were any. The
/// embedded store gets one made; with etcd all gateways need the same one, so nobody makes it.
pub(super) fn open(conf: &Conf) -> anyhow::Result<Keyring> {
    let mut entries = conf.keyring.iter().map(entry).collect::<anyhow::Result<Vec<_>>>()?;
    if let Provider::Embedded { path: store } = &conf.provider {
        let file = path(store);
        if entries.is_empty() || file.exists() {
            entries.push(secret_file::load_or_create(&file, "key to seal with", RESTORE)?);
        }
    }
    Keyring::new(entries.iter().map(|entry| entry.reveal().as_bytes())).context("gateway.data_encryption.keyring")
}

/// An entry as it is, or what it refers to: `$env://NAME`, `$file:///path`.
fn entry(typed: &Secret<String>) -> anyhow::Result<Secret<String>> {
    let text = typed.reveal();
    if let Some(name) = text.strip_prefix("$env://").or_else(|| text.strip_prefix("$ENV://")) {
        let value = std::env::var(name);
        return value
            .map(Secret::new)
            .map_err(|_| anyhow::anyhow!("gateway.data_encryption.keyring: the environment variable {name} is not set"));
    }
    let Some(file) = text.strip_prefix("$file://") else { return Ok(typed.clone()) };
    let read = std::fs::read_to_string(file).with_context(|| format!("gateway.data_encryption.keyring: reading {file}"))?;
    Ok(Secret::new(read.trim().to_owned()))
}

/// The text for a store of a private key in PEM, or of one that another key sealed.
pub(super) fn seal(conf: &Conf, text: &str) -> anyhow::Result<String> {
    use crate::base::seal::PRIVATE_KEY;
    use crate::control::ingest::secrets::is_pem;
    use crate::tls::check;

    let keyring = open(conf)?;
    if keyring.is_empty() {
        anyhow::bail!("there is no keyring: set gateway.data_encryption.keyring");
    }
    let clear = if is_pem(text) {
        Secret::new(text.into())
    } else {
        keyring.open(text, PRIVATE_KEY).context("this is no private key in PEM; as sealed text")?
    };
    check::key(clear.reveal())?;
    Ok(keyring.seal(clear.reveal(), PRIVATE_KEY)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn conf(folder: &Path, keyring: &str) -> Conf {
        let text = format!(
            "gateway: {{data_encryption: {{keyring: {keyring}}}}}\ndeployment: {{embedded: {{path: {}}}}}\n",
            folder.join("sluice.redb").display()
        );
        crate::conf::parse(Path::new("config.yaml"), &text, &|_| None).unwrap()
    }

    #[test]
    fn a_key_is_made_where_there_is_none_and_opens_after_another_was_configured() {
        let dir = tempfile::tempdir().unwrap();
        let sealed = open(&conf(dir.path(), "null")).unwrap().seal("x", b"").unwrap();
        assert_eq!(std::fs::metadata(dir.path().join("seal.key")).unwrap().permissions().mode() & 0o777, 0o600);
        let both = open(&conf(dir.path(), "[\"0123456789abcdef\"]")).unwrap();
        assert_eq!(**both.open(&sealed, b"").unwrap().reveal(), *"x");
        assert!(!both.is_current(&sealed));
    }

    #[test]
    fn a_key_that_was_emptied_is_not_to_be_thrown_away_lightly() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("seal.key"), "").unwrap();
        let error = open(&conf(dir.path(), "null")).unwrap_err().to_string();
        assert!(error.contains("seal.key holds no key to seal with: restore a copy") && error.contains("are lost"), "{error}");
    }

    #[test]
    fn what_is_neither_a_key_nor_sealed_is_told_as_that() {
        let dir = tempfile::tempdir().unwrap();
        let error = seal(&conf(dir.path(), "null"), "site.key").unwrap_err();
        assert_eq!(format!("{error:#}"), "this is no private key in PEM; as sealed text: failed to decrypt previous encrypted key");
    }

    #[test]
    fn a_configured_key_is_all_there_is_and_may_lie_in_a_file() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("key");
        std::fs::write(&file, "0123456789abcdef\n").unwrap();
        let plain = open(&conf(dir.path(), "0123456789abcdef")).unwrap();
        let by_file = open(&conf(dir.path(), &format!("[\"$file://{}\"]", file.display()))).unwrap();
        assert!(by_file.is_current(&plain.seal("x", b"").unwrap()));
        assert!(!dir.path().join("seal.key").exists());
        assert!(
            open(&conf(dir.path(), "[\"$env://SLUICE_NO_SUCH_KEY\"]")).unwrap_err().to_string().contains("SLUICE_NO_SUCH_KEY is not set")
        );
    }
}
