//! The one check in front of everything.

use std::{net::IpAddr, sync::Arc, time::Duration};

use base64::{Engine, engine::general_purpose::STANDARD};
use http::{HeaderMap, HeaderValue, Method, Uri, header, request};
use percent_encoding::percent_decode_str;
use steeple_core::Peer;

use super::{Access, Kind, cookie, limit::Failures, secret::Secret};
use crate::TimingOptions;

/// What becomes of a request.
#[derive(Debug)]
pub(crate) enum Verdict {
    Allowed,
    /// The token in the address is right: the answer sets this cookie and leads to the address without it.
    SignedIn(HeaderValue),
    Refused(Refusal),
}

/// Why a request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// The server does not report the peer's address.
    NoPeer,
    /// The peer is not this machine.
    Remote,
    /// A proxy has passed the request on.
    Proxied,
    /// `Host` is not this machine.
    Host,
    /// Without a token, or with a wrong one.
    Token { is_wrong: bool },
    /// Without a password, or with a wrong one.
    Password,
    /// The application's function denied it.
    Function,
    /// Too many failures.
    TooMany(Duration),
    /// An action that another site asks for.
    CrossSite,
}

pub(crate) struct Gate {
    access: Access,
    cookie: String,
    failures: Failures,
    session: Duration,
}

impl Gate {
    pub(crate) fn new(access: Access, service: &str, timing: TimingOptions) -> Self {
        let failures = Failures::new(timing.lockout);
        Self { access, cookie: cookie::name(service), failures, session: timing.session }
    }

    /// `now` is the time since the Unix epoch.
    pub(crate) fn check(&self, parts: &request::Parts, now: Duration) -> Verdict {
        let verdict = match &self.access.0 {
            Kind::Local => is_local(parts).map_or_else(Verdict::Refused, |()| Verdict::Allowed),
            Kind::Token(secret) => self.token(&secret.now(), parts, now),
            Kind::Basic { secret, .. } => self.basic(&secret.now(), parts, now),
            Kind::Function(check) => {
                if check(parts) {
                    Verdict::Allowed
                } else {
                    Verdict::Refused(Refusal::Function)
                }
            }
            Kind::Protected => Verdict::Allowed,
        };
        match verdict {
            Verdict::Allowed | Verdict::SignedIn(_) if !is_safe(&parts.method) && !is_same_origin(parts) => {
                Verdict::Refused(Refusal::CrossSite)
            }
            verdict @ (Verdict::Allowed | Verdict::SignedIn(_) | Verdict::Refused(_)) => verdict,
        }
    }

    /// As [`check`](Self::check). Before a secret is refused, its file is read again, at most once a minute.
    pub(crate) async fn admit(&self, parts: &request::Parts, now: Duration) -> Verdict {
        let verdict = self.check(parts, now);
        let (Kind::Token(secret) | Kind::Basic { secret, .. }) = &self.access.0 else { return verdict };
        if !matches!(verdict, Verdict::Refused(Refusal::Token { is_wrong: true } | Refusal::Password)) {
            return verdict;
        }
        let before = secret.now();
        secret.reread().await;
        if Arc::ptr_eq(&before, &secret.now()) { verdict } else { self.check(parts, now) }
    }

    /// Who acts: for the line in the log.
    pub(crate) fn author(&self) -> &str {
        match &self.access.0 {
            Kind::Basic { user, .. } => user,
            Kind::Local | Kind::Token(_) | Kind::Function(_) | Kind::Protected => "dashboard",
        }
    }

    fn token(&self, secret: &Secret, parts: &request::Parts, now: Duration) -> Verdict {
        if cookie::is_valid(&parts.headers, &self.cookie, secret, now) {
            // The address may still have a token: it goes, whatever it is.
            return match query_token(&parts.uri) {
                Some(_) if parts.method == Method::GET => self.sign_in(secret, parts, now),
                _ => Verdict::Allowed,
            };
        }
        let bearer = authorization(&parts.headers, "bearer");
        let Some(given) = bearer.map(str::to_owned).or_else(|| query_token(&parts.uri)) else {
            return Verdict::Refused(Refusal::Token { is_wrong: false });
        };
        if let Err(refusal) = self.attempt(parts, now, secret.is(&given), Refusal::Token { is_wrong: true }) {
            return Verdict::Refused(refusal);
        }
        if bearer.is_some() { Verdict::Allowed } else { self.sign_in(secret, parts, now) }
    }

