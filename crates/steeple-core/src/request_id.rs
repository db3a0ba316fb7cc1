use std::{fmt, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, request, response};

use crate::{Exchange, Identity, Observer, clock, hex, observer::quietly};

/// The header that carries a request's id in and out.
pub const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The same, to look it up without making one.
static NAME: HeaderName = X_REQUEST_ID;

/// The id of one request: 8 to 64 characters of `A-Z a-z 0-9 . _ -`, or a `UUIDv7` of our own.
///
/// Not a secret, and unique only if its sender made it unique.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct RequestId {
    len: u8,
    bytes: [u8; Self::MAX_LEN],
}

impl RequestId {
    const MIN_LEN: usize = 8;
    const MAX_LEN: usize = 64;

    /// Makes a new id: a `UUIDv7`, so that ids sort by time.
    pub fn new() -> Self {
        Self::of_moment(clock::unix_now())
    }

    pub(crate) fn of_moment(since_epoch: Duration) -> Self {
        Self::uuid_v7(since_epoch, fastrand::u128(..))
    }

    /// Takes an id that someone else made. `None` unless it has 8 to 64 characters of `A-Z a-z 0-9 . _ -`.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let plain = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
        if text.len() < Self::MIN_LEN || !text.iter().all(plain) {
            return None;
        }
        let mut bytes = [0; Self::MAX_LEN];
        bytes.get_mut(..text.len())?.copy_from_slice(text);
        Some(Self { len: u8::try_from(text.len()).ok()?, bytes })
    }

    fn uuid_v7(since_epoch: Duration, random: u128) -> Self {
        let millis = since_epoch.as_secs().saturating_mul(1_000).saturating_add(since_epoch.subsec_millis().into());
        let millis = u128::from(millis) & 0xffff_ffff_ffff;
        // RFC 9562: 48 bits of milliseconds, version 7, 12 random bits, variant 10, 62 random bits.
        let value = millis << 80 | 0x7 << 76 | (random >> 64 & 0xfff) << 64 | 0b10 << 62 | random & (u128::MAX >> 66);
        let digits = hex::all_digits(value.to_be_bytes());
        let digits = digits.as_flattened();
        let mut bytes = [b'-'; Self::MAX_LEN];
        for (to, from) in [(0..8, 0..8), (9..13, 8..12), (14..18, 12..16), (19..23, 16..20), (24..36, 20..32)] {
            if let (Some(to), Some(from)) = (bytes.get_mut(to), digits.get(from)) {
                to.copy_from_slice(from);
            }
        }
        if let Some(rest) = bytes.get_mut(36..) {
            // Equal ids are equal in every byte.
            rest.fill(0);
        }
        Self { len: 36, bytes }
    }

    /// Whether it has the form of a UUID: 32 hex digits in five groups, which hold no secret.
    fn is_uuid(&self) -> bool {
        let bytes = self.as_bytes();
        bytes.len() == 36
            && bytes.iter().enumerate().all(|(place, byte)| match place {
                8 | 13 | 18 | 23 => *byte == b'-',
                _ => byte.is_ascii_hexdigit(),
            })
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        str::from_utf8(self.as_bytes()).unwrap_or_default()
    }

    /// The id as a header's value, whose clones share one allocation.
    fn to_header_value(self) -> Option<HeaderValue> {
        HeaderValue::from_maybe_shared(Bytes::from_owner(self)).ok()
    }

    /// The id as bytes; always ASCII.
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.len)).unwrap_or_default()
    }
}

impl AsRef<[u8]> for RequestId {
    fn as_ref(&self) -> &[u8] {
        self.as_bytes()
    }
}

impl Default for RequestId {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Gives every exchange an id: the client's, if it is short and plain, else a new one.
///
/// The id is put into the request, so that what lies in an inner layer sees the same one (tower-http's request-id layers
/// among it), and into the response, unless something in an inner layer has put one there. A client's id that is not taken
/// is kept, see [`Exchange::client_request_id`].
///
/// Goes before the observers that write the id: `(RequestIds::new(), log, …)`.
#[derive(Clone)]
#[must_use = "an observer does nothing until a layer gets it"]
pub struct RequestIds {
    trust_client: bool,
    accept: Option<Arc<Accept>>,
}

type Accept = dyn Fn(&str) -> bool + Send + Sync;

impl RequestIds {
    /// Takes a client's id if it is short and plain.
    pub fn new() -> Self {
        Self { trust_client: true, accept: None }
    }

