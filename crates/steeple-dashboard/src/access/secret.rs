use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

use crate::BuildError;

/// A secret that can be compared, but neither printed nor read: it is kept as its HMAC under a key of this process.
pub(super) struct Secret {
    keyed: Hmac<Sha256>,
    tag: [u8; 32],
    /// The key that cookies are signed with: the same in each process with this secret.
    cookies: Hmac<Sha256>,
}

impl Secret {
    pub(super) fn new(text: &str) -> Result<Self, BuildError> {
        let mut key = [0; 32];
        getrandom::fill(&mut key).map_err(|_error| BuildError::secret("the system has no random numbers"))?;
        let keyed = keyed(&key);
        let tag = tag(&keyed, text.as_bytes());
        let mut derived = Sha256::new();
        derived.update(b"steeple-dashboard cookie\0");
        derived.update(text.as_bytes());
        Ok(Self { keyed, tag, cookies: self::keyed(&derived.finalize().into()) })
    }

    /// Takes as long for a wrong secret as for the right one, however much of it is right.
    pub(super) fn is(&self, given: &str) -> bool {
        let mut mac = self.keyed.clone();
        mac.update(given.as_bytes());
        mac.verify_slice(&self.tag).is_ok()
    }

    pub(super) fn sign(&self, text: &[u8]) -> [u8; 32] {
        tag(&self.cookies, text)
    }

    pub(super) fn has_signed(&self, text: &[u8], signature: &[u8]) -> bool {
        let mut mac = self.cookies.clone();
        mac.update(text);
        mac.verify_slice(signature).is_ok()
    }
}

fn keyed(key: &[u8; 32]) -> Hmac<Sha256> {
    // The block that HMAC makes of a shorter key.
    let mut block = [0; 64];
    if let Some(start) = block.first_chunk_mut() {
        *start = *key;
    }
    Hmac::new(&block.into())
}

fn tag(keyed: &Hmac<Sha256>, text: &[u8]) -> [u8; 32] {
    let mut mac = keyed.clone();
    mac.update(text);
    mac.finalize().into_bytes().into()
}

/// Whether a text can hold 128 random bits: as many characters of its alphabet as that takes, and not the same few again.
pub(super) fn has_128_bits(text: &str) -> bool {
    let is = |class: fn(&u8) -> bool| text.bytes().any(|byte| class(&byte));
    let hex = text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let (letters, digits) = (is(u8::is_ascii_alphabetic), is(u8::is_ascii_digit));
    let mixed = is(u8::is_ascii_lowercase) && is(u8::is_ascii_uppercase);
    let tenths_of_a_bit: usize = match (hex, letters, digits, mixed) {
        (_, false, true, _) => 33,
        (true, ..) => 40,
        (_, true, true, false) => 51,
        (_, true, false, false) => 47,
        _ => 59,
    };
    let mut seen = [false; 256];
    for byte in text.bytes() {
        if let Some(seen) = seen.get_mut(usize::from(byte)) {
            *seen = true;
        }
    }
    let distinct = seen.iter().filter(|seen| **seen).count();
    let plain = text.bytes().all(|byte| byte.is_ascii_graphic());
    plain && distinct >= 8 && text.len().saturating_mul(tenths_of_a_bit) >= 1280
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_has_128_bits() {
        for good in
            ["q1o0cFXKZ7nq8Qx2tW6yTR", "00112233445566778899aabbccddeeff", "8400-e29b-41d4-a716-446655440000-550e"]
        {
            assert!(has_128_bits(good), "{good}");
        }
        for bad in
            ["", "secret", "q1o0cFXKZ7nq8Qx2tW6yT", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "0011223344556677", "ü"]
        {
            assert!(!has_128_bits(bad), "{bad}");
        }
    }

    #[test]
    fn what_one_process_has_signed_another_one_with_the_same_secret_accepts() {
        let [one, same, other] = ["a", "a", "b"].map(|text| Secret::new(text).unwrap());
        let signature = one.sign(b"17");
        assert!(one.is("a") && !one.is("b"));
        assert!(same.has_signed(b"17", &signature) && !same.has_signed(b"18", &signature));
        assert!(!other.has_signed(b"17", &signature));
    }
}
