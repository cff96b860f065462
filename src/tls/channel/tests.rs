//! Two channels against each other, in memory: what arrives is what was sent, however the records are cut.

use super::*;
use crate::tls::fixture::{self, Issuer};
use crate::tls::{Alpn, Client, Identity, Profile};

struct Pair {
    client: Channel,
    server: Channel,
    /// Bytes under way.
    to_server: Vec<u8>,
    to_client: Vec<u8>,
}

impl Pair {
    fn new(server: &Identity, client: &Client) -> Self {
        let name = client.name(Some("a.test"), "").unwrap();
        Self {
            client: Channel::client(client.config(Alpn::Silent).clone(), name).unwrap(),
            server: Channel::server(server.config(Alpn::Silent).clone()).unwrap(),
            to_server: Vec::new(),
            to_client: Vec::new(),
        }
    }

    /// Shakes hands, handing over so many bytes at once.
    fn shake(&mut self, step: usize) -> Result<(), Broken> {
        let (mut at_server, mut at_client) = (Vec::new(), Vec::new());
        for _ in 0..100_000 {
            if !self.client.is_handshaking() && !self.server.is_handshaking() && self.to_client.is_empty() && self.to_server.is_empty() {
                return Ok(());
            }
            if self.client.is_handshaking() {
                self.client.begin(&mut at_client, &mut self.to_server)?;
            }
            at_server.extend(self.to_server.drain(..step.min(self.to_server.len())));
            if self.server.is_handshaking() {
                self.server.begin(&mut at_server, &mut self.to_client)?;
            }
            if self.client.is_handshaking() {
                at_client.extend(self.to_client.drain(..step.min(self.to_client.len())));
            } else {
                // tickets that come after it
                let came = std::mem::take(&mut self.to_client);
                receive(&mut self.client, &came)?;
            }
        }
        panic!("no end of the handshake");
    }

    /// Sends from one side to the other.
    fn carry(&mut self, plain: &[u8], step: usize) -> Vec<u8> {
        let mut records = vec![0; room(plain.len())];
        let mut answers = Vec::new();
        let length = self.client.encrypt(plain, &mut records, &mut answers).unwrap();
        assert!(answers.is_empty());
        records[..length].chunks(step).flat_map(|part| receive(&mut self.server, part).unwrap().0).collect()
    }
}

/// What a channel makes of bytes: plaintext and answers.
fn receive(channel: &mut Channel, bytes: &[u8]) -> Result<(Vec<u8>, Vec<u8>), Broken> {
    let mut incoming = channel.take_rest();
    incoming.extend_from_slice(bytes);
    let (mut plain, mut answers) = (channel.take_early(), Vec::new());
    channel.receive(&mut incoming, &mut plain, &mut answers)?;
    Ok((plain, answers))
}

fn client(identity: Option<crate::model::KeyPair>) -> Client {
    Client::new(Profile { identity, ..Profile::default() }).unwrap()
}

#[test]
fn what_is_sent_arrives_however_the_records_are_cut() {
    let server = Identity::new(&fixture::ssl("s", &["a.test"], vec![Issuer::new().pair(&["a.test"])])).unwrap();
    let data: Vec<u8> = (0..100_000_u32).map(|n| n.to_le_bytes()[0] ^ n.to_le_bytes()[1]).collect();
    for step in [1, 7, 1460, 100_000] {
        let mut pair = Pair::new(&server, &client(None));
        pair.shake(step).unwrap();
        assert_eq!(pair.server.version(), Some("TLSv1.3"));
        assert!(pair.server.cipher().unwrap().starts_with("TLS_"), "{:?}", pair.server.cipher());
        let size = if step == 1 { 40_000 } else { data.len() };
        assert!(pair.carry(&data[..size], step) == data[..size], "in steps of {step}");
        assert!(pair.server.take_rest().is_empty());
    }
}

#[test]
fn the_end_of_one_side_is_heard_and_the_other_side_goes_on() {
    let server = Identity::new(&fixture::ssl("s", &["a.test"], vec![Issuer::new().pair(&["a.test"])])).unwrap();
    let mut pair = Pair::new(&server, &client(None));
    pair.shake(10_000).unwrap();
    let mut end = Vec::new();
    pair.server.close(&mut end).unwrap();
    receive(&mut pair.client, &end).unwrap();
    assert!(pair.client.ended() && !pair.server.ended());
    assert_eq!(pair.carry(b"still here", 100), b"still here");
}

