//! What a name says about its value.

use std::ops::Range;

/// How much a name gives away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Class {
    /// Nothing.
    Open,
    /// The value is secret if it looks random: `key`, `code`, `state`.
    Weak,
    /// Secret; in prose the word also stands for itself: "unexpected token: identifier".
    Word,
    /// Secret digits: `pin`, `otp`, `cvv`.
    Digits,
    /// Secret.
    Strong,
}

/// The names that the configuration adds and excepts, normalized.
#[derive(Clone, Debug, Default)]
pub(crate) struct Names {
    /// Anywhere in a name.
    pub(crate) denied: Vec<Box<[u8]>>,
    /// The whole name.
    pub(crate) excepted: Vec<Box<[u8]>>,
}

/// Lower case, letters and digits only: how names are compared.
pub(crate) fn normalize(name: &str) -> Box<[u8]> {
    name.bytes().filter(u8::is_ascii_alphanumeric).map(|byte| byte.to_ascii_lowercase()).collect()
}

/// A name longer than this is judged by its two ends.
const MAX: usize = 64;

pub(crate) fn classify(name: &[u8], names: &Names) -> Class {
    if name.len() <= MAX {
        return classify_short(name, names);
    }
    let head = name.get(..MAX).unwrap_or_default();
    let tail = name.get(name.len().saturating_sub(MAX)..).unwrap_or_default();
    classify_short(head, names).max(classify_short(tail, names))
}

fn classify_short(name: &[u8], names: &Names) -> Class {
    if name.len() < 2 {
        // No built-in name is that short; a configured one may be.
        let byte = name.first().map(u8::to_ascii_lowercase);
        let denied = byte.is_some_and(|byte| names.denied.iter().any(|denied| **denied == [byte]));
        return if denied { Class::Strong } else { Class::Open };
    }
    let name = Normal::of(name);
    let all = name.all();
    let denied = names.denied.iter().any(|denied| memchr::memmem::find(all, denied).is_some());
    let class = if denied { Class::Strong } else { built_in(&name) };
    // Asked last: most names need no exception.
    if class > Class::Open && names.excepted.iter().any(|excepted| **excepted == *all) {
        return Class::Open;
    }
    class
}

/// A name in lower case, with where its words begin.
struct Normal {
    bytes: [u8; MAX],
    len: usize,
    /// A bit for each byte that begins a word.
    begins: u64,
}

impl Normal {
    fn of(name: &[u8]) -> Self {
        // Locals, which live in registers.
        let (mut bytes, mut len, mut begins) = ([0; MAX], 0_usize, 0_u64);
        let mut fresh = true;
        let mut last_lower = false;
        for &byte in name {
            let lower = byte | 0x20;
            let digit = byte.is_ascii_digit();
            if !digit && !lower.is_ascii_lowercase() {
                fresh = true;
                continue;
            }
            let upper = !digit && byte != lower;
            begins |= u64::from(fresh || upper && last_lower) << (len % MAX);
            if let Some(slot) = bytes.get_mut(len) {
                *slot = lower;
                len = len.saturating_add(1);
            }
            fresh = false;
            last_lower = !upper;
        }
        Self { bytes, len, begins }
    }

    fn all(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }

    fn word(&self, range: &Range<usize>) -> &[u8] {
        self.bytes.get(range.clone()).unwrap_or_default()
    }

    /// The word that ends at `end`.
    fn word_before(&self, end: usize) -> Range<usize> {
        let below = if end >= MAX { u64::MAX } else { (1_u64 << end).wrapping_sub(1) };
        let mask = self.begins & below;
        let start = 63_u32.saturating_sub(mask.leading_zeros().min(63));
        usize::try_from(start).unwrap_or_default().min(end)..end
    }
}

