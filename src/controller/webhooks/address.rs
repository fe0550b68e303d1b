//! Which addresses no request goes to that somebody else has named.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

/// Why an address is not connected to; `None`: it may be. Private ones only where they are allowed; those of the node itself, of the link and of everybody
/// never.
#[must_use]
pub fn refused(ip: IpAddr, allowed: &[IpNet]) -> Option<&'static str> {
    let (never, private) = match ip {
        IpAddr::V4(ip) => (never_v4(ip), is_private_v4(ip)),
        IpAddr::V6(ip) => (never_v6(ip), ip.is_unique_local()),
    };
    if never {
        return Some("is an address that no webhook reaches");
    }
    let is_allowed = allowed.iter().any(|network| network.contains(&ip));
    (private && !is_allowed)
        .then_some("is a private address; whoever runs plimsoll can allow its network (chart value webhooks.privateRanges)")
}

/// This host, the link (the node's metadata service), multicast, broadcast, and what is reserved.
fn never_v4(ip: Ipv4Addr) -> bool {
    let [first, ..] = ip.octets();
    ip.is_loopback() || ip.is_link_local() || ip.is_multicast() || first == 0 || first >= 240
}

/// The same; and whatever is an IPv4 address in another form.
fn never_v6(ip: Ipv6Addr) -> bool {
    let [first, second, third, ..] = ip.segments();
    let translated = first == 0x64 && second == 0xff9b;
    let tunnelled = first == 0x2002 || first == 0x2001 && second == 0;
    // ::/96 and ::ffff:0:0/96 are IPv4 addresses, ::1 and :: this host.
    let low = first == 0 && second == 0 && third == 0;
    low || translated || tunnelled || ip.is_multicast() || ip.is_unicast_link_local()
}

fn is_private_v4(ip: Ipv4Addr) -> bool {
    let [first, second, third, _] = ip.octets();
    let shared = first == 100 && (64..128).contains(&second);
    let special = first == 192 && second == 0 && third == 0 || first == 198 && (second == 18 || second == 19);
    ip.is_private() || shared || special
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_connected_to() {
        let allowed: Vec<IpNet> = ["10.1.0.0/16", "fd00:1::/32", "127.0.0.0/8"].iter().map(|text| text.parse().unwrap()).collect();
        let never = [
            "127.0.0.1",
            "127.1.2.3",
            "169.254.169.254",
            "0.0.0.0",
            "0.1.2.3",
            "224.0.0.1",
            "255.255.255.255",
            "240.0.0.1",
            "::1",
            "::",
            "fe80::1",
            "ff02::1",
            "::ffff:10.1.0.1",
            "::ffff:127.0.0.1",
            "::10.1.0.1",
            "64:ff9b::a9fe:a9fe",
            "2002:7f00:1::",
            "2001::1",
        ];
        for ip in never {
            assert!(refused(ip.parse().unwrap(), &allowed).is_some_and(|why| why.contains("no webhook")), "{ip}");
        }
        for ip in ["10.2.0.1", "172.16.0.1", "192.168.1.1", "100.64.0.1", "198.18.0.1", "192.0.0.1", "fd00:2::1", "fc00::1"] {
            assert!(refused(ip.parse().unwrap(), &allowed).is_some_and(|why| why.contains("private")), "{ip}");
        }
        for ip in ["10.1.255.1", "fd00:1::5", "93.184.216.34", "2606:4700::1111", "192.0.2.1", "100.128.0.1"] {
            assert_eq!(refused(ip.parse().unwrap(), &allowed), None, "{ip}");
        }
    }
}
