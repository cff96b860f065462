//! The L4 table: from the name and the two addresses of a session to the first route in order that takes it. Tuple-space search over
//! persistent maps, so that a copy is cheap and an edit touches one path. Transports and listeners are the caller's business.

use std::cmp::Reverse;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use rpds::{HashTrieMapSync, RedBlackTreeMapSync};

use crate::base::cidr::Cidr;
use crate::base::id::Id;
use crate::base::sni::SniPattern;
use crate::model::StreamRoute;

/// What is known of a session when it is routed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ask<'a> {
    /// The client.
    pub client: IpAddr,
    /// The address that the client connected to.
    pub server: SocketAddr,
    /// The name in its ClientHello: in lower case, without a trailing dot. `None`: it has none, or nobody looked.
    pub sni: Option<&'a str>,
}

/// The routes of one transport, each with a value. A copy shares everything with its original.
///
/// A route takes one entry per triple of its names, server and remote blocks. A look-up costs one probe for the name of the
/// session and one for each of its suffixes, and, where one is found, one per distinct shape there (port given or not, length of
/// the server block, length of the remote block). It does not allocate.
#[derive(Debug)]
pub struct Table<T> {
    names: Names<T>,
    suffixes: Names<T>,
    every_name: Addresses<T>,
    nameless: Addresses<T>,
}

/// Routes by a name, or by what a name ends with.
type Names<T> = HashTrieMapSync<Arc<str>, Addresses<T>>;

/// Routes by the two addresses of a session.
#[derive(Debug)]
struct Addresses<T> {
    ports: HashTrieMapSync<u16, Vec<Group<T>>>,
    any: Vec<Group<T>>,
}

/// What the entries of a group have in common, in order of specificity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Shape {
    port: bool,
    server: Option<Block>,
    remote: Option<Block>,
}

/// The length and family of a block. Only blocks of one family can hold one address, so the order between families never decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Block {
    len: u8,
    v6: bool,
}

/// The leading bits of both addresses; 0 where the shape has no block.
type Bits = (u128, u128);

/// The routes of one place, in the order in which they go.
type Line<T> = RedBlackTreeMapSync<(i64, Id), T>;

#[derive(Debug)]
struct Group<T> {
    shape: Shape,
    places: HashTrieMapSync<Bits, Line<T>>,
}

impl<T> Clone for Table<T> {
    fn clone(&self) -> Self {
        Self {
            names: self.names.clone(),
            suffixes: self.suffixes.clone(),
            every_name: self.every_name.clone(),
            nameless: self.nameless.clone(),
        }
    }
}

impl<T> Clone for Addresses<T> {
    fn clone(&self) -> Self {
        Self { ports: self.ports.clone(), any: self.any.clone() }
    }
}

impl<T> Clone for Group<T> {
    fn clone(&self) -> Self {
        Self { shape: self.shape, places: self.places.clone() }
    }
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        let (names, suffixes) = (HashTrieMapSync::new_sync(), HashTrieMapSync::new_sync());
        Self { names, suffixes, every_name: Addresses::default(), nameless: Addresses::default() }
    }
}

impl<T> Default for Addresses<T> {
    fn default() -> Self {
        Self { ports: HashTrieMapSync::new_sync(), any: Vec::new() }
    }
}

impl<T> Table<T> {
    /// The first route in order that takes a session: that with its very name before those with the longest wildcard, `*`, and no
    /// name; then smaller `order`, then the more specific, then the smaller id. A route with names takes no session without one.
    pub fn find(&self, ask: &Ask<'_>) -> Option<&T> {
        let ends = (ask.server.ip().to_canonical(), ask.client.to_canonical());
        let port = ask.server.port();
        ask.sni.and_then(|name| self.named(name, port, ends)).or_else(|| self.nameless.find(port, ends))
    }

    fn named(&self, name: &str, port: u16, ends: (IpAddr, IpAddr)) -> Option<&T> {
        let exact = || self.names.get(name)?.find(port, ends);
        let below = || suffixes(name).find_map(|suffix| self.suffixes.get(suffix)?.find(port, ends));
        exact().or_else(|| if self.suffixes.is_empty() { None } else { below() }).or_else(|| self.every_name.find(port, ends))
    }

    /// Whether there is no route.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty() && self.suffixes.is_empty() && self.every_name.is_empty() && self.nameless.is_empty()
    }
}

