//! Who may see the dashboard.

mod cookie;
mod gate;
mod limit;
mod rotating;
mod secret;

use std::{fmt, sync::Arc};

use http::request;

pub(crate) use self::gate::{Gate, Refusal, Verdict};
use self::rotating::Rotating;
use crate::BuildError;

type Check = dyn Fn(&request::Parts) -> bool + Send + Sync;

/// Who may see the dashboard. Default: [`Access::local`].
///
/// The same check stands in front of the page, its data, the stream, the assets and the actions.
///
/// # Examples
/// ```
/// use steeple_dashboard::Access;
///
/// # fn main() -> Result<(), steeple_dashboard::BuildError> {
/// let access = Access::token("q1o0cFXKZ7nq8Qx2tW6yTR5u")?;
/// let operators = Access::function(|request| request.headers.contains_key("x-operator"));
/// # let _unused = (access, operators);
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Access(Kind);

#[derive(Clone)]
enum Kind {
    Local,
    Token(Arc<Rotating>),
    Basic { user: Box<str>, secret: Arc<Rotating> },
    Function(Arc<Check>),
    Protected,
}

impl Default for Access {
    fn default() -> Self {
        Self::local()
    }
}

impl Access {
    /// Only from this machine: the peer's address is a loopback address, no proxy has left a header (`Forwarded`,
    /// `X-Forwarded-…`, `X-Real-IP`, `Via`), and `Host` is `localhost` or a loopback address. Anything else is refused with a
    /// page with the ways to get in, a peer that the server does not report included.
    pub const fn local() -> Self {
        Self(Kind::Local)
    }

    /// With a token of at least 128 bits, such as 22 letters and digits or 32 hex digits.
    ///
    /// `?token=…` is exchanged for a cookie (`HttpOnly`, `SameSite=Strict`, 12 hours) and removed from the address; programs
    /// send `Authorization: Bearer …`. 10 wrong tokens in a minute lock an address out for the rest of it.
    ///
    /// A token that [`secret::watch`](steeple_export::secret::watch) knows the file of is another one once the file has been read
    /// again, which a wrong token asks for as well, at most once a minute. The former token and its cookies are refused then.
    ///
    /// # Errors
    /// [`BuildError::is_secret`] for a token that is too short or too regular.
    pub fn token(token: impl AsRef<str>) -> Result<Self, BuildError> {
        let strong = |token: &str| secret::has_128_bits(token).then(|| token.to_owned());
        let weak = || BuildError::secret("the token needs 128 random bits, such as 22 letters and digits");
        let secret = Rotating::new(token.as_ref(), strong)?.ok_or_else(weak)?;
        Ok(Self(Kind::Token(Arc::new(secret))))
    }

    /// With a user and a password, by HTTP's basic authentication. The same limit of failures as for a token, and the password may
    /// change as a token may.
    ///
    /// # Errors
    /// [`BuildError::is_secret`] for a password of fewer than 12 bytes, or a user with a colon.
    pub fn basic(user: impl Into<String>, password: impl AsRef<str>) -> Result<Self, BuildError> {
        let user: Box<str> = user.into().into();
        let weak = || BuildError::secret("the password needs 12 bytes, and the user a name without a colon");
        if user.is_empty() || user.contains(':') {
            return Err(weak());
        }
        let name = user.clone();
        let strong = move |password: &str| (password.len() >= 12).then(|| format!("{name}:{password}"));
        let secret = Arc::new(Rotating::new(password.as_ref(), strong)?.ok_or_else(weak)?);
        Ok(Self(Kind::Basic { user, secret }))
    }

    /// What this function returns for a request's head.
    pub fn function(check: impl Fn(&request::Parts) -> bool + Send + Sync + 'static) -> Self {
        Self(Kind::Function(Arc::new(check)))
    }

    /// Everyone who reaches it: for routes that a layer of the application's guards already, or a listener that only operators
    /// can reach.
    pub const fn already_protected() -> Self {
        Self(Kind::Protected)
    }

    /// `this machine`, `token`, `basic`, `function` or `already protected`.
    pub fn describe(&self) -> &'static str {
        match self.0 {
            Kind::Local => "this machine",
            Kind::Token(_) => "token",
            Kind::Basic { .. } => "basic",
            Kind::Function(_) => "function",
            Kind::Protected => "already protected",
        }
    }
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Access").field(&self.describe()).finish()
    }
}
