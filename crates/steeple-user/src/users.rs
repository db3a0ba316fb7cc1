use std::{fmt, sync::Arc};

use http::{Extensions, HeaderMap, HeaderName, request, response};
use steeple_core::{End, Exchange, ObserveLayer, Observer, Peer, Privacy, User};

use crate::{AddressResolver, BuildError, Forwarding, TrustedProxies, error::Kind};

/// Finds out who is behind an exchange: the user, the client's address, and what sinks may see of both.
///
/// Goes before the observers that write these down: `(Naming::new(), Users::new(), log, …)`. A handler may set another
/// user at any time before the end ([`Exchange::set_user`]).
///
/// Cost: with nothing configured one look at the extensions; no source and no policy is asked that is not there.
///
/// # Examples
/// ```
/// use steeple_core::ObserveLayer;
/// use steeple_user::{PrivacyPolicy, Treatment, Users};
///
/// let plain = Users::new().layer();
///
/// let behind_a_proxy = Users::builder()
///     .trusted_proxies("10.0.0.0/8".parse()?)
///     .user_header(http::HeaderName::from_static("x-forwarded-user"))
///     .privacy(PrivacyPolicy::builder().address(Treatment::Keep).build()?)
///     .build()?
///     .layer();
/// # let _: (ObserveLayer<Users>, ObserveLayer<Users>) = (plain, behind_a_proxy);
/// # Ok::<(), steeple_user::BuildError>(())
/// ```
#[must_use = "an observer does nothing until a layer gets it"]
#[derive(Default)]
pub struct Users {
    resolver: AddressResolver,
    privacy: Option<Arc<dyn Privacy>>,
    sources: Box<[Source]>,
    reads_response: bool,
}

/// How [`Users`] finds out.
///
/// Sources of users are asked in the order in which they were added; the first that knows one counts.
#[must_use = "options do nothing until they are built and a layer gets them"]
#[derive(Default)]
pub struct UsersBuilder {
    resolver: AddressResolver,
    privacy: Option<Arc<dyn Privacy>>,
    sources: Vec<Source>,
}

/// Finds the user in something of the request or its response.
type Find<T> = Box<dyn Fn(&T) -> Option<User> + Send + Sync>;

enum Source {
    Extension(Find<Extensions>),
    Headers(GatewayHeaders),
    Request(Find<request::Parts>),
}

/// The headers in which an authenticating gateway sends the user.
///
/// # Examples
/// ```
/// use http::HeaderName;
/// use steeple_user::GatewayHeaders;
///
/// // What oauth2-proxy sends.
/// let headers = GatewayHeaders::new(HeaderName::from_static("x-forwarded-user"))
///     .email(HeaderName::from_static("x-forwarded-email"))
///     .name(HeaderName::from_static("x-forwarded-preferred-username"));
/// ```
#[derive(Clone, Debug)]
#[must_use = "headers are not read until options get them"]
pub struct GatewayHeaders {
    id: HeaderName,
    email: Option<HeaderName>,
    name: Option<HeaderName>,
}

/// A longer value is not an id, e-mail address or name.
const MAX_HEADER: usize = 256;

impl GatewayHeaders {
    /// The header with the user's id. Without it the request has no user.
    pub fn new(id: HeaderName) -> Self {
        Self { id, email: None, name: None }
    }

    /// The header with the e-mail address.
    pub fn email(mut self, header: HeaderName) -> Self {
        self.email = Some(header);
        self
    }

    /// The header with the name.
    pub fn name(mut self, header: HeaderName) -> Self {
        self.name = Some(header);
        self
    }

    fn user(&self, headers: &HeaderMap) -> Option<User> {
        let mut user = User::new(value_of(headers, &self.id)?);
        if let Some(email) = self.email.as_ref().and_then(|name| value_of(headers, name)) {
            user = user.with_email(email);
        }
        if let Some(name) = self.name.as_ref().and_then(|name| value_of(headers, name)) {
            user = user.with_name(name);
        }
        Some(user)
    }
}

/// The one value of a header: printable, not empty and not endless. Of two lines one may be the client's own.
fn value_of<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let mut lines = headers.get_all(name).iter();
    let (line, None) = (lines.next()?, lines.next()) else { return None };
    let text = str::from_utf8(line.as_bytes()).ok()?.trim();
    (!text.is_empty() && text.len() <= MAX_HEADER && !text.chars().any(char::is_control)).then_some(text)
}

impl UsersBuilder {
    /// The proxies in front of the service. Default: none, and forwarding headers are ignored.
    pub fn trusted_proxies(mut self, proxies: TrustedProxies) -> Self {
        self.resolver = self.resolver.with_proxies(proxies);
        self
    }

    /// The header that they write. Default: `X-Forwarded-For`.
    pub fn forwarding(mut self, header: impl Into<Forwarding>) -> Self {
        self.resolver = self.resolver.forwarding(header);
        self
    }