    /// Whether a client's id may become ours. Default: yes, if it is short and plain.
    pub fn trust_client(mut self, trust: bool) -> Self {
        self.trust_client = trust;
        self
    }

    /// Asks this of a client's id before it is taken: whether it holds no secret. Default: every short and plain id is.
    ///
    /// An id is on every line and goes back to the client, so a token in it would be too. `Steeple` asks its scrubber here.
    /// A UUID is taken without asking. Runs on the request's path; if it panics, the id is not taken.
    ///
    /// ```
    /// use steeple_core::RequestIds;
    ///
    /// let ids = RequestIds::new().accept(|id| !id.starts_with("ghp_"));
    /// ```
    pub fn accept(mut self, accept: impl Fn(&str) -> bool + Send + Sync + 'static) -> Self {
        self.accept = Some(Arc::new(accept));
        self
    }

    /// The same where nothing is asked yet: for who puts observers together and has a default.
    pub fn or_accept(self, accept: impl Fn(&str) -> bool + Send + Sync + 'static) -> Self {
        if self.accept.is_some() { self } else { self.accept(accept) }
    }

    fn takes(&self, id: &RequestId) -> bool {
        let Some(accept) = self.accept.as_ref().filter(|_| !id.is_uuid()) else { return true };
        quietly(|| accept(id.as_str())).unwrap_or(false)
    }
}

impl fmt::Debug for RequestIds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestIds")
            .field("trust_client", &self.trust_client)
            .field("accept", &self.accept.is_some())
            .finish()
    }
}

impl Default for RequestIds {
    fn default() -> Self {
        Self::new()
    }
}

impl Observer for RequestIds {
    type State = Option<HeaderValue>;

    fn identity(&self) -> Option<Identity> {
        Some(Identity::REQUEST_IDS)
    }

    fn on_request(&self, exchange: &Exchange, request: &mut request::Parts) -> Option<Self::State> {
        let mut all_sent = request.headers.get_all(&NAME).iter();
        if let Some(sent) = all_sent.next() {
            if self.trust_client
                && let Some(id) = RequestId::parse(sent.as_bytes())
                && self.takes(&id)
            {
                // An id that was decided before stays.
                exchange.set_request_id(id);
            }
            if sent.as_bytes() != exchange.request_id().as_bytes() {
                exchange.set_client_request_id(sent);
            } else if all_sent.next().is_none() {
                return Some(Some(sent.clone()));
            }
        }
        let value = exchange.request_id().to_header_value()?;
        request.headers.insert(X_REQUEST_ID, value.clone());
        Some(Some(value))
    }

    fn on_response(&self, state: &mut Self::State, _exchange: &Exchange, response: &mut response::Parts) {
        // A response has few headers: to compare their names costs less than to hash ours.
        if let Some(value) = state.take()
            && !response.headers.keys().any(|name| *name == NAME)
        {
            response.headers.insert(X_REQUEST_ID, value);
        }
    }

    fn on_end(&self, _state: Self::State, _exchange: &Exchange, _end: &crate::End) {}
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_new_id_is_a_uuid_of_version_7() {
        let id = RequestId::uuid_v7(Duration::from_millis(0x0123_4567_89ab), u128::MAX);
        assert_eq!(id.as_str(), "01234567-89ab-7fff-bfff-ffffffffffff");
        assert_ne!(RequestId::new(), RequestId::new());
    }

    #[test]
    fn only_a_short_and_plain_id_is_taken() {
        for good in ["abcdefgh", "A-b_c.0123", &"x".repeat(64)] {
            assert_eq!(RequestId::parse(good.as_bytes()).unwrap().as_str(), good);
        }
        for bad in ["", "short", &"x".repeat(65), "with space", "line\nbreak", "ümlaut-id", "semi;colon"] {
            assert_eq!(RequestId::parse(bad.as_bytes()), None, "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_taken_is_kept_as_it_was(bytes: Vec<u8>) {
            if let Some(id) = RequestId::parse(&bytes) {
                prop_assert_eq!(id.as_bytes(), &bytes[..]);
            }
        }
    }
}
