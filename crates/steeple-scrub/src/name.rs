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
const MAX: usize = 128;

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
    if names.excepted.iter().any(|excepted| **excepted == *all) {
        return Class::Open;
    }
    if names.denied.iter().any(|denied| memchr::memmem::find(all, denied).is_some()) {
        return Class::Strong;
    }
    built_in(&name)
}

/// A name in lower case, with where its words begin.
struct Normal {
    bytes: [u8; MAX],
    len: usize,
    /// A bit for each byte that begins a word.
    begins: u128,
}

impl Normal {
    fn of(name: &[u8]) -> Self {
        let mut normal = Self { bytes: [0; MAX], len: 0, begins: 0 };
        let mut fresh = true;
        let mut last_lower = false;
        for &byte in name {
            if !byte.is_ascii_alphanumeric() {
                fresh = true;
                continue;
            }
            let upper = byte.is_ascii_uppercase();
            if fresh || upper && last_lower {
                normal.begins |= 1_u128 << (normal.len % MAX);
            }
            if let Some(slot) = normal.bytes.get_mut(normal.len) {
                *slot = byte.to_ascii_lowercase();
                normal.len = normal.len.saturating_add(1);
            }
            fresh = false;
            last_lower = !upper;
        }
        normal
    }

    fn all(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }

    fn word(&self, range: &Range<usize>) -> &[u8] {
        self.bytes.get(range.clone()).unwrap_or_default()
    }

    /// The word that ends at `end`.
    fn word_before(&self, end: usize) -> Range<usize> {
        let below = if end >= MAX { u128::MAX } else { (1_u128 << end).wrapping_sub(1) };
        let mask = self.begins & below;
        let start = 127_u32.saturating_sub(mask.leading_zeros().min(127));
        usize::try_from(start).unwrap_or_default().min(end)..end
    }
}

/// Secret wherever they stand in a name, by their first letter. All are longer than five letters.
const fn anywhere(first: u8) -> &'static [&'static [u8]] {
    match first {
        b'a' => &[
            b"apikey",
            b"accesskey",
            b"accesstoken",
            b"accountkey",
            b"authkey",
            b"authtoken",
            b"authorization",
            b"authentication",
        ],
        b'b' => &[b"backupcode"],
        b'c' => &[
            b"csrf",
            b"credential",
            b"connectionstring",
            b"codeverifier",
            b"clientassertion",
            b"cardnumber",
            b"creditcard",
        ],
        b'd' => &[b"devicecode"],
        b'e' => &[b"encryptionkey"],
        b'i' => &[b"idtoken"],
        b'm' => &[b"masterkey", b"mnemonic", b"motdepasse"],
        b'p' => &[b"password", b"passwd", b"passphrase", b"passcode", b"passwort", b"privatekey"],
        b'r' => &[b"refreshtoken", b"recoverycode"],
        b's' => &[
            b"secret",
            b"sessionid",
            b"sessid",
            b"sessiontoken",
            b"sessionkey",
            b"signingkey",
            b"sharedkey",
            b"samlresponse",
            b"samlrequest",
            b"securitycode",
            b"securitytoken",
            b"socialsecurity",
            b"seedphrase",
        ],
        b'v' => &[b"verificationcode"],
        b'x' => &[b"xsrf"],
        _ => &[],
    }
}

/// `secretary`, `passwordless`: longer words that begin with one of the above.
const HARMLESS: [&[u8]; 6] =
    [b"secretar", b"secretion", b"passwordless", b"credentialless", b"authenticationerror", b"authorizationerror"];

/// Secret as a name's last word.
const LAST: [&[u8]; 24] = [
    b"token",
    b"auth",
    b"session",
    b"cookie",
    b"cookies",
    b"signature",
    b"sig",
    b"sid",
    b"jwt",
    b"bearer",
    b"pwd",
    b"pass",
    b"pw",
    b"sso",
    b"saml",
    b"creds",
    b"cred",
    b"pat",
    b"mfa",
    b"xoxb",
    b"passw",
    b"psw",
    b"dsn",
    b"apitoken",
];

/// Secret digits as a name's last word.
const DIGITS: [&[u8]; 12] =
    [b"pin", b"otp", b"totp", b"cvv", b"cvc", b"csc", b"cvv2", b"cvc2", b"ssn", b"pan", b"pincode", b"otpcode"];

/// Suspicious as a name's last word.
const SUSPICIOUS: [&[u8]; 22] = [
    b"key",
    b"keys",
    b"code",
    b"state",
    b"nonce",
    b"hash",
    b"hmac",
    b"digest",
    b"ticket",
    b"verifier",
    b"challenge",
    b"tokens",
    b"license",
    b"licence",
    b"assertion",
    b"salt",
    b"seed",
    b"otpauth",
    b"identity",
    b"sessions",
    b"grant",
    b"hook",
];