/// Secret wherever they stand in a name, by their first two letters.
const fn anywhere(first: u8, second: u8) -> &'static [&'static [u8]] {
    match (first, second) {
        (b'a', b'c') => &[b"accesskey", b"accesstoken", b"accountkey"],
        (b'a', b'p') => &[b"apikey"],
        (b'a', b'u') => &[b"authkey", b"authtoken", b"authorization", b"authentication"],
        (b'b', b'a') => &[b"backupcode"],
        (b'c', b'a') => &[b"cardnumber"],
        (b'c', b'l') => &[b"clientassertion"],
        (b'c', b'o') => &[b"connectionstring", b"codeverifier"],
        (b'c', b'r') => &[b"credential", b"creditcard"],
        (b'c', b's') => &[b"csrf"],
        (b'd', b'e') => &[b"devicecode"],
        (b'e', b'n') => &[b"encryptionkey"],
        (b'i', b'd') => &[b"idtoken"],
        (b'm', b'a') => &[b"masterkey"],
        (b'm', b'n') => &[b"mnemonic"],
        (b'm', b'o') => &[b"motdepasse"],
        (b'p', b'a') => &[b"password", b"passwd", b"passphrase", b"passcode", b"passwort"],
        (b'p', b'r') => &[b"privatekey"],
        (b'r', b'e') => &[b"refreshtoken", b"recoverycode"],
        (b's', b'a') => &[b"samlresponse", b"samlrequest"],
        (b's', b'e') => &[
            b"secret",
            b"sessionid",
            b"sessid",
            b"sessiontoken",
            b"sessionkey",
            b"securitycode",
            b"securitytoken",
            b"seedphrase",
        ],
        (b's', b'h') => &[b"sharedkey"],
        (b's', b'i') => &[b"signingkey"],
        (b's', b'o') => &[b"socialsecurity"],
        (b'v', b'e') => &[b"verificationcode"],
        (b'x', b's') => &[b"xsrf"],
        _ => &[],
    }
}

/// `secretary`, `passwordless`: longer words that begin with one of the above.
const HARMLESS: [&[u8]; 6] =
    [b"secretar", b"secretion", b"passwordless", b"credentialless", b"authenticationerror", b"authorizationerror"];

/// Secret as a name's last word.
#[inline]
const fn is_last(word: &[u8]) -> bool {
    matches!(
        word,
        b"apitoken"
            | b"auth"
            | b"bearer"
            | b"cookie"
            | b"cookies"
            | b"cred"
            | b"creds"
            | b"dsn"
            | b"jwt"
            | b"mfa"
            | b"pass"
            | b"passw"
            | b"pat"
            | b"psw"
            | b"pw"
            | b"pwd"
            | b"saml"
            | b"session"
            | b"sid"
            | b"sig"
            | b"signature"
            | b"sso"
            | b"token"
            | b"xoxb"
    )
}

/// Secret digits as a name's last word.
#[inline]
const fn is_digits(word: &[u8]) -> bool {
    matches!(
        word,
        b"csc"
            | b"cvc"
            | b"cvc2"
            | b"cvv"
            | b"cvv2"
            | b"otp"
            | b"otpcode"
            | b"pan"
            | b"pin"
            | b"pincode"
            | b"ssn"
            | b"totp"
    )
}

/// Suspicious as a name's last word.
#[inline]
const fn is_suspicious(word: &[u8]) -> bool {
    matches!(
        word,
        b"assertion"
            | b"challenge"
            | b"code"
            | b"digest"
            | b"grant"
            | b"hash"
            | b"hmac"
            | b"hook"
            | b"identity"
            | b"key"
            | b"keys"
            | b"licence"
            | b"license"
            | b"nonce"
            | b"otpauth"
            | b"salt"
            | b"seed"
            | b"sessions"
            | b"state"
            | b"ticket"
            | b"tokens"
            | b"verifier"
    )
}

/// `api key`, `x-functions-key`: what makes a key secret.
const fn makes_key_secret(word: &[u8]) -> bool {
    matches!(
        word,
        b"access"
            | b"account"
            | b"admin"
            | b"anthropic"
            | b"api"
            | b"app"
            | b"application"
            | b"auth"
            | b"aws"
            | b"azure"
            | b"cipher"
            | b"client"
            | b"crypt"
            | b"datadog"
            | b"dd"
            | b"deploy"
            | b"encryption"
            | b"function"
            | b"functions"
            | b"gcp"
            | b"gpg"
            | b"hmac"
            | b"integration"
            | b"license"
            | b"master"
            | b"newrelic"
            | b"openai"
            | b"pgp"
            | b"private"
            | b"relic"
            | b"secret"
            | b"sentry"
            | b"server"
            | b"service"
            | b"session"
            | b"shared"
            | b"signing"
            | b"ssh"
            | b"storage"
            | b"stripe"
            | b"subscription"
            | b"webhook"
    )
}

