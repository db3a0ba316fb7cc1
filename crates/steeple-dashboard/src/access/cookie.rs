//! The cookie that a token is exchanged for: when it ends, and a signature.

use std::time::Duration;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use http::{HeaderMap, HeaderValue, header};
use sha2::{Digest, Sha256};
use steeple_core::Hex;

use super::secret::Secret;

/// A cookie's name: one for each service, since cookies do not know ports.
pub(super) fn name(service: &str) -> String {
    let digest: [u8; 32] = Sha256::digest(service.as_bytes()).into();
    let short: [u8; 4] = digest.first_chunk().copied().unwrap_or_default();
    format!("steeple-dashboard-{}", Hex::new(short))
}

/// The value of `Set-Cookie`. Without a path: the browser knows which one it asked for, also behind a proxy that changes it.
pub(super) fn make(
    name: &str,
    secret: &Secret,
    now: Duration,
    lifetime: Duration,
    is_https: bool,
) -> Option<HeaderValue> {
    let until = now.saturating_add(lifetime).as_secs();
    let signature = URL_SAFE_NO_PAD.encode(secret.sign(&until.to_be_bytes()));
    let secure = if is_https { "; Secure" } else { "" };
    let age = lifetime.as_secs();
    HeaderValue::try_from(format!("{name}={until}.{signature}; HttpOnly; SameSite=Strict; Max-Age={age}{secure}")).ok()
}

/// Whether one of the cookies is ours and has not ended.
pub(super) fn is_valid(headers: &HeaderMap, name: &str, secret: &Secret, now: Duration) -> bool {
    let all = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    all.flat_map(|value| value.split(';')).any(|cookie| {
        let value = cookie.trim().strip_prefix(name).and_then(|rest| rest.strip_prefix('='));
        value.and_then(|value| value.split_once('.')).is_some_and(|(until, signature)| {
            let (Ok(until), Ok(signature)) = (until.parse::<u64>(), URL_SAFE_NO_PAD.decode(signature)) else {
                return false;
            };
            secret.has_signed(&until.to_be_bytes(), &signature) && until > now.as_secs()
        })
    })
}
