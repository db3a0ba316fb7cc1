use std::{error::Error, fmt, io, sync::Arc};

#[cfg(feature = "http")]
use crate::tls::TlsError;

/// A factory's error.
pub(crate) type BoxError = Box<dyn Error + Send + Sync>;

/// A pipeline or a client that could not be built. Never shows a URL or a key.
#[derive(Clone, Debug)]
pub struct BuildError(ErrorKind);

#[derive(Clone, Debug)]
enum ErrorKind {
    Thread(Arc<io::Error>),
    Factory(Arc<dyn Error + Send + Sync>),
    #[cfg(feature = "http")]
    Setting(&'static str),
    #[cfg(feature = "http")]
    Tls(Arc<TlsError>),
    #[cfg(feature = "http")]
    PlainHttp,
    #[cfg(feature = "http")]
    NoTls,
}

impl BuildError {
    pub(crate) fn thread(error: io::Error) -> Self {
        Self(ErrorKind::Thread(Arc::new(error)))
    }

    pub(crate) fn factory(error: BoxError) -> Self {
        Self(ErrorKind::Factory(error.into()))
    }

    #[cfg(feature = "http")]
    pub(crate) const fn setting(problem: &'static str) -> Self {
        Self(ErrorKind::Setting(problem))
    }

    #[cfg(feature = "http")]
    pub(crate) fn tls(error: TlsError) -> Self {
        Self(ErrorKind::Tls(Arc::new(error)))
    }

    #[cfg(feature = "http")]
    pub(crate) const fn plain_http() -> Self {
        Self(ErrorKind::PlainHttp)
    }

    #[cfg(feature = "http")]
    pub(crate) const fn no_tls() -> Self {
        Self(ErrorKind::NoTls)
    }

    /// Whether the thread that sends could not be started, or does not answer.
    pub fn is_thread(&self) -> bool {
        matches!(self.0, ErrorKind::Thread(_))
    }

    /// Whether the factory of a pipeline's exporter failed.
    pub fn is_factory(&self) -> bool {
        matches!(self.0, ErrorKind::Factory(_))
    }

    /// Whether an endpoint would send keys and data to another machine without encryption: see
    /// [`ClientBuilder::allow_plain_http`](crate::ClientBuilder::allow_plain_http).
    #[cfg(feature = "http")]
    pub fn is_plain_http(&self) -> bool {
        matches!(self.0, ErrorKind::PlainHttp)
    }
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match &self.0 {
            ErrorKind::Thread(_) => "could not start the export thread",
            ErrorKind::Factory(_) => "could not make the exporter",
            #[cfg(feature = "http")]
            ErrorKind::Setting(problem) => problem,
            #[cfg(feature = "http")]
            ErrorKind::Tls(_) => "could not set up TLS",
            #[cfg(feature = "http")]
            ErrorKind::PlainHttp => {
                "`http` to another machine sends keys and data in the clear: use `https`, or allow it"
            }
            #[cfg(feature = "http")]
            ErrorKind::NoTls => "`https` needs the feature `tls-ring` or `tls-aws-lc`",
        })
    }
}

impl Error for BuildError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(match &self.0 {
            ErrorKind::Thread(error) => &**error,
            ErrorKind::Factory(error) => &**error,
            #[cfg(feature = "http")]
            ErrorKind::Tls(error) => &**error,
            #[cfg(feature = "http")]
            ErrorKind::Setting(_) | ErrorKind::PlainHttp | ErrorKind::NoTls => return None,
        })
    }
}
