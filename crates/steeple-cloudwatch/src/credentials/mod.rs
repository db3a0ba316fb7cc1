//! Who signs, and where that comes from.

mod files;

use std::{
    fmt,
    future::ready,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant, SystemTime},
};

use steeple_core::clock;
use steeple_export::Reason;

pub use self::files::ProfileFiles;

/// An access key, and for how long it holds. `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    access_key_id: Box<str>,
    secret_access_key: Box<str>,
    session_token: Option<Box<str>>,
    expires_at: Option<SystemTime>,
}

impl Credentials {
    /// An access key.
    pub fn new(access_key_id: impl Into<String>, secret_access_key: impl Into<String>) -> Self {
        let [id, secret] = [access_key_id.into(), secret_access_key.into()].map(String::into_boxed_str);
        Self { access_key_id: id, secret_access_key: secret, session_token: None, expires_at: None }
    }

    /// The token that temporary keys have.
    #[must_use]
    pub fn with_session_token(mut self, token: impl Into<String>) -> Self {
        self.session_token = Some(token.into().into_boxed_str());
        self
    }

    /// When it ends. It is asked for again five minutes earlier.
    #[must_use]
    pub fn expires_at(mut self, at: SystemTime) -> Self {
        self.expires_at = Some(at);
        self
    }

    /// The public part.
    pub fn access_key_id(&self) -> &str {
        &self.access_key_id
    }

    pub(crate) fn secret_access_key(&self) -> &str {
        &self.secret_access_key
    }

    pub(crate) fn session_token(&self) -> Option<&str> {
        self.session_token.as_deref()
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("expires_at", &self.expires_at).finish_non_exhaustive()
    }
}

/// What [`ProvideCredentials::provide`] returns.
pub type CredentialsFuture<'a> = Pin<Box<dyn Future<Output = Result<Credentials, CredentialsError>> + Send + 'a>>;

/// Where credentials come from. They are asked for before the first request, five minutes before they end, every five minutes if
/// they have no end, and when AWS refuses them as expired.
///
/// [`Credentials`], the [files](ProfileFiles) of the AWS tools, and whatever a team's `aws-config` finds: single sign-on, roles of pods
/// and containers, instance metadata.
///
/// # Examples
/// An adapter for `aws-config`, which Steeple does not depend on:
/// ```ignore
/// use aws_credential_types::provider::{ProvideCredentials as _, SharedCredentialsProvider};
/// use steeple_cloudwatch::{Credentials, CredentialsError, CredentialsFuture, ProvideCredentials};
///
/// struct FromAwsConfig(SharedCredentialsProvider);
///
/// impl ProvideCredentials for FromAwsConfig {
///     fn provide(&self) -> CredentialsFuture<'_> {
///         Box::pin(async {
///             let found = self.0.provide_credentials().await.map_err(|error| CredentialsError::new(&error))?;
///             let mut ours = Credentials::new(found.access_key_id(), found.secret_access_key());
///             if let Some(token) = found.session_token() {
///                 ours = ours.with_session_token(token);
///             }
///             Ok(match found.expiry() {
///                 Some(at) => ours.expires_at(at),
///                 None => ours,
///             })
///         })
///     }
/// }
/// ```
pub trait ProvideCredentials: Send + Sync + 'static {
    /// Finds credentials. Runs on the export thread: it may wait, it must not block. Given up after [`Aws::credentials_timeout`](crate::Aws::credentials_timeout).
    ///
    /// # Errors
    /// Currently without credentials. They are asked for again with the next attempt.
    fn provide(&self) -> CredentialsFuture<'_>;
}

/// The same ones each time.
impl ProvideCredentials for Credentials {
    fn provide(&self) -> CredentialsFuture<'_> {
        Box::pin(ready(Ok(self.clone())))
    }
}

/// Without credentials.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CredentialsError(Reason);

impl CredentialsError {
    /// For an error, which is scrubbed.
    pub fn new(error: &(dyn std::error::Error + 'static)) -> Self {
        Self(Reason::of_error(error))
    }

    pub(crate) fn because(why: impl Into<Reason>) -> Self {
        Self(why.into())
    }
}

impl fmt::Display for CredentialsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for CredentialsError {}

/// When credentials are asked for again, and for how long.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CacheOptions {
    /// How long before their end credentials are asked for again.
    pub(crate) refresh_before: Duration,
    /// How long credentials without an end are used: files change.
    pub(crate) keep: Duration,
    /// How long a provider may take.
    pub(crate) timeout: Duration,
}