    /// Takes the user from an extension that an authentication further **out** has put into the request, or one
    /// in an inner layer into its response. `user` returns a [`User`], or an `Option` of one.
    ///
    /// An authentication in an inner layer that puts it into the request alone cannot be seen from here: put an
    /// [`IdentifyLayer`](crate::IdentifyLayer) inside of it.
    pub fn user_extension<T, R>(mut self, user: impl Fn(&T) -> R + Send + Sync + 'static) -> Self
    where
        T: Send + Sync + 'static,
        R: Into<Option<User>>,
    {
        let find = move |extensions: &Extensions| user(extensions.get::<T>()?).into();
        self.sources.push(Source::Extension(Box::new(find)));
        self
    }

    /// Takes the user's id from a header that an authenticating gateway sets. Only a
    /// [trusted proxy](Self::trusted_proxies) is believed.
    pub fn user_header(self, id: HeaderName) -> Self {
        self.user_headers(GatewayHeaders::new(id))
    }

    /// Takes the user from headers that an authenticating gateway sets. Only a
    /// [trusted proxy](Self::trusted_proxies) is believed.
    pub fn user_headers(mut self, headers: GatewayHeaders) -> Self {
        self.sources.push(Source::Headers(headers));
        self
    }

    /// Finds the user in the request's head. Runs on every request's path: do not block, and do not trust what the
    /// client wrote.
    pub fn user_from(mut self, find: impl Fn(&request::Parts) -> Option<User> + Send + Sync + 'static) -> Self {
        self.sources.push(Source::Request(Box::new(find)));
        self
    }

    /// Decides what sinks may see: a [`PrivacyPolicy`](crate::PrivacyPolicy), or your own policy. Default: the
    /// id, and the address cut to its network.
    pub fn privacy(mut self, policy: impl Privacy) -> Self {
        self.privacy = Some(Arc::new(policy));
        self
    }

    /// Checks everything.
    ///
    /// # Errors
    /// [`BuildError::is_proxies`] when a user is to be taken from a header and no proxy is trusted.
    pub fn build(self) -> Result<Users, BuildError> {
        let reads = |wanted: fn(&Source) -> bool| self.sources.iter().any(wanted);
        if reads(|source| matches!(source, Source::Headers(_))) && self.resolver.proxies().is_none() {
            return Err(BuildError::new(Kind::HeaderWithoutProxies));
        }
        let reads_response = reads(|source| matches!(source, Source::Extension(_)));
        Ok(Users { resolver: self.resolver, privacy: self.privacy, sources: self.sources.into(), reads_response })
    }
}

impl Users {
    /// The peer's address, and the users that handlers and [`IdentifyLayer`](crate::IdentifyLayer)s set.
    pub fn new() -> Self {
        Self::default()
    }

    /// Options. Default: the peer's address, and the users that handlers and [`IdentifyLayer`](crate::IdentifyLayer)s set.
    pub fn builder() -> UsersBuilder {
        UsersBuilder::default()
    }

    /// Finds out who is behind the exchanges of a service by itself.
    pub fn layer(self) -> ObserveLayer<Self> {
        ObserveLayer::new(self)
    }
}

impl Observer for Users {
    type State = ();

    fn on_request(&self, exchange: &Exchange, request: &mut request::Parts) -> Option<()> {
        if let Some(policy) = &self.privacy {
            exchange.set_privacy(Arc::clone(policy));
        }
        let peer = Peer::of(&request.extensions);
        if let Some(address) = self.resolver.resolve(peer, &request.headers) {
            exchange.set_client_address(address);
        }
        let user = self.sources.iter().find_map(|source| match source {
            Source::Extension(find) => find(&request.extensions),
            Source::Headers(names) => {
                self.resolver.proxies().trusts_peer(peer).then(|| names.user(&request.headers)).flatten()
            }
            Source::Request(find) => find(request),
        });
        if let Some(user) = user {
            exchange.set_user(user);
        }
        self.reads_response.then_some(())
    }

    fn on_response(&self, (): &mut (), exchange: &Exchange, response: &mut response::Parts) {
        if exchange.user().is_none()
            && let Some(user) = self.sources.iter().find_map(|source| match source {
                Source::Extension(find) => find(&response.extensions),
                Source::Headers(_) | Source::Request(_) => None,
            })
        {
            exchange.set_user(user);
        }
    }

    fn on_end(&self, (): (), _exchange: &Exchange, _end: &End) {}
}

impl fmt::Debug for Users {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Users")
            .field("resolver", &self.resolver)
            .field("privacy", &self.privacy.is_some())
            .field("sources", &self.sources)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for UsersBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UsersBuilder")
            .field("resolver", &self.resolver)
            .field("privacy", &self.privacy.is_some())
            .field("sources", &self.sources)
            .finish()
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Extension(_) => f.write_str("Extension"),
            Self::Headers(headers) => headers.fmt(f),
            Self::Request(_) => f.write_str("Request"),
        }
    }
}
