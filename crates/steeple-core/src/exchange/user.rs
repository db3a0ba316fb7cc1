//! Who is behind the exchange, and what sinks may see of them.

use std::{net::IpAddr, sync::Arc};

use super::{Exchange, Note};
use crate::{Privacy, User, VisibleAddress, user::truncate_address};

/// What the application knows, and what sinks may see of it.
pub(super) struct Known<R, V> {
    pub(super) raw: R,
    pub(super) visible: Option<V>,
}

impl Exchange {
    /// Sets the user. May be called at any time before the end; the last call wins.
    pub fn set_user(&self, user: User) {
        let visible = match self.0.privacy.get() {
            Some(privacy) => privacy.user(&user),
            None => Some(user.only_id()),
        };
        let known = Known { raw: user, visible: visible.filter(|user| !user.is_empty()) };
        if !self.has_ended() {
            self.note(Note::User).user = Some(Arc::new(known));
        }
    }

    /// The user as the application knows them. For the application: sinks ask for [`visible_user`](Self::visible_user).
    pub fn user(&self) -> Option<User> {
        self.noted(Note::User)?.user.as_ref().map(|known| known.raw.clone())
    }

    /// Whether a user was set, as far as can be told without a look at them. A load.
    #[doc(hidden)]
    #[inline]
    pub fn has_user(&self) -> bool {
        self.0.noted.load(std::sync::atomic::Ordering::Relaxed) & Note::User as u8 != 0
    }

    /// What sinks may see of the user.
    pub fn visible_user(&self) -> Option<User> {
        self.noted(Note::User)?.user.as_ref().and_then(|known| known.visible.clone())
    }

    /// Sets the client's address: the one behind trusted proxies, not what a header claims.
    pub fn set_client_address(&self, address: IpAddr) {
        let visible = match self.0.privacy.get() {
            Some(privacy) => privacy.address(address),
            None => Some(VisibleAddress::Ip(truncate_address(address))),
        };
        if !self.has_ended() {
            self.note(Note::Address).address = Some(Known { raw: address, visible });
        }
    }

    /// The client's address. For the application: sinks ask for
    /// [`visible_client_address`](Self::visible_client_address).
    pub fn client_address(&self) -> Option<IpAddr> {
        self.noted(Note::Address)?.address.as_ref().map(|known| known.raw)
    }

    /// What sinks may see of the client's address.
    pub fn visible_client_address(&self) -> Option<VisibleAddress> {
        self.noted(Note::Address)?.address.as_ref().and_then(|known| known.visible.clone())
    }

    /// Decides what sinks may see of the user and the address that are set from now on. The first decision stays.
    pub fn set_privacy(&self, privacy: Arc<dyn Privacy>) -> bool {
        self.0.privacy.set(privacy).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sinks_see_only_the_id_without_a_policy() {
        let exchange = Exchange::detached();
        exchange.set_user(User::new("u-1").with_email("ann@example.org"));
        exchange.set_client_address("192.0.2.77".parse().unwrap());
        assert_eq!(exchange.visible_user(), Some(User::new("u-1")));
        assert_eq!(exchange.visible_client_address().unwrap().to_string(), "192.0.2.0");
        assert_eq!(exchange.user().unwrap().email(), Some("ann@example.org"));
    }
}
