use std::sync::Arc;

use super::{AttributeValue, Exchange, RecordedError};
use crate::{Text, TransactionName, User, VisibleAddress};

/// Everything recorded on an exchange so far, all from one moment. For sinks: of user and address it has what they may see.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Snapshot {
    /// [`Exchange::name`].
    pub name: TransactionName,
    /// [`Exchange::visible_user`].
    pub user: Option<User>,
    /// [`Exchange::visible_client_address`].
    pub client_address: Option<VisibleAddress>,
    /// [`Exchange::client_request_id`].
    pub client_request_id: Option<Box<str>>,
    /// [`Exchange::error`].
    pub error: Option<Arc<RecordedError>>,
    /// [`Exchange::attributes`].
    pub attributes: Vec<(Text, AttributeValue)>,
}

impl Exchange {
    /// Everything recorded so far: cheaper than three or more separate calls.
    pub fn snapshot(&self) -> Snapshot {
        let notes = self.any_notes();
        let notes = notes.as_deref();
        let rare = notes.and_then(|notes| notes.rare.as_deref());
        Snapshot {
            name: self.name_from(notes.and_then(|notes| notes.custom.clone())),
            user: notes.and_then(|notes| notes.user.as_ref()?.visible.clone()),
            client_address: notes.and_then(|notes| notes.address.as_ref()?.visible.clone()),
            client_request_id: rare.and_then(|rare| rare.client_request_id.clone()),
            error: rare.and_then(|rare| rare.errors.first().cloned()),
            attributes: rare.map_or_else(Vec::new, |rare| rare.attributes.to_vec()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_equals_the_exchange() {
        let exchange = Exchange::detached();
        exchange.report_route("/users/{id}");
        exchange.set_name("import");
        exchange.set_user(User::new("u-1").with_email("ann@example.org"));
        exchange.set_client_address("192.0.2.77".parse().unwrap());
        exchange.set_client_request_id(&http::HeaderValue::from_static("not taken"));
        exchange.record_error(&std::fmt::Error);
        exchange.set_attribute("plan", "pro");
        let snapshot = exchange.snapshot();
        assert_eq!(snapshot.name, exchange.name());
        assert_eq!(snapshot.user, exchange.visible_user());
        assert_eq!(snapshot.user.unwrap().email(), None, "as sinks may see it");
        assert_eq!(snapshot.client_address.unwrap().to_string(), "192.0.2.0");
        assert_eq!(snapshot.client_request_id, exchange.client_request_id());
        assert_eq!((snapshot.error, snapshot.attributes), (exchange.error(), exchange.attributes()));
        assert_eq!(exchange.attributes().len(), 1);
    }
}
