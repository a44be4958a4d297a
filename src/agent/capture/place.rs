//! An address and port at which connections can arrive.

use std::net::IpAddr;

/// An address and port of a network namespace. The unspecified address stands
/// for every address of its family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(in crate::agent) struct Place {
    /// The address.
    pub(in crate::agent) address: IpAddr,
    /// The port.
    pub(in crate::agent) port: u16,
}
