//! Which addresses may be connected to. Pure: what resolves and connects asks here.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use crate::model::Fault;

/// Which addresses a transfer may connect to.
///
/// It judges the addresses of the target. A proxy that the environment names looks a name up by
/// itself: a strict policy judges what the name leads to here before the proxy is asked, any other
/// only a literal address.
#[derive(Clone, Debug)]
pub struct AddressPolicy {
    is_strict: bool,
    refused_v4: &'static [(Ipv4Net, &'static str)],
    refused_v6: &'static [(Ipv6Net, &'static str)],
    allowed: Vec<IpNet>,
}

/// An address that may not be connected to, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    address: IpAddr,
    kind: &'static str,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the address policy refuses {} ({}); if it is meant, allow its network",
            self.address, self.kind
        )
    }
}

impl std::error::Error for Refusal {}

impl AddressPolicy {
    /// For a program that chooses its own targets: private and loopback addresses are fine. What
    /// can never be meant (multicast, unspecified, cloud metadata) is refused.
    pub const fn permissive() -> Self {
        Self { is_strict: false, refused_v4: NEVER_V4, refused_v6: NEVER_V6, allowed: Vec::new() }
    }

    /// For targets that strangers choose: only public addresses.
    pub const fn strict() -> Self {
        Self { is_strict: true, refused_v4: STRICT_V4, refused_v6: STRICT_V6, allowed: Vec::new() }
    }

    /// The same, with networks that are allowed whatever else holds, e.g. `10.1.0.0/16`.
    pub fn allow(mut self, networks: &[String]) -> Result<Self, Fault> {
        for network in networks {
            let net = network.parse::<IpNet>().or_else(|_| network.parse().map(IpAddr::into));
            self.allowed.push(net.map_err(|_: std::net::AddrParseError| {
                Fault::invalid("allow", format!("not a network such as 10.1.0.0/16: {network:?}"))
            })?);
        }
        Ok(self)
    }

    /// Whether targets are chosen by strangers.
    pub(crate) const fn is_strict(&self) -> bool {
        self.is_strict
    }

    /// Whether `address` may be connected to. An IPv6 address that carries an IPv4 address is
    /// judged by both.
    pub fn judge(&self, address: IpAddr) -> Result<(), Refusal> {
        let embedded = embedded_v4(address);
        let candidates = [Some(address), embedded.map(IpAddr::V4)];
        if candidates.iter().flatten().any(|ip| self.allowed.iter().any(|net| net.contains(ip))) {
            return Ok(());
        }
        let refused = candidates.iter().flatten().find_map(|ip| self.refused(*ip));
        refused.map_or(Ok(()), |kind| Err(Refusal { address, kind }))
    }

    fn refused(&self, address: IpAddr) -> Option<&'static str> {
        match address {
            IpAddr::V4(ip) => {
                let found = self.refused_v4.iter().find(|(net, _)| net.contains(&ip));
                found.map(|(_, kind)| *kind)
            }
            IpAddr::V6(ip) => {
                let found = self.refused_v6.iter().find(|(net, _)| net.contains(&ip));
                found.map(|(_, kind)| *kind)
            }
        }
    }
}

/// The IPv4 address that an IPv6 address stands for or is routed to.
fn embedded_v4(address: IpAddr) -> Option<Ipv4Addr> {
    let IpAddr::V6(ip) = address else { return None };
    let [s0, s1, s2, s3, s4, s5, s6, s7] = ip.segments();
    let join = |high: u16, low: u16| Ipv4Addr::from((u32::from(high) << 16) | u32::from(low));
    match (s0, s1, s2, s3, s4, s5) {
        (0, 0, 0, 0, 0, 0) if s6 == 0 => None, // ::, ::1 and their like
        // compatible and mapped; translated; NAT64
        (0, 0, 0, 0, 0, 0 | 0xffff) | (0, 0, 0, 0, 0xffff, 0) | (0x64, 0xff9b, 0, 0, 0, 0) => {
            Some(join(s6, s7))
        }
        (0x2002, ..) => Some(join(s1, s2)),
        _ => None,
    }
}

const fn v4(a: u8, b: u8, c: u8, d: u8, bits: u8) -> Ipv4Net {
    Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), bits)
}

const fn v6(high: [u16; 4], low: u16, bits: u8) -> Ipv6Net {
    let [a, b, c, d] = high;
    Ipv6Net::new_assert(Ipv6Addr::new(a, b, c, d, 0, 0, 0, low), bits)
}

// SOURCE: the IANA special-purpose registries (RFC 6890 and what updates it), and what clouds say.
const NEVER_V4: &[(Ipv4Net, &str)] = &[
    (v4(0, 0, 0, 0, 8), "unspecified"),
    (v4(169, 254, 169, 254, 32), "cloud metadata"),
    (v4(169, 254, 170, 2, 32), "cloud metadata"),
    (v4(169, 254, 170, 23, 32), "cloud metadata"),
    (v4(100, 100, 100, 200, 32), "cloud metadata"),
    (v4(168, 63, 129, 16, 32), "cloud metadata"),
    (v4(224, 0, 0, 0, 4), "multicast"),
    (v4(240, 0, 0, 0, 4), "reserved"),
];

const NEVER_V6: &[(Ipv6Net, &str)] = &[
    (v6([0, 0, 0, 0], 0, 128), "unspecified"),
    (v6([0xfd00, 0xec2, 0, 0], 0x254, 128), "cloud metadata"),
    (v6([0xfd00, 0xec2, 0, 0], 0x23, 128), "cloud metadata"),
    (v6([0xfd20, 0xce, 0, 0], 0x254, 128), "cloud metadata"),
    (v6([0xff00, 0, 0, 0], 0, 8), "multicast"),
];

