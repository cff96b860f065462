//! The fields that hold private keys: sealing them before they are written, and taking them out before anything is shown. The one
//! list of those fields.

use serde_json::{Map, Value};

use super::Ingest;
use super::secrets;
use crate::base::id::Kind;
use crate::base::seal::{Keyring, PRIVATE_KEY, SealError};
use crate::base::secret::{STARS, betrays};
use crate::base::violation::Violation;

/// Where objects of a kind hold private keys: the fields on the way, the last one text or a list of text.
const fn places(kind: Kind) -> &'static [&'static [&'static str]] {
    match kind {
        Kind::Ssl => &[&["key"], &["keys"]],
        Kind::Upstream => &[&["tls", "client_key"]],
        Kind::StreamRoute | Kind::Route => &[&["upstream", "tls", "client_key"]],
        Kind::Listener | Kind::Setting => &[],
    }
}

/// Takes the private keys out of a value that will be shown. What marks one elsewhere is starred, as are values that are no objects.
pub fn hide(kind: Kind, value: &mut Value) {
    for place in places(kind) {
        let Some((last, way)) = place.split_last() else { continue };
        let holder = way.iter().try_fold(&mut *value, |at, name| at.get_mut(name));
        if let Some(Value::Object(fields)) = holder {
            // what follows keeps its order
            fields.shift_remove(*last);
        }
    }
    scrub(value);
}

