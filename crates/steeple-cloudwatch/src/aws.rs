//! What all of AWS has in common: a region, endpoints, signed requests, and what errors mean.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering::Relaxed},
    },
    time::{Duration, SystemTime},
};

use http::header;
use serde_json::Value;
use steeple_export::{
    Answer, Authorize, Client, ClientBuilder, DropReason, Endpoint, Http, HttpOptions, Protocol, Reason, Request,
    Response, retry_after,
};

use crate::{
    BuildError,
    credentials::{Cache, CacheOptions, ProvideCredentials},
    sign::{Message, sign},
};

/// Which AWS: its region, who signs, and how it is reached.
///
/// # Examples
/// ```
/// use steeple_cloudwatch::{Aws, Credentials};
///
/// let aws = Aws::new("eu-central-1").credentials(Credentials::new("AKIA…", "secret"));
/// ```
#[derive(Clone)]
#[must_use = "it does nothing until something is built with it"]
pub struct Aws {
    region: String,
    endpoint: Option<String>,
    credentials: Option<Arc<dyn ProvideCredentials>>,
    cache: CacheOptions,
    http: HttpOptions,
}

impl Aws {
    /// A region: `eu-central-1`.
    pub fn new(region: impl Into<String>) -> Self {
        Self {
            region: region.into(),
            endpoint: None,
            credentials: None,
            cache: CacheOptions::default(),
            http: HttpOptions::new(),
        }
    }

    /// Another address than AWS's own, for all services: a gateway, an emulator. Plain `http` is for this machine alone.
    pub fn endpoint(mut self, url: impl Into<String>) -> Self {
        self.endpoint = Some(url.into());
        self
    }

    /// Who signs. Without it nothing can be built.
    pub fn credentials(self, credentials: impl ProvideCredentials) -> Self {
        self.shared_credentials(Arc::new(credentials))
    }

    /// The same, where the type is not known.
    pub fn shared_credentials(mut self, credentials: Arc<dyn ProvideCredentials>) -> Self {
        self.credentials = Some(credentials);
        self
    }

    /// How long before their end credentials are asked for again. Default: 5 minutes.
    pub fn credentials_refresh_before(mut self, time: Duration) -> Self {
        self.cache.refresh_before = time;
        self
    }

    /// How long credentials without an end are used before they are asked for again, since files change. Default: 5 minutes.
    pub fn credentials_keep(mut self, time: Duration) -> Self {
        self.cache.keep = time;
        self
    }

    /// How long [`ProvideCredentials::provide`] may take. Default: 10 seconds.
    pub fn credentials_timeout(mut self, timeout: Duration) -> Self {
        self.cache.timeout = timeout;
        self
    }

    /// Changes how AWS is reached: proxies, certificates.
    pub fn http(mut self, change: impl FnOnce(ClientBuilder) -> ClientBuilder) -> Self {
        self.http = self.http.http(change);
        self
    }

    /// Uses this client, and none of the options for one. Default: each sink has its own.
    pub fn client(mut self, client: Client) -> Self {
        self.http = self.http.client(client);
        self
    }

    /// The region.
    pub fn region(&self) -> &str {
        &self.region
    }

    /// Checks everything.
    pub(crate) fn connect(&self, service: &'static Service) -> Result<Connection, BuildError> {
        self.connect_with(service, &self.http)
    }

    /// The same, by options that may have another HTTP client.
    pub(crate) fn connect_with(&self, service: &'static Service, http: &HttpOptions) -> Result<Connection, BuildError> {
        let is_region = !self.region.is_empty()
            && self.region.len() <= 64
            && self.region.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
        if !is_region {
            return Err(BuildError::setting("region", "a region such as `eu-central-1`"));
        }
        let credentials = self.credentials.clone();
        let credentials = credentials.ok_or(BuildError::setting("credentials", "who signs: they are missing"))?;
        let url = self.endpoint.clone().unwrap_or_else(|| {
            let suffix = if self.region.starts_with("cn-") { "amazonaws.com.cn" } else { "amazonaws.com" };
            format!("https://{}.{}.{suffix}/", service.host, self.region)
        });
        let endpoint = Endpoint::parse(&url).map_err(|error| BuildError::part("endpoint", error))?;
        let client = http
            .clone()
            .client_or(&self.http)
            .client_for(&endpoint)
            .map_err(|error| BuildError::part("endpoint", error))?;
        let signer = Signer {
            service,
            region: self.region.clone(),
            cache: Cache::new(credentials, self.cache),
            skew_seconds: AtomicI64::new(0),
        };
        Ok(Connection { client, endpoint, signer: Arc::new(signer) })
    }
}