const STRICT_V4: &[(Ipv4Net, &str)] = &[
    (v4(0, 0, 0, 0, 8), "unspecified"),
    (v4(10, 0, 0, 0, 8), "private"),
    (v4(100, 64, 0, 0, 10), "carrier-grade NAT"),
    (v4(127, 0, 0, 0, 8), "loopback"),
    (v4(168, 63, 129, 16, 32), "cloud metadata"),
    (v4(169, 254, 0, 0, 16), "link-local"),
    (v4(172, 16, 0, 0, 12), "private"),
    (v4(192, 0, 0, 0, 24), "reserved"),
    (v4(192, 0, 2, 0, 24), "documentation"),
    (v4(192, 88, 99, 0, 24), "6to4 relay"),
    (v4(192, 168, 0, 0, 16), "private"),
    (v4(198, 18, 0, 0, 15), "benchmarking"),
    (v4(198, 51, 100, 0, 24), "documentation"),
    (v4(203, 0, 113, 0, 24), "documentation"),
    (v4(224, 0, 0, 0, 4), "multicast"),
    (v4(240, 0, 0, 0, 4), "reserved"),
];

const STRICT_V6: &[(Ipv6Net, &str)] = &[
    (v6([0, 0, 0, 0], 0, 128), "unspecified"),
    (v6([0, 0, 0, 0], 1, 128), "loopback"),
    (v6([0x64, 0xff9b, 1, 0], 0, 48), "local NAT64"),
    (v6([0x100, 0, 0, 0], 0, 64), "discard"),
    (v6([0x2001, 0, 0, 0], 0, 23), "reserved or tunnelled"),
    (v6([0x2001, 0xdb8, 0, 0], 0, 32), "documentation"),
    (v6([0x3fff, 0, 0, 0], 0, 20), "documentation"),
    (v6([0x5f00, 0, 0, 0], 0, 16), "segment routing"),
    (v6([0xfc00, 0, 0, 0], 0, 7), "unique local"),
    (v6([0xfe80, 0, 0, 0], 0, 10), "link-local"),
    (v6([0xfec0, 0, 0, 0], 0, 10), "site-local"),
    (v6([0xff00, 0, 0, 0], 0, 8), "multicast"),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(policy: &AddressPolicy, address: &str) -> &'static str {
        policy.judge(address.parse().expect(address)).err().map_or("allowed", |r| r.kind)
    }

    #[test]
    fn each_kind_of_address_is_judged_by_both_policies() {
        let cases = [
            ("8.8.8.8", "allowed", "allowed"),
            ("0.0.0.0", "unspecified", "unspecified"),
            ("10.1.2.3", "private", "allowed"),
            ("172.31.255.255", "private", "allowed"),
            ("172.32.0.0", "allowed", "allowed"),
            ("192.168.0.1", "private", "allowed"),
            ("127.0.0.1", "loopback", "allowed"),
            ("100.64.0.1", "carrier-grade NAT", "allowed"),
            ("100.128.0.1", "allowed", "allowed"),
            ("169.254.1.1", "link-local", "allowed"),
            ("169.254.169.254", "link-local", "cloud metadata"),
            ("168.63.129.16", "cloud metadata", "cloud metadata"),
            ("100.100.100.200", "carrier-grade NAT", "cloud metadata"),
            ("203.0.113.9", "documentation", "allowed"),
            ("198.19.0.1", "benchmarking", "allowed"),
            ("239.1.1.1", "multicast", "multicast"),
            ("255.255.255.255", "reserved", "reserved"),
            ("2606:4700::1", "allowed", "allowed"),
            ("::", "unspecified", "unspecified"),
            ("::1", "loopback", "allowed"),
            ("fe80::1", "link-local", "allowed"),
            ("fd12::1", "unique local", "allowed"),
            ("fd00:ec2::254", "unique local", "cloud metadata"),
            ("ff02::1", "multicast", "multicast"),
            ("2001:db8::1", "documentation", "allowed"),
            ("::ffff:8.8.8.8", "allowed", "allowed"),
            ("::ffff:10.0.0.1", "private", "allowed"),
            ("::ffff:169.254.169.254", "link-local", "cloud metadata"),
            ("::127.0.0.1", "loopback", "allowed"),
            ("64:ff9b::10.0.0.1", "private", "allowed"),
            ("64:ff9b::8.8.8.8", "allowed", "allowed"),
            ("64:ff9b:1::1", "local NAT64", "allowed"),
            ("2002:a00:1::", "private", "allowed"),
            ("2001:0:4136:e378::1", "reserved or tunnelled", "allowed"),
        ];
        let (strict, permissive) = (AddressPolicy::strict(), AddressPolicy::permissive());
        for (address, by_strict, by_permissive) in cases {
            assert_eq!(kind(&strict, address), by_strict, "strict: {address}");
            assert_eq!(kind(&permissive, address), by_permissive, "permissive: {address}");
        }
    }

    #[test]
    fn an_allowed_network_is_an_exception_also_for_its_ipv6_forms() {
        let nets = ["10.1.0.0/16".to_owned(), "::1".to_owned()];
        let policy = AddressPolicy::strict().allow(&nets).unwrap();
        assert_eq!(kind(&policy, "10.1.2.3"), "allowed");
        assert_eq!(kind(&policy, "::ffff:10.1.2.3"), "allowed");
        assert_eq!(kind(&policy, "::1"), "allowed");
        assert_eq!(kind(&policy, "10.2.0.1"), "private");
        assert!(AddressPolicy::strict().allow(&["ten".to_owned()]).is_err());
    }
}
