use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::{BuildError, error::Kind};

/// The secret behind pseudonyms, and the name of its version.
///
/// No `Display`, and a `Debug` that shows the name alone.
#[derive(Clone)]
pub struct PseudonymKey {
    id: Box<str>,
    keyed: Hmac<Sha256>,
}

/// Bytes of the hash that are kept: 128 bits.
const KEPT: usize = 16;

const MIN_SECRET: usize = 32;
const MAX_ID: usize = 16;

impl PseudonymKey {
    /// A key, and a name for it that goes in front of each pseudonym: `k1_…`. A new secret gets a new name.
    ///
    /// # Errors
    /// [`BuildError::is_key`] when the secret has less than 32 bytes or is obviously not random, or when the name is
    /// not 1 to 16 letters and digits.
    ///
    /// # Examples
    /// ```
    /// use steeple_user::PseudonymKey;
    ///
    /// # let secret: Vec<u8> = (0..32).collect();
    /// let key = PseudonymKey::new("k1", &secret)?;
    /// assert_eq!(format!("{key:?}"), r#"PseudonymKey("k1", [redacted])"#);
    /// assert!(PseudonymKey::new("k1", b"too short").is_err());
    /// # Ok::<(), steeple_user::BuildError>(())
    /// ```
    pub fn new(id: impl Into<String>, secret: &[u8]) -> Result<Self, BuildError> {
        let id = id.into();
        if id.is_empty() || id.len() > MAX_ID || !id.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            return Err(BuildError::new(Kind::KeyId { id }));
        }
        let too_short = || BuildError::new(Kind::KeyTooShort { bytes: secret.len() });
        if secret.len() < MIN_SECRET {
            return Err(too_short());
        }
        if secret.windows(2).all(|pair| pair.first() == pair.last()) {
            return Err(BuildError::new(Kind::KeyNotRandom));
        }
        let keyed = Hmac::new_from_slice(secret).map_err(|_length| too_short())?;
        Ok(Self { id: id.into(), keyed })
    }

    /// The pseudonym of a value of this field.
    pub(super) fn pseudonym(&self, field: &str, value: &str) -> String {
        const HEX: &[u8; 16] = b"0123456789abcdef";
        let mut keyed = self.keyed.clone();
        // No field's name holds a zero, so that no two fields ever hash the same.
        keyed.update(field.as_bytes());
        keyed.update(&[0]);
        keyed.update(value.as_bytes());
        let hash = keyed.finalize().into_bytes();
        let mut text = String::with_capacity(self.id.len().saturating_add(1 + 2 * KEPT));
        text.push_str(&self.id);
        text.push('_');
        let digits = hash.iter().take(KEPT).flat_map(|byte| [byte >> 4, byte & 15]);
        text.extend(digits.filter_map(|digit| HEX.get(usize::from(digit))).map(|hex| char::from(*hex)));
        text
    }
}

impl fmt::Debug for PseudonymKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("PseudonymKey").field(&self.id).field(&format_args!("[redacted]")).finish()
    }
}
