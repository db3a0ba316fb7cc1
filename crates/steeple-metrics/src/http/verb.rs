//! The methods that have places in the counters of every route.

use steeple_core::known_methods;

use crate::series::OVERFLOW;

/// Those of the standards. The last is for all that is not known.
pub(super) const METHODS: [&str; 11] =
    ["GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH", "CONNECT", "TRACE", "QUERY", OVERFLOW];

const OTHER: Verb = Verb(10);

/// A place in [`METHODS`] or, behind them, among the application's own. Looked up once per exchange.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Verb(u8);

impl Verb {
    pub(super) fn place(self) -> usize {
        usize::from(self.0)
    }

    /// The place among the application's own.
    pub(super) fn own_place(self) -> usize {
        self.place().saturating_sub(METHODS.len())
    }
}

/// The methods that have places: those of the standards, and those that this process had made known by now.
#[derive(Debug)]
pub(super) struct Verbs {
    own: Vec<&'static str>,
}

impl Verbs {
    pub(super) fn of_process() -> Self {
        Self { own: known_methods().filter(|method| !METHODS.contains(method)).collect() }
    }

    #[inline]
    pub(super) fn of(&self, method: &str) -> Verb {
        Verb(match method {
            "GET" => 0,
            "POST" => 1,
            "PUT" => 2,
            "DELETE" => 3,
            "HEAD" => 4,
            "OPTIONS" => 5,
            "PATCH" => 6,
            "CONNECT" => 7,
            "TRACE" => 8,
            "QUERY" => 9,
            _ => return self.own_or_other(method),
        })
    }

    #[cold]
    fn own_or_other(&self, method: &str) -> Verb {
        let place = self.own.iter().position(|own| *own == method).and_then(|own| own.checked_add(METHODS.len()));
        place.and_then(|place| place.try_into().ok()).map_or(OTHER, Verb)
    }

    pub(super) fn name(&self, verb: Verb) -> &'static str {
        METHODS.get(verb.place()).or_else(|| self.own.get(verb.own_place())).copied().unwrap_or(OVERFLOW)
    }

    /// All of them, by their places.
    pub(super) fn names(&self) -> impl Iterator<Item = &'static str> {
        METHODS.iter().chain(&self.own).copied()
    }

    /// How many there are of the application's own.
    pub(super) fn own(&self) -> usize {
        self.own.len()
    }

    pub(super) fn len(&self) -> usize {
        METHODS.len().saturating_add(self.own())
    }
}
