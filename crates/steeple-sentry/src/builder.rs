use std::{
    any,
    borrow::Cow,
    fmt, io,
    num::NonZeroUsize,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use http::{HeaderName, StatusCode, header};
use sentry_core::{
    Client, ClientOptions, TransactionContext, TransportFactory, protocol::SessionAttributes, types::Dsn,
};
use steeple_core::{GrpcStatus, RouteOptions};
#[cfg(feature = "transport")]
use steeple_export::ClientBuilder;
use steeple_export::Retry;
use steeple_scrub::Scrubber;

use crate::{
    BuildError, Parent, Sentry, bound,
    context::{self, Context},
    gate::Factory,
    head::Allowed,
    limit,
    outlet::Settings,
    sampling::{Rates, Sampler},
    session::Sessions,
};

/// Envelopes that may wait to be sent. One is rarely over 100 kB.
const QUEUE: NonZeroUsize = NonZeroUsize::new(100).expect("not zero");

/// Bytes of envelopes that may wait to be sent.
const QUEUE_BYTES: usize = 16 << 20;

/// How long the counters of release health gather before they are sent.
const SESSIONS_EVERY: Duration = Duration::from_secs(60);

/// Most attributes that become tags.
const MAX_TAGS: usize = 16;

/// The headers that are of use in a failure and do not identify the client.
const HEADERS: [HeaderName; 5] =
    [header::ACCEPT, header::CONTENT_LENGTH, header::CONTENT_TYPE, header::HOST, header::USER_AGENT];

/// Settings of a [`Sentry`]. Made by [`Sentry::builder`], or by [`from_lookup`](Self::from_lookup) from variables.
///
/// # Examples
/// ```
/// use http::StatusCode;
/// use steeple_core::RouteOptions;
/// use steeple_sentry::Sentry;
///
/// #[derive(Debug)]
/// struct QuotaExceeded;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let sentry = Sentry::builder("https://public@sentry.example.com/1")
///     .environment("production")
///     .release("shop@1.2.3")
///     .traces_sample_rate(0.1)
///     .route("/health", RouteOptions::new().trace_sample_ratio(0.0))
///     .expect_status(StatusCode::SERVICE_UNAVAILABLE)
///     .expect_error::<QuotaExceeded>()
///     .build()?;
/// # Ok(())
/// # }
/// ```
#[must_use = "settings do nothing until they are built"]
pub struct SentryBuilder {
    dsn: Cow<'static, str>,
    environment: Option<Cow<'static, str>>,
    release: Option<Cow<'static, str>>,
    rates: Rates,
    scrubber: Scrubber,
    headers: Vec<HeaderName>,
    expected: Expected,
    client_address: bool,
    region: Option<String>,
    tags: Vec<Cow<'static, str>>,
    sessions: bool,
    session_interval: Duration,
    capacity: NonZeroUsize,
    max_bytes: usize,
    timeout: Duration,
    retry: Retry,
    #[cfg(feature = "transport")]
    http: ClientBuilder,
    in_app: Vec<&'static str>,
    transport: Option<Arc<dyn TransportFactory>>,
    client: Vec<Box<dyn FnOnce(ClientOptions) -> ClientOptions>>,
}

#[derive(Default)]
struct Expected {
    statuses: Vec<StatusCode>,
    grpc: Vec<GrpcStatus>,
    errors: Vec<Cow<'static, str>>,
}

impl Default for SentryBuilder {
    /// Without a DSN: [`dsn`](Self::dsn) sets it.
    fn default() -> Self {
        Self {
            dsn: Cow::Borrowed(""),
            environment: None,
            release: None,
            rates: Rates::default(),
            scrubber: Scrubber::default(),
            headers: HEADERS.to_vec(),
            expected: Expected::default(),
            client_address: false,
            region: None,
            tags: Vec::new(),
            sessions: true,
            session_interval: SESSIONS_EVERY,
            capacity: QUEUE,
            max_bytes: QUEUE_BYTES,
            timeout: Duration::from_secs(15),
            retry: Retry::new().max_attempts(3).base(Duration::from_millis(500)).cap(Duration::from_secs(5)),
            in_app: Vec::new(),
            transport: None,
            client: Vec::new(),
            #[cfg(feature = "transport")]
            http: steeple_export::Client::builder(),
        }
    }
}

impl SentryBuilder {
    /// Sends to this DSN. [`build`](Self::build) checks it.
    pub fn dsn(mut self, dsn: impl Into<Cow<'static, str>>) -> Self {
        self.dsn = dsn.into();
        self
    }

    /// Whether there is a DSN, valid or not.
    pub fn has_dsn(&self) -> bool {
        !self.dsn.is_empty()
    }

    /// Reads `SENTRY_DSN`, `SENTRY_ENVIRONMENT`, `SENTRY_RELEASE` and `SENTRY_TRACES_SAMPLE_RATE` from whatever looks them up.
    ///
    /// `None`: no DSN (an empty one counts as none), Sentry is off. `None` is an observer too, which watches nothing.
    ///
    /// # Errors
    /// When a variable holds what it may not. The error names it, what it holds and what it may hold.
    ///
    /// # Examples
    /// ```
    /// use steeple_sentry::SentryBuilder;
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let options = SentryBuilder::from_lookup(|name| match name {
    ///     "SENTRY_DSN" => Some("https://public@sentry.example.com/1".to_owned()),
    ///     _ => None,
    /// })?;
    /// assert!(options.is_some());
    ///
    /// let error = SentryBuilder::from_lookup(|name| match name {
    ///     "SENTRY_DSN" => Some("https://public@sentry.example.com/1".to_owned()),
    ///     "SENTRY_TRACES_SAMPLE_RATE" => Some("10 %".to_owned()),
    ///     _ => None,
    /// });
    /// let text = error.unwrap_err().to_string();
    /// assert_eq!(text, "`SENTRY_TRACES_SAMPLE_RATE` holds `10 %`, it may hold a number from 0 to 1");
    /// # Ok(())
    /// # }
    /// ```
    pub fn from_lookup(lookup: impl Fn(&str) -> Option<String>) -> Result<Option<Self>, BuildError> {
        let options = Self::default().with_lookup(lookup)?;
        Ok(options.has_dsn().then_some(options))
    }

    /// Sets what the variables set, whether there is a DSN or not. See [`from_lookup`](Self::from_lookup).
    ///
    /// # Errors
    /// When a variable has an invalid value. The error has its name, its value and the allowed values.
    pub fn with_lookup(self, lookup: impl Fn(&str) -> Option<String>) -> Result<Self, BuildError> {
        let get = |name| lookup(name).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty());
        let mut options = self;
        if let Some(dsn) = get("SENTRY_DSN") {
            if dsn.parse::<Dsn>().is_err() {
                return Err(BuildError::variable("SENTRY_DSN", &dsn, "`https://<key>@<host>/<project>`, or nothing"));
            }
            options = options.dsn(dsn);
        }
        if let Some(environment) = get("SENTRY_ENVIRONMENT") {
            if !is_environment(&environment) {
                return Err(BuildError::variable(
                    "SENTRY_ENVIRONMENT",
                    &environment,
                    "up to 64 characters without spaces and `/`",
                ));
            }
            options = options.environment(environment);
        }
        if let Some(release) = get("SENTRY_RELEASE") {
            if !is_release(&release) {
                return Err(BuildError::variable(
                    "SENTRY_RELEASE",
                    &release,
                    "up to 200 characters without `/`, such as `shop@1.2.3`",
                ));
            }
            options = options.release(release);
        }
        if let Some(rate) = get("SENTRY_TRACES_SAMPLE_RATE") {
            match rate.parse() {
                Ok(number) if (0.0..=1.0).contains(&number) => options = options.traces_sample_rate(number),
                _ => return Err(BuildError::variable("SENTRY_TRACES_SAMPLE_RATE", &rate, "a number from 0 to 1")),
            }
        }
        Ok(options)
    }

    /// The environment. Default: `production`, or `development` in a debug build.
    pub fn environment(mut self, environment: impl Into<Cow<'static, str>>) -> Self {
        self.environment = Some(environment.into());
        self
    }

    /// The environment, unless one is set already. One that Sentry would refuse is ignored.
    pub fn environment_or(mut self, environment: impl Into<Cow<'static, str>>) -> Self {
        let environment = Some(environment.into()).filter(|environment| is_environment(environment));
        self.environment = self.environment.or(environment);
        self
    }

    /// The release: `name@1.2.3`. Release health needs one.
    pub fn release(mut self, release: impl Into<Cow<'static, str>>) -> Self {
        self.release = Some(release.into());
        self
    }

    /// The release, unless one is set already. One that Sentry would refuse is ignored.
    pub fn release_or(mut self, release: impl Into<Cow<'static, str>>) -> Self {
        let release = Some(release.into()).filter(|release| is_release(release));
        self.release = self.release.or(release);
        self
    }

    /// How many of the exchanges become transactions, from 0 to 1. Default: tracing is off.
    pub fn traces_sample_rate(mut self, rate: f64) -> Self {
        self.rates.default = Some(rate);
        self
    }

    /// The rate in one environment, in place of the general one.
    pub fn traces_sample_rate_in(mut self, environment: impl Into<String>, rate: f64) -> Self {
        self.rates.environments.push((environment.into(), rate));
        self
    }

    /// Other options for one route: `/users/{id}`, `GET /users/{id}` or `pkg.Service/Method`. Reads whether errors or traces are
    /// [skipped](RouteOptions::skip), and [`RouteOptions::trace_sample_ratio`]: 0 keeps the route out even if its caller is sampled.
    pub fn route(mut self, route: impl Into<String>, options: RouteOptions) -> Self {
        self.rates.routes.push((route.into(), options));
        self
    }

    /// What counts of the caller's decision on a trace. Default: [`Parent::Decides`].
    pub fn parent(mut self, parent: Parent) -> Self {
        self.rates.parent = parent;
        self
    }

    /// What removes secrets from everything that is sent. Default: [`Scrubber::default`].
    pub fn scrubber(mut self, scrubber: Scrubber) -> Self {
        self.scrubber = scrubber;
        self
    }

    /// Lets one more request header through; the scrubber's deny list still holds. Default: `accept`, `content-length`,
    /// `content-type`, `host` and `user-agent`.
    pub fn header(mut self, name: HeaderName) -> Self {
        if !self.headers.contains(&name) {
            self.headers.push(name);
        }
        self
    }

    /// No event for this 5xx status.
    pub fn expect_status(mut self, status: StatusCode) -> Self {
        self.expected.statuses.push(status);
        self
    }

    /// No event for this gRPC status, of those that count as a server's failure.
    pub fn expect_grpc(mut self, status: GrpcStatus) -> Self {
        self.expected.grpc.push(status);
        self
    }

    /// No event for failures whose noticed errors are all of this type, or of others that are expected.
    pub fn expect_error<E: ?Sized>(self) -> Self {
        self.expect_error_named(any::type_name::<E>())
    }

    /// Like [`expect_error`](Self::expect_error), for a type that cannot be named here: its path, or the last part of it.
    pub fn expect_error_named(mut self, name: impl Into<Cow<'static, str>>) -> Self {
        self.expected.errors.push(name.into());
        self
    }

    /// Sends the client's address, as the privacy policy leaves it. Default: no address is sent.
    pub fn client_address(mut self) -> Self {
        self.client_address = true;
        self
    }

    /// The region that the service runs in, as the tag `cloud.region` of every event and transaction: `eu-central-1`. Default: no
    /// such tag.
    pub fn region(mut self, name: impl Into<String>) -> Self {
        self.region = Some(name.into());
        self
    }

    /// The region, unless one was set already.
    pub fn region_or(mut self, name: impl Into<String>) -> Self {
        self.region.get_or_insert_with(|| name.into());
        self
    }

    /// Makes an exchange's attribute of this name a tag of its events and transactions, so that Sentry can search and count by it, in
    /// place of an extra. At most 16, each with few values: an id of something is an extra. Values are scrubbed and cut to 200
    /// characters, as Sentry has them.
    ///
    /// ```
    /// # use steeple_sentry::Sentry;
    /// let builder = Sentry::builder("https://key@sentry.example.com/1").tag_attribute("plan").tag_attribute("tenant.tier");
    /// # let _unused = builder;
    /// ```
    #[doc(alias = "label")]
    pub fn tag_attribute(mut self, name: impl Into<Cow<'static, str>>) -> Self {
        let name = name.into();
        if !self.tags.contains(&name) {
            self.tags.push(name);
        }
        self
    }

    /// No release health. Default: exchanges are counted per minute if there is a release.
    pub fn without_sessions(mut self) -> Self {
        self.sessions = false;
        self
    }

    /// How often the counters of release health are sent. Default: once a minute. Zero counts as the default.
    pub fn session_interval(mut self, interval: Duration) -> Self {
        self.session_interval = if interval.is_zero() { SESSIONS_EVERY } else { interval };
        self
    }

    /// How many envelopes may wait to be sent; one more is dropped and counted. Default: 100.
    pub fn queue_capacity(mut self, envelopes: NonZeroUsize) -> Self {
        self.capacity = envelopes;
        self
    }

    /// How many bytes of envelopes may wait to be sent, as estimated; what exceeds them is dropped and counted. Default: 16 MiB.
    pub fn queue_bytes(mut self, bytes: usize) -> Self {
        self.max_bytes = bytes;
        self
    }

    /// How long one request to Sentry may take. Default: 15 seconds.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// When an envelope is sent again that could not be delivered. Default: up to three attempts, within seconds.
    pub fn retry(mut self, retry: Retry) -> Self {
        self.retry = retry;
        self
    }

    /// Changes how Sentry is reached: proxies, certificates, and whether a DSN may name another machine without encryption.
    ///
    /// ```
    /// # use steeple_sentry::Sentry;
    /// let builder = Sentry::builder("https://key@sentry.example.com/1").http(|http| http.ca_file("/etc/ssl/own.pem"));
    /// # let _unused = builder;
    /// ```
    #[doc(alias = "proxy")]
    #[doc(alias = "ca_file")]
    #[doc(alias = "allow_plain_http")]
    #[cfg(feature = "transport")]
    pub fn http(mut self, change: impl FnOnce(ClientBuilder) -> ClientBuilder) -> Self {
        self.http = change(self.http);
        self
    }

    /// Frames of functions whose path begins like this are the application's own. May be called several times.
    pub fn in_app(mut self, prefix: &'static str) -> Self {
        self.in_app.push(prefix);
        self
    }

    /// What moves the bytes, at the end of the queue. Default: HTTP, with the feature `transport`.
    pub fn transport(mut self, transport: impl TransportFactory + 'static) -> Self {
        self.transport = Some(Arc::new(transport));
        self
    }

    /// Changes the SDK's own options: integrations, `before_send`, how many breadcrumbs. Runs before ours are put in.
    pub fn client(mut self, change: impl FnOnce(ClientOptions) -> ClientOptions + 'static) -> Self {
        self.client.push(Box::new(change));
        self
    }

    /// Makes the client, and starts sending.
    ///
    /// # Errors
    /// [`BuildError::is_dsn`] when the DSN is not valid; [`BuildError::is_rate`] when a rate is not from 0 to 1;
    /// [`BuildError::is_thread`] when the thread that sends cannot be started; [`BuildError::is_tag`] when an attribute cannot be a
    /// tag. With the feature `transport` also when the DSN names
    /// another machine without encryption, or certificates cannot be read.
    pub fn build(mut self) -> Result<Sentry, BuildError> {
        let dsn: Dsn = self.dsn.parse().map_err(|_dsn| BuildError::dsn())?;
        let sessions = self.release.clone().filter(|_| self.sessions).map(|release| {
            Arc::new(Sessions::new(SessionAttributes {
                release,
                environment: Some(self.settled_environment()),
                ip_address: None,
                user_agent: None,
            }))
        });
        let settings = Settings {
            max_items: self.capacity.get(),
            max_bytes: self.max_bytes,
            timeout: self.timeout,
            retry: self.retry,
            session_interval: self.session_interval,
            in_app: std::mem::take(&mut self.in_app),
            transport: self.transport.take(),
            #[cfg(feature = "transport")]
            client: self.http.clone(),
        };
        let changes = std::mem::take(&mut self.client);
        let (environment, release) = (self.settled_environment(), self.release.clone());
        let context = Arc::new(self.context(sessions, true)?);
        let made = Arc::new(Mutex::new(None));
        let factory = Factory { settings, context: Arc::clone(&context), made: Arc::clone(&made) };
        let mut client = changes.into_iter().fold(ClientOptions::new(), |options, change| change(options));
        client.dsn = Some(dsn);
        client = client.environment(environment).maybe_release(release).transport(factory);
        if let Some(sampler) = context.sampler.clone() {
            client = client.traces_sampler(move |context| client_rate(&sampler, context));
        }
        client.before_breadcrumb = Some(limit::breadcrumbs(client.before_breadcrumb.take()));
        client.before_send_log = Some(bound::tracing_logs(client.before_send_log.take()));
        // Where no thread can be started, the SDK panics over one that it wants itself.
        let client = catch_unwind(AssertUnwindSafe(|| Client::with_options(client)));
        let gate = made.lock().unwrap_or_else(PoisonError::into_inner).take().transpose()?;
        let client = client.map_err(|_panic| BuildError::sdk(io::Error::other("it panicked")))?;
        Ok(Sentry::new(Arc::new(client), context, gate))
    }

    pub(crate) fn build_with(self, client: Arc<Client>) -> Result<Sentry, BuildError> {
        Ok(Sentry::new(client, Arc::new(self.context(None, false)?), None))
    }

    fn settled_environment(&self) -> Cow<'static, str> {
        let default = if cfg!(debug_assertions) { "development" } else { "production" };
        self.environment.clone().unwrap_or(Cow::Borrowed(default))
    }

    fn context(self, sessions: Option<Arc<Sessions>>, has_gate: bool) -> Result<Context, BuildError> {
        if let Some(wrong) = self.tags.iter().find(|name| !is_tag(name)) {
            return Err(BuildError::tag(format!(
                "`{wrong}` cannot be a tag: up to 32 of a-z, A-Z, 0-9, `_`, `.`, `:` and `-` can"
            )));
        }
        if self.tags.len() > MAX_TAGS {
            return Err(BuildError::tag(format!("at most {MAX_TAGS} attributes can be tags")));
        }
        let environment = self.settled_environment();
        let routes = self.rates.routes()?;
        Ok(Context {
            sampler: self.rates.build(&environment, &routes)?.map(Arc::new),
            routes,
            scrubber: self.scrubber,
            headers: Allowed::new(self.headers),
            expected_statuses: self.expected.statuses,
            expected_grpc: self.expected.grpc,
            expected_errors: self.expected.errors,
            client_address: self.client_address,
            region: self.region,
            tags: self.tags,
            sessions,
            counters: Arc::default(),
            has_gate,
            generation: context::first_generation(),
        })
    }
}

/// What Sentry takes for an environment.
fn is_environment(text: &str) -> bool {
    !text.is_empty() && text.len() <= 64 && !text.contains(['/', '\n', '\r', ' '])
}

/// What Sentry takes for the name of a tag.
fn is_tag(name: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"_.:-".contains(&byte);
    (1..=32).contains(&name.len()) && name.bytes().all(fits)
}

/// What Sentry takes for a release.
fn is_release(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= 200
        && !text.contains(['/', '\\', '\n', '\r', '\t'])
        && !matches!(text, "." | "..")
}

/// The rate of a transaction that someone starts: as its exchange decided, else as its caller did, else the general one.
fn client_rate(sampler: &Sampler, context: &TransactionContext) -> f32 {
    let decided = bound::decision().or_else(|| context.sampled().filter(|_| sampler.parent == Parent::Decides));
    #[expect(clippy::cast_possible_truncation, reason = "a rate; the SDK keeps rates in single precision")]
    decided.map_or(sampler.general() as f32, f32::from)
}

impl fmt::Debug for SentryBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SentryBuilder")
            .field("environment", &self.environment)
            .field("release", &self.release)
            .field("rates", &self.rates)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DSN: &str = "https://public@sentry.example.com/1";

    fn read(variables: &[(&str, &str)]) -> Result<Option<SentryBuilder>, BuildError> {
        SentryBuilder::from_lookup(|name| {
            variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
        })
    }

    #[track_caller]
    fn refuse(name: &'static str, held: &str) {
        let error = read(&[("SENTRY_DSN", DSN), (name, held)]).unwrap_err();
        let text = error.to_string();
        assert_eq!(error.variable_name(), Some(name));
        assert!(text.contains(name) && text.contains(held) && text.contains("may hold"), "{text}");
    }

    #[test]
    fn a_bad_variable_is_named_with_what_it_holds_and_may_hold() {
        for held in ["1.5", "-0.1", "NaN", "ten", "1e9"] {
            refuse("SENTRY_TRACES_SAMPLE_RATE", held);
        }
        refuse("SENTRY_ENVIRONMENT", "prod/eu");
        refuse("SENTRY_RELEASE", "shop/1.2.3");
        let error = read(&[("SENTRY_DSN", "https://sentry.example.com")]).unwrap_err();
        assert!(error.is_dsn() && error.to_string().contains("https://sentry.example.com"), "{error}");
    }

    #[test]
    fn a_key_in_the_wrong_variable_is_not_shown() {
        let error = read(&[("SENTRY_DSN", "postgres://app:hunter2@db/shop")]).unwrap_err();
        assert!(!error.to_string().contains("hunter2"), "{error}");
    }

    #[test]
    fn without_a_dsn_it_is_off_whatever_else_is_set() {
        assert!(read(&[]).unwrap().is_none());
        assert!(read(&[("SENTRY_DSN", "  "), ("SENTRY_RELEASE", "shop@1")]).unwrap().is_none());
    }

    #[test]
    fn what_the_variables_hold_is_what_the_client_gets() {
        let variables = [
            ("SENTRY_DSN", DSN),
            ("SENTRY_ENVIRONMENT", "staging"),
            ("SENTRY_RELEASE", "shop@1.2.3"),
            ("SENTRY_TRACES_SAMPLE_RATE", "0.25"),
        ];
        let transport = sentry_core::test::TestTransport::new();
        let sentry = read(&variables).unwrap().unwrap().transport(transport).build().unwrap();
        let options = sentry.client().options();
        assert_eq!((options.environment.as_deref(), options.release.as_deref()), (Some("staging"), Some("shop@1.2.3")));
        assert_eq!(sentry.0.context.sampler.as_ref().map(|sampler| sampler.general()), Some(0.25));
    }

    #[test]
    fn the_service_fills_in_what_sentrys_options_leave_out() {
        let client = |options: SentryBuilder| {
            let sentry = options.transport(sentry_core::test::TestTransport::new()).build().unwrap();
            let options = sentry.client().options();
            (options.environment.as_deref().map(str::to_owned), options.release.as_deref().map(str::to_owned))
        };
        let known = |options: SentryBuilder| client(options.environment_or("eu").release_or("shop@1"));
        assert_eq!(known(Sentry::builder(DSN)), (Some("eu".to_owned()), Some("shop@1".to_owned())));
        let said = Sentry::builder(DSN).environment("us").release("shop@2");
        assert_eq!(known(said), (Some("us".to_owned()), Some("shop@2".to_owned())));
        let refused = Sentry::builder(DSN).environment_or("the cellar").release_or("shop/1");
        assert_eq!(client(refused), client(Sentry::builder(DSN)));
    }

    #[test]
    fn an_invalid_dsn_is_rejected_by_build() {
        assert!(Sentry::builder("nonsense").build().unwrap_err().is_dsn());
        assert!(Sentry::builder(DSN).traces_sample_rate(2.0).build().unwrap_err().is_rate());
    }
}
