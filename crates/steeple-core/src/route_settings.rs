//! Settings for single routes, matched the same way by every crate that has some.

use std::{collections::HashMap, fmt};

use crate::{Exchange, NameSource, RouteId, Routes};

/// Settings for single routes: `/users/{id}` for every method, `GET /users/{id}` for one, `pkg.Service/Method` for a gRPC call.
///
/// Where a stack has no router, the names that rules and handlers give stand in for routes. A setting for one method comes before
/// one for all; of two for the same route, the first counts.
///
/// # Examples
/// ```
/// use steeple_core::{Exchange, RouteSettings};
///
/// let ratios = RouteSettings::new([("/health", 0.0), ("POST /pay", 1.0)]);
/// let exchange = Exchange::detached();
/// exchange.report_route("/health");
/// assert_eq!(ratios.of(&exchange), Some(&0.0));
/// ```
pub struct RouteSettings<T> {
    targets: Vec<Vec<Setting<T>>>,
    by_text: HashMap<Box<str>, usize>,
    /// Where the settings of a route are, so that its text is looked up once.
    by_route: Routes<Option<usize>>,
}

#[derive(Clone, Debug)]
struct Setting<T> {
    method: Option<Box<str>>,
    value: T,
}

impl<T> RouteSettings<T> {
    /// These settings. The order matters for those of the same route only.
    pub fn new<R: AsRef<str>>(settings: impl IntoIterator<Item = (R, T)>) -> Self {
        let (mut targets, mut by_text) = (Vec::<Vec<Setting<T>>>::new(), HashMap::new());
        for (route, value) in settings {
            let (method, target) = split(route.as_ref());
            let place = *by_text.entry(Box::from(target)).or_insert_with(|| {
                targets.push(Vec::new());
                targets.len().saturating_sub(1)
            });
            let Some(of_target) = targets.get_mut(place) else { continue };
            let first_of_all = of_target.iter().position(|setting| setting.method.is_none());
            let at = if method.is_some() { first_of_all.unwrap_or(of_target.len()) } else { of_target.len() };
            of_target.insert(at, Setting { method: method.map(Box::from), value });
        }
        Self { targets, by_text, by_route: Routes::new() }
    }

    /// Whether it is empty: then no exchange need be asked for its route.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.targets.is_empty()
    }

    /// All settings.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.targets.iter().flatten().map(|setting| &setting.value)
    }

    /// The setting for an exchange, as far as its route is known by now.
    #[inline]
    pub fn of(&self, exchange: &Exchange) -> Option<&T> {
        if self.is_empty() { None } else { self.find(exchange) }
    }

    #[inline(never)]
    fn find(&self, exchange: &Exchange) -> Option<&T> {
        let place = match exchange.route_id() {
            Some(id) => *self.by_route.get_or_init(id, || self.place(id)),
            None => exchange
                .rpc_method()
                .or_else(|| exchange.route().map(crate::Text::as_str))
                .and_then(|target| self.at(target)),
        };
        if let Some(found) = place.and_then(|place| self.of_method(place, exchange)) {
            return Some(found);
        }
        let name = exchange.name();
        match name.source() {
            NameSource::Custom | NameSource::Rule | NameSource::Unmatched => {
                self.of_method(self.at(name.target())?, exchange)
            }
            NameSource::Rpc | NameSource::Route => None,
        }
    }

    #[cold]
    fn place(&self, id: RouteId) -> Option<usize> {
        self.at(id.template()?.as_str())
    }

    fn at(&self, target: &str) -> Option<usize> {
        self.by_text.get(target).copied()
    }

    fn of_method(&self, place: usize, exchange: &Exchange) -> Option<&T> {
        let matches =
            |setting: &&Setting<T>| setting.method.as_deref().is_none_or(|method| method == exchange.method());
        self.targets.get(place)?.iter().find(matches).map(|setting| &setting.value)
    }
}

/// A method, if the text begins with one, and the rest. Names of handlers may have spaces.
fn split(route: &str) -> (Option<&str>, &str) {
    match route.split_once(' ') {
        Some((method, target)) if !method.is_empty() && method.bytes().all(|byte| byte.is_ascii_uppercase()) => {
            (Some(method), target)
        }
        _ => (None, route),
    }
}

impl<T> Default for RouteSettings<T> {
    fn default() -> Self {
        Self { targets: Vec::new(), by_text: HashMap::new(), by_route: Routes::new() }
    }
}

impl<T: fmt::Debug> fmt::Debug for RouteSettings<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map()
            .entries(self.by_text.iter().filter_map(|(text, place)| Some((text, self.targets.get(*place)?))))
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use http::Method;

    use super::*;

    fn exchange(method: &Method, route: Option<&'static str>) -> Exchange {
        let mut request = http::Request::builder().method(method).uri("/").body(()).unwrap().into_parts().0;
        let (exchange, _) = Exchange::of_request(&mut request);
        exchange.set_claimed();
        if let Some(route) = route {
            exchange.report_route(route);
        }
        exchange
    }

    #[test]
    fn a_setting_for_a_method_comes_before_one_for_all_whatever_their_order() {
        let settings = RouteSettings::new([("/a", 1), ("POST /a", 2), ("/a", 3), ("POST /a", 4), ("/b", 5)]);
        for _ in 0..2 {
            assert_eq!(settings.of(&exchange(&Method::GET, Some("/a"))), Some(&1));
            assert_eq!(settings.of(&exchange(&Method::POST, Some("/a"))), Some(&2));
            assert_eq!(settings.of(&exchange(&Method::POST, Some("/b"))), Some(&5));
            assert_eq!(settings.of(&exchange(&Method::GET, Some("/c"))), None);
        }
        assert_eq!(settings.iter().count(), 5);
    }

    #[test]
    fn names_of_handlers_and_rules_stand_in_for_routes() {
        let settings = RouteSettings::new([("nightly import", 1), ("/ruled/*", 2), ("unmatched", 3)]);
        let named = exchange(&Method::GET, None);
        assert_eq!(settings.of(&named), Some(&3));
        named.set_rule_name("/ruled/*");
        assert_eq!(settings.of(&named), Some(&2));
        named.set_name("nightly import");
        assert_eq!(settings.of(&named), Some(&1));
        assert_eq!(RouteSettings::<u8>::default().of(&named), None);
    }

    #[test]
    fn a_route_that_is_learned_later_is_asked_for_again() {
        let settings = RouteSettings::new([("/late", 1)]);
        let exchange = exchange(&Method::GET, None);
        assert_eq!(settings.of(&exchange), None);
        exchange.report_route("/late");
        assert_eq!(settings.of(&exchange), Some(&1));
    }
}
