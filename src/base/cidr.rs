//! Address ranges: one IP or a CIDR block, host bits allowed.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use ipnet::IpNet;

/// A block of addresses of one family. A plain address is a block of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Cidr(IpNet);

/// Text that is neither an IP address nor a CIDR block.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an IP address or CIDR block")]
pub struct BadCidr;

impl Cidr {
    /// Whether the address is inside; an IPv4 block holds no IPv6 address and the reverse.
    pub fn contains(&self, ip: IpAddr) -> bool {
        self.0.contains(&ip.to_canonical())
    }

    /// The first address of the block.
    pub fn network(&self) -> IpAddr {
        self.0.network()
    }

    /// The number of leading bits that an address must share.
    pub fn prefix_len(&self) -> u8 {
        self.0.prefix_len()
    }
}

impl FromStr for Cidr {
    type Err = BadCidr;

    fn from_str(text: &str) -> Result<Self, BadCidr> {
        let net = match text.parse::<IpAddr>() {
            Ok(ip) => IpNet::from(ip.to_canonical()),
            Err(_) => text.parse::<IpNet>().map_err(|_| BadCidr)?,
        };
        Ok(Self(net.trunc()))
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.prefix_len() == self.0.max_prefix_len() { self.0.addr().fmt(f) } else { self.0.fmt(f) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_bits_are_allowed_and_do_not_matter() {
        let block: Cidr = "127.0.0.1/26".parse().unwrap();
        assert!(block.contains("127.0.0.63".parse().unwrap()));
        assert!(!block.contains("127.0.0.64".parse().unwrap()));
        assert_eq!(block.to_string(), "127.0.0.0/26");
    }

    #[test]
    fn families_do_not_mix_but_mapped_addresses_are_ipv4() {
        let all: Cidr = "0.0.0.0/0".parse().unwrap();
        assert!(!all.contains("::1".parse().unwrap()));
        assert!(all.contains("::ffff:10.0.0.1".parse().unwrap()));
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for bad in ["", ":/8", "127.0.0.1/33", "127.0.0.256", "localhost", "::1/129"] {
            assert_eq!(bad.parse::<Cidr>(), Err(BadCidr), "{bad}");
        }
    }
}
