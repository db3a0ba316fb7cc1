use std::{error::Error, fmt, io};

use steeple_core::RouteError;
use steeple_scrub::{Scrubbed, Scrubber};

/// What [`SentryBuilder`](crate::SentryBuilder) cannot work with.
#[derive(Debug)]
pub struct BuildError(Kind);

#[derive(Debug)]
enum Kind {
    Variable {
        name: &'static str,
        held: Scrubbed<String>,
        may_hold: &'static str,
    },
    Dsn,
    Rate {
        of: String,
        rate: f64,
    },
    Route(RouteError),
    Tag(String),
    Pipeline(steeple_export::BuildError),
    Client(io::Error),
    #[cfg(feature = "transport")]
    Http(steeple_export::BuildError),
    #[cfg(not(feature = "transport"))]
    Transport,
}

/// Longer values are cut when they are shown.
const MAX_SHOWN: usize = 128;

impl BuildError {
    /// What a variable held is shown scrubbed: a key may have ended up in the wrong one.
    pub(crate) fn variable(name: &'static str, held: &str, may_hold: &'static str) -> Self {
        let held = Scrubber::default().text(held).cut(MAX_SHOWN, "").into_owned();
        Self(Kind::Variable { name, held, may_hold })
    }

    pub(crate) const fn dsn() -> Self {
        Self(Kind::Dsn)
    }

    pub(crate) const fn rate(of: String, rate: f64) -> Self {
        Self(Kind::Rate { of, rate })
    }

    pub(crate) const fn route(error: RouteError) -> Self {
        Self(Kind::Route(error))
    }

    pub(crate) const fn tag(what: String) -> Self {
        Self(Kind::Tag(what))
    }

    pub(crate) const fn pipeline(error: steeple_export::BuildError) -> Self {
        Self(Kind::Pipeline(error))
    }

    /// The SDK's client could not be made.
    pub(crate) const fn sdk(error: io::Error) -> Self {
        Self(Kind::Client(error))
    }

    #[cfg(feature = "transport")]
    pub(crate) const fn client(error: steeple_export::BuildError) -> Self {
        Self(Kind::Http(error))
    }

    #[cfg(not(feature = "transport"))]
    pub(crate) const fn transport() -> Self {
        Self(Kind::Transport)
    }

    /// The variable whose value is the trouble.
    pub fn variable_name(&self) -> Option<&'static str> {
        if let Kind::Variable { name, .. } = self.0 { Some(name) } else { None }
    }

    /// Whether the DSN is not one.
    pub fn is_dsn(&self) -> bool {
        matches!(self.0, Kind::Dsn | Kind::Variable { name: "SENTRY_DSN", .. })
    }

    /// Whether the thread that sends could not be started. The source is what the system answered.
    pub fn is_thread(&self) -> bool {
        matches!(&self.0, Kind::Pipeline(error) if error.is_thread())
    }

    /// Whether the DSN names another machine without encryption: see
    /// [`ClientBuilder::allow_plain_http`](steeple_export::ClientBuilder::allow_plain_http).
    #[cfg(feature = "transport")]
    pub fn is_plain_http(&self) -> bool {
        matches!(&self.0, Kind::Http(error) if error.is_plain_http())
    }

    /// Whether an attribute cannot be a tag, by its name or because there are too many.
    pub fn is_tag(&self) -> bool {
        matches!(self.0, Kind::Tag(_))
    }

    /// Whether a rate is not between 0 and 1.
    pub fn is_rate(&self) -> bool {
        matches!(self.0, Kind::Rate { .. } | Kind::Variable { name: "SENTRY_TRACES_SAMPLE_RATE", .. })
            || matches!(&self.0, Kind::Route(error) if error.is_ratio())
    }
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Variable { name, held, may_hold } => write!(f, "`{name}` holds `{held}`, it may hold {may_hold}"),
            Kind::Dsn => f.write_str("invalid DSN: expected `https://<key>@<host>/<project>`"),
            Kind::Rate { of, rate } => write!(f, "invalid sample rate {rate} for {of}: expected a number from 0 to 1"),
            Kind::Route(error) => error.fmt(f),
            Kind::Tag(what) => f.write_str(what),
            Kind::Pipeline(_) => f.write_str("could not start the thread that sends to Sentry"),
            Kind::Client(_) => f.write_str("could not make the SDK's client"),
            #[cfg(feature = "transport")]
            Kind::Http(_) => f.write_str("cannot send to this DSN"),
            #[cfg(not(feature = "transport"))]
            Kind::Transport => f.write_str("no transport: enable the feature `transport`, or set one"),
        }
    }
}

impl Error for BuildError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &self.0 {
            Kind::Route(error) => error.source(),
            Kind::Pipeline(error) => Some(error),
            Kind::Client(error) => Some(error),
            #[cfg(feature = "transport")]
            Kind::Http(error) => Some(error),
            #[cfg(not(feature = "transport"))]
            Kind::Transport => None,
            Kind::Variable { .. } | Kind::Dsn | Kind::Rate { .. } | Kind::Tag(_) => None,
        }
    }
}