/// What follows each dot of a name, the longest first.
fn suffixes(name: &str) -> impl Iterator<Item = &str> {
    name.match_indices('.').filter_map(|(at, _)| name.get(at + 1..))
}

impl<T: Clone> Table<T> {
    /// Adds a route, or gives the same route another value. A route whose earlier form was different has to be removed first.
    pub fn insert(&mut self, route: &StreamRoute, value: T) {
        if route.snis.is_empty() {
            self.nameless.insert(route, &value);
        }
        for sni in &route.snis {
            match sni {
                SniPattern::Any => self.every_name.insert(route, &value),
                SniPattern::Exact(name) => insert_below(&mut self.names, name, route, &value),
                SniPattern::Wildcard(suffix) => insert_below(&mut self.suffixes, suffix, route, &value),
            }
        }
    }

    /// Takes a route away, in the form in which it was added. Nothing happens if it is not there.
    pub fn remove(&mut self, route: &StreamRoute) {
        if route.snis.is_empty() {
            self.nameless.remove(route);
        }
        for sni in &route.snis {
            match sni {
                SniPattern::Any => self.every_name.remove(route),
                SniPattern::Exact(name) => remove_below(&mut self.names, name, route),
                SniPattern::Wildcard(suffix) => remove_below(&mut self.suffixes, suffix, route),
            }
        }
    }
}

fn insert_below<T: Clone>(names: &mut Names<T>, name: &Arc<str>, route: &StreamRoute, value: &T) {
    if let Some(addresses) = names.get_mut(name) {
        return addresses.insert(route, value);
    }
    let mut addresses = Addresses::default();
    addresses.insert(route, value);
    names.insert_mut(name.clone(), addresses);
}

fn remove_below<T: Clone>(names: &mut Names<T>, name: &Arc<str>, route: &StreamRoute) {
    let Some(addresses) = names.get_mut(name) else { return };
    addresses.remove(route);
    if addresses.is_empty() {
        names.remove_mut(name);
    }
}

impl<T> Addresses<T> {
    /// The first in order that takes these ends: the server's and the client's.
    fn find(&self, port: u16, (server, client): (IpAddr, IpAddr)) -> Option<&T> {
        let own = self.ports.get(&port).map_or(&[][..], Vec::as_slice);
        own.iter()
            .chain(&self.any)
            .filter_map(|group| group.first(server, client).map(|((order, _), value)| ((*order, Reverse(group.shape)), value)))
            .min_by_key(|(rank, _)| *rank)
            .map(|(_, value)| value)
    }

    fn is_empty(&self) -> bool {
        self.any.is_empty() && self.ports.is_empty()
    }
}

impl<T: Clone> Addresses<T> {
    fn insert(&mut self, route: &StreamRoute, value: &T) {
        let place = (route.order, route.id.clone());
        let Some(port) = route.server_port else {
            return add(&mut self.any, route, &place, value);
        };
        if let Some(groups) = self.ports.get_mut(&port) {
            return add(groups, route, &place, value);
        }
        let mut groups = Vec::new();
        add(&mut groups, route, &place, value);
        self.ports.insert_mut(port, groups);
    }

    fn remove(&mut self, route: &StreamRoute) {
        let place = (route.order, route.id.clone());
        let Some(port) = route.server_port else {
            return take(&mut self.any, route, &place);
        };
        let Some(groups) = self.ports.get_mut(&port) else { return };
        take(groups, route, &place);
        if groups.is_empty() {
            self.ports.remove_mut(&port);
        }
    }
}

impl<T> Group<T> {
    fn first(&self, server: IpAddr, client: IpAddr) -> Option<(&(i64, Id), &T)> {
        let bits = (part(self.shape.server, server)?, part(self.shape.remote, client)?);
        self.places.get(&bits)?.first()
    }
}

/// The bits of an address that a block of this kind compares; `None` if the address is of the other family.
fn part(block: Option<Block>, ip: IpAddr) -> Option<u128> {
    let Some(block) = block else { return Some(0) };
    let (bits, width) = match ip {
        IpAddr::V4(v4) if !block.v6 => (u128::from(v4.to_bits()), 32_u32),
        IpAddr::V6(v6) if block.v6 => (v6.to_bits(), 128),
        IpAddr::V4(_) | IpAddr::V6(_) => return None,
    };
    let rest = width.saturating_sub(u32::from(block.len));
    // a shift by the whole width would overflow: a block of length 0 has no bits to compare
    Some(bits.checked_shr(rest).unwrap_or(0))
}

