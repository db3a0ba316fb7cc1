//! The words that decide on a name, in lists that most names leave after one look.

/// Words, found by their length and first letter.
pub(super) struct List {
    words: &'static [&'static [u8]],
    /// For each length, a bit for each first and each last letter: `byte & 63`.
    ends: [(u64, u64); LONGEST],
}

/// No word is as long.
const LONGEST: usize = 16;

impl List {
    const fn new(words: &'static [&'static [u8]]) -> Self {
        let mut ends = [(0_u64, 0_u64); LONGEST];
        let mut nth = 0_usize;
        while nth < words.len() {
            #[expect(clippy::indexing_slicing, reason = "evaluated by the compiler, which checks it")]
            {
                let word = words[nth];
                ends[word.len()].0 |= 1 << (word[0] & 63);
                ends[word.len()].1 |= 1 << (word[word.len().saturating_sub(1)] & 63);
            }
            nth = nth.saturating_add(1);
        }
        Self { words, ends }
    }

    #[expect(clippy::inline_always, reason = "asked six times for each name: a call would double what most names cost")]
    #[inline(always)]
    pub(super) fn has(&self, word: &[u8]) -> bool {
        let (Some(first), Some(last)) = (word.first(), word.last()) else { return false };
        let (firsts, lasts) = self.ends.get(word.len()).copied().unwrap_or_default();
        firsts >> (first & 63) & lasts >> (last & 63) & 1 != 0 && self.words.contains(&word)
    }
}

/// For each length and first letter, a bit for each last letter, of all words that mean something where they are a name's
/// last: `byte & 31`.
static ENDS: [[u32; 32]; LONGEST] = union([&LAST, &PASSWORDS, &DIGITS, &SUSPICIOUS, &FILLERS]);

const fn union(lists: [&List; 5]) -> [[u32; 32]; LONGEST] {
    let mut ends = [[0_u32; 32]; LONGEST];
    let mut list = 0_usize;
    while list < lists.len() {
        let mut nth = 0_usize;
        #[expect(clippy::indexing_slicing, reason = "evaluated by the compiler, which checks it")]
        while nth < lists[list].words.len() {
            let word = lists[list].words[nth];
            ends[word.len()][(word[0] & 31) as usize] |= 1 << (word[word.len().saturating_sub(1)] & 31);
            nth = nth.saturating_add(1);
        }
        list = list.saturating_add(1);
    }
    ends
}

/// Whether `word`, the last of a name, may mean something. For most names it does not, and one look is enough.
pub(super) fn may_tell(word: &[u8]) -> bool {
    let (Some(first), Some(last)) = (word.first(), word.last()) else { return false };
    let lasts = ENDS.get(word.len()).and_then(|ends| ends.get(usize::from(first & 31))).copied().unwrap_or_default();
    lasts >> (last & 31) & 1 != 0 || last.is_ascii_digit() || word.ends_with(b"token") || word.ends_with(b"pwd")
}

/// For each letter, a bit for each one that follows it where one of [`ANYWHERE`]'s words begins, and after that.
static PAIRS: [(u32, u32); 32] = pairs();

const fn pairs() -> [(u32, u32); 32] {
    let mut pairs = [(0_u32, 0_u32); 32];
    let mut nth = 0_usize;
    while nth < ANYWHERE.len() {
        #[expect(clippy::indexing_slicing, reason = "evaluated by the compiler, which checks it")]
        {
            let word = ANYWHERE[nth];
            assert!(word.len() >= 4, "shorter ones are not looked for");
            pairs[(word[0] & 31) as usize].0 |= 1 << (word[1] & 31);
            pairs[(word[1] & 31) as usize].1 |= 1 << (word[2] & 31);
        }
        nth = nth.saturating_add(1);
    }
    pairs
}

/// For each letter, the first of [`ANYWHERE`]'s words that begin with it, and the first one after them.
static GROUPS: [(usize, usize); 32] = groups();

const fn groups() -> [(usize, usize); 32] {
    let mut groups = [(0_usize, 0_usize); 32];
    let mut nth = 0_usize;
    while nth < ANYWHERE.len() {
        #[expect(clippy::indexing_slicing, reason = "evaluated by the compiler, which checks it")]
        {
            let group = &mut groups[(ANYWHERE[nth][0] & 31) as usize];
            assert!(group.1 == 0 || group.1 == nth, "words with the same first letter stand together");
            *group = (if group.1 == 0 { nth } else { group.0 }, nth.saturating_add(1));
        }
        nth = nth.saturating_add(1);
    }
    groups
}

