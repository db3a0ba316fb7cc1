//! Which headers and cookies may be shown, by name.

/// Shown unless denied. `*` at the end stands for any ending.
pub(crate) const ALLOWED: &[&str] = &[
    "accept",
    "accept-charset",
    "accept-encoding",
    "accept-language",
    "accept-ranges",
    "access-control-*",
    "age",
    "allow",
    "alt-svc",
    "cache-control",
    "connection",
    "content-disposition",
    "content-encoding",
    "content-language",
    "content-length",
    "content-location",
    "content-range",
    "content-type",
    "date",
    "dnt",
    "expect",
    "expires",
    "grpc-accept-encoding",
    "grpc-encoding",
    "grpc-message",
    "grpc-status",
    "grpc-timeout",
    "host",
    "if-modified-since",
    "if-unmodified-since",
    "keep-alive",
    "last-modified",
    "location",
    "origin",
    "pragma",
    "priority",
    "range",
    "referer",
    "retry-after",
    "sec-ch-ua",
    "sec-ch-ua-mobile",
    "sec-ch-ua-platform",
    "sec-fetch-dest",
    "sec-fetch-mode",
    "sec-fetch-site",
    "sec-fetch-storage-access",
    "sec-gpc",
    "sec-websocket-version",
    "server",
    "server-timing",
    "te",
    "traceparent",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "upgrade-insecure-requests",
    "user-agent",
    "vary",
    "x-correlation-id",
    "x-request-id",
    "x-requested-with",
];

/// Hidden even if allowed: anywhere in a name. What the lists of Sentry, Datadog and OpenTelemetry name, and who the client is.
pub(crate) const DENIED: &[&str] = &[
    "auth",
    "token",
    "secret",
    "password",
    "passwd",
    "passphrase",
    "credential",
    "api-key",
    "apikey",
    "-key",
    "_key",
    "jwt",
    "bearer",
    "assertion",
    "sso",
    "saml",
    "csrf",
    "xsrf",
    "session",
    "signature",
    "set-cookie",
    "cookie",
    "-sid",
    "otp",
    "client-cert",
    "ssl-client",
    "forwarded",
    "-ip",
    "remote-",
    "-user",
    "identity",
];

/// Names that have one of the words above in them and mean something else.
const HARMLESS: &[&str] = &["x-ratelimit-remote-", "access-control-allow-credentials", "access-control-allow-headers"];

#[derive(Debug)]
pub(crate) struct HeaderPolicy {
    /// Exact names that may be shown, by length, the deny list already taken off.
    exact: Vec<Vec<Box<str>>>,
    /// Beginnings of names that may be shown.
    prefixes: Vec<Box<str>>,
    pub(crate) denied: Vec<Box<str>>,
    pub(crate) excepted: Vec<Box<str>>,
    /// Cookies that may be shown.
    pub(crate) cookies: Vec<Box<str>>,
}

impl HeaderPolicy {
    pub(crate) fn new(
        allowed: impl IntoIterator<Item = String>,
        denied: Vec<Box<str>>,
        excepted: Vec<Box<str>>,
        cookies: Vec<Box<str>>,
    ) -> Self {
        let mut policy = Self { exact: Vec::new(), prefixes: Vec::new(), denied, excepted, cookies };
        for name in allowed {
            if let Some(prefix) = name.strip_suffix('*') {
                policy.prefixes.push(prefix.into());
            } else if !policy.is_denied(&name) {
                if policy.exact.len() <= name.len() {
                    policy.exact.resize(name.len().saturating_add(1), Vec::new());
                }
                let slot = policy.exact.get_mut(name.len()).filter(|names| !names.iter().any(|known| **known == *name));
                if let Some(names) = slot {
                    names.push(name.as_str().into());
                }
            }
        }
        policy
    }

    /// `name` is in lower case.
    pub(crate) fn is_denied(&self, name: &str) -> bool {
        !self.excepted.iter().any(|excepted| **excepted == *name)
            && !HARMLESS.contains(&name)
            && self.denied.iter().any(|denied| name.contains(&**denied))
    }

    #[inline]
    pub(crate) fn is_allowed(&self, name: &str) -> bool {
        let exact = self.exact.get(name.len()).is_some_and(|names| names.iter().any(|known| **known == *name));
        exact || self.prefixes.iter().any(|prefix| name.starts_with(&**prefix)) && !self.is_denied(name)
    }

    /// Names that may be shown, sorted, those with `*` last.
    pub(crate) fn allowed(&self) -> Vec<String> {
        let mut exact: Vec<String> = self.exact.iter().flatten().map(ToString::to_string).collect();
        exact.sort();
        exact.extend(self.prefixes.iter().map(|prefix| format!("{prefix}*")));
        exact
    }
}