    fn sign_in(&self, secret: &Secret, parts: &request::Parts, now: Duration) -> Verdict {
        let is_https = parts.uri.scheme_str() == Some("https")
            || parts.headers.get("x-forwarded-proto").is_some_and(|proto| proto.as_bytes().starts_with(b"https"));
        cookie::make(&self.cookie, secret, now, self.session, is_https).map_or(Verdict::Allowed, Verdict::SignedIn)
    }

    fn basic(&self, secret: &Secret, parts: &request::Parts, now: Duration) -> Verdict {
        let given = authorization(&parts.headers, "basic")
            .and_then(|encoded| STANDARD.decode(encoded).ok())
            .and_then(|bytes| String::from_utf8(bytes).ok());
        let Some(given) = given else { return Verdict::Refused(Refusal::Password) };
        match self.attempt(parts, now, secret.is(&given), Refusal::Password) {
            Ok(()) => Verdict::Allowed,
            Err(refusal) => Verdict::Refused(refusal),
        }
    }

    /// While an address is locked out, the right secret is refused like a wrong one, so that it cannot be found by trying.
    fn attempt(&self, parts: &request::Parts, now: Duration, is_right: bool, wrong: Refusal) -> Result<(), Refusal> {
        let who: Option<IpAddr> = Peer::of(&parts.extensions).and_then(|peer| peer.ip());
        if let Some(wait) = self.failures.wait(who, now) {
            return Err(Refusal::TooMany(wait));
        }
        if is_right {
            return Ok(());
        }
        self.failures.add(who, now);
        Err(wrong)
    }
}

fn is_safe(method: &Method) -> bool {
    *method == Method::GET || *method == Method::HEAD
}

/// The token in the query.
fn query_token(uri: &Uri) -> Option<String> {
    let value = uri.query()?.split('&').find_map(|pair| pair.strip_prefix("token="))?;
    percent_decode_str(value).decode_utf8().ok().map(std::borrow::Cow::into_owned)
}

/// What comes behind a scheme, which has no case.
fn authorization<'a>(headers: &'a HeaderMap, scheme: &str) -> Option<&'a str> {
    let (given, value) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    given.eq_ignore_ascii_case(scheme).then_some(value.trim())
}

/// Headers that proxies leave.
const PROXIED: [&str; 8] = [
    "forwarded",
    "via",
    "x-real-ip",
    "x-client-ip",
    "x-cluster-client-ip",
    "x-envoy-external-address",
    "true-client-ip",
    "cf-connecting-ip",
];

fn is_local(parts: &request::Parts) -> Result<(), Refusal> {
    let peer = Peer::of(&parts.extensions).and_then(|peer| peer.ip()).ok_or(Refusal::NoPeer)?;
    if !peer.is_loopback() {
        return Err(Refusal::Remote);
    }
    let is_proxied = |name: &str| name.starts_with("x-forwarded") || PROXIED.contains(&name);
    if parts.headers.keys().any(|name| is_proxied(name.as_str())) {
        return Err(Refusal::Proxied);
    }
    // A name that anybody can point to this machine is not this machine: a page of another site could read ours.
    if host(parts).is_some_and(is_this_machine) { Ok(()) } else { Err(Refusal::Host) }
}

/// The one host that the request is for. `None` for none, or for two that differ.
fn host(parts: &request::Parts) -> Option<&str> {
    let mut hosts = parts.headers.get_all(header::HOST).iter();
    let header = match (hosts.next(), hosts.next()) {
        (Some(host), None) => Some(host.to_str().ok()?),
        (None, None) => None,
        _ => return None,
    };
    match (header, parts.uri.authority().map(http::uri::Authority::as_str)) {
        (Some(header), Some(authority)) if header != authority => None,
        (header, authority) => header.or(authority),
    }
}

fn is_this_machine(host: &str) -> bool {
    let Ok(authority) = host.parse::<http::uri::Authority>() else { return false };
    if authority.as_str().contains('@') {
        return false;
    }
    let name = authority.host();
    let address = name.trim_start_matches('[').trim_end_matches(']');
    name.eq_ignore_ascii_case("localhost") || address.parse::<IpAddr>().is_ok_and(|ip| ip.to_canonical().is_loopback())
}

