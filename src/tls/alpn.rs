//! What may be spoken inside TLS, and a configuration in each of these forms. Nothing about what is then spoken.

use std::sync::{Arc, OnceLock};

use rustls::{ClientConfig, ServerConfig};

/// What may be spoken on a connection, in the words of ALPN (RFC 7301). A client that names protocols, and none of these, is turned
/// away by an alert; one that names none is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Alpn {
    /// Nothing is said about it.
    Silent,
    /// HTTP/1.1.
    Http1,
    /// HTTP/2.
    Http2,
    /// HTTP/2 rather than HTTP/1.1.
    Http,
}

impl Alpn {
    /// The words, the preferred one first.
    fn words(self) -> Vec<Vec<u8>> {
        let words: &[&[u8]] = match self {
            Self::Silent => &[],
            Self::Http1 => &[b"http/1.1"],
            Self::Http2 => &[b"h2"],
            Self::Http => &[b"h2", b"http/1.1"],
        };
        words.iter().map(|word| word.to_vec()).collect()
    }
}

/// A configuration of the library that has words for ALPN.
pub(super) trait Words: Clone {
    fn set(&mut self, words: Vec<Vec<u8>>);
}

impl Words for ClientConfig {
    fn set(&mut self, words: Vec<Vec<u8>>) {
        self.alpn_protocols = words;
    }
}

impl Words for ServerConfig {
    fn set(&mut self, words: Vec<Vec<u8>>) {
        self.alpn_protocols = words;
    }
}

/// One configuration, silent about ALPN, and the same with its words. What it remembers of sessions is good with all of them.
#[derive(Debug)]
pub(super) struct Spoken<C> {
    silent: Arc<C>,
    /// Each is made when it is first asked for.
    others: [OnceLock<Arc<C>>; 3],
}

impl<C: Words> Spoken<C> {
    pub(super) fn new(silent: C) -> Self {
        Self { silent: Arc::new(silent), others: Default::default() }
    }

    pub(super) fn get(&self, alpn: Alpn) -> &Arc<C> {
        let [http1, http2, http] = &self.others;
        let made = match alpn {
            Alpn::Silent => return &self.silent,
            Alpn::Http1 => http1,
            Alpn::Http2 => http2,
            Alpn::Http => http,
        };
        made.get_or_init(|| {
            let mut config = C::clone(&self.silent);
            config.set(alpn.words());
            Arc::new(config)
        })
    }
}
