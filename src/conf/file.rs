//! What may be typed in `conf/config.yaml`: every known key, with its type. What a key means is `check`'s business.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, Error, IgnoredAny, IntoDeserializer, MapAccess, SeqAccess, Visitor};

use super::typed::At;
use super::{AccessFormat, LogFormat, ProxyMode, Role};
use crate::base::cidr::Cidr;
use crate::base::id::Id;
use crate::base::secret::Secret;

/// A value of any shape that this build does not look into: where it stands is all that is kept.
#[derive(Clone, Debug)]
pub(super) struct Given;

impl<'de> Deserialize<'de> for Given {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        IgnoredAny::deserialize(d).map(|_| Self)
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct File {
    pub(super) gateway: Gateway,
    pub(super) deployment: Deployment,
    pub(super) telemetry: Telemetry,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Gateway {
    pub(super) proxy_mode: Option<ProxyMode>,
    pub(super) node_listen: Option<At<NodeListen>>,
    pub(super) stream_proxy: StreamProxy,
    pub(super) ssl: Ssl,
    pub(super) proxy_protocol: ProxyProtocol,
    pub(super) data_encryption: DataEncryption,
    pub(super) dns_resolver: Option<Given>,
    #[serde(deserialize_with = "workers")]
    pub(super) workers: Option<usize>,
    #[serde(deserialize_with = "duration")]
    pub(super) drain_timeout: Option<Duration>,
    pub(super) enable_admin: Option<bool>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct StreamProxy {
    pub(super) tcp: Option<At<Vec<At<Entry>>>>,
    pub(super) udp: Option<At<Vec<At<Entry>>>>,
}

/// A port, or a list of entries.
#[derive(Debug)]
pub(super) enum NodeListen {
    One(HttpEntry),
    Many(Vec<At<HttpEntry>>),
}

/// One entry of `node_listen` or of `ssl.listen`.
#[derive(Debug)]
pub(super) struct HttpEntry {
    pub(super) ip: Option<Parsed<IpAddr>>,
    pub(super) port: u16,
    pub(super) enable_http2: Option<bool>,
    pub(super) enable_http3: Option<bool>,
}

/// One such entry, as typed.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LongHttpEntry {
    port: u16,
    #[serde(default)]
    ip: Option<Parsed<IpAddr>>,
    #[serde(default)]
    enable_http2: Option<bool>,
    #[serde(default)]
    enable_http3: Option<bool>,
}

impl HttpEntry {
    fn short<E: Error>(port: u64) -> Result<Self, E> {
        let port = u16::try_from(port).map_err(|_| E::custom(format!("port out of range (1-65535): {port}")))?;
        Ok(Self { ip: None, port, enable_http2: None, enable_http3: None })
    }

    /// Also of digits: what a variable gives is text.
    fn text<E: Error>(text: &str) -> Result<Self, E> {
        text.parse().map_err(|_| E::custom("expected a port")).and_then(Self::short)
    }
}

impl<'de> Deserialize<'de> for HttpEntry {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct Read;
        impl<'de> Visitor<'de> for Read {
            type Value = HttpEntry;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a port, or a map with `port`")
            }
            fn visit_u64<E: Error>(self, n: u64) -> Result<HttpEntry, E> {
                HttpEntry::short(n)
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<HttpEntry, E> {
                HttpEntry::text(text)
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<HttpEntry, A::Error> {
                let LongHttpEntry { port, ip, enable_http2, enable_http3 } = LongHttpEntry::deserialize(MapAccessDeserializer::new(map))?;
                Ok(HttpEntry { ip, port, enable_http2, enable_http3 })
            }
        }
        d.deserialize_any(Read)
    }
}

impl<'de> Deserialize<'de> for NodeListen {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct Read;
        impl<'de> Visitor<'de> for Read {
            type Value = NodeListen;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a port, or a list of ports and of maps with `port`")
            }
            fn visit_u64<E: Error>(self, n: u64) -> Result<NodeListen, E> {
                HttpEntry::short(n).map(NodeListen::One)
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<NodeListen, E> {
                HttpEntry::text(text).map(NodeListen::One)
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<NodeListen, A::Error> {
                let mut all = Vec::new();
                while let Some(entry) = seq.next_element::<At<HttpEntry>>()? {
                    all.push(entry);
                }
                Ok(NodeListen::Many(all))
            }
        }
        d.deserialize_any(Read)
    }
}

/// One entry of `stream_proxy.tcp` or `.udp`.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) addr: Addr,
    /// What only the long form can say.
    pub(super) long: Option<Marks>,
}

/// The switches of the long form.
#[derive(Clone, Copy, Debug)]
pub(super) struct Marks {
    pub(super) tls: Option<bool>,
    pub(super) proxy_protocol: Option<bool>,
    pub(super) proxy_protocol_to_upstream: Option<bool>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LongEntry {
    addr: Addr,
    #[serde(default)]
    tls: Option<bool>,
    #[serde(default)]
    proxy_protocol: Option<bool>,
    #[serde(default)]
    proxy_protocol_to_upstream: Option<bool>,
}

/// A port, an address or a range as typed; or what it is instead.
#[derive(Debug)]
pub(super) struct Addr(pub(super) Result<String, String>);

impl<'de> Deserialize<'de> for Addr {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct Read;
        impl Visitor<'_> for Read {
            type Value = Addr;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a port, an address or a range")
            }
            fn visit_u64<E>(self, n: u64) -> Result<Addr, E> {
                Ok(Addr(Ok(n.to_string())))
            }
            fn visit_i64<E>(self, n: i64) -> Result<Addr, E> {
                Ok(Addr(Err(format!("a port is not negative: {n}"))))
            }
            fn visit_f64<E>(self, n: f64) -> Result<Addr, E> {
                Ok(Addr(Err(format!("a port is a whole number: {n}"))))
            }
            fn visit_str<E>(self, text: &str) -> Result<Addr, E> {
                Ok(Addr(Ok(text.to_owned())))
            }
        }
        d.deserialize_any(Read)
    }
}