/// Stars text that holds a private key.
fn scrub(value: &mut Value) {
    match value {
        Value::String(text) if betrays(text) => STARS.clone_into(text),
        Value::Array(items) => items.iter_mut().for_each(scrub),
        Value::Object(fields) => fields.values_mut().for_each(scrub),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Calls `each` on the text of every private key, with its pointer, until one fails.
fn keys<E>(kind: Kind, object: &mut Map<String, Value>, mut each: impl FnMut(String, &mut String) -> Result<(), E>) -> Result<(), E> {
    for place in places(kind) {
        let Some((first, rest)) = place.split_first() else { continue };
        let held = object.get_mut(*first).and_then(|value| rest.iter().try_fold(value, |at, name| at.get_mut(name)));
        let at = format!("/{}", place.join("/"));
        match held {
            Some(Value::String(text)) => each(at, text)?,
            Some(Value::Array(items)) => {
                for (index, item) in items.iter_mut().enumerate() {
                    if let Value::String(text) = item {
                        each(format!("{at}/{index}"), text)?;
                    }
                }
            }
            Some(Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_)) | None => {}
        }
    }
    Ok(())
}

/// The pointers of the private keys that everybody can read who can read the object.
pub fn clear_keys(kind: Kind, value: &Value) -> Vec<String> {
    let mut found = Vec::new();
    if let (false, Value::Object(mut object)) = (places(kind).is_empty(), value.clone()) {
        let _ = keys::<()>(kind, &mut object, |at, text| {
            if secrets::is_pem(text) {
                found.push(at);
            }
            Ok(())
        });
    }
    found
}

impl Ingest {
    /// Seals the private keys of an object that will be written, with the keyring's first key; also those that an older key or
    /// APISIX sealed. References, and what nobody here can open, stay as they are.
    ///
    /// # Errors
    /// A key that would be stored clear, for want of a keyring.
    pub fn seal(&self, kind: Kind, object: &mut Map<String, Value>) -> Result<(), Violation> {
        let keyring = self.secrets.keyring();
        keys(kind, object, |at, text| {
            if let Some(sealed) = sealed(keyring, text).map_err(|error| Violation::new(at, "sealed", unsealed(error)))? {
                *text = sealed;
            }
            Ok(())
        })
    }
}

/// The text sealed with the first key; `None` if it is so already, or is nothing that can be.
fn sealed(keyring: &Keyring, text: &str) -> Result<Option<String>, SealError> {
    if secrets::is_pem(text) {
        return keyring.seal(text, PRIVATE_KEY).map(Some);
    }
    if secrets::is_reference(text) || keyring.is_current(text) {
        return Ok(None);
    }
    let opened = keyring.open(text, PRIVATE_KEY).ok();
    opened.map(|clear| keyring.seal(clear.reveal(), PRIVATE_KEY)).transpose()
}

fn unsealed(error: SealError) -> String {
    match error {
        SealError::NoKeyring => {
            "the private key would be stored for everybody to read: set gateway.data_encryption.keyring, or refer to it with $env://NAME"
                .to_owned()
        }
        SealError::Failed => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;

    use super::*;
    use crate::control::ingest::secrets::Secrets;
    use crate::schema::Schemas;

    const PEM: &str = "-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n";

    fn ring(entries: &[&str]) -> Keyring {
        Keyring::new(entries.iter().map(|entry| entry.as_bytes())).unwrap()
    }

    fn ingest(keyring: Keyring) -> Ingest {
        Ingest::new(Arc::new(Schemas::compile().unwrap())).with(Secrets::new(keyring))
    }

    fn object(value: Value) -> Map<String, Value> {
        let Value::Object(object) = value else { panic!() };
        object
    }

    #[test]
    fn every_place_of_a_key_is_sealed_and_hidden() {
        let ingest = ingest(ring(&["0123456789abcdef"]));
        for (kind, value, left) in [
            (Kind::Ssl, json!({"a": 1, "key": PEM, "keys": [PEM, PEM], "z": 2}), json!({"a": 1, "z": 2})),
            (Kind::Upstream, json!({"tls": {"client_key": PEM, "verify": true}}), json!({"tls": {"verify": true}})),
            (Kind::Upstream, json!({"tls": {"client_key": format!("Bag Attributes\n{PEM}")}}), json!({"tls": {}})),
            (Kind::StreamRoute, json!({"upstream": {"tls": {"client_key": PEM}}}), json!({"upstream": {"tls": {}}})),
        ] {
            assert!(!clear_keys(kind, &value).is_empty());
            let mut sealed = object(value.clone());
            ingest.seal(kind, &mut sealed).unwrap();
            let mut sealed = Value::Object(sealed);
            assert!(clear_keys(kind, &sealed).is_empty());
            assert!(!sealed.to_string().contains("PRIVATE") && sealed.to_string().contains("sealed:v1:"), "{sealed}");
            for shown in [&mut sealed, &mut value.clone()] {
                hide(kind, shown);
                assert_eq!(*shown, left);
            }
        }
    }

    #[test]
    fn a_key_in_a_wrong_place_is_not_shown_either() {
        let mut value = json!({"kye": PEM, "labels": {"x": PEM}, "snis": [PEM, "a"], "key": {"pem": PEM}});
        hide(Kind::Ssl, &mut value);
        assert_eq!(value, json!({"kye": "***", "labels": {"x": "***"}, "snis": ["***", "a"]}));
        let mut text = Value::String(PEM.into());
        hide(Kind::Setting, &mut text);
        assert_eq!(text, json!("***"));
    }

    #[test]
    fn a_write_seals_again_what_an_older_key_sealed() {
        let (old, both) = (ring(&["an older key of some length"]), ring(&["0123456789abcdef", "an older key of some length"]));
        let stored = old.seal(PEM, PRIVATE_KEY).unwrap();
        let foreign = ring(&["a key that nobody has"]).seal(PEM, PRIVATE_KEY).unwrap();
        let mut value = object(json!({"key": stored, "keys": ["$env://KEY", foreign]}));
        ingest(both.clone()).seal(Kind::Ssl, &mut value).unwrap();
        assert!(both.is_current(value["key"].as_str().unwrap()));
        assert_eq!(value["keys"], json!(["$env://KEY", foreign]));
        let again = value.clone();
        ingest(both).seal(Kind::Ssl, &mut value).unwrap();
        assert_eq!(value, again, "what the first key sealed stays as it is");
    }

    #[test]
    fn without_a_keyring_nothing_clear_is_written() {
        let mut value = object(json!({"key": PEM}));
        let refused = ingest(Keyring::default()).seal(Kind::Ssl, &mut value).unwrap_err();
        assert_eq!((refused.path.as_str(), refused.rule.as_str()), ("/key", "sealed"));
        assert!(ingest(Keyring::default()).seal(Kind::Ssl, &mut object(json!({"key": "$env://KEY"}))).is_ok());
    }
}
