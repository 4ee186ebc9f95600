//! Where requests that tasks make may go: judged by the address that is connected to, never by a name.
//!
//! Whoever may write a task could otherwise reach what only this machine can: the services on its loopback, its
//! private network, the metadata of its cloud. The client asks right before each connect, with the very address
//! that it then connects to, so that a name that resolves differently from one moment to the next changes nothing.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// The rules. By default only addresses of the public internet.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Egress {
    allowed: Vec<Cidr>,
    private: bool,
}

impl Egress {
    /// Only the public internet.
    #[must_use]
    pub fn public_only() -> Self {
        Self::default()
    }

    /// This network too, whatever it is for.
    #[must_use]
    pub fn allow(mut self, network: Cidr) -> Self {
        self.allowed.push(network);
        self
    }

    /// Loopback, private, shared and unique-local addresses too. Not link-local ones and not the known addresses
    /// of cloud metadata: those hand out the machine's own credentials and have to be [allowed](Self::allow) by
    /// their network.
    #[must_use]
    pub fn allow_private(mut self) -> Self {
        self.private = true;
        self
    }

    /// Whether this address may be connected to.
    ///
    /// # Errors
    /// [`Refused`], which says what the address is for.
    pub fn judge(&self, address: IpAddr) -> Result<(), Refused> {
        let address = address.to_canonical();
        if self.allowed.iter().any(|network| network.contains(address)) {
            return Ok(());
        }
        match reach_of(address) {
            Reach::Public => Ok(()),
            Reach::Private(_) if self.private => Ok(()),
            Reach::Private(what) | Reach::Special(what) => Err(Refused { address, what }),
        }
    }
}

/// An address that may not be connected to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{address} may not be connected to: it is {what}, and no allowed network contains it")]
pub struct Refused {
    /// The address.
    pub address: IpAddr,
    /// What it is for.
    pub what: &'static str,
}

/// A network: an address and how many of its bits count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cidr {
    network: IpAddr,
    bits: u8,
}

impl Cidr {
    /// Whether the address lies in it. An IPv4 address in its IPv6 form counts as IPv4.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.network, address.to_canonical()) {
            (IpAddr::V4(network), IpAddr::V4(address)) => within_v4(address, network, self.bits),
            (IpAddr::V6(network), IpAddr::V6(address)) => within_v6(address, network, self.bits),
            _ => false,
        }
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.network, self.bits)
    }
}

/// A text that is no network.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no network: expected an address and the number of its bits that count, such as 10.0.0.0/8")]
pub struct NotCidr(String);

impl FromStr for Cidr {
    type Err = NotCidr;

    /// `10.0.0.0/8`, `fd00::/8`; a bare address is a network of its own. Bits beyond those that count must be
    /// zero, since `10.1.2.3/8` may be a slip of the pen.
    fn from_str(text: &str) -> Result<Self, NotCidr> {
        let wrong = || NotCidr(text.to_owned());
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text, None),
        };
        let network: IpAddr = address.parse().map_err(|_| wrong())?;
        let most = if network.is_ipv4() { 32 } else { 128 };
        let bits = match bits {
            None => most,
            Some(bits) if bits.bytes().all(|b| b.is_ascii_digit()) => bits.parse().map_err(|_| wrong())?,
            Some(_) => return Err(wrong()),
        };
        let rest = match network {
            IpAddr::V4(address) => u128::from(address.to_bits()).checked_shl(96 + u32::from(bits)),
            IpAddr::V6(address) => address.to_bits().checked_shl(u32::from(bits)),
        };
        // An IPv4 address in its IPv6 form would be compared as IPv4 and never be found in this network.
        let mapped = matches!(network, IpAddr::V6(address) if address.to_ipv4_mapped().is_some());
        if bits > most || rest.unwrap_or(0) != 0 || mapped {
            return Err(wrong());
        }
        Ok(Self { network, bits })
    }
}

fn within_v4(address: Ipv4Addr, network: Ipv4Addr, bits: u8) -> bool {
    let differing = address.to_bits() ^ network.to_bits();
    differing.leading_zeros() >= u32::from(bits)
}