/// `api key`, `x-functions-key`: what makes a key secret.
const KEY_OF: [&[u8]; 42] = [
    b"api",
    b"access",
    b"secret",
    b"private",
    b"signing",
    b"encryption",
    b"master",
    b"auth",
    b"account",
    b"shared",
    b"storage",
    b"license",
    b"client",
    b"app",
    b"application",
    b"service",
    b"admin",
    b"server",
    b"session",
    b"hmac",
    b"ssh",
    b"gpg",
    b"pgp",
    b"deploy",
    b"webhook",
    b"stripe",
    b"aws",
    b"azure",
    b"gcp",
    b"openai",
    b"anthropic",
    b"dd",
    b"datadog",
    b"newrelic",
    b"relic",
    b"subscription",
    b"functions",
    b"function",
    b"integration",
    b"crypt",
    b"cipher",
    b"sentry",
];

/// Words at the end that say nothing.
const FILLER: [&[u8]; 26] = [
    b"value",
    b"val",
    b"raw",
    b"b64",
    b"base64",
    b"hex",
    b"string",
    b"str",
    b"header",
    b"param",
    b"field",
    b"text",
    b"old",
    b"new",
    b"current",
    b"confirm",
    b"confirmation",
    b"again",
    b"repeat",
    b"plain",
    b"plaintext",
    b"encrypted",
    b"v1",
    b"v2",
    b"prod",
    b"live",
];

/// Words at the end that make a name harmless, unless the value looks random: `token_type`.
const BENIGN_LAST: [&[u8]; 70] = [
    b"count",
    b"counts",
    b"type",
    b"types",
    b"limit",
    b"limits",
    b"ttl",
    b"expiry",
    b"expires",
    b"expired",
    b"expiration",
    b"expire",
    b"length",
    b"len",
    b"size",
    b"url",
    b"uri",
    b"endpoint",
    b"name",
    b"names",
    b"at",
    b"in",
    b"on",
    b"date",
    b"time",
    b"policy",
    b"strength",
    b"required",
    b"enabled",
    b"disabled",
    b"valid",
    b"invalid",
    b"version",
    b"algorithm",
    b"alg",
    b"status",
    b"index",
    b"usage",
    b"budget",
    b"kind",
    b"format",
    b"age",
    b"timeout",
    b"attempts",
    b"attempt",
    b"present",
    b"provided",
    b"rotation",
    b"changed",
    b"updated",
    b"created",
    b"method",
    b"domain",
    b"path",
    b"file",
    b"count2",
    b"error",
    b"errors",
    b"failures",
    b"failed",
    b"consent",
    b"scope",
    b"scopes",
    b"reset",
    b"duration",
    b"seconds",
    b"ms",
    b"provider",
    b"prefix",
    b"manager",
];

/// Words at the beginning that do so: `has_password`.
const BENIGN_FIRST: [&[u8]; 18] = [
    b"has",
    b"is",
    b"no",
    b"needs",
    b"requires",
    b"require",
    b"max",
    b"min",
    b"num",
    b"total",
    b"allow",
    b"enable",
    b"disable",
    b"show",
    b"hide",
    b"count",
    b"forgot",
    b"missing",
];

fn built_in(name: &Normal) -> Class {
    let class = secret_words(name);
    if class <= Class::Weak {
        return class;
    }
    let last = name.word_before(name.len);
    let first_end = usize::try_from((name.begins & !1).trailing_zeros()).unwrap_or(MAX).min(name.len);
    let benign = BENIGN_LAST.contains(&name.word(&last)) || BENIGN_FIRST.contains(&name.word(&(0..first_end)));
    if benign { Class::Weak } else { class }
}

fn secret_words(name: &Normal) -> Class {
    let all = name.all();
    for at in 0..all.len().saturating_sub(3) {
        let rest = all.get(at..).unwrap_or_default();
        let words = anywhere(rest.first().copied().unwrap_or_default());
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
    if LAST.contains(&word) || word.ends_with(b"token") || word.ends_with(b"pwd") {
        return if lone && !word.ends_with(b"pwd") { Class::Word } else { Class::Strong };
    }
    if DIGITS.contains(&word) {
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
    if (word == b"key" || word == b"keys") && !lone && KEY_OF.contains(&name.word(&name.word_before(last.start))) {
        return Class::Strong;
    }
    if SUSPICIOUS.contains(&word) { Class::Weak } else { Class::Open }
}

fn is_filler(word: &[u8]) -> bool {
    word.iter().all(u8::is_ascii_digit) || FILLER.contains(&word)
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
