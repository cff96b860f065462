//! Hellos of clients made up from seeds: real ones, cut, spliced, with bytes changed. What must hold is in `harness`, which the fuzzer
//! in `fuzz/` shares.

mod harness;

use std::sync::Arc;

use proptest::prelude::*;
use rustls::client::{ClientConfig, UnbufferedClientConnection};
use rustls::unbuffered::ConnectionState;

/// What the TLS library says first as a client.
fn real(name: &str, post_quantum: bool) -> Vec<u8> {
    let mut provider = rustls::crypto::aws_lc_rs::default_provider();
    if !post_quantum {
        provider.kx_groups = vec![rustls::crypto::aws_lc_rs::kx_group::X25519];
    }
    let builder = ClientConfig::builder_with_provider(Arc::new(provider)).with_safe_default_protocol_versions().unwrap();
    let config = builder.with_root_certificates(rustls::RootCertStore::empty()).with_no_client_auth();
    let name = rustls::pki_types::ServerName::try_from(name.to_owned()).unwrap();
    let mut conn = UnbufferedClientConnection::new(Arc::new(config), name).unwrap();
    let mut out = vec![0; 4096];
    let Ok(ConnectionState::EncodeTlsData(mut data)) = conn.process_tls_records(&mut []).state else { panic!("no hello") };
    let length = data.encode(&mut out).unwrap();
    out.truncate(length);
    out
}

/// One change of a stream of bytes.
#[derive(Clone, Debug)]
enum Change {
    Set(prop::sample::Index, u8),
    Cut(prop::sample::Index),
    Insert(prop::sample::Index, Vec<u8>),
    Remove(prop::sample::Index, usize),
    /// The records are cut again, into payloads of this size.
    Records(usize),
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        8 => (any::<prop::sample::Index>(), any::<u8>()).prop_map(|(at, byte)| Change::Set(at, byte)),
        1 => any::<prop::sample::Index>().prop_map(Change::Cut),
        2 => (any::<prop::sample::Index>(), prop::collection::vec(any::<u8>(), 1..40)).prop_map(|(at, bytes)| Change::Insert(at, bytes)),
        2 => (any::<prop::sample::Index>(), 1usize..40).prop_map(|(at, n)| Change::Remove(at, n)),
        2 => (1usize..600).prop_map(Change::Records),
    ]
}

impl Change {
    fn apply(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::Set(at, byte) if !bytes.is_empty() => {
                let at = at.index(bytes.len());
                bytes[at] = *byte;
            }
            Self::Cut(at) => bytes.truncate(at.index(bytes.len() + 1)),
            Self::Insert(at, new) => {
                let at = at.index(bytes.len() + 1);
                bytes.splice(at..at, new.iter().copied());
            }
            Self::Remove(at, n) => {
                let at = at.index(bytes.len() + 1);
                bytes.drain(at..(at + n).min(bytes.len()));
            }
            Self::Records(most) if bytes.len() > 5 => {
                let payload = bytes.split_off(5);
                bytes.clear();
                for part in payload.chunks(*most) {
                    bytes.extend([22, 3, 1]);
                    bytes.extend(u16::try_from(part.len()).unwrap().to_be_bytes());
                    bytes.extend(part);
                }
            }
            // there is nothing to change
            Self::Set(..) | Self::Records(_) => {}
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { rng_seed: prop::test_runner::RngSeed::Fixed(0x68_65_6c_6c_6f), cases: 4000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_broken_hello_is_refused_or_read_as_the_library_reads_it(
        cut in any::<[u8; 2]>(), post_quantum: bool, changes in prop::collection::vec(change(), 0..6),
    ) {
        let mut bytes = real("name.of.a-test.example", post_quantum);
        for change in &changes {
            change.apply(&mut bytes);
        }
        harness::check(&[&cut[..], &bytes].concat());
    }

    #[test]
    fn garbage_is_refused_alike_however_it_is_cut(data in prop::collection::vec(any::<u8>(), 0..600)) {
        harness::check(&data);
        harness::check(&[&data[..data.len().min(2)], &[22, 3, 1][..], data.get(2..).unwrap_or_default()].concat());
    }
}