impl fmt::Debug for Aws {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Aws").field("region", &self.region).finish_non_exhaustive()
    }
}

/// One of AWS's services.
#[derive(Debug)]
pub(crate) struct Service {
    /// The first part of its host.
    host: &'static str,
    /// As signatures have it.
    name: &'static str,
}

pub(crate) const MONITORING: Service = Service { host: "monitoring", name: "monitoring" };
#[cfg(feature = "logs")]
pub(crate) const LOGS: Service = Service { host: "logs", name: "logs" };

/// A service that was found to be reachable.
#[derive(Clone)]
pub(crate) struct Connection {
    pub(crate) client: Client,
    pub(crate) endpoint: Endpoint,
    pub(crate) signer: Arc<Signer>,
}

impl Connection {
    /// An exporter that signs what this protocol writes.
    pub(crate) fn speak<P: Protocol>(&self, protocol: P) -> Signed<P> {
        Http::authorized(self.client.clone(), protocol, Signing(Arc::clone(&self.signer)))
    }
}

/// Signs requests with the credentials and by the clock of now.
pub(crate) struct Signer {
    service: &'static Service,
    region: String,
    cache: Cache,
    /// How far AWS's clock is ahead of this one, once a request was refused for it.
    skew_seconds: AtomicI64,
}

impl Signer {
    fn sign(&self, request: &mut Request, now: SystemTime) -> Result<(), Reason> {
        let credentials = self.cache.current().ok_or(Reason::from("no credentials"))?;
        let skew = self.skew_seconds.load(Relaxed);
        let by = Duration::from_secs(skew.unsigned_abs());
        let now = if skew < 0 { now.checked_sub(by) } else { now.checked_add(by) }.unwrap_or(now);
        let (method, uri, body) = (request.method().clone(), request.uri().clone(), request.payload().clone());
        let message = Message { method: &method, uri: &uri, headers: request.headers_mut(), body: &body };
        sign(message, &credentials, &self.region, self.service.name, now)
    }

    /// What an answer means that is not a success; `None` where that is up to the service.
    fn judge(&self, response: &Response, error: &AwsError) -> Option<Answer> {
        match error.kind() {
            Kind::Throttled => {
                let after = retry_after(&response.headers, SystemTime::now());
                Some(Answer::Retry { after, cause: DropReason::RateLimited, why: error.reason(response) })
            }
            Kind::Expired => {
                self.cache.forget();
                Some(Answer::retry(DropReason::Unauthorized, error.reason(response)))
            }
            Kind::Clock if self.adjusts(response) => Some(Answer::retry(
                DropReason::Unauthorized,
                "the clock differs from AWS's: signed by AWS's from now on",
            )),
            Kind::Clock | Kind::Refused => {
                // A key may have been rotated.
                self.cache.forget();
                Some(Answer::Paused(error.reason(response)))
            }
            Kind::Unavailable => Some(Answer::retry(DropReason::Unavailable, error.reason(response))),
            Kind::Other => None,
        }
    }

    /// Takes the time from an answer. Returns whether that makes a difference.
    fn adjusts(&self, response: &Response) -> bool {
        /// AWS takes signatures that are five minutes old or early.
        const TOLERATED: i64 = 240;
        let date = response.headers.get(header::DATE).and_then(|date| date.to_str().ok());
        let Some(theirs) = date.and_then(|date| httpdate::parse_http_date(date).ok()) else { return false };
        let seconds = |from: SystemTime, to: SystemTime| {
            to.duration_since(from).ok().and_then(|ahead| i64::try_from(ahead.as_secs()).ok())
        };
        let ours = SystemTime::now();
        let Some(skew) = seconds(ours, theirs).or_else(|| seconds(theirs, ours).map(i64::saturating_neg)) else {
            return false;
        };
        let before = self.skew_seconds.swap(skew, Relaxed);
        skew.saturating_sub(before).unsigned_abs() > TOLERATED.unsigned_abs()
    }
}

