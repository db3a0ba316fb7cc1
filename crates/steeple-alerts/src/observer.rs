use http::request;
use steeple_core::{End, Exchange, Identity, Observer, User};

use crate::{Alerts, Failure, evidence::Failed};

/// Feeds failed exchanges to the error groups. Costs nothing where an exchange ends well. Made by [`Alerts::observer`].
#[derive(Clone, Debug)]
pub struct AlertsObserver(Alerts);

impl Alerts {
    /// The observer that counts failures by group: for [`ObserveLayer`](steeple_core::ObserveLayer).
    pub fn observer(&self) -> AlertsObserver {
        AlertsObserver(self.clone())
    }
}

impl Observer for AlertsObserver {
    type State = ();

    fn identity(&self) -> Option<Identity> {
        Some(self.0.identity())
    }

    fn on_request(&self, _exchange: &Exchange, _request: &mut request::Parts) -> Option<()> {
        Some(())
    }

    fn on_end(&self, (): (), exchange: &Exchange, end: &End) {
        // Any client can ask for a method that is not there.
        if !end.is_server_error() || end.is_unknown_method() {
            return;
        }
        let name = exchange.name();
        let route = name.to_string();
        let failed = Failed {
            route: route.clone(),
            trace_id: exchange.trace().map(|trace| trace.trace_id().to_string()),
            request_id: exchange.get_request_id().map(|id| id.as_str().to_owned()),
        };
        let user = exchange.user();
        self.0.saw(failed, user.as_ref().and_then(User::id));
        let error = exchange.error();
        let class = end.error_class();
        let failed = |kind: &str| {
            let kind = error.as_ref().map_or(kind, |error| error.type_name());
            let message = error.as_ref().map_or("", |error| error.message());
            self.0.error(&Failure { kind, route: &route, message, fingerprint: None });
        };
        match class {
            Some(class) => class.with_str(failed),
            None => failed("unknown"),
        }
    }
}
