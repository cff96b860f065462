//! Private keys at rest: sealing them into text that may be stored, and opening such text, APISIX's form of it too. Never reads a
//! file or a store, and never decides what has to be sealed.

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::cipher::{AES_128, AES_256, Algorithm, DecryptionContext, PaddedBlockDecryptingKey, UnboundCipherKey};
use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Salt};
use aws_lc_rs::iv::FixedLength;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use zeroize::Zeroizing;

use super::secret::Secret;

/// How sealed text begins: `sealed:v1:<key>:<base64url of nonce, ciphertext and tag>`.
pub const PREFIX: &str = "sealed:v1:";

/// The additional data of everything that is sealed: the text is worth nothing as anything but a private key.
pub const PRIVATE_KEY: &[u8] = b"sluice private key";

/// The keys that APISIX has where nobody chose others. Everybody knows them.
const PUBLISHED: [&str; 2] = ["qeddd145sfvddff3", "edd1c9f0985e76a2"];

/// The fewest bytes of an entry.
const SHORTEST: usize = 16;
/// AES has one block size.
const BLOCK: usize = 16;

/// An entry that is no key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadEntry {
    /// It can be guessed.
    #[error("a keyring entry has at least 16 bytes")]
    Short,
    /// The cryptography refused it.
    #[error("the key cannot be used")]
    Unusable,
}

/// Why text was not opened. Never holds any of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// There is no key at all.
    #[error("failed to decrypt previous encrypted key: no keyring is configured")]
    NoKeyring,
    /// Sealed with a key that is not in the keyring.
    #[error("failed to decrypt previous encrypted key: it was sealed with a key that the keyring does not have")]
    OtherKey,
    /// Cut, changed, or of no form that is known.
    #[error("failed to decrypt previous encrypted key")]
    Damaged,
}

/// Sealing failed: there is no key, or no randomness.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// There is no key to seal with.
    #[error("no keyring is configured")]
    NoKeyring,
    /// The cryptography failed.
    #[error("the key cannot be sealed")]
    Failed,
}

/// Whether an entry is a key that everybody knows: fit to open what APISIX encrypted, not to seal.
pub fn is_published(entry: &str) -> bool {
    PUBLISHED.contains(&entry)
}

/// Several keys: the first seals, all open. A copy shares them.
#[derive(Clone, Default)]
pub struct Keyring {
    entries: Arc<[Entry]>,
}

struct Entry {
    /// Tells keys apart, and nothing about them: derived, as the key itself is.
    id: String,
    aead: LessSafeKey,
    /// What APISIX encrypts with, if the entry has the length of a key of AES.
    plain: Option<Zeroizing<Vec<u8>>>,
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.entries.iter().map(|entry| &entry.id)).finish()
    }
}

