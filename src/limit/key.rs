//! Which clients are counted together: a header, a cookie, the client's address. Keys are kept as 128 bits of a hash with a secret of
//! this process, so that a key costs the same whatever a client sends, and none can be made to meet another.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::net::IpAddr;

use crate::model::{By, KeySource};

/// What one who asks is counted with. Without meaning to a limit that counts everything together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LimitKey<'a> {
    /// A client's address.
    Client(IpAddr),
    /// The value of a header or a cookie. One that reads as an address is the same key as the client with that address.
    Text(&'a [u8]),
}

impl<'a> LimitKey<'a> {
    /// The key of a request. `header` answers with the first line of that name, `cookie` with the value; the client's address counts
    /// where they have none. A header counts up to its first comma, untrimmed.
    pub fn of(by: &By, client: IpAddr, header: impl Fn(&str) -> Option<&'a [u8]>, cookie: impl Fn(&str) -> Option<&'a [u8]>) -> Self {
        let text = match by {
            By::Total | By::Key(KeySource::Client) => None,
            By::Key(KeySource::Header(name)) => header(name).and_then(|line| line.split(|b| *b == b',').next()),
            By::Key(KeySource::Cookie(name)) => cookie(name),
        };
        text.map_or(Self::Client(client), Self::Text)
    }
}

/// A key as it is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Key {
    pub(super) slot: u64,
    pub(super) check: u64,
}

/// The secret.
#[derive(Debug, Default)]
pub(super) struct Keys(RandomState, RandomState);

impl Keys {
    pub(super) fn key(&self, key: &LimitKey<'_>) -> Key {
        match *key {
            LimitKey::Client(client) => self.client(client),
            LimitKey::Text(text) => match std::str::from_utf8(text).ok().and_then(|t| t.parse().ok()) {
                Some(client) => self.client(client),
                None => self.both(|hasher| text.iter().for_each(|b| hasher.write_u8(b.to_ascii_lowercase()))),
            },
        }
    }

    fn client(&self, client: IpAddr) -> Key {
        // no text ends like this, so that no text is an address
        match client.to_canonical() {
            IpAddr::V4(v4) => self.both(|hasher| (hasher.write(&v4.octets()), hasher.write_u16(4)).1),
            IpAddr::V6(v6) => self.both(|hasher| (hasher.write(&v6.octets()), hasher.write_u16(6)).1),
        }
    }

    fn both(&self, feed: impl Fn(&mut std::hash::DefaultHasher)) -> Key {
        let one = |state: &RandomState| {
            let mut hasher = state.build_hasher();
            feed(&mut hasher);
            hasher.finish()
        };
        Key { slot: one(&self.0), check: one(&self.1) }
    }
}

/// Keys are hashes already.
impl std::hash::Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.slot);
    }
}

/// Passes a hash on as it is.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct AsItIs(u64);

impl Hasher for AsItIs {
    fn write(&mut self, bytes: &[u8]) {
        self.0 = bytes.iter().fold(self.0, |hash, byte| hash.rotate_left(8) ^ u64::from(*byte));
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    fn header(line: Option<&'static [u8]>) -> LimitKey<'static> {
        let by = By::Key(KeySource::Header("x-forwarded-for".into()));
        LimitKey::of(&by, CLIENT, |name| line.filter(|_| name == "x-forwarded-for"), |_| panic!("no cookie is wanted"))
    }

    #[test]
    fn a_header_counts_up_to_its_first_comma_and_the_client_in_its_place() {
        assert_eq!(header(Some(b"1.1.1.1, 9.9.9.9")), LimitKey::Text(b"1.1.1.1"));
        assert_eq!(header(Some(b" a ")), LimitKey::Text(b" a "));
        assert_eq!(header(Some(b"")), LimitKey::Text(b""));
        assert_eq!(header(None), LimitKey::Client(CLIENT));
        let cookie = By::Key(KeySource::Cookie("sid".into()));
        let of = |value: Option<&'static [u8]>| LimitKey::of(&cookie, CLIENT, |_| panic!("no header is wanted"), |_| value);
        assert_eq!((of(Some(b"a,b")), of(None)), (LimitKey::Text(b"a,b"), LimitKey::Client(CLIENT)));
        assert_eq!(LimitKey::of(&By::Total, CLIENT, |_| panic!(), |_| panic!()), LimitKey::Client(CLIENT));
    }

    #[test]
    fn case_does_not_matter_and_an_address_is_an_address_however_it_is_written() {
        let keys = Keys::default();
        let key = |text: &'static str| keys.key(&LimitKey::Text(text.as_bytes()));
        assert_eq!(key("Bob"), key("bOB"));
        assert_ne!(key("bob"), key("bob "));
        assert_ne!(key(""), key(" "));
        assert_eq!(key("127.0.0.1"), keys.key(&LimitKey::Client(CLIENT)));
        assert_eq!(key("::ffff:127.0.0.1"), keys.key(&LimitKey::Client(CLIENT)));
        assert_eq!(key("2001:DB8:0::1"), keys.key(&LimitKey::Client("2001:db8::1".parse().unwrap())));
        assert_ne!(key("a"), Keys::default().key(&LimitKey::Text(b"a")), "each table has its own secret");
    }
}