#[test]
fn a_changed_record_breaks_the_connection_with_an_alert() {
    let server = Identity::new(&fixture::ssl("s", &["a.test"], vec![Issuer::new().pair(&["a.test"])])).unwrap();
    let mut pair = Pair::new(&server, &client(None));
    pair.shake(10_000).unwrap();
    let mut records = vec![0; room(3)];
    let length = pair.client.encrypt(b"abc", &mut records, &mut Vec::new()).unwrap();
    records[length - 1] ^= 1;
    let (mut plain, mut answers) = (Vec::new(), Vec::new());
    assert_eq!(pair.server.receive(&mut records[..length], &mut plain, &mut answers), Err(Broken::Tls(rustls::Error::DecryptError)));
    assert!(plain.is_empty());
    assert_eq!(answers.first(), Some(&23), "an alert, encrypted");
}

#[test]
fn a_client_without_the_wanted_certificate_gets_no_session() {
    let (issuer, stranger) = (Issuer::new(), Issuer::new());
    let mut ssl = fixture::ssl("s", &["a.test"], vec![issuer.pair(&["a.test"])]);
    ssl.client = Some(issuer.trust(1));
    let server = Identity::new(&ssl).unwrap();
    let shake = |identity| Pair::new(&server, &client(identity)).shake(10_000);
    assert_eq!(shake(None), Err(Broken::Tls(rustls::Error::NoCertificatesPresented)));
    assert!(matches!(shake(Some(stranger.pair(&["c"]))), Err(Broken::Tls(rustls::Error::InvalidCertificate(_)))));
    assert_eq!(shake(Some(issuer.pair(&["c"]))), Ok(()));
}

#[test]
fn a_chain_is_no_longer_than_the_depth() {
    let issuer = Issuer::new();
    let one = issuer.below();
    let mut deep = one.pair(&["c"]);
    deep.cert = format!("{}{}", deep.cert, one.pem()).into();
    for (depth, passes) in [(0, false), (1, true)] {
        let mut ssl = fixture::ssl("s", &["a.test"], vec![issuer.pair(&["a.test"])]);
        ssl.client = Some(issuer.trust(depth));
        let done = Pair::new(&Identity::new(&ssl).unwrap(), &client(Some(deep.clone()))).shake(10_000);
        assert_eq!(done.is_ok(), passes, "depth {depth}: {done:?}");
    }
}

#[test]
fn a_session_is_resumed_with_its_identity_and_with_no_other() {
    let issuer = Issuer::new();
    let ssl = fixture::ssl("s", &["a.test"], vec![issuer.pair(&["a.test"])]);
    let identities = crate::tls::Identities::default();
    let server = identities.identity(&ssl).unwrap();
    let client = client(Some(issuer.pair(&["c"])));
    let resumed = |server: &Identity| {
        let mut pair = Pair::new(server, &client);
        pair.shake(10_000).unwrap();
        pair.server.resumed()
    };
    assert!(!resumed(&server));
    assert!(resumed(&server));

    let mut renamed = ssl.clone();
    renamed.snis.clear();
    assert!(Arc::ptr_eq(&server, &identities.identity(&renamed).unwrap()), "names are not seen by clients");
    assert!(resumed(&identities.identity(&renamed).unwrap()));

    let mut guarded = ssl.clone();
    guarded.client = Some(issuer.trust(1));
    let guarded = identities.identity(&guarded).unwrap();
    assert!(!resumed(&guarded), "a ticket of an open door opens no guarded one");
    assert!(resumed(&guarded));
}

#[test]
fn the_certificate_is_of_the_kind_that_the_client_can_check() {
    let issuer = Issuer::new();
    let server = Identity::new(&fixture::ssl("s", &["a.test"], vec![issuer.rsa(&["a.test"]), issuer.pair(&["a.test"])])).unwrap();
    let shown = |schemes: &[rustls::SignatureScheme]| {
        let mut config = (**client(None).config(Alpn::Silent)).clone();
        config.dangerous().set_certificate_verifier(Arc::new(crate::tls::client::Trusting(schemes.to_vec())));
        let name = client(None).name(Some("a.test"), "").unwrap();
        let mut pair = Pair { client: Channel::client(Arc::new(config), name).unwrap(), ..Pair::new(&server, &client(None)) };
        pair.shake(10_000).unwrap();
        pair.client.state().peer_certificates().unwrap()[0].len()
    };
    let (rsa, ecdsa) = (shown(&[rustls::SignatureScheme::RSA_PSS_SHA256]), shown(&[rustls::SignatureScheme::ECDSA_NISTP256_SHA256]));
    assert!(rsa > ecdsa, "{rsa} {ecdsa}");
    let both = shown(&[rustls::SignatureScheme::RSA_PSS_SHA256, rustls::SignatureScheme::ECDSA_NISTP256_SHA256]);
    assert_eq!(both, ecdsa);
}