/// Words at the end that say nothing.
#[inline]
const fn is_filler_word(word: &[u8]) -> bool {
    matches!(
        word,
        b"again"
            | b"b64"
            | b"base64"
            | b"confirm"
            | b"confirmation"
            | b"current"
            | b"encrypted"
            | b"field"
            | b"header"
            | b"hex"
            | b"live"
            | b"new"
            | b"old"
            | b"param"
            | b"plain"
            | b"plaintext"
            | b"prod"
            | b"raw"
            | b"repeat"
            | b"str"
            | b"string"
            | b"text"
            | b"v1"
            | b"v2"
            | b"val"
            | b"value"
    )
}

/// Words at the end that make a name harmless, unless the value looks random: `token_type`.
#[inline]
const fn is_benign_last(word: &[u8]) -> bool {
    matches!(
        word,
        b"age"
            | b"alg"
            | b"algorithm"
            | b"at"
            | b"attempt"
            | b"attempts"
            | b"budget"
            | b"changed"
            | b"consent"
            | b"count"
            | b"count2"
            | b"counts"
            | b"created"
            | b"date"
            | b"disabled"
            | b"domain"
            | b"duration"
            | b"enabled"
            | b"endpoint"
            | b"error"
            | b"errors"
            | b"expiration"
            | b"expire"
            | b"expired"
            | b"expires"
            | b"expiry"
            | b"failed"
            | b"failures"
            | b"file"
            | b"format"
            | b"in"
            | b"index"
            | b"invalid"
            | b"kind"
            | b"len"
            | b"length"
            | b"limit"
            | b"limits"
            | b"manager"
            | b"method"
            | b"ms"
            | b"name"
            | b"names"
            | b"on"
            | b"path"
            | b"policy"
            | b"prefix"
            | b"present"
            | b"provided"
            | b"provider"
            | b"required"
            | b"reset"
            | b"rotation"
            | b"scope"
            | b"scopes"
            | b"seconds"
            | b"size"
            | b"status"
            | b"strength"
            | b"time"
            | b"timeout"
            | b"ttl"
            | b"type"
            | b"types"
            | b"updated"
            | b"uri"
            | b"url"
            | b"usage"
            | b"valid"
            | b"version"
    )
}

/// Words at the beginning that do so: `has_password`.
#[inline]
const fn is_benign_first(word: &[u8]) -> bool {
    matches!(
        word,
        b"allow"
            | b"count"
            | b"disable"
            | b"enable"
            | b"forgot"
            | b"has"
            | b"hide"
            | b"is"
            | b"max"
            | b"min"
            | b"missing"
            | b"needs"
            | b"no"
            | b"num"
            | b"require"
            | b"requires"
            | b"show"
            | b"total"
    )
}

fn built_in(name: &Normal) -> Class {
    let class = secret_words(name);
    if class <= Class::Weak {
        return class;
    }
    let last = name.word_before(name.len);
    let first_end = usize::try_from((name.begins & !1).trailing_zeros()).unwrap_or(MAX).min(name.len);
    let benign = is_benign_last(name.word(&last)) || is_benign_first(name.word(&(0..first_end)));
    if benign { Class::Weak } else { class }
}

