use std::{error::Error, fmt, io};

use steeple_scrub::{Scrubbed, Scrubber};

/// What [`SentryOptions`](crate::SentryOptions) cannot work with.
#[derive(Debug)]
pub struct OptionsError(Kind);

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
    Thread(io::Error),
    #[cfg(not(feature = "transport"))]
    Transport,
}

/// Longer values are cut when they are shown.
const MAX_SHOWN: usize = 128;

impl OptionsError {
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

    pub(crate) const fn thread(error: io::Error) -> Self {
        Self(Kind::Thread(error))
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
        matches!(self.0, Kind::Thread(_))
    }

    /// Whether a rate is not between 0 and 1.
    pub fn is_rate(&self) -> bool {
        matches!(self.0, Kind::Rate { .. } | Kind::Variable { name: "SENTRY_TRACES_SAMPLE_RATE", .. })
    }
}

impl fmt::Display for OptionsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Variable { name, held, may_hold } => write!(f, "`{name}` holds `{held}`, it may hold {may_hold}"),
            Kind::Dsn => f.write_str("the DSN is not one: `https://<key>@<host>/<project>`"),
            Kind::Rate { of, rate } => write!(f, "the sample rate of {of} is {rate}, it may be from 0 to 1"),
            Kind::Thread(_) => f.write_str("could not start the thread that sends to Sentry"),
            #[cfg(not(feature = "transport"))]
            Kind::Transport => f.write_str("there is no transport: enable the feature `transport` or set one"),
        }
    }
}

impl Error for OptionsError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        if let Kind::Thread(error) = &self.0 { Some(error) } else { None }
    }
}