/// Whether the page itself asks. Browsers send that themselves on safe origins; everywhere else `Origin` is this host.
fn is_same_origin(parts: &request::Parts) -> bool {
    if let Some(site) = parts.headers.get("sec-fetch-site") {
        return site == "same-origin";
    }
    let origin = parts.headers.get(header::ORIGIN).and_then(|origin| origin.to_str().ok());
    let origin = origin.and_then(|origin| origin.strip_prefix("https://").or_else(|| origin.strip_prefix("http://")));
    match (origin, host(parts)) {
        (Some(origin), Some(host)) => origin.eq_ignore_ascii_case(host),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use http::Request;

    use super::*;

    const NOW: Duration = Duration::from_secs(1_790_000_000);
    const TOKEN: &str = "q1o0cFXKZ7nq8Qx2tW6yTR5u";

    fn request(peer: &str, headers: &[(&str, &str)]) -> request::Parts {
        ask(Method::GET, "/steeple/", peer, headers)
    }

    fn ask(method: Method, uri: &str, peer: &str, headers: &[(&str, &str)]) -> request::Parts {
        let mut request = Request::builder().method(method).uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (mut parts, ()) = request.body(()).unwrap().into_parts();
        if let Ok(peer) = peer.parse::<SocketAddr>() {
            parts.extensions.insert(Peer::Address(peer));
        }
        parts
    }

    fn refused(gate: &Gate, parts: &request::Parts) -> Option<Refusal> {
        match gate.check(parts, NOW) {
            Verdict::Refused(refusal) => Some(refusal),
            Verdict::Allowed | Verdict::SignedIn(_) => None,
        }
    }

    #[test]
    fn without_a_credential_only_this_machine_gets_in() {
        let gate = Gate::new(Access::local(), "shop", TimingOptions::default());
        let localhost = [("host", "localhost:3000")];
        for (peer, headers, want) in [
            ("127.0.0.1:1", &localhost[..], None),
            ("[::1]:1", &[("host", "[::1]:3000")], None),
            ("[::ffff:127.0.0.1]:1", &[("host", "127.0.0.1")], None),
            ("127.3.2.1:1", &[("host", "LOCALHOST")], None),
            ("192.0.2.1:1", &localhost, Some(Refusal::Remote)),
            ("10.0.0.1:1", &localhost, Some(Refusal::Remote)),
            ("unknown", &localhost, Some(Refusal::NoPeer)),
            ("0.0.0.0:1", &localhost, Some(Refusal::NoPeer)),
            ("127.0.0.1:1", &[], Some(Refusal::Host)),
            ("127.0.0.1:1", &[("host", "evil.example")], Some(Refusal::Host)),
            ("127.0.0.1:1", &[("host", "localhost.evil.example")], Some(Refusal::Host)),
            ("127.0.0.1:1", &[("host", "evil@localhost")], Some(Refusal::Host)),
            ("127.0.0.1:1", &[("host", "127.0.0.1.nip.io")], Some(Refusal::Host)),
            ("127.0.0.1:1", &[("host", "localhost"), ("host", "evil.example")], Some(Refusal::Host)),
            ("127.0.0.1:1", &[("host", "localhost"), ("x-forwarded-for", "192.0.2.1")], Some(Refusal::Proxied)),
            ("127.0.0.1:1", &[("host", "localhost"), ("X-Forwarded-Host", "x")], Some(Refusal::Proxied)),
            ("127.0.0.1:1", &[("host", "localhost"), ("forwarded", "for=1")], Some(Refusal::Proxied)),
            ("127.0.0.1:1", &[("host", "localhost"), ("via", "1.1 x")], Some(Refusal::Proxied)),
            ("127.0.0.1:1", &[("host", "localhost"), ("x-real-ip", "::1")], Some(Refusal::Proxied)),
        ] {
            assert_eq!(refused(&gate, &request(peer, headers)), want, "{peer} {headers:?}");
        }
        let mut unix = request("unknown", &localhost);
        unix.extensions.insert(Peer::Unix);
        assert_eq!(refused(&gate, &unix), Some(Refusal::NoPeer));
    }

    #[test]
    fn a_token_is_exchanged_for_a_cookie_that_ends() {
        let gate = Gate::new(Access::token(TOKEN).unwrap(), "shop", TimingOptions::default());
        let peer = "192.0.2.1:1";
        assert_eq!(refused(&gate, &request(peer, &[])), Some(Refusal::Token { is_wrong: false }));
        assert_eq!(refused(&gate, &request(peer, &[("authorization", &format!("Bearer {TOKEN}"))])), None);
        let uri = format!("/steeple/?a=b&token={TOKEN}");
        let Verdict::SignedIn(cookie) = gate.check(&ask(Method::GET, &uri, peer, &[]), NOW) else { panic!("refused") };
        let cookie = cookie.to_str().unwrap();
        assert!(
            cookie.contains("; HttpOnly; SameSite=Strict; Max-Age=43200") && !cookie.contains("Secure"),
            "{cookie}"
        );
        assert!(!cookie.contains(TOKEN));
        let value = cookie.split(';').next().unwrap();
        let with = |cookie: &str| request(peer, &[("cookie", &format!("other=1; {cookie}"))]);
        assert_eq!(refused(&gate, &with(value)), None);
        let later = NOW.saturating_add(Duration::from_secs(12 * 3600));
        assert!(matches!(gate.check(&with(value), later), Verdict::Refused(_)), "it ends");
        let wrong = value.replacen(|c: char| c.is_ascii_digit(), "9", 40);
        assert!(refused(&gate, &with(&wrong)).is_some(), "{wrong}");
        let other = Gate::new(Access::token(TOKEN).unwrap(), "another service", TimingOptions::default());
        assert!(refused(&other, &with(value)).is_some(), "a cookie's name is that of its service");
        let https = ask(Method::GET, &uri, peer, &[("x-forwarded-proto", "https")]);
        let Verdict::SignedIn(cookie) = gate.check(&https, NOW) else { panic!("refused") };
        assert!(cookie.to_str().unwrap().ends_with("; Secure"));
    }

    #[test]
    fn after_ten_wrong_tokens_the_right_one_has_to_wait_and_a_cookie_has_not() {
        let gate = Gate::new(Access::token(TOKEN).unwrap(), "shop", TimingOptions::default());
        let peer = "192.0.2.1:1";
        let bearer = |token: &str| request(peer, &[("authorization", &format!("Bearer {token}"))]);
        let Verdict::SignedIn(cookie) = gate.check(&ask(Method::GET, &format!("/?token={TOKEN}"), peer, &[]), NOW)
        else {
            panic!("refused")
        };
        for _ in 0..10 {
            assert_eq!(refused(&gate, &bearer("wrong")), Some(Refusal::Token { is_wrong: true }));
        }
        assert!(matches!(refused(&gate, &bearer(TOKEN)), Some(Refusal::TooMany(_))));
        let value = cookie.to_str().unwrap().split(';').next().unwrap().to_owned();
        assert_eq!(refused(&gate, &request(peer, &[("cookie", &value)])), None);
        let elsewhere = request("192.0.2.9:1", &[("authorization", &format!("bearer {TOKEN}"))]);
        assert_eq!(refused(&gate, &elsewhere), None);
    }

    #[test]
    fn basic_takes_this_user_with_this_password() {
        let gate = Gate::new(Access::basic("ops", "correct horse").unwrap(), "shop", TimingOptions::default());
        let with = |text: &str| {
            let value = format!("Basic {}", STANDARD.encode(text));
            refused(&gate, &request("192.0.2.1:1", &[("authorization", &value)]))
        };
        assert_eq!(with("ops:correct horse"), None);
        assert_eq!(with("ops:wrong horse"), Some(Refusal::Password));
        assert_eq!(with("root:correct horse"), Some(Refusal::Password));
        assert_eq!(gate.author(), "ops");
        assert!(Access::basic("ops", "short").unwrap_err().is_secret());
    }

    #[test]
    fn an_action_is_taken_from_the_page_itself_alone() {
        let gate = Gate::new(Access::already_protected(), "shop", TimingOptions::default());
        for (headers, allowed) in [
            (&[("sec-fetch-site", "same-origin"), ("host", "a")][..], true),
            (&[("origin", "https://shop.example:8443"), ("host", "shop.example:8443")], true),
            (&[("sec-fetch-site", "cross-site"), ("host", "a")], false),
            (&[("sec-fetch-site", "same-site"), ("host", "a"), ("origin", "http://a")], false),
            (&[("sec-fetch-site", "none"), ("host", "a")], false),
            (&[("origin", "https://evil.example"), ("host", "shop.example")], false),
            (&[("origin", "null"), ("host", "null")], false),
            (&[("host", "shop.example")], false),
        ] {
            let parts = ask(Method::POST, "/steeple/silence", "192.0.2.1:1", headers);
            assert_eq!(refused(&gate, &parts).is_none(), allowed, "{headers:?}");
        }
    }

    #[test]
    fn a_function_decides() {
        let gate = Gate::new(
            Access::function(|parts| parts.headers.contains_key("x-operator")),
            "shop",
            TimingOptions::default(),
        );
        assert_eq!(refused(&gate, &request("192.0.2.1:1", &[("x-operator", "1")])), None);
        assert_eq!(refused(&gate, &request("127.0.0.1:1", &[("host", "localhost")])), Some(Refusal::Function));
    }
}