fn secret_words(name: &Normal) -> Class {
    let all = name.all();
    for at in 0..all.len().saturating_sub(3) {
        let rest = all.get(at..).unwrap_or_default();
        let [first, second, ..] = rest else { break };
        let words = anywhere(*first, *second);
        if words.iter().any(|word| rest.starts_with(word)) && !HARMLESS.iter().any(|word| rest.starts_with(word)) {
            // On its own, a name that prose uses too.
            let word =
                all == b"secret" || all == b"secrets" || all.starts_with(b"credential") || all.starts_with(b"auth");
            return if word { Class::Word } else { Class::Strong };
        }
    }
    let mut last = name.word_before(name.len);
    while last.start > 0 && is_filler(name.word(&last)) {
        last = name.word_before(last.start);
    }
    let word = name.word(&last);
    let lone = last == (0..name.len);
    // `usertoken`, `dbpwd`, `nextauthsecret`: written in one.
    if is_last(word) || word.ends_with(b"token") || word.ends_with(b"pwd") {
        return if lone && !word.ends_with(b"pwd") { Class::Word } else { Class::Strong };
    }
    if is_digits(word) {
        return Class::Digits;
    }
    if word == b"code"
        && matches!(
            name.word(&name.word_before(last.start)),
            b"pin" | b"otp" | b"mfa" | b"2fa" | b"sms" | b"cvv" | b"totp"
        )
    {
        return Class::Digits;
    }
    if (word == b"key" || word == b"keys") && !lone && makes_key_secret(name.word(&name.word_before(last.start))) {
        return Class::Strong;
    }
    if is_suspicious(word) { Class::Weak } else { Class::Open }
}

fn is_filler(word: &[u8]) -> bool {
    word.iter().all(u8::is_ascii_digit) || is_filler_word(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(want: Class, names: &[&str]) {
        for name in names {
            assert_eq!(classify(name.as_bytes(), &Names::default()), want, "{name}");
        }
    }

    #[test]
    fn names_of_secrets_are_known_however_they_are_written() {
        check(
            Class::Strong,
            &[
                "password",
                "PASSWORD",
                "pass_word",
                "user[password]",
                "passwordConfirm",
                "db-passwd",
                "mysql_pwd",
                "dbpwd",
                "clientSecret",
                "client_secret",
                "api_key",
                "apiKey",
                "API-Key",
                "X-API-KEY",
                "x-functions-key",
                "accessToken",
                "csrf_token",
                "usersToken",
                "XSRF-TOKEN",
                "PHPSESSID",
                "JSESSIONID",
                "connect.sid",
                "session_id",
                "aiohttp_session",
                "privateKey",
                "AWSSecretAccessKey",
                "X-Amz-Signature",
                "X-Amz-Credential",
                "X-Amz-Security-Token",
                "SAMLResponse",
                "card_number",
                "token_value",
                "reset_password_token",
                "AccountKey",
                "SharedAccessKey",
                "code_verifier",
                "verification_code",
                "http.request.header.x-auth-token",
                "stripe_signature",
            ],
        );
        check(
            Class::Word,
            &[
                "token",
                "Token",
                "secret",
                "auth",
                "session",
                "cookie",
                "sig",
                "sid",
                "jwt",
                "authorization",
                "credentials",
                "pass",
            ],
        );
        check(Class::Digits, &["pin", "otp", "cvv", "user_pin", "card.cvc", "pin_code", "ssn"]);
        check(
            Class::Weak,
            &["key", "code", "state", "sort_key", "publicKey", "max_tokens", "has_password", "password_changed_at"],
        );
        check(
            Class::Open,
            &[
                "",
                "a",
                "page",
                "tokenizer",
                "token_type",
                "author",
                "monkey",
                "keyboard",
                "secretary",
                "passenger",
                "compass",
                "design",
                "signal",
                "status",
                "pinned",
                "option",
            ],
        );
    }

    #[test]
    fn a_long_name_is_judged_by_both_ends() {
        let padding = "x".repeat(500);
        check(Class::Strong, &[&format!("password_{padding}"), &format!("{padding}_password")]);
    }

    #[test]
    fn an_exception_beats_a_denied_word() {
        let names = Names {
            denied: vec![normalize("nickname")],
            excepted: vec![normalize("public_nickname"), normalize("password")],
        };
        assert_eq!(classify(b"user.nickname", &names), Class::Strong);
        assert_eq!(classify(b"public-nickname", &names), Class::Open);
        assert_eq!(classify(b"password", &names), Class::Open);
    }
}