/// Those of [`ANYWHERE`]'s words that begin with `letter`.
fn group(letter: u8) -> &'static [&'static [u8]] {
    let (first, end) = GROUPS.get(usize::from(letter & 31)).copied().unwrap_or_default();
    ANYWHERE.get(first..end).unwrap_or_default()
}

/// Does one of [`ANYWHERE`] stand in the name?
pub(super) fn is_anywhere(name: &[u8]) -> bool {
    let mut rest = name;
    // No word is shorter than four letters.
    while let [first, second, third, _, ..] = rest {
        let follows = |letter: u8| PAIRS.get(usize::from(letter & 31)).copied().unwrap_or_default();
        if follows(*first).0 >> (second & 31) & 1 != 0
            && follows(*second).1 >> (third & 31) & 1 != 0
            && group(*first).iter().any(|word| rest.starts_with(word))
            && !HARMLESS.iter().any(|word| rest.starts_with(word))
        {
            return true;
        }
        rest = rest.get(1..).unwrap_or_default();
    }
    false
}

/// Secret wherever they stand in a name.
const ANYWHERE: &[&[u8]] = &[
    b"accesskey",
    b"accesstoken",
    b"accountkey",
    b"apikey",
    b"authkey",
    b"authtoken",
    b"authorization",
    b"authentication",
    b"backupcode",
    b"cardnumber",
    b"clientassertion",
    b"connectionstring",
    b"contribsys",
    b"codeverifier",
    b"credential",
    b"creditcard",
    b"csrf",
    b"devicecode",
    b"encryptionkey",
    b"idtoken",
    b"masterkey",
    b"mnemonic",
    b"motdepasse",
    b"password",
    b"passwd",
    b"passphrase",
    b"passcode",
    b"passwort",
    b"privatekey",
    b"refreshtoken",
    b"recoverycode",
    b"samlresponse",
    b"samlrequest",
    b"secret",
    b"sessionid",
    b"sessid",
    b"sessiontoken",
    b"sessionkey",
    b"securitycode",
    b"securitytoken",
    b"seedphrase",
    b"sharedkey",
    b"signingkey",
    b"socialsecurity",
    b"sonarlogin",
    b"verificationcode",
    b"xsrf",
];

/// `secretary`, `passwordless`: longer words that begin with one of the above.
const HARMLESS: [&[u8]; 6] =
    [b"secretar", b"secretion", b"passwordless", b"credentialless", b"authenticationerror", b"authorizationerror"];

/// Secret as a name's last word.
pub(super) static LAST: List = List::new(&[
    b"apitoken",
    b"auth",
    b"bearer",
    b"clave",
    b"cookie",
    b"cookies",
    b"cred",
    b"creds",
    b"dsn",
    b"jwt",
    b"mfa",
    b"pass",
    b"passw",
    b"pat",
    b"psw",
    b"pw",
    b"pwd",
    b"saml",
    b"session",
    b"sid",
    b"sig",
    b"signature",
    b"sso",
    b"token",
    b"xoxb",
]);

/// What a password is called in other languages, without accents, as a name's last word.
pub(super) static PASSWORDS: List = List::new(&[
    b"adgangskode",
    b"contrasea",
    b"contrasena",
    b"contrasenya",
    b"haslo",
    b"heslo",
    b"jelszo",
    b"kennwort",
    b"kodeord",
    b"losenord",
    b"lozinka",
    b"parola",
    b"paroll",
    b"parool",
    b"passord",
    b"salasana",
    b"senha",
    b"sifre",
    b"wachtwoord",
]);

/// The same, and that as it is written: in lower case, and as a word begins.
pub(super) const FOREIGN: &[&str] = &[
    "contraseña",
    "Contraseña",
    "CONTRASEÑA",
    "hasło",
    "Hasło",
    "HASŁO",
    "jelszó",
    "Jelszó",
    "lösenord",
    "Lösenord",
    "şifre",
    "Şifre",
    "parolă",
    "Parolă",
    "mật khẩu",
    "Mật khẩu",
    "κωδικός",
    "Κωδικός",
    "пароль",
    "Пароль",
    "ПАРОЛЬ",
    "парола",
    "Парола",
    "סיסמה",
    "סיסמא",
    "كلمة المرور",
    "كلمة السر",
    "पासवर्ड",
    "รหัสผ่าน",
    "密码",
    "密碼",
    "口令",
    "パスワード",
    "暗証番号",
    "비밀번호",
    "암호",
];

/// Secret digits as a name's last word.
pub(super) static DIGITS: List = List::new(&[
    b"csc", b"cvc", b"cvc2", b"cvv", b"cvv2", b"otp", b"otpcode", b"pan", b"pin", b"pincode", b"ssn", b"totp",
]);

