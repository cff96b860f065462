//! The L4 table: from the two addresses of a session to the first route in order that takes it. Tuple-space search over
//! persistent maps, so that a copy is cheap and an edit touches one path. Transports and listeners are the caller's business.

use std::cmp::Reverse;
use std::net::{IpAddr, SocketAddr};

use rpds::{HashTrieMapSync, RedBlackTreeMapSync};

use crate::base::cidr::Cidr;
use crate::base::id::Id;
use crate::model::StreamRoute;

/// The two ends of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ask {
    /// The client.
    pub client: IpAddr,
    /// The address that the client connected to.
    pub server: SocketAddr,
}

/// The routes of one transport, each with a value. A copy shares everything with its original.
///
/// A route takes one entry per pair of its server and remote blocks; a look-up costs one probe per distinct shape (port given or
/// not, length of the server block, length of the remote block) and does not allocate.
#[derive(Debug)]
pub struct Table<T> {
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
        Self { ports: HashTrieMapSync::new_sync(), any: Vec::new() }
    }
}

impl<T> Table<T> {
    /// The first route in order that takes a session: smaller `order`, then the more specific, then the smaller id.
    pub fn find(&self, ask: &Ask) -> Option<&T> {
        let (server, client) = (ask.server.ip().to_canonical(), ask.client.to_canonical());
        let own = self.ports.get(&ask.server.port()).map_or(&[][..], Vec::as_slice);
        own.iter()
            .chain(&self.any)
            .filter_map(|group| group.first(server, client).map(|((order, _), value)| ((*order, Reverse(group.shape)), value)))
            .min_by_key(|(rank, _)| *rank)
            .map(|(_, value)| value)
    }

    /// Whether there is no route.
    pub fn is_empty(&self) -> bool {
        self.any.is_empty() && self.ports.is_empty()
    }
}

impl<T: Clone> Table<T> {
    /// Adds a route, or gives the same route another value. A route whose earlier form was different has to be removed first.
    pub fn insert(&mut self, route: &StreamRoute, value: T) {
        let place = (route.order, route.id.clone());
        let Some(port) = route.server_port else {
            return add(&mut self.any, route, &place, &value);
        };
        if let Some(groups) = self.ports.get_mut(&port) {
            return add(groups, route, &place, &value);
        }
        let mut groups = Vec::new();
        add(&mut groups, route, &place, &value);
        self.ports.insert_mut(port, groups);
    }

    /// Takes a route away, in the form in which it was added. Nothing happens if it is not there.
    pub fn remove(&mut self, route: &StreamRoute) {
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
            protocol: None,
            order: 0,
            upstream: UpstreamRef::None,
            timeout: None,
            max_duration: None,
            limit: crate::model::RouteLimit::Global,
            enabled: true,
        }
    }

    fn ask(client: &str, server: &str) -> Ask {
        Ask { client: client.parse().unwrap(), server: server.parse().unwrap() }
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

    /// The documented order, said as plainly as possible.
    fn oracle(routes: &[StreamRoute], ask: &Ask) -> Option<Id> {
        routes
            .iter()
            .filter(|r| r.server_port.is_none_or(|p| p == ask.server.port()))
            .filter_map(|r| Some((fits(&r.server_addr, ask.server.ip())?, fits(&r.remote_addr, ask.client)?, r)))
            .min_by_key(|(server, remote, r)| (r.order, r.server_port.is_none(), Reverse(*server), Reverse(*remote), r.id.clone()))
            .map(|(_, _, r)| r.id.clone())
    }

    fn cidrs() -> impl Strategy<Value = Vec<Cidr>> {
        let one = prop_oneof![
            ((0u8..4), prop_oneof![Just(0u8), Just(8), Just(30), Just(31), Just(32)]).prop_map(|(h, l)| format!("10.0.0.{h}/{l}")),
            ((0u8..4), prop_oneof![Just(0u8), Just(126), Just(127), Just(128)]).prop_map(|(h, l)| format!("2001:db8::{h}/{l}")),
        ];
        prop::collection::vec(one.prop_map(|text| text.parse().unwrap()), 0..3)
    }

    fn routes() -> impl Strategy<Value = Vec<StreamRoute>> {
        let one = (cidrs(), cidrs(), prop::option::of(1u16..4), -1i64..2);
        prop::collection::vec(one, 0..24).prop_map(|list| {
            let make = |(at, (server_addr, remote_addr, server_port, order))| StreamRoute {
                server_addr,
                remote_addr,
                server_port,
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

    fn asks() -> impl Strategy<Value = Vec<Ask>> {
        let one = (ip(), ip(), 1u16..5).prop_map(|(client, server, port)| Ask { client, server: SocketAddr::new(server, port) });
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

    #[test]
    fn ten_thousand_distinct_orders_are_still_one_probe() {
        let mut table = Table::default();
        for n in 0u16..10_000 {
            let [high, low] = n.to_be_bytes();
            let remote_addr = vec![format!("10.0.{high}.{low}").parse().unwrap()];
            let r = StreamRoute { order: i64::from(n), remote_addr, ..route(&format!("r{n}")) };
            table.insert(&r, n);
        }
        assert_eq!(table.any.len(), 1);
        assert_eq!(table.find(&ask("10.0.39.15", "127.0.0.1:1")), Some(&9_999));
    }
}