impl Keyring {
    /// A keyring of these entries, in order; any text or bytes of 16 bytes or more.
    pub fn new<'a>(entries: impl IntoIterator<Item = &'a [u8]>) -> Result<Self, BadEntry> {
        Ok(Self { entries: entries.into_iter().map(Entry::new).collect::<Result<_, _>>()? })
    }

    /// Whether there is no key.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Whether text has the form of sealed text.
    pub fn is_sealed(text: &str) -> bool {
        text.starts_with(PREFIX)
    }

    /// Whether the first key sealed this text, so that sealing it again would change nothing.
    pub fn is_current(&self, text: &str) -> bool {
        let id = text.strip_prefix(PREFIX).and_then(|rest| rest.split(':').next());
        self.entries.first().is_some_and(|entry| Some(entry.id.as_str()) == id)
    }

    /// Seals with the first key: AES-256-GCM with a nonce of its own.
    pub fn seal(&self, plain: &str, aad: &[u8]) -> Result<String, SealError> {
        let entry = self.entries.first().ok_or(SealError::NoKeyring)?;
        let mut nonce = [0; NONCE_LEN];
        aws_lc_rs::rand::fill(&mut nonce).map_err(|_| SealError::Failed)?;
        let mut body = plain.as_bytes().to_vec();
        let sealed = entry.aead.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(aad), &mut body);
        sealed.map_err(|_| SealError::Failed)?;
        let whole = [&nonce[..], &body].concat();
        Ok(format!("{PREFIX}{}:{}", entry.id, URL_SAFE_NO_PAD.encode(whole)))
    }

    /// Opens what [`Keyring::seal`] made with the same additional data, or what APISIX encrypted (AES-CBC, the key as the first
    /// vector, base64), with whichever key fits.
    pub fn open(&self, text: &str, aad: &[u8]) -> Result<Secret<Arc<str>>, OpenError> {
        if self.is_empty() {
            return Err(OpenError::NoKeyring);
        }
        match text.trim().strip_prefix(PREFIX) {
            Some(rest) => self.open_own(rest, aad),
            None => self.open_cbc(text.trim()),
        }
    }

    fn open_own(&self, rest: &str, aad: &[u8]) -> Result<Secret<Arc<str>>, OpenError> {
        let (id, body) = rest.split_once(':').ok_or(OpenError::Damaged)?;
        let mut body = Zeroizing::new(URL_SAFE_NO_PAD.decode(body).map_err(|_| OpenError::Damaged)?);
        let mut known = self.entries.iter().filter(|entry| entry.id == id).peekable();
        known.peek().ok_or(OpenError::OtherKey)?;
        let (nonce, body) = body.split_first_chunk_mut::<NONCE_LEN>().ok_or(OpenError::Damaged)?;
        for entry in known {
            let opened = entry.aead.open_in_place(Nonce::assume_unique_for_key(*nonce), Aad::from(aad), &mut *body);
            if let Ok(plain) = opened {
                return secret(plain);
            }
        }
        Err(OpenError::Damaged)
    }

    /// CBC proves nothing: what comes out with a wrong key is noise, which is no text of a private key.
    fn open_cbc(&self, text: &str) -> Result<Secret<Arc<str>>, OpenError> {
        let body = STANDARD.decode(text).map_err(|_| OpenError::Damaged)?;
        if body.is_empty() || body.len() % BLOCK != 0 {
            return Err(OpenError::Damaged);
        }
        let keys = self.entries.iter().filter_map(|entry| entry.plain.as_deref());
        let opened = keys.filter_map(|key| cbc(key, &body)).find(|plain| plain.trim_ascii_start().starts_with(b"-----BEGIN"));
        opened.ok_or(OpenError::Damaged).and_then(|plain| secret(&plain))
    }
}

fn secret(plain: &[u8]) -> Result<Secret<Arc<str>>, OpenError> {
    std::str::from_utf8(plain).map(|text| Secret::new(text.into())).map_err(|_| OpenError::Damaged)
}

fn cbc(key: &[u8], body: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let algorithm: &'static Algorithm = if key.len() == 32 { &AES_256 } else { &AES_128 };
    let vector: [u8; BLOCK] = *key.first_chunk()?;
    let key = PaddedBlockDecryptingKey::cbc_pkcs7(UnboundCipherKey::new(algorithm, key).ok()?).ok()?;
    let mut body = Zeroizing::new(body.to_vec());
    let length = key.decrypt(&mut body, DecryptionContext::Iv128(FixedLength::from(vector))).ok()?.len();
    body.truncate(length);
    Some(body)
}

/// Lengths for HKDF.
struct Length(usize);

impl KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}

