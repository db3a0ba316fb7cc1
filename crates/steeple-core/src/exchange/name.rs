//! What the exchange is called: by its route, a rule, or the handler.

use std::sync::{Arc, atomic::Ordering};

use super::{AttributeValue, Exchange, Note};
use crate::{NameSource, Text, TransactionName, route::RouteId};

/// Above every number of a route.
pub(super) const NO_ROUTE_ID: u32 = u32::MAX;

impl Exchange {
    /// The template of the route that matched: `/users/{id}`. `None` when no router has reported one.
    #[inline]
    pub fn route(&self) -> Option<&Text> {
        self.0.routes.get()
    }

    /// The number of the route, learned once: for what is kept per route, see [`Routes`](crate::Routes). `None` when no
    /// router has reported one, or there are too many routes.
    #[inline]
    pub fn route_id(&self) -> Option<RouteId> {
        let known = self.0.route_id.load(Ordering::Relaxed);
        if let Ok(index) = u16::try_from(known) {
            return Some(RouteId::from_index(index));
        }
        let id = RouteId::of(self.route()?)?;
        self.0.route_id.store(id.to_index().into(), Ordering::Relaxed);
        Some(id)
    }

    /// Reports the template of the matched route, as routers and layers inside of them do.
    ///
    /// The first one stays, so that an error page routed again does not rename the request; but a template that ends
    /// in a catch-all (`/admin/{*rest}`) gives way to a more precise one from an inner layer. A gRPC call has none: what a
    /// router has for it is a catch-all of its service, and its method is more precise.
    pub fn report_route(&self, template: impl Into<Text>) {
        if !self.has_ended() && self.0.grpc.is_none() {
            self.0.routes.report(template.into());
            self.0.route_id.store(NO_ROUTE_ID, Ordering::Relaxed);
        }
    }

    /// The name that a rule gave.
    #[inline]
    pub fn rule_name(&self) -> Option<&Text> {
        self.0.rule.get()
    }

    /// Names the exchange after a rule that matched its path. The first one stays.
    pub fn set_rule_name(&self, name: impl Into<Text>) {
        if !self.has_ended() && self.0.rule.get().is_none() {
            let _first = self.0.rule.set(name.into());
        }
    }

    /// Names the exchange. The last name before the end stays.
    ///
    /// The caller keeps the number of names small: use a handful, never an id.
    pub fn set_name(&self, name: impl Into<Text>) {
        if !self.has_ended() {
            self.note(Note::Custom).custom = Some(name.into());
        }
    }

    /// Names the exchange, and what kind of work it is: `Checkout`, `Report`. The category is the attribute
    /// [`TRANSACTION_CATEGORY`](crate::TRANSACTION_CATEGORY), so it is on the line, the span and the Sentry event; New Relic shows it as
    /// the part of the name in front: `WebTransaction/Checkout/place order`.
    ///
    /// The caller keeps the number of both small.
    pub fn set_name_in(&self, category: impl Into<Text>, name: impl Into<Text>) {
        self.set_attribute(super::TRANSACTION_CATEGORY, AttributeValue::Text(category.into()));
        self.set_name(name);
    }

    /// What the exchange is called: the name that the handler set, else a rule's name, else the gRPC method, else the route's
    /// template, else `METHOD unmatched`.
    pub fn name(&self) -> TransactionName {
        self.name_from(self.noted(Note::Custom).and_then(|notes| notes.custom.clone()))
    }

    pub(super) fn name_from(&self, custom: Option<Text>) -> TransactionName {
        if let Some(name) = custom {
            TransactionName::new(None, name, NameSource::Custom)
        } else if let Some(name) = self.rule_name() {
            TransactionName::new(Some(self.0.method), name.clone(), NameSource::Rule)
        } else if self.0.grpc.is_some() {
            let name = match &self.0.rpc {
                Some(rpc) if !self.0.rpc_unknown.load(Ordering::Relaxed) => Arc::clone(rpc).into(),
                _ => Text::from_static("_OTHER"),
            };
            TransactionName::new(None, name, NameSource::Rpc)
        } else if let Some(route) = self.route() {
            TransactionName::new(Some(self.0.method), route.clone(), NameSource::Route)
        } else {
            TransactionName::new(Some(self.0.method), Text::from_static("unmatched"), NameSource::Unmatched)
        }
    }
}

#[cfg(test)]
mod tests {
    use http::Version;

    use super::*;

    #[test]
    fn the_handlers_name_beats_a_rule_and_a_rule_beats_the_route() {
        let exchange = Exchange::new("GET", Version::HTTP_11, None, None, None);
        assert_eq!(exchange.name().to_string(), "GET unmatched");
        exchange.report_route("/a/{b}");
        assert_eq!(exchange.name().to_string(), "GET /a/{b}");
        exchange.set_rule_name("/a/*");
        assert_eq!(exchange.name().to_string(), "GET /a/*");
        exchange.set_name("mine");
        assert_eq!((exchange.name().to_string(), exchange.name().source()), ("mine".to_owned(), NameSource::Custom));
    }

    #[test]
    fn a_category_is_an_attribute_beside_the_name() {
        let exchange = Exchange::detached();
        exchange.set_name_in("Checkout", "place order");
        assert_eq!(exchange.name().to_string(), "place order");
        assert_eq!(exchange.attributes(), [("transaction.category".into(), "Checkout".into())]);
    }

    #[test]
    fn the_first_route_stays_unless_it_is_a_catch_all() {
        let exchange = Exchange::detached();
        exchange.report_route("/admin/{*rest}");
        exchange.report_route("/admin/users/{id}");
        exchange.report_route("/error-page");
        assert_eq!(exchange.route().unwrap().as_str(), "/admin/users/{id}");
    }
}