/// Suspicious as a name's last word.
pub(super) static SUSPICIOUS: List = List::new(&[
    b"assertion",
    b"challenge",
    b"code",
    b"digest",
    b"grant",
    b"hash",
    b"hmac",
    b"hook",
    b"identity",
    b"key",
    b"keys",
    b"licence",
    b"license",
    b"nonce",
    b"otpauth",
    b"salt",
    b"seed",
    b"sessions",
    b"state",
    b"ticket",
    b"tokens",
    b"verifier",
]);

/// `api key`, `x-functions-key`: what makes a key secret.
pub(super) static KEY_MAKERS: List = List::new(&[
    b"access",
    b"account",
    b"admin",
    b"anthropic",
    b"api",
    b"app",
    b"application",
    b"auth",
    b"aws",
    b"azure",
    b"cipher",
    b"client",
    b"crypt",
    b"datadog",
    b"dd",
    b"deploy",
    b"encryption",
    b"function",
    b"functions",
    b"gcp",
    b"gpg",
    b"hmac",
    b"integration",
    b"license",
    b"master",
    b"newrelic",
    b"openai",
    b"pgp",
    b"private",
    b"relic",
    b"secret",
    b"sentry",
    b"server",
    b"service",
    b"session",
    b"shared",
    b"signing",
    b"ssh",
    b"storage",
    b"stripe",
    b"subscription",
    b"webhook",
]);

/// `public_key`, `foreign_key`: before a suspicious word, they mean that everyone may see its value.
pub(super) static PUBLIC: List = List::new(&[b"foreign", b"pub", b"public"]);

/// Words at the end that mean nothing.
pub(super) static FILLERS: List = List::new(&[
    b"again",
    b"b64",
    b"base64",
    b"confirm",
    b"confirmation",
    b"current",
    b"encrypted",
    b"field",
    b"header",
    b"hex",
    b"live",
    b"new",
    b"old",
    b"param",
    b"plain",
    b"plaintext",
    b"prod",
    b"raw",
    b"repeat",
    b"str",
    b"string",
    b"text",
    b"v1",
    b"v2",
    b"val",
    b"value",
]);

/// Words at the end that make a name harmless, unless the value looks random: `token_type`.
pub(super) static BENIGN_LAST: List = List::new(&[
    b"age",
    b"alg",
    b"algorithm",
    b"at",
    b"attempt",
    b"attempts",
    b"budget",
    b"changed",
    b"consent",
    b"count",
    b"count2",
    b"counts",
    b"created",
    b"date",
    b"disabled",
    b"domain",
    b"duration",
    b"enabled",
    b"endpoint",
    b"error",
    b"errors",
    b"expiration",
    b"expire",
    b"expired",
    b"expires",
    b"expiry",
    b"failed",
    b"failures",
    b"file",
    b"format",
    b"in",
    b"index",
    b"invalid",
    b"kind",
    b"len",
    b"length",
    b"limit",
    b"limits",
    b"manager",
    b"method",
    b"ms",
    b"name",
    b"names",
    b"on",
    b"path",
    b"policy",
    b"prefix",
    b"present",
    b"provided",
    b"provider",
    b"required",
    b"reset",
    b"rotation",
    b"scope",
    b"scopes",
    b"seconds",
    b"size",
    b"status",
    b"strength",
    b"time",
    b"timeout",
    b"ttl",
    b"type",
    b"types",
    b"updated",
    b"uri",
    b"url",
    b"usage",
    b"valid",
    b"version",
]);

/// Words at the beginning that do so: `has_password`.
pub(super) static BENIGN_FIRST: List = List::new(&[
    b"allow",
    b"count",
    b"disable",
    b"enable",
    b"forgot",
    b"has",
    b"hide",
    b"is",
    b"max",
    b"min",
    b"missing",
    b"needs",
    b"no",
    b"num",
    b"require",
    b"requires",
    b"show",
    b"total",
]);

#[cfg(test)]
mod tests {
    use super::{super::*, *};

    #[test]
    fn no_word_is_lost_on_the_way_past_the_lists() {
        let listed = [&LAST, &PASSWORDS, &DIGITS, &SUSPICIOUS].into_iter().flat_map(|list| list.words);
        for word in listed.chain(ANYWHERE) {
            let upper = word.to_ascii_uppercase();
            for name in [word.to_vec(), upper.clone(), [b"x_", &upper[..]].concat()] {
                let class = classify(&name, &Names::default());
                assert!(class > Class::Open, "{}: {class:?}", name.escape_ascii());
            }
        }
    }
}
