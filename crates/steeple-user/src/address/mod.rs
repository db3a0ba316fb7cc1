//! Where the client is: the address behind trusted proxies, and no address that anybody can claim.
//!
//! Each proxy appends the address at the other end of its socket to a header. Everything left of that was written by the client
//! itself. So [`AddressResolver`] starts at the peer of our own socket and walks from right to left, over the proxies
//! that were declared [trusted](TrustedProxies), to the first address outside of them. Whatever a client
//! prepends changes nothing; what cannot be read ends the walk at the last trusted hop.
//!
//! The peer's own address is where the server has put it: [`Peer::of`](steeple_core::Peer::of).

mod node;
mod proxies;
mod resolver;
mod walk;

pub use self::{
    proxies::TrustedProxies,
    resolver::{AddressResolver, Forwarding},
};
