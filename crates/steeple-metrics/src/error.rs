use std::{error::Error, fmt};

use steeple_core::RouteError;

/// Metrics cannot be built as configured. Retrying does not help.
#[derive(Debug)]
pub struct BuildError {
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Bounds,
    NameTaken(prometheus::Error),
    Name(Box<str>),
    Objective,
    Route(RouteError),
    Indicator(Box<str>),
    Window,
    TooMany,
    #[cfg(feature = "push")]
    Endpoint(Box<str>),
    #[cfg(feature = "push")]
    Push(&'static str),
}

impl BuildError {
    pub(crate) fn bounds() -> Self {
        Self { kind: Kind::Bounds }
    }

    pub(crate) fn name(name: &str) -> Self {
        Self { kind: Kind::Name(name.into()) }
    }

    pub(crate) fn registry(error: prometheus::Error) -> Self {
        Self { kind: Kind::NameTaken(error) }
    }

    pub(crate) fn objective() -> Self {
        Self { kind: Kind::Objective }
    }

    pub(crate) fn route(error: RouteError) -> Self {
        Self { kind: Kind::Route(error) }
    }

    /// The error, or that of a route's own setting.
    fn inner(&self) -> &Self {
        let Kind::Route(error) = &self.kind else { return self };
        error.source().and_then(|error| error.downcast_ref()).unwrap_or(self)
    }

    pub(crate) fn indicator(indicator: &str) -> Self {
        Self { kind: Kind::Indicator(indicator.into()) }
    }

    pub(crate) const fn window() -> Self {
        Self { kind: Kind::Window }
    }

    pub(crate) fn too_many() -> Self {
        Self { kind: Kind::TooMany }
    }

    #[cfg(feature = "push")]
    pub(crate) fn endpoint(endpoint: &str) -> Self {
        Self { kind: Kind::Endpoint(endpoint.into()) }
    }

    #[cfg(feature = "push")]
    pub(crate) fn push(what: &'static str) -> Self {
        Self { kind: Kind::Push(what) }
    }

    /// Bucket bounds are missing, too many, or not finite, ascending and above zero.
    pub fn is_bounds(&self) -> bool {
        matches!(self.inner().kind, Kind::Bounds)
    }

    /// The registry has a metric of the same name already.
    pub fn is_name_taken(&self) -> bool {
        matches!(self.kind, Kind::NameTaken(_))
    }

    /// A name or label name is not one that Prometheus allows.
    pub fn is_name(&self) -> bool {
        matches!(self.kind, Kind::Name(_))
    }

    /// An objective's ratio is not between 0 and 1, or its latency is zero.
    pub fn is_objective(&self) -> bool {
        matches!(self.inner().kind, Kind::Objective)
    }

    /// The options of a route are invalid. Buckets and objectives of routes are also [`is_bounds`](Self::is_bounds) and
    /// [`is_objective`](Self::is_objective).
    pub fn is_route(&self) -> bool {
        matches!(self.kind, Kind::Route(_))
    }

    /// An indicator can never have a value.
    pub fn is_indicator(&self) -> bool {
        matches!(self.kind, Kind::Indicator(_))
    }

    /// A window is shorter than a second or longer than 24 hours.
    pub fn is_window(&self) -> bool {
        matches!(self.kind, Kind::Window)
    }

    /// As many indicators are watched as there is room for.
    pub fn is_too_many(&self) -> bool {
        matches!(self.kind, Kind::TooMany)
    }

    /// An address to push to is not usable.
    #[cfg(feature = "push")]
    pub fn is_endpoint(&self) -> bool {
        matches!(self.kind, Kind::Endpoint(_))
    }
}

#[cfg(feature = "push")]
impl BuildError {
    /// A push has a job without a name, a label twice, or no time between two pushes.
    pub fn is_push(&self) -> bool {
        matches!(self.kind, Kind::Push(_))
    }
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            Kind::Bounds => f.write_str("bucket bounds must be 1 to 64, finite, ascending and above zero"),
            Kind::NameTaken(_) => f.write_str("the registry has a metric of that name already"),
            Kind::Name(name) => write!(f, "`{name}` is not a name that Prometheus allows"),
            Kind::Objective => f.write_str("an objective needs a ratio between 0 and 1 and a latency above zero"),
            Kind::Route(error) => error.fmt(f),
            Kind::Indicator(indicator) => write!(f, "`{indicator}` can never have a value"),
            Kind::Window => f.write_str("a window must be at least a second and at most 24 hours long"),
            Kind::TooMany => f.write_str("at most 64 indicators can be watched at once"),
            #[cfg(feature = "push")]
            Kind::Endpoint(endpoint) => write!(f, "`{endpoint}` is not an address to push to"),
            #[cfg(feature = "push")]
            Kind::Push(what) => f.write_str(what),
        }
    }
}

impl Error for BuildError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &self.kind {
            Kind::NameTaken(error) => Some(error),
            Kind::Route(error) => error.source(),
            #[cfg(feature = "push")]
            Kind::Endpoint(_) | Kind::Push(_) => None,
            Kind::Bounds | Kind::Name(_) | Kind::Objective | Kind::Indicator(_) | Kind::Window | Kind::TooMany => None,
        }
    }
}
