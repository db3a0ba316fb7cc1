use std::{error::Error, fmt};

/// A configuration cannot be used. Retrying does not help.
#[derive(Debug)]
pub struct BuildError(Kind);

#[derive(Debug)]
pub(crate) enum Kind {
    Proxy { entry: String },
    TooManyProxies { count: String },
    HeaderWithoutProxies,
    KeyTooShort { bytes: usize },
    KeyNotRandom,
    KeyId { id: String },
    NoKey { field: &'static str },
}

impl BuildError {
    pub(crate) fn new(kind: Kind) -> Self {
        Self(kind)
    }

    /// The list of trusted proxies cannot be read, or a user's header needs one and none is set.
    #[must_use]
    pub fn is_proxies(&self) -> bool {
        match self.0 {
            Kind::Proxy { .. } | Kind::TooManyProxies { .. } | Kind::HeaderWithoutProxies => true,
            Kind::KeyTooShort { .. } | Kind::KeyNotRandom | Kind::KeyId { .. } | Kind::NoKey { .. } => false,
        }
    }

    /// The key for pseudonyms is missing, too short or badly named.
    #[must_use]
    pub fn is_key(&self) -> bool {
        !self.is_proxies()
    }
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Proxy { entry } => write!(
                f,
                "{entry:?} is not a trusted proxy: expected addresses (`10.0.0.7`), networks (`10.0.0.0/8`), `loopback`, \
                 `private` and `unix`, separated by commas; or the number of proxies alone (`1`); or nothing"
            ),
            Kind::TooManyProxies { count } => {
                write!(f, "{count} proxies are too many: expected a number from 0 to 32")
            }
            Kind::HeaderWithoutProxies => {
                f.write_str("a user from a header needs trusted proxies, because anybody can send that header")
            }
            Kind::KeyTooShort { bytes } => {
                write!(f, "a key for pseudonyms has {bytes} bytes: expected at least 32, from a random source")
            }
            Kind::KeyNotRandom => f.write_str("a key for pseudonyms repeats one byte: expected random bytes"),
            Kind::KeyId { id } => {
                write!(f, "{id:?} cannot name a key: expected 1 to 16 characters of `A-Z a-z 0-9`, like `k1`")
            }
            Kind::NoKey { field } => {
                write!(f, "the user's {field} is pseudonymized, which needs a key: set `PrivacyBuilder::key`")
            }
        }
    }
}

impl Error for BuildError {}