fn within_v6(address: Ipv6Addr, network: Ipv6Addr, bits: u8) -> bool {
    let differing = address.to_bits() ^ network.to_bits();
    differing.leading_zeros() >= u32::from(bits)
}

/// How far an address reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reach {
    /// Everywhere.
    Public,
    /// This machine or its own network.
    Private(&'static str),
    /// Something that hardly anybody wants to call on purpose.
    Special(&'static str),
}

const METADATA: Reach = Reach::Special("where clouds keep the metadata of their machines");
const DOCUMENTATION: Reach = Reach::Special("for documentation");

/// The IANA registry of special-purpose IPv4 addresses, and the addresses at which clouds answer their machines.
/// The first row that contains an address counts.
const V4: [(Ipv4Addr, u8, Reach); 19] = [
    // AWS, Google, Azure and most others; the whole network is link-local.
    (Ipv4Addr::new(169, 254, 169, 254), 32, METADATA),
    // Alibaba.
    (Ipv4Addr::new(100, 100, 100, 200), 32, METADATA),
    // Azure; a public address by its number only.
    (Ipv4Addr::new(168, 63, 129, 16), 32, METADATA),
    // Oracle.
    (Ipv4Addr::new(192, 0, 0, 192), 32, METADATA),
    (Ipv4Addr::new(0, 0, 0, 0), 8, Reach::Special("this host")),
    (Ipv4Addr::new(10, 0, 0, 0), 8, Reach::Private("private")),
    (Ipv4Addr::new(100, 64, 0, 0), 10, Reach::Private("shared behind a carrier's address translation")),
    (Ipv4Addr::new(127, 0, 0, 0), 8, Reach::Private("loopback")),
    (Ipv4Addr::new(169, 254, 0, 0), 16, Reach::Special("link-local")),
    (Ipv4Addr::new(172, 16, 0, 0), 12, Reach::Private("private")),
    (Ipv4Addr::new(192, 0, 0, 0), 24, Reach::Special("for protocol assignments")),
    (Ipv4Addr::new(192, 0, 2, 0), 24, DOCUMENTATION),
    (Ipv4Addr::new(192, 88, 99, 0), 24, Reach::Special("a relay of 6to4")),
    (Ipv4Addr::new(192, 168, 0, 0), 16, Reach::Private("private")),
    (Ipv4Addr::new(198, 18, 0, 0), 15, Reach::Special("for benchmarks")),
    (Ipv4Addr::new(198, 51, 100, 0), 24, DOCUMENTATION),
    (Ipv4Addr::new(203, 0, 113, 0), 24, DOCUMENTATION),
    (Ipv4Addr::new(224, 0, 0, 0), 4, Reach::Special("multicast")),
    (Ipv4Addr::new(240, 0, 0, 0), 4, Reach::Special("reserved")),
];

/// The same for IPv6; what is in no row is public only inside `2000::/3`, all that has been given out.
const V6: [(Ipv6Addr, u8, Reach); 13] = [
    // AWS.
    (Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254), 128, METADATA),
    // Google.
    (Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254), 128, METADATA),
    (Ipv6Addr::UNSPECIFIED, 128, Reach::Special("this host")),
    (Ipv6Addr::LOCALHOST, 128, Reach::Private("loopback")),
    (
        Ipv6Addr::new(0x64, 0xff9b, 1, 0, 0, 0, 0, 0),
        48,
        Reach::Special("a translation of IPv4 for local use"),
    ),
    (Ipv6Addr::new(0x100, 0, 0, 0, 0, 0, 0, 0), 64, Reach::Special("for discarding")),
    (
        Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0),
        23,
        Reach::Special("for protocol assignments, such as Teredo"),
    ),
    (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0), 32, DOCUMENTATION),
    (Ipv6Addr::new(0x3fff, 0, 0, 0, 0, 0, 0, 0), 20, DOCUMENTATION),
    (Ipv6Addr::new(0xfc00, 0, 0, 0, 0, 0, 0, 0), 7, Reach::Private("unique-local")),
    (Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0), 10, Reach::Special("link-local")),
    (Ipv6Addr::new(0xfec0, 0, 0, 0, 0, 0, 0, 0), 10, Reach::Special("site-local")),
    (Ipv6Addr::new(0xff00, 0, 0, 0, 0, 0, 0, 0), 8, Reach::Special("multicast")),
];

