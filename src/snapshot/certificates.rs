//! What is wrong with the certificates of an object, and what should be known of them. Links nothing.

use crate::base::violation::Violation;
use crate::model::{ClientIdentity, Resource, Ssl, Upstream};
use crate::tls::check::{self, BadTrust, PairError};
use crate::tls::inspect::{Facts, Validity};

/// What is wrong with the certificate that an upstream brings along.
pub(super) fn of_upstream(upstream: &Upstream, at: &str) -> Vec<Violation> {
    let Some(tls) = &upstream.tls else { return Vec::new() };
    let mut found = Vec::new();
    if let Some(ClientIdentity::Inline(own)) = &tls.client
        && let Err(error) = check::pair(&own.cert, own.key.reveal())
    {
        let field = if matches!(error, PairError::Cert(_)) { "client_cert" } else { "client_key" };
        found.push(Violation::new(format!("{at}/tls/{field}"), rule(error), error.to_string()));
    }
    if let Some(Err(error)) = tls.ca.as_deref().map(|ca| check::trust(ca, None)) {
        found.push(Violation::new(format!("{at}/tls/ca"), "certificate", format!("failed to validate ca: {error}")));
    }
    found
}

/// Whether each key is that of its certificate, and whether there is somebody to trust. The first pair is `cert` and `key`, the
/// others are those of `certs` and `keys`.
pub(super) fn of_ssl(ssl: &Ssl) -> Vec<Violation> {
    let mut found = Vec::new();
    for (at, pair) in ssl.pairs.iter().enumerate() {
        let Err(error) = check::pair(&pair.cert, pair.key.reveal()) else { continue };
        let of_cert = matches!(error, PairError::Cert(_));
        let (field, text) = match at.checked_sub(1) {
            None => (if of_cert { "/cert".to_owned() } else { "/key".to_owned() }, error.to_string()),
            Some(item) => {
                let list = if of_cert { "certs" } else { "keys" };
                (format!("/{list}/{item}"), format!("failed to handle cert-key pair[{at}]: {error}"))
            }
        };
        found.push(Violation::new(field, rule(error), text));
    }
    if let Some(client) = &ssl.client
        && let Err(error) = check::trust(&client.ca, client.crl.as_deref())
    {
        let field = if matches!(error, BadTrust::Crl(_)) { "/client/crl" } else { "/client/ca" };
        found.push(Violation::new(field, "certificate", format!("failed to validate client_cert: {error}")));
    }
    found
}

/// What should be known of an object that is taken all the same. `now`: seconds since 1970.
pub(super) fn warnings(resource: &Resource, now: i64) -> Vec<String> {
    let Resource::Ssl(ssl) = resource else { return Vec::new() };
    let told = ssl.pairs.iter().enumerate().filter_map(|(at, pair)| {
        let place = at.checked_sub(1).map_or_else(|| "/cert".to_owned(), |item| format!("/certs/{item}"));
        match Facts::of(&pair.cert).ok()?.validity(now) {
            Validity::Valid => None,
            Validity::NotYet => Some(format!("{place}: the certificate is not valid yet")),
            Validity::Expired => Some(format!("{place}: the certificate has expired")),
        }
    });
    told.collect()
}

const fn rule(error: PairError) -> &'static str {
    match error {
        PairError::Cert(_) => "certificate",
        PairError::Key(_) => "private_key",
        PairError::Mismatch => "key_mismatch",
    }
}