/// What signs the requests of a service: one for all that are sent with these credentials.
pub(crate) struct Signing(Arc<Signer>);

impl Authorize for Signing {
    async fn prepare(&mut self) -> Result<(), Answer> {
        self.0.cache.refresh().await.map_err(Answer::Paused)
    }

    fn sign(&mut self, request: &mut Request, now: SystemTime) -> Result<(), Reason> {
        self.0.sign(request, now)
    }

    /// The errors that all services share.
    fn judge(&mut self, response: &Response) -> Option<Answer> {
        if response.status.is_success() {
            return None;
        }
        self.0.judge(response, &AwsError::of(response))
    }
}

/// A protocol whose requests are signed.
pub(crate) type Signed<P> = Http<P, Signing>;

/// AWS's name of the error: `ThrottlingException`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AwsError {
    pub(crate) code: String,
    message: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Throttled,
    /// The credentials have ended.
    Expired,
    /// It may be the clock.
    Clock,
    /// The credentials, or what they may do.
    Refused,
    Unavailable,
    Other,
}

impl AwsError {
    /// Reads an answer, in JSON or in XML.
    pub(crate) fn of(response: &Response) -> Self {
        let text = String::from_utf8_lossy(&response.body);
        let json: Option<Value> = serde_json::from_str(&text).ok();
        let field = |names: &[&str]| {
            let found = names.iter().find_map(|name| json.as_ref()?.get(*name)?.as_str());
            found.map(str::to_owned)
        };
        let element = |name: &str| {
            let (_, rest) = text.split_once(&format!("<{name}>"))?;
            rest.split_once('<').map(|(value, _)| value.trim().to_owned())
        };
        let header = response.headers.get("x-amzn-errortype").and_then(|value| value.to_str().ok());
        let code = field(&["__type", "code"]).or_else(|| header.map(str::to_owned)).or_else(|| element("Code"));
        let message = field(&["message", "Message"]).or_else(|| element("Message"));
        let code = code.unwrap_or_default();
        // `com.amazonaws.logs#ThrottlingException:http://…`
        let code = code.rsplit('#').next().unwrap_or_default().split(':').next().unwrap_or_default();
        Self { code: code.to_owned(), message: message.unwrap_or_default() }
    }

    fn kind(&self) -> Kind {
        match self.code.as_str() {
            "Throttling"
            | "ThrottlingException"
            | "ThrottledException"
            | "RequestThrottled"
            | "RequestThrottledException"
            | "RequestLimitExceeded"
            | "TooManyRequestsException"
            | "LimitExceeded"
            | "BandwidthLimitExceeded"
            | "SlowDown" => Kind::Throttled,
            "ExpiredToken" | "ExpiredTokenException" => Kind::Expired,
            "RequestExpired"
            | "RequestTimeTooSkewed"
            | "InvalidSignatureException"
            | "SignatureDoesNotMatch"
            | "AuthFailure"
            | "RequestInTheFuture" => Kind::Clock,
            "UnrecognizedClientException"
            | "InvalidClientTokenId"
            | "MissingAuthenticationToken"
            | "MissingAuthenticationTokenException"
            | "IncompleteSignature"
            | "AccessDenied"
            | "AccessDeniedException"
            | "NotAuthorized"
            | "OptInRequired"
            | "InvalidAccessKeyId" => Kind::Refused,
            "InternalServiceFault"
            | "InternalFailure"
            | "InternalServerError"
            | "InternalServiceError"
            | "ServiceUnavailable"
            | "ServiceUnavailableException"
            | "OperationAbortedException" => Kind::Unavailable,
            _ => Kind::Other,
        }
    }

