use std::{fmt, net::IpAddr, sync::Arc};

use crate::text;

/// The user behind an exchange, as the application knows them.
///
/// Sinks never see it as it is: a [`Privacy`] decides what of it they may see. Of each part the first 1,024 bytes are kept.
/// `Debug` shows which parts are there, not what they hold.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct User {
    id: Option<Arc<str>>,
    email: Option<Arc<str>>,
    name: Option<Arc<str>>,
}

impl User {
    /// A user with an id.
    pub fn new(id: impl Into<Arc<str>>) -> Self {
        Self { id: Some(kept(id.into())), ..Self::default() }
    }

    /// A user of whom nothing is known yet.
    pub fn anonymous() -> Self {
        Self::default()
    }

    /// Sets the e-mail address.
    #[must_use]
    pub fn with_email(mut self, email: impl Into<Arc<str>>) -> Self {
        self.email = Some(kept(email.into()));
        self
    }

    /// Sets the name.
    #[must_use]
    pub fn with_name(mut self, name: impl Into<Arc<str>>) -> Self {
        self.name = Some(kept(name.into()));
        self
    }

    /// Sets the id.
    #[must_use]
    pub fn with_id(mut self, id: impl Into<Arc<str>>) -> Self {
        self.id = Some(kept(id.into()));
        self
    }

    /// What identifies the user: a stable key of the application's own.
    pub fn id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    /// The e-mail address.
    pub fn email(&self) -> Option<&str> {
        self.email.as_deref()
    }

    /// The name.
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// Only the id. What sinks see without a configured [`Privacy`].
    #[must_use]
    pub fn only_id(&self) -> Self {
        Self { id: self.id.clone(), ..Self::default() }
    }

    /// Whether nothing at all is known.
    pub fn is_empty(&self) -> bool {
        self.id.is_none() && self.email.is_none() && self.name.is_none()
    }
}

/// Most bytes of a part.
const MAX_PART: usize = 1024;

fn kept(part: Arc<str>) -> Arc<str> {
    if part.len() <= MAX_PART { part } else { text::cut(&part, MAX_PART).into() }
}

impl fmt::Debug for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("User")
            .field("id", &self.id.is_some())
            .field("email", &self.email.is_some())
            .field("name", &self.name.is_some())
            .finish()
    }
}

/// Decides what sinks may see of a user and of a client's address.
///
/// Without one, sinks see the user's id alone and an address [cut](truncate_address) to its network.
pub trait Privacy: Send + Sync + 'static {
    /// What sinks see of this user. `None`: nothing.
    fn user(&self, user: &User) -> Option<User>;

    /// What sinks see of this address. `None`: nothing.
    fn address(&self, address: IpAddr) -> Option<VisibleAddress>;
}

/// A client's address, as sinks see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VisibleAddress {
    /// An address, whole or cut to its network.
    Ip(IpAddr),
    /// A keyed pseudonym.
    Pseudonym(Arc<str>),
}

impl fmt::Display for VisibleAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(address) => fmt::Display::fmt(address, f),
            Self::Pseudonym(text) => f.write_str(text),
        }
    }
}

/// Cuts an address to its network: the first 24 bits of IPv4, the first 48 of IPv6. IPv4 inside IPv6 counts as IPv4.
pub fn truncate_address(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(v4) => {
            let [a, b, c, _] = v4.octets();
            IpAddr::from([a, b, c, 0])
        }
        IpAddr::V6(v6) => {
            let [a, b, c, ..] = v6.segments();
            IpAddr::from([a, b, c, 0, 0, 0, 0, 0])
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_cut_to_its_network() {
        let cut = |text: &str| truncate_address(text.parse().unwrap()).to_string();
        assert_eq!(cut("192.0.2.77"), "192.0.2.0");
        assert_eq!(cut("::ffff:192.0.2.77"), "192.0.2.0");
        assert_eq!(cut("2001:db8:1:2:3:4:5:6"), "2001:db8:1::");
    }

    #[test]
    fn long_parts_are_cut_where_they_are_set() {
        let long = "ü".repeat(1_000_000);
        let user = User::new(long.clone()).with_email(long.clone()).with_name(long.clone());
        for part in [user.id(), user.email(), user.name(), User::anonymous().with_id(long).id()] {
            assert_eq!(part.map(str::len), Some(MAX_PART));
        }
        assert_eq!(User::new("u".repeat(MAX_PART)).id().map(str::len), Some(MAX_PART));
    }

    #[test]
    fn debug_does_not_print_who_it_is() {
        let user = User::new("u-1").with_email("ann@example.org").with_name("Ann");
        let shown = format!("{user:?}");
        assert!(!shown.contains("ann") && !shown.contains("Ann") && !shown.contains("u-1"), "{shown}");
    }
}