impl<'de> Deserialize<'de> for Entry {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct Read;
        fn short<'de, E: Error>(value: impl IntoDeserializer<'de, E>) -> Result<Entry, E> {
            Addr::deserialize(value.into_deserializer()).map(|addr| Entry { addr, long: None })
        }
        impl<'de> Visitor<'de> for Read {
            type Value = Entry;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a port, an address, a range, or a map with `addr`")
            }
            fn visit_u64<E: Error>(self, n: u64) -> Result<Entry, E> {
                short(n)
            }
            fn visit_i64<E: Error>(self, n: i64) -> Result<Entry, E> {
                short(n)
            }
            fn visit_f64<E: Error>(self, n: f64) -> Result<Entry, E> {
                short(n)
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<Entry, E> {
                short(text)
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Entry, A::Error> {
                let LongEntry { addr, tls, proxy_protocol, proxy_protocol_to_upstream } =
                    LongEntry::deserialize(MapAccessDeserializer::new(map))?;
                Ok(Entry { addr, long: Some(Marks { tls, proxy_protocol, proxy_protocol_to_upstream }) })
            }
        }
        d.deserialize_any(Read)
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Ssl {
    pub(super) enable: Option<bool>,
    pub(super) listen: Option<At<NodeListen>>,
    pub(super) fallback_sni: Option<At<String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct ProxyProtocol {
    pub(super) enable_tcp_pp: Option<bool>,
    pub(super) enable_tcp_pp_to_upstream: Option<bool>,
    #[serde(deserialize_with = "cidrs")]
    pub(super) trusted: Option<Vec<Cidr>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct DataEncryption {
    #[serde(deserialize_with = "keyring")]
    pub(super) keyring: Vec<Secret<String>>,
}

/// Where the configuration comes from.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(super) enum ProviderName {
    Embedded,
    Etcd,
    File,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Deployment {
    pub(super) config_provider: Option<At<ProviderName>>,
    pub(super) instance_id: Option<Id>,
    pub(super) etcd: Etcd,
    pub(super) embedded: PathOnly,
    pub(super) file: PathOnly,
    pub(super) admin: Admin,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Etcd {
    pub(super) host: Option<At<Vec<At<String>>>>,
    pub(super) prefix: Option<At<String>>,
    #[serde(deserialize_with = "placed_duration")]
    pub(super) timeout: Option<At<Duration>>,
    pub(super) user: Option<At<String>>,
    #[serde(deserialize_with = "placed_secret")]
    pub(super) password: Option<At<Secret<String>>>,
    pub(super) tls: EtcdTls,
    pub(super) last_good: Option<PathOrNone>,
}

/// A path of a file. An empty one names nothing; a variable without a value is where it comes from.
fn path<'de, D: Deserializer<'de>>(d: D) -> Result<Option<PathBuf>, D::Error> {
    Ok(Option::<FilePath>::deserialize(d)?.map(|path| path.0))
}

fn placed_path<'de, D: Deserializer<'de>>(d: D) -> Result<Option<At<PathBuf>>, D::Error> {
    let given = Option::<At<FilePath>>::deserialize(d)?;
    Ok(given.map(|At { place, value }| At { place, value: value.0 }))
}

struct FilePath(PathBuf);

impl<'de> Deserialize<'de> for FilePath {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = String::deserialize(d)?;
        if text.is_empty() { Err(D::Error::custom("expected a path, found an empty text")) } else { Ok(Self(text.into())) }
    }
}

/// A path, or `false` for none.
#[derive(Clone, Debug)]
pub(super) struct PathOrNone(pub(super) Option<PathBuf>);

impl<'de> Deserialize<'de> for PathOrNone {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct Read;
        impl Visitor<'_> for Read {
            type Value = PathOrNone;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a path, or false for none")
            }
            fn visit_bool<E: Error>(self, on: bool) -> Result<PathOrNone, E> {
                if on { Err(E::custom("expected a path, or false for none")) } else { Ok(PathOrNone(None)) }
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<PathOrNone, E> {
                if text.is_empty() { Err(E::custom("expected a path, or false for none")) } else { Ok(PathOrNone(Some(text.into()))) }
            }
        }
        d.deserialize_any(Read)
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct EtcdTls {
    #[serde(deserialize_with = "placed_path")]
    pub(super) cert: Option<At<PathBuf>>,
    #[serde(deserialize_with = "placed_path")]
    pub(super) key: Option<At<PathBuf>>,
    #[serde(deserialize_with = "placed_path")]
    pub(super) ca: Option<At<PathBuf>>,
    pub(super) verify: Option<At<bool>>,
    pub(super) sni: Option<At<String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct PathOnly {
    #[serde(deserialize_with = "path")]
    pub(super) path: Option<PathBuf>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[expect(clippy::struct_field_names, reason = "the names are the file's")]
pub(super) struct Admin {
    pub(super) admin_listen: AdminListen,
    #[serde(deserialize_with = "cidrs")]
    pub(super) allow_admin: Option<Vec<Cidr>>,
    pub(super) admin_key: Option<Vec<At<KeyEntry>>>,
    pub(super) admin_key_required: Option<bool>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct AdminListen {
    pub(super) ip: Option<At<Parsed<IpAddr>>>,
    pub(super) port: Option<At<u16>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct KeyEntry {
    pub(super) name: String,
    #[serde(default, deserialize_with = "secret")]
    pub(super) key: Option<Secret<String>>,
    pub(super) role: Role,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Telemetry {
    pub(super) metrics_listen: Option<At<Listen>>,
    pub(super) control_listen: Option<At<Listen>>,
    pub(super) log: Log,
    pub(super) access_log: AccessLog,
}

/// `ip:port`, or `false` for none.
#[derive(Clone, Copy, Debug)]
pub(super) struct Listen(pub(super) Option<SocketAddr>);

impl<'de> Deserialize<'de> for Listen {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct Read;
        impl Visitor<'_> for Read {
            type Value = Listen;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("\"ip:port\", or false for none")
            }
            fn visit_bool<E: Error>(self, on: bool) -> Result<Listen, E> {
                if on { Err(E::custom("expected \"ip:port\", or false for none")) } else { Ok(Listen(None)) }
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<Listen, E> {
                text.parse().map(|addr| Listen(Some(addr))).map_err(|_| E::custom(format!("expected \"ip:port\", found {text:?}")))
            }
        }
        d.deserialize_any(Read)
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Log {
    #[serde(deserialize_with = "parsed")]
    pub(super) level: Option<tracing::level_filters::LevelFilter>,
    pub(super) format: Option<LogFormat>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct AccessLog {
    pub(super) enabled: Option<bool>,
    pub(super) format: Option<AccessFormat>,
    #[serde(deserialize_with = "path")]
    pub(super) path: Option<PathBuf>,
    #[serde(deserialize_with = "sample")]
    pub(super) sample: Option<f64>,
}

/// A value read by its own `FromStr`.
#[derive(Clone, Debug)]
pub(super) struct Parsed<T>(pub(super) T);

impl<'de, T: FromStr<Err: fmt::Display>> Deserialize<'de> for Parsed<T> {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        String::deserialize(d)?.parse().map(Self).map_err(Error::custom)
    }
}

fn parsed<'de, D: Deserializer<'de>, T: FromStr<Err: fmt::Display>>(d: D) -> Result<Option<T>, D::Error> {
    Ok(Option::<Parsed<T>>::deserialize(d)?.map(|p| p.0))
}

fn cidrs<'de, D: Deserializer<'de>>(d: D) -> Result<Option<Vec<Cidr>>, D::Error> {
    Ok(Option::<Vec<Parsed<Cidr>>>::deserialize(d)?.map(|list| list.into_iter().map(|p| p.0).collect()))
}

fn secret<'de, D: Deserializer<'de>>(d: D) -> Result<Option<Secret<String>>, D::Error> {
    Ok(Option::<String>::deserialize(d)?.map(Secret::new))
}

fn duration<'de, D: Deserializer<'de>>(d: D) -> Result<Option<Duration>, D::Error> {
    Ok(Option::<Parsed<Time>>::deserialize(d)?.map(|p| p.0.0))
}

fn placed_duration<'de, D: Deserializer<'de>>(d: D) -> Result<Option<At<Duration>>, D::Error> {
    let given = Option::<At<Parsed<Time>>>::deserialize(d)?;
    Ok(given.map(|At { place, value }| At { place, value: value.0.0 }))
}

fn placed_secret<'de, D: Deserializer<'de>>(d: D) -> Result<Option<At<Secret<String>>>, D::Error> {
    let given = Option::<At<String>>::deserialize(d)?;
    Ok(given.map(|At { place, value }| At { place, value: Secret::new(value) }))
}

/// One entry, or a list of them.
fn keyring<'de, D: Deserializer<'de>>(d: D) -> Result<Vec<Secret<String>>, D::Error> {
    struct Read;
    impl<'de> Visitor<'de> for Read {
        type Value = Vec<Secret<String>>;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a key, or a list of keys")
        }
        fn visit_unit<E>(self) -> Result<Self::Value, E> {
            Ok(Vec::new())
        }
        fn visit_none<E>(self) -> Result<Self::Value, E> {
            Ok(Vec::new())
        }
        fn visit_some<D: Deserializer<'de>>(self, d: D) -> Result<Self::Value, D::Error> {
            d.deserialize_any(self)
        }
        fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
            entry(text.to_owned()).map(|one| vec![one])
        }
        fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
            let mut all = Vec::new();
            while let Some(text) = seq.next_element::<String>()? {
                all.push(entry(text)?);
            }
            Ok(all)
        }
    }
    fn entry<E: Error>(text: String) -> Result<Secret<String>, E> {
        if text == "$file://" {
            return Err(E::custom("expected a path after $file://"));
        }
        let refers = ["$env://", "$ENV://", "$file://"].iter().any(|way| text.starts_with(way));
        if refers || text.len() >= 16 { Ok(Secret::new(text)) } else { Err(E::custom("a key has at least 16 bytes")) }
    }
    d.deserialize_option(Read)
}

struct Time(Duration);

impl FromStr for Time {
    type Err = crate::base::duration::BadDuration;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        crate::base::duration::parse(text).map(Self)
    }
}

fn workers<'de, D: Deserializer<'de>>(d: D) -> Result<Option<usize>, D::Error> {
    let workers = Option::<usize>::deserialize(d)?;
    if workers.is_some_and(|n| !(1..=1024).contains(&n)) { Err(Error::custom("expected 1 to 1024")) } else { Ok(workers) }
}

fn sample<'de, D: Deserializer<'de>>(d: D) -> Result<Option<f64>, D::Error> {
    let sample = Option::<f64>::deserialize(d)?;
    if sample.is_some_and(|s| !(0.0..=1.0).contains(&s)) { Err(Error::custom("expected a share from 0 to 1")) } else { Ok(sample) }
}