/// Every place of a route: the shape of its group and the bits within.
fn places(route: &StreamRoute) -> impl Iterator<Item = (Shape, Bits)> + '_ {
    let port = route.server_port.is_some();
    sides(&route.server_addr)
        .flat_map(move |(server, high)| sides(&route.remote_addr).map(move |(remote, low)| (Shape { port, server, remote }, (high, low))))
}

/// The blocks of a list; one that takes every address where the list is empty.
fn sides(list: &[Cidr]) -> impl Iterator<Item = (Option<Block>, u128)> + '_ {
    let any = list.is_empty().then_some((None, 0));
    any.into_iter().chain(list.iter().map(|cidr| {
        let block = Some(Block { len: cidr.prefix_len(), v6: cidr.network().is_ipv6() });
        (block, part(block, cidr.network()).unwrap_or(0))
    }))
}

fn add<T: Clone>(groups: &mut Vec<Group<T>>, route: &StreamRoute, place: &(i64, Id), value: &T) {
    for (shape, bits) in places(route) {
        let at = groups.iter().position(|g| g.shape == shape).unwrap_or_else(|| {
            groups.push(Group { shape, places: HashTrieMapSync::new_sync() });
            groups.len() - 1
        });
        let Some(group) = groups.get_mut(at) else { continue };
        match group.places.get_mut(&bits) {
            Some(line) => line.insert_mut(place.clone(), value.clone()),
            None => group.places.insert_mut(bits, RedBlackTreeMapSync::new_sync().insert(place.clone(), value.clone())),
        }
    }
}