impl Default for CacheOptions {
    fn default() -> Self {
        Self {
            refresh_before: Duration::from_secs(300),
            keep: Duration::from_secs(300),
            timeout: Duration::from_secs(10),
        }
    }
}

/// The credentials of now.
pub(crate) struct Cache {
    provider: Arc<dyn ProvideCredentials>,
    held: Mutex<Option<Held>>,
    options: CacheOptions,
}

#[derive(Clone)]
struct Held {
    credentials: Credentials,
    since: Instant,
}

impl Cache {
    pub(crate) fn new(provider: Arc<dyn ProvideCredentials>, options: CacheOptions) -> Self {
        Self { provider, held: Mutex::default(), options }
    }

    fn held(&self) -> Option<Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The credentials that were found last.
    pub(crate) fn current(&self) -> Option<Credentials> {
        self.held().map(|held| held.credentials)
    }

    /// AWS does not accept them any more.
    pub(crate) fn forget(&self) {
        *self.held.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Asks for credentials, if those that are held end soon or are old. Those that still hold are good enough where there are
    /// no newer ones.
    pub(crate) async fn refresh(&self) -> Result<(), Reason> {
        let now = SystemTime::now();
        let held = self.held();
        if let Some(held) = &held {
            let is_fresh = match held.credentials.expires_at {
                Some(at) => now.checked_add(self.options.refresh_before).is_some_and(|soon| soon < at),
                None => clock::now().saturating_duration_since(held.since) < self.options.keep,
            };
            if is_fresh {
                return Ok(());
            }
        }
        let found = match tokio::time::timeout(self.options.timeout, self.provider.provide()).await {
            Ok(Ok(credentials)) => Ok(credentials),
            Ok(Err(CredentialsError(why))) => Err(why),
            Err(_elapsed) => Err("the credentials did not come in time".into()),
        };
        match (found, held) {
            (Ok(credentials), _) => {
                let held = Held { credentials, since: clock::now() };
                *self.held.lock().unwrap_or_else(PoisonError::into_inner) = Some(held);
                Ok(())
            }
            (Err(_), Some(held)) if held.credentials.expires_at.is_none_or(|at| now < at) => Ok(()),
            (Err(why), _) => Err(why),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    /// Keys that are valid for this long; from the third on it has none.
    struct Counting(AtomicU64, Option<Duration>);

    impl ProvideCredentials for Counting {
        fn provide(&self) -> CredentialsFuture<'_> {
            let number = self.0.fetch_add(1, Ordering::Relaxed);
            if number > 1 {
                return Box::pin(ready(Err(CredentialsError::because("no more"))));
            }
            let credentials = Credentials::new(format!("AKIA{number}"), "secret");
            Box::pin(ready(Ok(match self.1 {
                Some(holds) => credentials.expires_at(SystemTime::now().checked_add(holds).unwrap()),
                None => credentials,
            })))
        }
    }

    #[track_caller]
    fn check(holds: Option<u64>, want: [&str; 3]) {
        let cache =
            Cache::new(Arc::new(Counting(AtomicU64::new(0), holds.map(Duration::from_secs))), CacheOptions::default());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        for want in want {
            runtime.block_on(cache.refresh()).unwrap();
            assert_eq!(cache.current().unwrap().access_key_id(), want, "{holds:?}");
        }
    }

    #[test]
    fn credentials_are_asked_for_again_before_they_end_and_used_to_their_end() {
        check(None, ["AKIA0"; 3]);
        check(Some(3600), ["AKIA0"; 3]);
        // They expire within five minutes; the third request gets no newer ones, and they are still valid.
        check(Some(200), ["AKIA0", "AKIA1", "AKIA1"]);
    }

    #[test]
    fn refused_credentials_are_asked_for_again_and_none_is_an_error() {
        let cache = Cache::new(Arc::new(Counting(AtomicU64::new(0), None)), CacheOptions::default());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        for _ in 0..2 {
            runtime.block_on(cache.refresh()).unwrap();
            cache.forget();
        }
        assert_eq!(runtime.block_on(cache.refresh()).unwrap_err().as_str(), "no more");
    }

    #[test]
    fn nothing_shows_a_key() {
        let credentials = Credentials::new("AKIAHUNTER", "hunter2").with_session_token("hunter3");
        let shown = format!("{credentials:?}");
        assert!(!shown.to_lowercase().contains("hunter"), "{shown}");
    }
}
