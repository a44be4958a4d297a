//! The places where the application listens, according to the kernel.

use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::diag::{Detail, Sockets, TcpState};
use super::place::Place;

/// Every place where a socket listens. A listener on `::` that accepts IPv4 too
/// counts in both families.
pub(super) fn listening(sockets: &mut Sockets) -> io::Result<BTreeSet<Place>> {
    let mut places = BTreeSet::new();
    for entry in sockets.list(TcpState::Listen, Detail::Ends)? {
        let Place { address, port } = entry.local;
        places.insert(entry.local);
        if address == IpAddr::V6(Ipv6Addr::UNSPECIFIED) && !entry.v6_only {
            places.insert(Place { address: Ipv4Addr::UNSPECIFIED.into(), port });
        }
    }
    Ok(places)
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn a_listener_is_listed_at_its_address_while_it_listens() {
        let mut sockets = Sockets::open().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let both = TcpListener::bind("[::]:0").unwrap();
        let place = |text: &str, port| Place { address: text.parse().unwrap(), port };
        let (one, two) = (listener.local_addr().unwrap().port(), both.local_addr().unwrap().port());
        let places = listening(&mut sockets).unwrap();
        assert!(places.contains(&place("127.0.0.1", one)));
        assert!(!places.contains(&place("0.0.0.0", one)));
        assert!(places.contains(&place("::", two)) && places.contains(&place("0.0.0.0", two)));
        drop(listener);
        assert!(!listening(&mut sockets).unwrap().contains(&place("127.0.0.1", one)));
    }
}
