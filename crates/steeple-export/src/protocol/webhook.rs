//! Signatures of webhooks, by which a receiver knows who sent them.
//!
//! # Source
//! Standard Webhooks 1.0.0: `webhook-id`, `webhook-timestamp` and `webhook-signature`, HMAC-SHA256 over `id.timestamp.body`.

use std::{error::Error, fmt, sync::Arc, time::SystemTime};

use base64::{Engine, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use http::{HeaderName, HeaderValue};
use sha2::Sha256;

use crate::{Reason, Request, secret};

/// Names a message: the same for each attempt, so that a receiver notices a second delivery.
pub const ID: HeaderName = HeaderName::from_static("webhook-id");
/// When this attempt was made, in seconds since the Unix epoch.
pub const TIMESTAMP: HeaderName = HeaderName::from_static("webhook-timestamp");
/// One signature per key, separated by spaces.
pub const SIGNATURE: HeaderName = HeaderName::from_static("webhook-signature");

/// What keys begin with.
const PREFIX: &str = "whsec_";

/// The keys that webhooks are signed with: one, or two while a new one takes over.
///
/// Keys from a [watched file](crate::secret) that has others now sign with those. `Debug` shows how many there are.
#[derive(Clone)]
pub struct Keys {
    keys: Vec<Hmac<Sha256>>,
    /// As they were parsed: where they came from a file, it may have others now.
    text: Arc<str>,
}

/// A key that is not valid. Never shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyError(());

impl Keys {
    /// Reads keys such as `whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw`, separated by spaces or commas.
    ///
    /// # Errors
    /// When one is not `whsec_` and base64 of 24 to 64 bytes, or the list is empty. Shorter keys can be guessed.
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        let keys = text.split([' ', ',']).filter(|key| !key.is_empty()).map(|key| {
            let secret =
                STANDARD.decode(key.strip_prefix(PREFIX).ok_or(KeyError(()))?).map_err(|_text| KeyError(()))?;
            if !(24..=64).contains(&secret.len()) {
                return Err(KeyError(()));
            }
            Hmac::new_from_slice(&secret).map_err(|_length| KeyError(()))
        });
        let keys: Vec<_> = keys.collect::<Result<_, _>>()?;
        if keys.is_empty() { Err(KeyError(())) } else { Ok(Self { keys, text: Arc::from(text) }) }
    }

    /// The header `webhook-signature` for a body.
    pub fn signature(&self, id: &str, timestamp: u64, body: &[u8]) -> String {
        let sign = |keyed: &Hmac<Sha256>| {
            let mut keyed = keyed.clone();
            keyed.update(format!("{id}.{timestamp}.").as_bytes());
            keyed.update(body);
            format!("v1,{}", STANDARD.encode(keyed.finalize().into_bytes()))
        };
        let renewed = secret::current(&self.text).and_then(|text| Self::parse(&text).ok());
        let keys = renewed.as_ref().map_or(&self.keys, |renewed| &renewed.keys);
        keys.iter().map(sign).collect::<Vec<_>>().join(" ")
    }

    /// Signs a request, in [`Protocol::sign`](crate::Protocol::sign).
    ///
    /// # Errors
    /// When the id is not a valid header value, or holds a dot, which would make two messages out of one signature.
    pub fn sign(&self, request: &mut Request, id: &str, now: SystemTime) -> Result<(), Reason> {
        let seconds = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
        if id.contains('.') || id.is_empty() {
            return Err("the message's id is not valid".into());
        }
        let signature = self.signature(id, seconds, request.payload());
        for (name, value) in [(ID, id.to_owned()), (TIMESTAMP, seconds.to_string()), (SIGNATURE, signature)] {
            let value = HeaderValue::try_from(value).map_err(|_text| Reason::from("the message's id is not valid"))?;
            request.headers_mut().insert(name, value);
        }
        Ok(())
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Keys").field(&self.keys.len()).finish()
    }
}

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a webhook key must be `whsec_` followed by 24 to 64 bytes in base64")
    }
}

impl Error for KeyError {}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::Endpoint;

    // The key, message and signature of the reference implementation's own tests.
    const KEY: &str = "whsec_plJ3nmyCDGBKInavdOK15jsl";
    const BODY: &[u8] = br#"{"event_type":"ping","data":{"success":true}}"#;
    const SIGNED: &str = "v1,rAvfW3dJ/X/qxhsaXPOyyCGmRKsaKWcsNccKXlIktD0=";

    /// The reference's key is shorter than its specification asks for.
    fn reference() -> Keys {
        let secret = STANDARD.decode(KEY.strip_prefix(PREFIX).unwrap()).unwrap();
        Keys { keys: vec![Hmac::new_from_slice(&secret).unwrap()], text: Arc::from(KEY) }
    }

    #[test]
    fn the_signature_is_the_references() {
        assert_eq!(reference().signature("msg_loFOjxBNrRLzqYUf", 1_731_705_121, BODY), SIGNED);
    }

    #[test]
    fn a_request_is_signed_as_it_goes_out_by_every_key() {
        let mut keys = reference();
        keys.keys.extend(reference().keys);
        let mut request = Request::post(&Endpoint::parse("http://localhost/").unwrap()).body(BODY);
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_731_705_121);
        keys.sign(&mut request, "msg_loFOjxBNrRLzqYUf", now).unwrap();
        assert_eq!(request.headers()[&ID], "msg_loFOjxBNrRLzqYUf");
        assert_eq!(request.headers()[&TIMESTAMP], "1731705121");
        assert_eq!(request.headers()[&SIGNATURE], format!("{SIGNED} {SIGNED}").as_str());
        for id in ["", "a.b", "a\nb"] {
            assert!(keys.sign(&mut request, id, now).is_err(), "{id:?}");
        }
    }

    #[test]
    fn keys_that_can_be_guessed_are_refused_without_showing_them() {
        let of = |bytes: usize| format!("{PREFIX}{}", STANDARD.encode(vec![7; bytes]));
        assert!(Keys::parse(&of(24)).is_ok() && Keys::parse(&format!("{}, {}", of(32), of(64))).is_ok());
        for text in ["", "whsec_", "whsec_hunter2", "hunter2", &of(23), &of(65), &format!("{} whsec_x", of(32))] {
            let error = Keys::parse(text).unwrap_err();
            assert!(!error.to_string().contains("hunter2"), "{text}");
        }
        assert_eq!(format!("{:?}", Keys::parse(&of(24)).unwrap()), "Keys(1)");
    }
}
