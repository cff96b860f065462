//! Text that stands for other text: what is sealed, and what is in the environment. Never repeats any of it in an error.

use std::sync::Arc;

use serde_json::Value;

use crate::base::seal::{Keyring, OpenError, PRIVATE_KEY};
use crate::base::secret::Secret;

/// Why a reference or sealed text leads to nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unknown {
    /// The variable is not there.
    #[error("the environment variable {0} is not set")]
    Unset(String),
    /// The variable holds no JSON object with this field.
    #[error("the environment variable {0} is not a JSON object with the text field {1}")]
    NoField(String, String),
    /// A manager of secrets.
    #[error("$secret:// is not served by this build yet; use $env://")]
    Manager,
    /// Text that cannot be opened.
    #[error(transparent)]
    Sealed(#[from] OpenError),
}

impl Unknown {
    /// The rule that is broken.
    pub(super) const fn rule(&self) -> &'static str {
        match self {
            Self::Unset(_) | Self::NoField(..) => "environment",
            Self::Manager => "unsupported",
            Self::Sealed(_) => "sealed",
        }
    }
}

/// Where a private key's text was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// Nobody can read it in the store.
    Hidden,
    /// It is there for everybody.
    Clear,
}

/// What opens such text: the keyring, and the environment of the process.
#[derive(Clone, Debug)]
pub struct Secrets {
    keyring: Keyring,
    env: fn(&str) -> Option<String>,
}

impl Default for Secrets {
    fn default() -> Self {
        Self::new(Keyring::default())
    }
}

impl Secrets {
    /// Opens with these keys, and the environment of this process.
    pub fn new(keyring: Keyring) -> Self {
        Self { keyring, env: |name| std::env::var(name).ok() }
    }

    /// The keys.
    pub(super) const fn keyring(&self) -> &Keyring {
        &self.keyring
    }

    #[cfg(test)]
    pub(super) fn with_env(self, env: fn(&str) -> Option<String>) -> Self {
        Self { env, ..self }
    }

    /// Text as it is, or what it refers to.
    pub(super) fn text(&self, text: &str) -> Result<Arc<str>, Unknown> {
        match reference(text) {
            None => Ok(text.into()),
            Some(Reference::Manager) => Err(Unknown::Manager),
            Some(Reference::Env { name, field }) => self.variable(name, field),
        }
    }

    /// A private key's text: clear, sealed, or behind a reference.
    pub(super) fn key(&self, text: &str) -> Result<(Secret<Arc<str>>, Found), Unknown> {
        let whole = self.text(text)?;
        if !is_pem(&whole) {
            return Ok((self.keyring.open(&whole, PRIVATE_KEY)?, Found::Hidden));
        }
        let found = if reference(text).is_some() { Found::Hidden } else { Found::Clear };
        Ok((Secret::new(whole), found))
    }

    fn variable(&self, name: &str, field: &str) -> Result<Arc<str>, Unknown> {
        let whole = (self.env)(name).ok_or_else(|| Unknown::Unset(name.to_owned()))?;
        if field.is_empty() {
            return Ok(whole.into());
        }
        let value: Option<Value> = serde_json::from_str(&whole).ok();
        let text = value.as_ref().and_then(|value| value.get(field)?.as_str());
        text.map(Into::into).ok_or_else(|| Unknown::NoField(name.to_owned(), field.to_owned()))
    }
}

/// Whether a private key's text is clear, as it must not be stored. What stands before PEM, such as the bag attributes of `openssl pkcs12`,
/// does not hide it; sealed text has no such line.
pub fn is_pem(text: &str) -> bool {
    text.trim_start().starts_with('-') || text.contains("-----BEGIN ")
}

/// Whether text only says where to look.
pub fn is_reference(text: &str) -> bool {
    reference(text).is_some()
}

enum Reference<'a> {
    Env { name: &'a str, field: &'a str },
    Manager,
}

/// `$env://NAME`, `$env://NAME/field`, `$secret://…`; all small or all capital, as APISIX reads them.
fn reference(text: &str) -> Option<Reference<'_>> {
    if text.starts_with("$secret://") || text.starts_with("$SECRET://") {
        return Some(Reference::Manager);
    }
    let rest = text.strip_prefix("$env://").or_else(|| text.strip_prefix("$ENV://"))?;
    let (name, field) = rest.split_once('/').unwrap_or((rest, ""));
    Some(Reference::Env { name, field })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secrets() -> Secrets {
        let ring = Keyring::new([&b"0123456789abcdef"[..]]).unwrap();
        Secrets::new(ring).with_env(|name| match name {
            "PEM" => Some("-----BEGIN X".into()),
            "JSON" => Some(r#"{"pem": "-----BEGIN Y", "n": 1}"#.into()),
            _ => None,
        })
    }

    #[test]
    fn a_reference_leads_to_the_environment() {
        let text = |text: &str| secrets().text(text).map(|t| t.to_string()).map_err(|e| e.to_string());
        assert_eq!(text("plain").as_deref(), Ok("plain"));
        assert_eq!(text("$env://PEM").as_deref(), Ok("-----BEGIN X"));
        assert_eq!(text("$ENV://JSON/pem").as_deref(), Ok("-----BEGIN Y"));
        assert_eq!(text("$Env://PEM").as_deref(), Ok("$Env://PEM"), "a mixed prefix is plain text");
        assert_eq!(text("$env://NO").unwrap_err(), "the environment variable NO is not set");
        assert_eq!(text("$env://JSON/n").unwrap_err(), "the environment variable JSON is not a JSON object with the text field n");
        assert_eq!(text("$secret://vault/1/x/y").unwrap_err(), "$secret:// is not served by this build yet; use $env://");
    }

    #[test]
    fn only_a_key_that_is_written_out_is_clear() {
        let sealed = secrets().keyring.seal("-----BEGIN Z", PRIVATE_KEY).unwrap();
        for (text, plain, found) in [
            ("-----BEGIN X", "-----BEGIN X", Found::Clear),
            ("Bag Attributes\n-----BEGIN X", "Bag Attributes\n-----BEGIN X", Found::Clear),
            ("$env://PEM", "-----BEGIN X", Found::Hidden),
            (&sealed, "-----BEGIN Z", Found::Hidden),
        ] {
            let (key, how) = secrets().key(text).unwrap();
            assert_eq!((&**key.reveal(), how), (plain, found));
        }
        assert_eq!(secrets().key("bm90aGluZw==").unwrap_err().to_string(), "failed to decrypt previous encrypted key");
    }
}
