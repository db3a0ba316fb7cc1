//! What a name reveals about its value.

mod words;

use std::ops::Range;

use self::words::{
    BENIGN_FIRST, BENIGN_LAST, DIGITS, FILLERS, FOREIGN, KEY_MAKERS, LAST, PASSWORDS, PUBLIC, SUSPICIOUS,
};

/// How much a name gives away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Class {
    /// Nothing.
    Open,
    /// The value is secret if it looks random: `key`, `code`, `state`.
    Weak,
    /// Secret unless it is a folder: `pwd`.
    Folder,
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
    if names.denied.is_empty() && is_silent(name) { Class::Open } else { classify_words(name, names) }
}

/// Whether a name is one word of small letters that means nothing, as most are: [`classify_words`] finds nothing in it either.
fn is_silent(name: &[u8]) -> bool {
    name.iter().all(u8::is_ascii_lowercase) && !words::may_tell(name) && !words::is_anywhere(name)
}

#[inline(never)]
fn classify_words(name: &[u8], names: &Names) -> Class {
    let mut room = [0; MAX];
    let raw = name;
    let name = Normal::of(name, &mut room);
    let all = name.all;
    let denied = names.denied.iter().any(|denied| memchr::memmem::find(all, denied).is_some());
    // Only letters of other alphabets, and signs, are missing from `all`.
    let class = if denied || all.len() < raw.len() && is_foreign(raw) { Class::Strong } else { built_in(&name) };
    // Asked last: most names need no exception.
    if class > Class::Open && names.excepted.iter().any(|excepted| **excepted == *all) {
        return Class::Open;
    }
    class
}

/// What letters and digits are in lower case; 0 for all else.
static LOWER: [u8; 256] = lower();

const fn lower() -> [u8; 256] {
    let mut lower = [0_u8; 256];
    let mut byte = b'0';
    while byte <= b'z' {
        if byte.is_ascii_alphanumeric() {
            #[expect(clippy::indexing_slicing, reason = "a byte is below 256")]
            {
                lower[byte as usize] = byte.to_ascii_lowercase();
            }
        }
        byte = byte.wrapping_add(1);
    }
    lower
}

/// A name in lower case, with where its words begin.
struct Normal<'n> {
    all: &'n [u8],
    /// A bit for each byte that begins a word.
    begins: u64,
}

impl<'n> Normal<'n> {
    fn of(name: &'n [u8], room: &'n mut [u8; MAX]) -> Self {
        let lower = |byte: u8| LOWER.get(usize::from(byte)).copied().unwrap_or(0);
        // Most names are one word in lower case.
        if name.iter().all(|&byte| lower(byte) == byte && byte != 0) {
            return Self { all: name, begins: 1 };
        }
        // Locals, which live in registers.
        let (mut len, mut begins) = (0_usize, 0_u64);
        let mut fresh = true;
        let mut last_lower = false;
        for &byte in name {
            let lower = lower(byte);
            if lower == 0 {
                fresh = true;
                continue;
            }
            let upper = byte != lower;
            begins |= u64::from(fresh || upper && last_lower) << (len % MAX);
            if let Some(slot) = room.get_mut(len) {
                *slot = lower;
                len = len.saturating_add(1);
            }
            fresh = false;
            last_lower = !upper;
        }
        Self { all: room.get(..len).unwrap_or_default(), begins }
    }

    fn word(&self, range: &Range<usize>) -> &[u8] {
        self.all.get(range.clone()).unwrap_or_default()
    }

    /// The word that ends at `end`.
    fn word_before(&self, end: usize) -> Range<usize> {
        let below = if end >= MAX { u64::MAX } else { (1_u64 << end).wrapping_sub(1) };
        let mask = self.begins & below;
        let start = 63_u32.saturating_sub(mask.leading_zeros().min(63));
        usize::try_from(start).unwrap_or_default().min(end)..end
    }
}

fn built_in(name: &Normal<'_>) -> Class {
    let class = secret_words(name);
    if class <= Class::Weak {
        return class;
    }
    let last = name.word_before(name.all.len());
    let first_end = usize::try_from((name.begins & !1).trailing_zeros()).unwrap_or(MAX).min(name.all.len());
    let benign = BENIGN_LAST.has(name.word(&last)) || BENIGN_FIRST.has(name.word(&(0..first_end)));
    if benign { Class::Weak } else { class }
}

fn secret_words(name: &Normal<'_>) -> Class {
    let all = name.all;
    if words::is_anywhere(all) {
        // On its own, a name that prose uses too.
        let word = all == b"secret" || all == b"secrets" || all.starts_with(b"credential") || all.starts_with(b"auth");
        return if word { Class::Word } else { Class::Strong };
    }
    let mut last = name.word_before(name.all.len());
    if !words::may_tell(name.word(&last)) {
        return Class::Open;
    }
    while last.start > 0 && is_filler(name.word(&last)) {
        last = name.word_before(last.start);
    }
    let lone = last == (0..name.all.len());
    let word = unnumbered(name.word(&last));
    if lone && (word == b"pwd" || word == b"oldpwd") {
        return Class::Folder;
    }
    if PASSWORDS.has(word) {
        return Class::Strong;
    }
    // `usertoken`, `dbpwd`, `nextauthsecret`: written in one.
    if LAST.has(word) || word.ends_with(b"token") || word.ends_with(b"pwd") {
        return if lone && !word.ends_with(b"pwd") { Class::Word } else { Class::Strong };
    }
    if DIGITS.has(word) {
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
    if (word == b"key" || word == b"keys") && !lone && KEY_MAKERS.has(name.word(&name.word_before(last.start))) {
        return Class::Strong;
    }
    if !SUSPICIOUS.has(word) {
        return Class::Open;
    }
    let first = name.word(&name.word_before(last.start));
    // The hash of a key names a key that everyone may see.
    let is_public = !lone && (PUBLIC.has(first) || word == b"hash" && first == b"key");
    if is_public { Class::Open } else { Class::Weak }
}

/// Is a word of [`FOREIGN`] in the name?
#[cold]
#[inline(never)]
fn is_foreign(name: &[u8]) -> bool {
    !name.is_ascii() && FOREIGN.iter().any(|word| memchr::memmem::find(name, word.as_bytes()).is_some())
}

/// `token2` is another `token`. `cvv2` and `otp2` are words.
fn unnumbered(word: &[u8]) -> &[u8] {
    let letters = word.iter().rposition(|byte| !byte.is_ascii_digit()).map_or(0, |last| last.saturating_add(1));
    let name = word.get(..letters).unwrap_or_default();
    if letters < word.len() && LAST.has(name) { name } else { word }
}

fn is_filler(word: &[u8]) -> bool {
    word.iter().all(u8::is_ascii_digit) || FILLERS.has(word)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_name_that_is_one_word_is_classified_as_any_other(
            words in "(token|pin|key|code|csrf|otp|secret|pwd|api|to|se|ke|[a-z]){1,4}[a-z0-9]?",
        ) {
            prop_assert_eq!(classify_short(words.as_bytes(), &Names::default()), classify_words(words.as_bytes(), &Names::default()));
        }
    }

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
        check(Class::Weak, &["key", "code", "state", "sort_key", "max_tokens", "has_password", "password_changed_at"]);
        check(
            Class::Open,
            &[
                "",
                "a",
                "page",
                "tokenizer",
                "publicKey",
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