fn take<T: Clone>(groups: &mut Vec<Group<T>>, route: &StreamRoute, place: &(i64, Id)) {
    for (shape, bits) in places(route) {
        let Some(group) = groups.iter_mut().find(|g| g.shape == shape) else { continue };
        let Some(line) = group.places.get_mut(&bits) else { continue };
        line.remove_mut(place);
        if line.is_empty() {
            group.places.remove_mut(&bits);
        }
    }
    groups.retain(|g| !g.places.is_empty());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::UpstreamRef;
    use proptest::prelude::*;

    fn route(id: &str) -> StreamRoute {
        StreamRoute {
            id: Id::parse(id).unwrap(),
            server_addr: Vec::new(),
            remote_addr: Vec::new(),
            server_port: None,
            snis: Vec::new(),
            tls_passthrough: false,
            protocol: None,
            order: 0,
            upstream: UpstreamRef::None,
            timeout: None,
            max_duration: None,
            udp_responses: None,
            limit: crate::model::RouteLimit::Global,
            enabled: true,
        }
    }

    fn ask(client: &str, server: &str) -> Ask<'static> {
        Ask { client: client.parse().unwrap(), server: server.parse().unwrap(), sni: None }
    }

    fn table(routes: &[StreamRoute]) -> Table<Id> {
        let mut table = Table::default();
        for r in routes {
            table.insert(r, r.id.clone());
        }
        table
    }

    /// The length of the longest block that holds the address; -1 for a list that takes all, `None` if it does not fit.
    fn fits(list: &[Cidr], ip: IpAddr) -> Option<i16> {
        let any = list.is_empty().then_some(-1);
        any.into_iter().chain(list.iter().filter(|c| c.contains(ip)).map(|c| i16::from(c.prefix_len()))).max()
    }

    /// The rank of the best of a route's patterns for a name: 0 is the name itself, then the longer wildcard, `*`, and no pattern at
    /// all. `None`: none of them takes it.
    fn rank(route: &StreamRoute, name: Option<&str>) -> Option<usize> {
        let Some(name) = name else { return route.snis.is_empty().then_some(0) };
        let takes = |sni: &SniPattern| match sni {
            SniPattern::Exact(own) => (**own == *name).then_some(0),
            SniPattern::Wildcard(suffix) => name.ends_with(&format!(".{suffix}")).then(|| 1000 - suffix.len()),
            SniPattern::Any => Some(1000),
        };
        if route.snis.is_empty() { Some(1001) } else { route.snis.iter().filter_map(takes).min() }
    }

    /// The documented order, said as plainly as possible.
    fn oracle(routes: &[StreamRoute], ask: &Ask<'_>) -> Option<Id> {
        routes
            .iter()
            .filter(|r| r.server_port.is_none_or(|p| p == ask.server.port()))
            .filter_map(|r| Some((rank(r, ask.sni)?, fits(&r.server_addr, ask.server.ip())?, fits(&r.remote_addr, ask.client)?, r)))
            .min_by_key(|(name, server, remote, r)| {
                (*name, r.order, r.server_port.is_none(), Reverse(*server), Reverse(*remote), r.id.clone())
            })
            .map(|(.., r)| r.id.clone())
    }

    fn cidrs() -> impl Strategy<Value = Vec<Cidr>> {
        let one = prop_oneof![
            ((0u8..4), prop_oneof![Just(0u8), Just(8), Just(30), Just(31), Just(32)]).prop_map(|(h, l)| format!("10.0.0.{h}/{l}")),
            ((0u8..4), prop_oneof![Just(0u8), Just(126), Just(127), Just(128)]).prop_map(|(h, l)| format!("2001:db8::{h}/{l}")),
        ];
        prop::collection::vec(one.prop_map(|text| text.parse().unwrap()), 0..3)
    }

    /// Lists in which names meet often; the same pattern may stand there twice.
    fn snis() -> impl Strategy<Value = Vec<SniPattern>> {
        let one = prop::sample::select(vec!["*", "a.b.c", "*.b.c", "*.c", "c", "a.c", "*.a.b.c", "ab.c"]);
        prop_oneof![Just(Vec::new()), prop::collection::vec(one.prop_map(|text| SniPattern::parse(text).unwrap()), 1..4)]
    }

    fn name() -> impl Strategy<Value = Option<&'static str>> {
        prop::sample::select(vec![
            None,
            Some("a.b.c"),
            Some("x.a.b.c"),
            Some("b.c"),
            Some("ab.c"),
            Some("c"),
            Some("z"),
            Some(""),
            Some(".c"),
        ])
    }

    fn routes() -> impl Strategy<Value = Vec<StreamRoute>> {
        let one = (cidrs(), cidrs(), prop::option::of(1u16..4), -1i64..2, snis());
        prop::collection::vec(one, 0..24).prop_map(|list| {
            let make = |(at, (server_addr, remote_addr, server_port, order, snis))| StreamRoute {
                server_addr,
                remote_addr,
                server_port,
                snis,
                order,
                ..route(&format!("r{at}"))
            };
            list.into_iter().enumerate().map(make).collect()
        })
    }

    fn ip() -> impl Strategy<Value = IpAddr> {
        prop_oneof![
            (0u8..5).prop_map(|h| IpAddr::from([10, 0, 0, h])),
            (0u8..4).prop_map(|h| format!("::ffff:10.0.0.{h}").parse().unwrap()),
            (0u8..5).prop_map(|h| format!("2001:db8::{h}").parse().unwrap()),
        ]
    }

    fn asks() -> impl Strategy<Value = Vec<Ask<'static>>> {
        let one = (ip(), ip(), 1u16..5, name());
        let one = one.prop_map(|(client, server, port, sni)| Ask { client, server: SocketAddr::new(server, port), sni });
        prop::collection::vec(one, 1..12)
    }

    proptest! {
        #[test]
        fn the_table_agrees_with_sorting_and_scanning(routes in routes(), asks in asks()) {
            let table = table(&routes);
            for ask in asks {
                prop_assert_eq!(table.find(&ask).cloned(), oracle(&routes, &ask), "{:?}", ask);
            }
        }

        #[test]
        fn what_was_added_and_removed_before_leaves_no_trace(
            routes in routes(), asks in asks(), gone in prop::collection::vec(any::<bool>(), 24), turn in 0usize..24,
        ) {
            let mut all = routes.clone();
            let shift = turn.min(all.len());
            all.rotate_left(shift);
            let mut table = table(&all);
            let before = table.clone();
            let (out, kept): (Vec<_>, Vec<_>) = routes.iter().zip(gone).partition(|(_, gone)| *gone);
            for (r, _) in &out {
                table.remove(r);
            }
            let kept: Vec<_> = kept.into_iter().map(|(r, _)| r.clone()).collect();
            for ask in &asks {
                prop_assert_eq!(table.find(ask).cloned(), oracle(&kept, ask));
                prop_assert_eq!(before.find(ask).cloned(), oracle(&routes, ask), "the copy did not change");
            }
            for r in &kept {
                table.remove(r);
            }
            prop_assert!(table.is_empty());
        }
    }

    #[test]
    fn order_goes_before_specificity_and_specificity_before_id() {
        let wide = StreamRoute { order: -1, ..route("z") };
        let port = StreamRoute { server_port: Some(80), ..route("y") };
        let near = StreamRoute { server_addr: vec!["10.0.0.0/8".parse().unwrap()], ..route("a") };
        let here = ask("192.0.2.1", "10.0.0.1:80");
        assert_eq!(table(&[near.clone(), port.clone(), wide.clone()]).find(&here), Some(&wide.id));
        assert_eq!(table(&[near.clone(), port.clone()]).find(&here), Some(&port.id));
        assert_eq!(table(&[near.clone(), route("a0"), route("b")]).find(&here), Some(&near.id));
        assert_eq!(table(&[route("b"), route("a0")]).find(&here).unwrap().as_str(), "a0");
    }

    #[test]
    fn a_candidate_whose_addresses_do_not_fit_falls_through() {
        let far = StreamRoute { order: -5, remote_addr: vec!["198.51.100.0/24".parse().unwrap()], ..route("far") };
        let rest = route("rest");
        let table = table(&[far, rest]);
        assert_eq!(table.find(&ask("198.51.100.7", "10.0.0.1:1")).unwrap().as_str(), "far");
        assert_eq!(table.find(&ask("198.51.101.7", "10.0.0.1:1")).unwrap().as_str(), "rest");
    }

    fn named(id: &str, sni: &str) -> StreamRoute {
        StreamRoute { snis: vec![SniPattern::parse(sni).unwrap()], ..route(id) }
    }

    #[test]
    fn the_name_goes_before_the_order_and_the_nearer_name_first() {
        let routes = [
            named("exact", "a.b.c"),
            named("deep", "*.b.c"),
            named("wide", "*.c"),
            named("every", "*"),
            StreamRoute { order: -9, ..route("none") },
        ];
        let table = table(&routes);
        let found = |sni| table.find(&Ask { sni, ..ask("192.0.2.1", "10.0.0.1:1") }).unwrap().as_str();
        assert_eq!(found(Some("a.b.c")), "exact");
        assert_eq!(found(Some("x.y.b.c")), "deep", "a wildcard reaches any depth");
        assert_eq!(found(Some("b.c")), "wide", "a wildcard does not take its own name");
        assert_eq!(found(Some("d")), "every");
        assert_eq!(found(None), "none", "a route with a name takes no session without");
    }

    #[test]
    fn a_name_whose_addresses_do_not_fit_falls_through_to_the_next_rank() {
        let far = |r: StreamRoute| StreamRoute { remote_addr: vec!["198.51.100.0/24".parse().unwrap()], ..r };
        let here = Ask { sni: Some("a.b.c"), ..ask("192.0.2.1", "10.0.0.1:1") };
        let mut routes =
            vec![far(named("exact", "a.b.c")), far(named("deep", "*.b.c")), named("wide", "*.c"), named("every", "*"), route("none")];
        for expected in ["wide", "every", "none"] {
            assert_eq!(table(&routes).find(&here).unwrap().as_str(), expected);
            routes.retain(|r| r.id.as_str() != expected);
        }
        assert_eq!(table(&routes).find(&here), None);
    }

    #[test]
    fn ten_thousand_names_are_a_place_each() {
        let mut table = Table::default();
        for n in 0..10_000 {
            table.insert(&named(&format!("r{n}"), &format!("n{n}.test")), n);
        }
        assert_eq!(table.names.get("n77.test").unwrap().any.len(), 1, "nothing is scanned");
        assert_eq!(table.find(&Ask { sni: Some("n9999.test"), ..ask("10.0.0.1", "127.0.0.1:1") }), Some(&9_999));
    }

    #[test]
    fn ten_thousand_distinct_orders_are_still_one_probe() {
        let mut table = Table::default();
        for n in 0u16..10_000 {
            let [high, low] = n.to_be_bytes();
            let remote_addr = vec![format!("10.0.{high}.{low}").parse().unwrap()];
            let r = StreamRoute { order: i64::from(n), remote_addr, ..route(&format!("r{n}")) };
            table.insert(&r, n);
        }
        assert_eq!(table.nameless.any.len(), 1);
        assert_eq!(table.find(&ask("10.0.39.15", "127.0.0.1:1")), Some(&9_999));
    }
}
