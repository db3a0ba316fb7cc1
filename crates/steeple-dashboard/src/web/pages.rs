//! Answers without data: headers, and the page for clients without access.

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};

use crate::access::Refusal;

const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
                      base-uri 'none'; form-action 'self'; frame-ancestors 'none'";

/// Headers of every answer.
pub(super) fn harden(headers: &mut HeaderMap) {
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
}

/// Why not, and how.
pub(super) struct RefusedPage {
    pub(super) status: StatusCode,
    pub(super) body: String,
    pub(super) header: Option<(HeaderName, HeaderValue)>,
}

pub(super) fn refused(refusal: Refusal) -> RefusedPage {
    const LOCAL: &str = "Without a credential, the dashboard answers to this machine alone.";
    const HOW: &str =
        "Set DASHBOARD_TOKEN to at least 128 random bits (openssl rand -hex 16), or choose an Access in code.";
    let token = |text| (StatusCode::UNAUTHORIZED, text, "The token is the value of DASHBOARD_TOKEN.", true);
    let (status, why, how, has_form) = match refusal {
        Refusal::NoPeer => (
            StatusCode::FORBIDDEN,
            "The server does not report who is at the other end of the connection, so the dashboard cannot tell whether it is this machine.",
            "Serve with Steeple::serve, or with into_make_service_with_connect_info::<SocketAddr>(). Or set DASHBOARD_TOKEN.",
            false,
        ),
        Refusal::Remote => (StatusCode::FORBIDDEN, LOCAL, HOW, false),
        Refusal::Proxied => (
            StatusCode::FORBIDDEN,
            "The request came through a proxy. Without a credential, the dashboard answers to this machine alone.",
            HOW,
            false,
        ),
        Refusal::Host => (
            StatusCode::FORBIDDEN,
            "The request is for another host. Without a credential, the dashboard answers at localhost alone.",
            HOW,
            false,
        ),
        Refusal::Token { is_wrong: false } => token("The dashboard needs a token."),
        Refusal::Token { is_wrong: true } => token("This token is wrong."),
        Refusal::Password => (StatusCode::UNAUTHORIZED, "The dashboard needs a user and a password.", "", false),
        Refusal::Function => (StatusCode::FORBIDDEN, "The dashboard is not for you.", "", false),
        Refusal::TooMany(_) => (
            StatusCode::TOO_MANY_REQUESTS,
            "Too many wrong credentials from this address.",
            "Wait for a minute.",
            false,
        ),
        Refusal::CrossSite => (StatusCode::FORBIDDEN, "Actions are taken from the dashboard itself alone.", "", false),
    };
    let header = match refusal {
        Refusal::Password => {
            Some((header::WWW_AUTHENTICATE, HeaderValue::from_static("Basic realm=\"dashboard\", charset=\"UTF-8\"")))
        }
        Refusal::Token { .. } => {
            Some((header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"dashboard\"")))
        }
        Refusal::TooMany(wait) => HeaderValue::try_from(wait.as_secs().saturating_add(1).to_string())
            .ok()
            .map(|wait| (header::RETRY_AFTER, wait)),
        Refusal::NoPeer
        | Refusal::Remote
        | Refusal::Proxied
        | Refusal::Host
        | Refusal::Function
        | Refusal::CrossSite => None,
    };
    let form = if has_form {
        "<form method=\"get\"><label>Token <input name=\"token\" type=\"password\" autocomplete=\"current-password\" required></label> \
         <button>Open</button></form>"
    } else {
        ""
    };
    let body = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"color-scheme\" content=\"dark light\">\
         <meta name=\"viewport\" content=\"width=device-width\"><title>Dashboard</title><h1>{why}</h1><p>{how}</p>{form}\n"
    );
    RefusedPage { status, body, header }
}

/// Leads on from an address with a token to the one without it. A redirect would do, but for the cookie: after a link on
/// another site, browsers do not send a strict one along with a redirect.
pub(super) const SIGNED_IN: &str = "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\">\
    <meta http-equiv=\"refresh\" content=\"0; url=./\"><title>Dashboard</title><p><a href=\"./\">Open the dashboard</a>\n";