/// The network of translated IPv4 addresses (NAT64), which end in the address they stand for.
const NAT64: Ipv6Addr = Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, 0, 0);
/// The network of 6to4, whose addresses have the IPv4 address that packets go to behind the first 16 bits.
const SIX_TO_FOUR: Ipv6Addr = Ipv6Addr::new(0x2002, 0, 0, 0, 0, 0, 0, 0);
/// All that has been given out for unicast.
const GLOBAL_UNICAST: Ipv6Addr = Ipv6Addr::new(0x2000, 0, 0, 0, 0, 0, 0, 0);

fn reach_of(address: IpAddr) -> Reach {
    match address.to_canonical() {
        IpAddr::V4(address) => reach_of_v4(address),
        IpAddr::V6(address) => reach_of_v6(address),
    }
}

fn reach_of_v4(address: Ipv4Addr) -> Reach {
    let row = V4.iter().find(|(network, bits, _)| within_v4(address, *network, *bits));
    row.map_or(Reach::Public, |(_, _, reach)| *reach)
}

fn reach_of_v6(address: Ipv6Addr) -> Reach {
    if within_v6(address, NAT64, 96) {
        let [.., a, b, c, d] = address.octets();
        return reach_of_v4(Ipv4Addr::new(a, b, c, d));
    }
    if within_v6(address, SIX_TO_FOUR, 16) {
        let [_, _, a, b, c, d, ..] = address.octets();
        return reach_of_v4(Ipv4Addr::new(a, b, c, d));
    }
    match V6.iter().find(|(network, bits, _)| within_v6(address, *network, *bits)) {
        Some((_, _, reach)) => *reach,
        None if within_v6(address, GLOBAL_UNICAST, 3) => Reach::Public,
        None => Reach::Special("no address of the public internet"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn cidr(text: &str) -> Cidr {
        text.parse().unwrap()
    }

    /// Address, allowed by default, allowed with `allow_private`.
    const TABLE: [(&str, bool, bool); 52] = [
        ("1.1.1.1", true, true),
        ("8.8.8.8", true, true),
        ("9.255.255.255", true, true),
        ("10.0.0.0", false, true),
        ("10.255.255.255", false, true),
        ("11.0.0.0", true, true),
        ("0.0.0.0", false, false),
        ("0.1.2.3", false, false),
        ("127.0.0.1", false, true),
        ("127.255.255.254", false, true),
        ("100.63.255.255", true, true),
        ("100.64.0.1", false, true),
        ("100.127.255.255", false, true),
        ("100.128.0.0", true, true),
        ("100.100.100.200", false, false),
        ("168.63.129.16", false, false),
        ("168.63.129.17", true, true),
        ("169.253.255.255", true, true),
        ("169.254.0.1", false, false),
        ("169.254.169.254", false, false),
        ("169.255.0.0", true, true),
        ("172.15.255.255", true, true),
        ("172.16.0.0", false, true),
        ("172.31.255.255", false, true),
        ("172.32.0.0", true, true),
        ("192.0.0.192", false, false),
        ("192.0.2.1", false, false),
        ("192.167.255.255", true, true),
        ("192.168.0.1", false, true),
        ("192.169.0.0", true, true),
        ("198.17.255.255", true, true),
        ("198.18.0.1", false, false),
        ("198.19.255.255", false, false),
        ("203.0.113.7", false, false),
        ("223.255.255.255", true, true),
        ("224.0.0.1", false, false),
        ("255.255.255.255", false, false),
        ("2606:4700::1111", true, true),
        ("::", false, false),
        ("::1", false, true),
        ("::ffff:127.0.0.1", false, true),
        ("::ffff:169.254.169.254", false, false),
        ("::ffff:8.8.8.8", true, true),
        ("::10.0.0.1", false, false),
        ("64:ff9b::10.0.0.1", false, true),
        ("64:ff9b::169.254.169.254", false, false),
        ("64:ff9b::8.8.8.8", true, true),
        ("2002:a9fe:a9fe::1", false, false),
        ("fd12::1", false, true),
        ("fd00:ec2::254", false, false),
        ("fe80::1", false, false),
        ("ff02::1", false, false),
    ];

    #[test]
    fn addresses_that_only_this_machine_can_reach_are_refused() {
        let (public, private) = (Egress::public_only(), Egress::public_only().allow_private());
        for (address, by_default, with_private) in TABLE {
            assert_eq!(public.judge(ip(address)).is_ok(), by_default, "{address} by default");
            assert_eq!(private.judge(ip(address)).is_ok(), with_private, "{address} with allow_private");
        }
    }

    #[test]
    fn a_network_that_is_allowed_by_name_is_allowed_whatever_it_is() {
        let egress = Egress::public_only().allow(cidr("127.0.0.1")).allow(cidr("169.254.169.0/24"));
        for (address, allowed) in [
            ("127.0.0.1", true),
            ("::ffff:127.0.0.1", true),
            ("127.0.0.2", false),
            ("169.254.169.254", true),
            ("169.254.170.2", false),
            ("::1", false),
        ] {
            assert_eq!(egress.judge(ip(address)).is_ok(), allowed, "{address}");
        }
        assert_eq!(
            egress.judge(ip("::1")).unwrap_err().to_string(),
            "::1 may not be connected to: it is loopback, and no allowed network contains it"
        );
    }

    #[test]
    fn what_is_no_network_is_an_error() {
        for good in ["0.0.0.0/0", "::/0", "10.0.0.0/8", "fd00::/8", "1.2.3.4/32", "::1", "10.0.0.1"] {
            assert!(good.parse::<Cidr>().is_ok(), "{good}");
        }
        for bad in [
            "",
            "/",
            "10.0.0.0/",
            "10.0.0.0/33",
            "10.0.0.1/8",
            "fd00::1/8",
            "::/129",
            "10.0.0/8",
            "10.0.0.0/+8",
            "10.0.0.0/-1",
            "10.0.0.0/8/8",
            "host/8",
            "10.0.0.0/999",
            "::ffff:10.0.0.0/104",
        ] {
            assert!(bad.parse::<Cidr>().is_err(), "{bad}");
        }
        assert_eq!(cidr("10.0.0.1").to_string(), "10.0.0.1/32");
    }

    proptest! {
        #[test]
        fn the_ipv6_forms_of_an_ipv4_address_are_never_allowed_where_it_is_not(bits: u32) {
            let v4 = Ipv4Addr::from_bits(bits);
            let [a, b, c, d] = v4.octets();
            let low = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
            let forms = [
                v4.to_ipv6_mapped(),
                Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, low.0, low.1),
                Ipv6Addr::new(0x2002, low.0, low.1, 0, 0, 0, 0, 1),
            ];
            for egress in [Egress::public_only(), Egress::public_only().allow_private()] {
                for form in forms {
                    prop_assert_eq!(
                        egress.judge(IpAddr::V6(form)).is_ok(),
                        egress.judge(IpAddr::V4(v4)).is_ok(),
                        "{} and {}", form, v4
                    );
                }
            }
        }

        #[test]
        fn a_network_shows_itself_as_it_is_read(bits in 0u8..=32, address: u32) {
            let mask = if bits == 0 { 0 } else { u32::MAX << (32 - bits) };
            let text = format!("{}/{bits}", Ipv4Addr::from_bits(address & mask));
            let read = cidr(&text);
            prop_assert_eq!(read.to_string(), text);
            prop_assert!(read.contains(IpAddr::V4(Ipv4Addr::from_bits(address))));
        }
    }
}