    /// For people.
    pub(crate) fn reason(&self, response: &Response) -> Reason {
        if self.code.is_empty() {
            return response.reason();
        }
        Reason::scrub(&format!("{} {}: {}", response.status.as_u16(), self.code, self.message))
    }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use http::StatusCode;

    use super::*;
    use crate::Credentials;

    fn response(status: u16, body: &str) -> Response {
        Response::new(StatusCode::from_u16(status).unwrap()).with_body(body.to_owned())
    }

    fn connection() -> Connection {
        let aws = Aws::new("eu-central-1").endpoint("http://127.0.0.1:1").credentials(Credentials::new("id", "secret"));
        aws.connect(&MONITORING).unwrap()
    }

    #[track_caller]
    fn check(body: &str, code: &str, kind: Kind) {
        let error = AwsError::of(&response(400, body));
        assert_eq!((error.code.as_str(), error.kind()), (code, kind), "{body}");
    }

    #[test]
    fn an_error_has_one_meaning_in_each_of_awss_formats() {
        check(r#"{"__type":"ThrottlingException","message":"Rate exceeded"}"#, "ThrottlingException", Kind::Throttled);
        check(r#"{"__type":"com.amazonaws.logs#ResourceNotFoundException"}"#, "ResourceNotFoundException", Kind::Other);
        check(
            "<ErrorResponse><Error><Code>ExpiredToken</Code><Message>over</Message></Error></ErrorResponse>",
            "ExpiredToken",
            Kind::Expired,
        );
        check("<Error><Code>InternalServiceFault</Code></Error>", "InternalServiceFault", Kind::Unavailable);
        check(r#"{"__type":"SignatureDoesNotMatch"}"#, "SignatureDoesNotMatch", Kind::Clock);
        check(r#"{"__type":"AccessDeniedException"}"#, "AccessDeniedException", Kind::Refused);
        check("<html>504", "", Kind::Other);
        let typed = response(400, "{}").with_header(
            http::HeaderName::from_static("x-amzn-errortype"),
            "ServiceUnavailableException:http://internal.amazon.com/".parse().unwrap(),
        );
        assert_eq!(AwsError::of(&typed).code, "ServiceUnavailableException");
    }

    #[test]
    fn a_clock_that_differs_is_adjusted_once() {
        let signer = connection().signer;
        let at = |seconds: u64| {
            let date = httpdate::fmt_http_date(UNIX_EPOCH.checked_add(Duration::from_secs(seconds)).unwrap());
            response(403, r#"{"__type":"RequestTimeTooSkewed"}"#).with_header(header::DATE, date.parse().unwrap())
        };
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        for theirs in [now + 7200, now - 7200] {
            let skewed = at(theirs);
            let first = signer.judge(&skewed, &AwsError::of(&skewed)).unwrap();
            assert!(matches!(first, Answer::Retry { cause: DropReason::Unauthorized, .. }), "{first:?}");
            // With the same clock it is not the clock.
            let second = signer.judge(&skewed, &AwsError::of(&skewed)).unwrap();
            assert!(matches!(second, Answer::Paused(_)), "{second:?}");
        }
        let dateless = response(403, r#"{"__type":"SignatureDoesNotMatch"}"#);
        assert!(matches!(signer.judge(&dateless, &AwsError::of(&dateless)), Some(Answer::Paused(_))));
    }

    #[test]
    fn what_cannot_work_is_refused_when_it_is_built() {
        let keys = || Credentials::new("id", "hunter2");
        for (aws, setting) in [
            (Aws::new("").credentials(keys()), "region"),
            (Aws::new("eu central").credentials(keys()), "region"),
            (Aws::new("eu-central-1"), "credentials"),
            (Aws::new("eu-central-1").credentials(keys()).endpoint("nonsense"), "endpoint"),
            // Plain HTTP to another machine.
            (Aws::new("eu-central-1").credentials(keys()).endpoint("http://10.0.0.1:5000"), "endpoint"),
        ] {
            let Err(error) = aws.connect(&MONITORING) else { panic!("{aws:?}") };
            assert_eq!(error.setting_name(), setting);
            assert!(!format!("{error} {error:?} {aws:?}").contains("hunter2"));
        }
    }
}
