//! Addresses that keep their number, whatever name a resolver gives for them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Addresses that mean the same on every host and must stay visible, whatever name somebody gives for them: loopback,
/// link-local, multicast, and the metadata services of the clouds.
pub fn is_nameable(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            let metadata = [
                Ipv4Addr::new(169, 254, 169, 254),
                Ipv4Addr::new(100, 100, 100, 200), // Alibaba
                Ipv4Addr::new(192, 0, 0, 192),     // Oracle
                Ipv4Addr::new(168, 63, 129, 16),   // Azure
            ];
            let special = v4.is_loopback() || v4.is_link_local() || v4.is_unspecified();
            !(special || v4.is_multicast() || v4.is_broadcast() || metadata.contains(&v4))
        }
        IpAddr::V6(v6) => {
            let metadata = [
                Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254), // AWS
                Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254),  // Google
            ];
            let special = v6.is_loopback() || v6.is_unicast_link_local() || v6.is_unspecified();
            // Mapped and compatible forms of IPv4 addresses would be a way around.
            let as_v4 = v6.to_ipv4().is_some_and(|v4| !is_nameable(IpAddr::V4(v4)));
            !(special || v6.is_multicast() || metadata.contains(&v6) || as_v4)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_means_the_same_everywhere_is_not_nameable() {
        for (address, nameable) in [
            ("142.250.189.238", true),
            ("10.0.0.1", true),
            ("127.0.0.1", false),
            ("169.254.169.254", false),
            ("100.100.100.200", false),
            ("2a00:1450::1", true),
            ("fe80::1", false),
            ("::ffff:169.254.169.254", false),
        ] {
            assert_eq!(is_nameable(address.parse().unwrap()), nameable, "{address}");
        }
    }
}