impl Entry {
    fn new(secret: &[u8]) -> Result<Self, BadEntry> {
        if secret.len() < SHORTEST {
            return Err(BadEntry::Short);
        }
        // RFC 5869: the words keep what is derived for one use apart from the other
        let source = Salt::new(HKDF_SHA256, b"sluice keyring v1").extract(secret);
        let derive = |word: &[u8], out: &mut [u8]| {
            source.expand(&[word], Length(out.len())).and_then(|okm| okm.fill(out)).map_err(|_| BadEntry::Unusable)
        };
        let (mut key, mut id) = (Zeroizing::new([0; 32]), [0; 4]);
        derive(b"seal", &mut *key)?;
        derive(b"id", &mut id)?;
        let aead = UnboundKey::new(&AES_256_GCM, &*key).map_err(|_| BadEntry::Unusable)?;
        Ok(Self {
            id: format!("{:08x}", u32::from_be_bytes(id)),
            aead: LessSafeKey::new(aead),
            plain: matches!(secret.len(), 16 | 32).then(|| Zeroizing::new(secret.to_vec())),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: &[u8] = b"an old key of 24 bytes..";
    const NEW: &[u8] = b"0123456789abcdef0123456789abcdef";

    fn ring(entries: &[&'static [u8]]) -> Keyring {
        Keyring::new(entries.iter().copied()).unwrap()
    }

    fn opened(ring: &Keyring, text: &str) -> Result<String, OpenError> {
        ring.open(text, PRIVATE_KEY).map(|secret| secret.reveal().to_string())
    }

    #[test]
    fn what_is_sealed_is_opened_and_never_sealed_twice_alike() {
        let ring = ring(&[NEW]);
        let (a, b) = (ring.seal("clear", PRIVATE_KEY).unwrap(), ring.seal("clear", PRIVATE_KEY).unwrap());
        assert!(a.starts_with(PREFIX) && Keyring::is_sealed(&a) && a != b && !a.contains("clear"));
        assert_eq!(opened(&ring, &a).as_deref(), Ok("clear"));
        assert_eq!(ring.open(&a, b"other").unwrap_err(), OpenError::Damaged);
    }

    #[test]
    fn after_a_rotation_the_new_key_seals_and_the_old_one_opens() {
        let (old, both, new) = (ring(&[OLD]), ring(&[NEW, OLD]), ring(&[NEW]));
        let text = old.seal("clear", PRIVATE_KEY).unwrap();
        assert_eq!(opened(&both, &text).as_deref(), Ok("clear"));
        assert_eq!(opened(&new, &text), Err(OpenError::OtherKey));
        assert!(old.is_current(&text) && !both.is_current(&text));
        let again = both.seal("clear", PRIVATE_KEY).unwrap();
        assert!(both.is_current(&again));
        assert_eq!(opened(&new, &again).as_deref(), Ok("clear"));
    }

    #[test]
    fn every_changed_byte_is_noticed() {
        let ring = ring(&[NEW]);
        let text = ring.seal("clear", PRIVATE_KEY).unwrap();
        for at in PREFIX.len()..text.len() {
            let mut bytes = text.clone().into_bytes();
            bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
            assert!(opened(&ring, &String::from_utf8(bytes).unwrap()).is_err(), "{at}");
            assert!(opened(&ring, &text[..at]).is_err(), "{at}");
        }
    }

    #[test]
    fn the_text_of_apisix_is_opened_with_the_key_that_fits() {
        // printf … | openssl enc -aes-128-cbc -K <key> -iv <key> -base64 -A
        let text = "yAJwrUrRJWd7w3e3Nx/msnLXTQ1b8cr0PSaEO7Nmysk=";
        let plain = Keyring::new([&b"edd1c9f0985e76a2"[..], b"qeddd145sfvddff3"]).unwrap();
        assert_eq!(opened(&plain, text).as_deref(), Ok("-----BEGIN of a test-----"));
        assert_eq!(opened(&ring(&[NEW]), text), Err(OpenError::Damaged));
        assert!(is_published("qeddd145sfvddff3"));
    }

    #[test]
    fn nothing_opens_without_keys_and_short_keys_are_none() {
        assert_eq!(opened(&Keyring::default(), "sealed:v1:x:y"), Err(OpenError::NoKeyring));
        assert_eq!(Keyring::default().seal("x", PRIVATE_KEY), Err(SealError::NoKeyring));
        assert_eq!(Keyring::new([&b"short"[..]]).unwrap_err(), BadEntry::Short);
        assert!(!format!("{:?}", ring(&[NEW])).contains("0123"));
    }
}
