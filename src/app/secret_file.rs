//! A secret that the configuration does not name: made once, kept in a file that only its owner reads.

use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use anyhow::{Context as _, bail};

use crate::base::secret::Secret;

/// Characters of a generated secret; 62⁄32 of them carry 190 bits.
const LENGTH: usize = 32;
const ALPHABET: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

/// Reads the secret, or makes it. `what` it is and what is to be done `otherwise`, for errors: a file that holds none was one once.
pub(super) fn load_or_create(path: &Path, what: &str, otherwise: &str) -> anyhow::Result<Secret<String>> {
    if let Some(folder) = path.parent().filter(|f| !f.as_os_str().is_empty()) {
        std::fs::create_dir_all(folder).with_context(|| format!("creating {}", folder.display()))?;
    }
    let created = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    match created {
        Ok(mut file) => {
            let key = generate()?;
            file.write_all(key.as_bytes())
                .and_then(|()| file.write_all(b"\n"))
                .and_then(|()| file.sync_all())
                .with_context(|| format!("writing {}", path.display()))?;
            Ok(Secret::new(key))
        }
        Err(e) if e.kind() == ErrorKind::AlreadyExists => {
            let text = std::fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
            let key = text.trim();
            if key.len() < 16 {
                bail!("{} holds no {what}: {otherwise}", path.display());
            }
            Ok(Secret::new(key.to_owned()))
        }
        Err(e) => Err(e).with_context(|| format!("creating {}", path.display())),
    }
}

/// A key of letters and digits, each equally likely.
fn generate() -> anyhow::Result<String> {
    let mut key = String::with_capacity(LENGTH);
    let mut bytes = [0_u8; 64];
    while key.len() < LENGTH {
        getrandom::fill(&mut bytes).map_err(|e| anyhow::anyhow!("no random numbers: {e}"))?;
        // numbers beyond a multiple of the alphabet are thrown away: they would favour its beginning
        let fair = bytes.iter().filter(|b| usize::from(**b) < 256 / ALPHABET.len() * ALPHABET.len());
        let letters = fair.filter_map(|b| ALPHABET.get(usize::from(*b) % ALPHABET.len())).map(|b| char::from(*b));
        key.extend(letters.take(LENGTH - key.len()));
    }
    Ok(key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_key_is_made_once_and_only_its_owner_reads_it() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("admin.key");
        let made = load_or_create(&file, "key", "").unwrap();
        assert_eq!(made.reveal().len(), LENGTH);
        assert!(load_or_create(&file, "key", "").unwrap() == made);
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn an_empty_key_file_is_no_key() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("admin.key");
        std::fs::write(&file, "\n").unwrap();
        assert!(load_or_create(&file, "key", "").is_err());
    }
}
