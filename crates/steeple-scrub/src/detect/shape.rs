//! Tokens that begin with their vendor's prefix: which prefix, which alphabet, how long.

use super::{Table, at, before, cut, is_in, parts, random::looks_random, run, run_max, table};
use crate::{
    marker::Rule,
    scan::{Scan, kind},
};

/// The alphabet of a token's body.
#[derive(Clone, Copy)]
pub(super) enum Body {
    Alnum,
    /// Letters, digits, `_`.
    Word,
    /// Letters, digits, `_`, `-`.
    Url,
    /// The same, and `.`.
    Dotted,
    /// The same as `Url`, and `=`.
    Padded,
    /// The same as `Url`, and `.` and `=`.
    Scale,
    /// The same, and `+`, `/`.
    Base64,
    /// Lower-case hexadecimal.
    Hex,
    /// Hexadecimal in either case.
    HexAny,
    /// Capitals and digits.
    Upper,
}

impl Body {
    pub(super) const fn has(self, byte: u8) -> bool {
        let url = byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
        match self {
            Self::Alnum => byte.is_ascii_alphanumeric(),
            Self::Word => byte.is_ascii_alphanumeric() || byte == b'_',
            Self::Url => url,
            Self::Dotted => url || byte == b'.',
            Self::Padded => url || byte == b'=',
            Self::Scale => url || matches!(byte, b'.' | b'='),
            Self::Base64 => url || matches!(byte, b'.' | b'+' | b'/' | b'='),
            Self::Hex => matches!(byte, b'0'..=b'9' | b'a'..=b'f'),
            Self::HexAny => byte.is_ascii_hexdigit(),
            Self::Upper => byte.is_ascii_uppercase() || byte.is_ascii_digit(),
        }
    }
}

/// What a body must be beside long enough.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Proof {
    /// Nothing more: the prefix and the length are proof enough.
    None,
    /// Exactly as long.
    Length,
    /// With a digit in it, unless it is longer than any word.
    Digit,
    /// With a digit at its beginning.
    Number,
    /// Random: the prefix alone proves too little.
    Random,
    /// In [the parts](super::parts) that its maker gives it.
    Parts,
}

/// A prefix, what follows it, and how much of that at least.
struct Shape {
    prefix: &'static str,
    body: Body,
    min: usize,
    proof: Proof,
    rule: Rule,
}

const fn plain(prefix: &'static str, body: Body, min: usize, rule: Rule) -> Shape {
    Shape { prefix, body, min, proof: Proof::None, rule }
}

const fn exact(prefix: &'static str, body: Body, len: usize, rule: Rule) -> Shape {
    Shape { prefix, body, min: len, proof: Proof::Length, rule }
}

const fn sure(prefix: &'static str, body: Body, min: usize, rule: Rule) -> Shape {
    Shape { prefix, body, min, proof: Proof::Digit, rule }
}

const fn number(prefix: &'static str, body: Body, min: usize, rule: Rule) -> Shape {
    Shape { prefix, body, min, proof: Proof::Number, rule }
}

const fn parts(prefix: &'static str, body: Body, min: usize, rule: Rule) -> Shape {
    Shape { prefix, body, min, proof: Proof::Parts, rule }
}

const fn random(prefix: &'static str, body: Body, min: usize, rule: Rule) -> Shape {
    Shape { prefix, body, min, proof: Proof::Random, rule }
}

/// How much of a body is looked at before the token is found.
const LOOK: usize = 512;

/// Sorted by first byte; `FIRST` depends on it.
const SHAPES: &[Shape] = &[
    exact("4b1d", Body::Alnum, 38, Rule::Token),
    exact("A3T", Body::Upper, 17, Rule::Aws),
    exact("ABIA", Body::Upper, 16, Rule::Aws),
    plain("ABSK", Body::Base64, 100, Rule::Aws),
    random("ABSK", Body::Base64, 40, Rule::Aws),
    exact("ACCA", Body::Upper, 16, Rule::Aws),
    sure("AGE-SECRET-KEY-1", Body::Upper, 40, Rule::PrivateKey),
    sure("AGPA", Body::Upper, 16, Rule::Aws),
    sure("AIDA", Body::Upper, 16, Rule::Aws),
    exact("AIza", Body::Url, 35, Rule::Gcp),
    exact("AKCp", Body::Alnum, 69, Rule::Token),
    exact("AKIA", Body::Upper, 16, Rule::Aws),
    sure("AKIA", Body::Upper, 12, Rule::Aws),
    random("AKID", Body::Alnum, 28, Rule::Token),
    exact("API-", Body::Upper, 26, Rule::Token),
    plain("AQVN", Body::Url, 35, Rule::Token),
    sure("AROA", Body::Upper, 16, Rule::Aws),
    exact("ASIA", Body::Upper, 16, Rule::Aws),
    sure("ASIA", Body::Upper, 12, Rule::Aws),
    plain("ATATT3", Body::Padded, 20, Rule::Token),
    plain("ATCTT3", Body::Padded, 20, Rule::Token),
    sure("CCIPAT_", Body::Word, 20, Rule::Token),
    sure("CFPAT-", Body::Url, 20, Rule::Token),
    plain("CLOJARS_", Body::Alnum, 40, Rule::Token),
    plain("EAAA", Body::Url, 56, Rule::Token),
    random("EAAA", Body::Url, 50, Rule::Token),
    plain("EAAC", Body::Alnum, 90, Rule::Token),
    random("EAAC", Body::Alnum, 60, Rule::Token),
    random("EAAG", Body::Alnum, 60, Rule::Token),
    plain("EAAM", Body::Alnum, 90, Rule::Token),
    random("EAAM", Body::Alnum, 60, Rule::Token),
    plain("EZAK", Body::Alnum, 50, Rule::Token),
    plain("EZTK", Body::Alnum, 50, Rule::Token),
    plain("FLWPUBK_TEST-", Body::Url, 32, Rule::Token),
    plain("FLWSECK", Body::Url, 16, Rule::Token),
    sure("GOCSPX-", Body::Url, 20, Rule::Gcp),
    sure("GR1348941", Body::Url, 16, Rule::GitLab),
    plain("HRKU-", Body::Url, 36, Rule::Token),
    exact("LTAI", Body::Alnum, 20, Rule::Token),
    random("LTAI", Body::Alnum, 12, Rule::Token),
    sure("NRAA-", Body::Url, 24, Rule::NewRelic),
    sure("NRAK-", Body::Alnum, 20, Rule::NewRelic),
    sure("NRII-", Body::Url, 20, Rule::NewRelic),
    sure("NRIQ-", Body::Url, 20, Rule::NewRelic),
    sure("NRJS-", Body::Url, 16, Rule::NewRelic),
    sure("NRRA-", Body::Alnum, 20, Rule::NewRelic),
    sure("NRSP-", Body::Url, 20, Rule::NewRelic),
    sure("PMAK-", Body::Url, 24, Rule::Token),
    plain("SG.", Body::Scale, 60, Rule::Token),
    sure("SG.", Body::Dotted, 40, Rule::Token),
    exact("SK", Body::HexAny, 32, Rule::Token),
    sure("SWMTKN-1-", Body::Url, 40, Rule::Token),
    plain("ZXlK", Body::Base64, 40, Rule::Jwt),
    exact("access-development-", Body::Url, 36, Rule::Token),
    exact("access-production-", Body::Url, 36, Rule::Token),
    exact("access-sandbox-", Body::Url, 36, Rule::Token),
    exact("api_org_", Body::Alnum, 34, Rule::Token),
    sure("apify_api_", Body::Alnum, 20, Rule::Token),
    // The rest of it is as long as the session: it may be cut off right here.
    plain("bedrock-api-key-YmVkcm9jay5hbWF6b25hd3MuY29t", Body::Base64, 0, Rule::Aws),
    sure("bkua_", Body::Hex, 32, Rule::Token),
    sure("ccpat_", Body::Word, 20, Rule::Token),
    plain("clojars_", Body::Alnum, 40, Rule::Token),
    exact("cmVmd", Body::Alnum, 59, Rule::Token),
    plain("dapi", Body::Hex, 32, Rule::Token),
    sure("dckr_oat_", Body::Url, 20, Rule::Token),
    sure("dckr_pat_", Body::Url, 20, Rule::Token),
    plain("dnkey-", Body::Padded, 60, Rule::Token),
    sure("doo_v1_", Body::Hex, 32, Rule::Token),
    sure("dop_v1_", Body::Hex, 32, Rule::Token),
    sure("dor_v1_", Body::Hex, 32, Rule::Token),
    sure("dp.ct.", Body::Alnum, 30, Rule::Token),
    sure("dp.pt.", Body::Alnum, 30, Rule::Token),
    sure("dp.st.", Body::Dotted, 30, Rule::Token),
    sure("dt0c01.", Body::Dotted, 40, Rule::Token),
    sure("dt0s01.", Body::Dotted, 40, Rule::Token),
    plain("duffel_live_", Body::Padded, 30, Rule::Token),
    plain("duffel_test_", Body::Padded, 30, Rule::Token),
    plain("eyJrIjoi", Body::Base64, 60, Rule::Token),
    sure("figd_", Body::Url, 30, Rule::Token),
    plain("fio-u-", Body::Padded, 50, Rule::Token),
    plain("fm1a_", Body::Base64, 40, Rule::Token),
    plain("fm1r_", Body::Base64, 40, Rule::Token),
    plain("fm2_", Body::Base64, 40, Rule::Token),
    exact("fo1_", Body::Url, 43, Rule::Token),
    sure("ghapp_", Body::Alnum, 24, Rule::GitHub),
    sure("gho_", Body::Alnum, 24, Rule::GitHub),
    sure("ghp_", Body::Alnum, 24, Rule::GitHub),
    sure("ghr_", Body::Alnum, 24, Rule::GitHub),
    sure("ghs_", Body::Base64, 24, Rule::GitHub),
    sure("ghu_", Body::Alnum, 24, Rule::GitHub),
    sure("github_pat_", Body::Word, 24, Rule::GitHub),
    sure("glagent-", Body::Url, 20, Rule::GitLab),
    sure("glc_", Body::Base64, 32, Rule::Token),
    sure("glcbt-", Body::Url, 16, Rule::GitLab),
    sure("gldt-", Body::Url, 16, Rule::GitLab),
    plain("glffct-", Body::Url, 16, Rule::GitLab),
    plain("glft-", Body::Url, 16, Rule::GitLab),
    sure("glimt-", Body::Url, 16, Rule::GitLab),
    sure("gloas-", Body::Url, 20, Rule::GitLab),
    sure("glpat-", Body::Dotted, 16, Rule::GitLab),
    sure("glptt-", Body::Url, 16, Rule::GitLab),
    sure("glrt-", Body::Dotted, 16, Rule::GitLab),
    sure("glsa_", Body::Word, 24, Rule::Token),
    sure("glsoat-", Body::Url, 16, Rule::GitLab),
    plain("gsk_", Body::Alnum, 40, Rule::Token),
    exact("hf_", Body::Alnum, 34, Rule::Token),
    sure("hooks_", Body::Hex, 32, Rule::Token),
    sure("hvb.", Body::Url, 24, Rule::Token),
    sure("hvr.", Body::Url, 24, Rule::Token),
    sure("hvs.", Body::Url, 20, Rule::Token),
    exact("ico-", Body::Alnum, 32, Rule::Token),
    exact("key-", Body::Hex, 32, Rule::Token),
    sure("lin_api_", Body::Alnum, 30, Rule::Token),
    exact("live_", Body::HexAny, 35, Rule::Token),
    sure("live_", Body::Hex, 32, Rule::Token),
    plain("mfa.", Body::Url, 60, Rule::Token),
    sure("nfp_", Body::Alnum, 30, Rule::Token),
    sure("npm_", Body::Alnum, 30, Rule::Token),
    exact("ntn_", Body::Alnum, 46, Rule::Token),
    sure("nvapi-", Body::Url, 40, Rule::Token),
    sure("ops_eyJ", Body::Base64, 40, Rule::Token),
    random("oy2", Body::Alnum, 40, Rule::Token),
    plain("p8e-", Body::Alnum, 32, Rule::Token),
    sure("phx_", Body::Url, 30, Rule::Token),
    sure("pnu_", Body::Alnum, 30, Rule::Token),
    sure("pplx-", Body::Alnum, 40, Rule::Token),
    plain("pscale_oauth_", Body::Scale, 30, Rule::Token),
    plain("pscale_pw_", Body::Scale, 30, Rule::Token),
    plain("pscale_tkn_", Body::Scale, 30, Rule::Token),
    plain("pubkey-", Body::Hex, 32, Rule::Token),
    exact("pul-", Body::Hex, 40, Rule::Token),
    sure("pypi-AgE", Body::Url, 40, Rule::Token),
    random("r8_", Body::Alnum, 30, Rule::Token),
    sure("rdme_", Body::Alnum, 40, Rule::Token),
    random("rk_", Body::Word, 10, Rule::Stripe),
    plain("rk_live_", Body::Alnum, 10, Rule::Stripe),
    sure("rk_live_", Body::Word, 10, Rule::Stripe),
    plain("rk_prod_", Body::Alnum, 10, Rule::Stripe),
    sure("rk_prod_", Body::Word, 10, Rule::Stripe),
    plain("rk_test_", Body::Alnum, 10, Rule::Stripe),
    sure("rk_test_", Body::Word, 10, Rule::Stripe),
    random("rnd_", Body::Alnum, 28, Rule::Token),
    sure("rubygems_", Body::Hex, 40, Rule::Token),
    plain("s-s4t2af-", Body::Hex, 64, Rule::Token),
    plain("s-s4t2ud-", Body::Hex, 64, Rule::Token),
    sure("sb_secret_", Body::Url, 20, Rule::Token),
    exact("sbp_", Body::Hex, 40, Rule::Token),
    sure("secret_", Body::Alnum, 40, Rule::Token),
    parts("sgp_", Body::Word, 40, Rule::Token),
    plain("sha256~", Body::Url, 43, Rule::Token),
    plain("shippo_live_", Body::HexAny, 30, Rule::Token),
    plain("shippo_test_", Body::HexAny, 30, Rule::Token),
    plain("shpat_", Body::Alnum, 30, Rule::Token),
    sure("shpca_", Body::Alnum, 30, Rule::Token),
    sure("shppa_", Body::Alnum, 30, Rule::Token),
    sure("shpss_", Body::Alnum, 30, Rule::Token),
    random("sk-", Body::Url, 30, Rule::OpenAi),
    plain("sk-admin-", Body::Url, 60, Rule::OpenAi),
    random("sk-admin-", Body::Url, 20, Rule::OpenAi),
    random("sk-ant-", Body::Url, 20, Rule::OpenAi),
    plain("sk-ant-admin01-", Body::Url, 60, Rule::OpenAi),
    plain("sk-ant-api03-", Body::Url, 60, Rule::OpenAi),
    random("sk-or-v1-", Body::Hex, 40, Rule::Token),
    plain("sk-proj-", Body::Url, 60, Rule::OpenAi),
    random("sk-proj-", Body::Url, 20, Rule::OpenAi),
    plain("sk-svcacct-", Body::Url, 60, Rule::OpenAi),
    random("sk-svcacct-", Body::Url, 20, Rule::OpenAi),
    plain("sk_live_", Body::Alnum, 10, Rule::Stripe),
    sure("sk_live_", Body::Word, 10, Rule::Stripe),
    plain("sk_prod_", Body::Alnum, 10, Rule::Stripe),
    sure("sk_prod_", Body::Word, 10, Rule::Stripe),
    plain("sk_test_", Body::Alnum, 10, Rule::Stripe),
    sure("sk_test_", Body::Word, 10, Rule::Stripe),
    plain("sl.", Body::Padded, 100, Rule::Token),
    exact("sm_aat_", Body::Alnum, 16, Rule::Token),
    exact("sm_pat_", Body::Alnum, 16, Rule::Token),
    exact("sm_sat_", Body::Alnum, 16, Rule::Token),
    parts("sntrys_eyJpYXQiO", Body::Base64, 60, Rule::Token),
    exact("sntryu_", Body::Hex, 64, Rule::Token),
    sure("sq0atp-", Body::Url, 20, Rule::Token),
    sure("sq0csp-", Body::Url, 20, Rule::Token),
    exact("sqa_", Body::Alnum, 40, Rule::Token),
    exact("sqp_", Body::Alnum, 40, Rule::Token),
    exact("squ_", Body::Alnum, 40, Rule::Token),
    random("t1.", Body::Scale, 80, Rule::Token),
    exact("test_", Body::HexAny, 35, Rule::Token),
    plain("tfp_", Body::Scale, 40, Rule::Token),
    plain("tk-us-", Body::Url, 40, Rule::Token),
    plain("v1.0-", Body::Url, 100, Rule::Token),
    sure("vc_", Body::Alnum, 40, Rule::Token),
    sure("whsec_", Body::Base64, 20, Rule::Stripe),
    sure("xai-", Body::Alnum, 60, Rule::Token),
    plain("xapp-", Body::Url, 20, Rule::Slack),
    sure("xkeysib-", Body::Url, 60, Rule::Token),
    plain("xoxa-", Body::Url, 8, Rule::Slack),
    parts("xoxb-", Body::Url, 10, Rule::Slack),
    sure("xoxc-", Body::Url, 10, Rule::Slack),
    sure("xoxd-", Body::Base64, 10, Rule::Slack),
    sure("xoxe-", Body::Url, 30, Rule::Slack),
    sure("xoxe.xox", Body::Url, 100, Rule::Slack),
    number("xoxo-", Body::Url, 10, Rule::Slack),
    parts("xoxp-", Body::Url, 10, Rule::Slack),
    plain("xoxr-", Body::Url, 8, Rule::Slack),
    sure("xoxs-", Body::Url, 10, Rule::Slack),
    sure("ya29.", Body::Url, 20, Rule::Gcp),
];

/// For each byte, the shapes that begin with it.
static FIRST: [(u8, u8); 128] = first();

const fn first() -> [(u8, u8); 128] {
    assert!(SHAPES.len() <= u8::MAX as usize, "the index of a shape is one byte");
    let mut ranges = [(0_u8, 0_u8); 128];
    let mut nth = 0_u8;
    while (nth as usize) < SHAPES.len() {
        #[expect(clippy::indexing_slicing, reason = "evaluated by the compiler, which checks it")]
        {
            let byte = SHAPES[nth as usize].prefix.as_bytes()[0] as usize;
            if ranges[byte].1 == 0 {
                ranges[byte].0 = nth;
            }
            nth = nth.saturating_add(1);
            ranges[byte].1 = nth;
        }
    }
    ranges
}

/// For each byte, the second bytes of the shapes that begin with it: a bit for each.
static SECOND: [u128; 128] = second();

const fn second() -> [u128; 128] {
    let mut seconds = [0_u128; 128];
    let mut nth = 0_usize;
    while nth < SHAPES.len() {
        #[expect(clippy::indexing_slicing, reason = "evaluated by the compiler, which checks it")]
        {
            let prefix = SHAPES[nth].prefix.as_bytes();
            seconds[prefix[0] as usize] |= 1 << prefix[1];
        }
        nth = nth.saturating_add(1);
    }
    seconds
}

/// The token with a known prefix that begins at `start`: its end, and its rule.
#[inline]
pub(super) fn shaped(text: &[u8], start: usize) -> Option<(usize, Rule)> {
    // Most words are done here.
    let seconds = SECOND.get(usize::from(at(text, start))).copied().unwrap_or(0);
    let second = at(text, start.saturating_add(1));
    if seconds.checked_shr(u32::from(second)).is_none_or(|bits| bits & 1 == 0) {
        return None;
    }
    with_prefix(text, start)
}

#[inline(never)]
fn with_prefix(text: &[u8], start: usize) -> Option<(usize, Rule)> {
    let byte = at(text, start);
    let &(from, to) = FIRST.get(usize::from(byte))?;
    let rest = text.get(start..).unwrap_or_default();
    let second = at(text, start.saturating_add(1));
    let shapes = SHAPES.get(usize::from(from)..usize::from(to)).unwrap_or_default();
    shapes.iter().find_map(|shape| {
        if at(shape.prefix.as_bytes(), 1) != second || !rest.starts_with(shape.prefix.as_bytes()) {
            return None;
        }
        let body = start.saturating_add(shape.prefix.len());
        // What may be rejected after all must not cost its whole length at each place.
        let max = if shape.proof == Proof::Length { shape.min.saturating_add(1) } else { LOOK };
        let end = run_max(text, body, max, |byte| shape.body.has(byte));
        let long = end.saturating_sub(body);
        // A body of capitals or hexadecimal that goes on as something else is another word.
        let whole = !at(text, end).is_ascii_alphanumeric() && at(text, end) != b'_'
            || !matches!(shape.body, Body::Upper | Body::Hex | Body::HexAny) && shape.proof != Proof::Length;
        let bytes = cut(text, body, end);
        let proved = match shape.proof {
            Proof::None => true,
            // A segment of hexadecimal digits only is the hash in a file's name.
            Proof::Length => {
                long == shape.min && !(matches!(shape.body, Body::Alnum) && bytes.iter().all(u8::is_ascii_hexdigit))
            }
            Proof::Digit => long > 18 || bytes.iter().any(u8::is_ascii_digit),
            Proof::Number => at(bytes, 0).is_ascii_digit(),
            Proof::Random => is_random(bytes),
            Proof::Parts => parts::has(shape.prefix, bytes),
        };
        let proved = proved && long >= shape.min && whole && !is_filler(bytes);
        (proved && !parts::is_example(shape.rule, bytes) && !parts::is_inside_base64(text, start, end))
            .then(|| (tail(text, run(text, end, |byte| shape.body.has(byte))), shape.rule))
    })
}

/// A stand-in for a token: few different characters, `AAAABBBB…`. 32 random hexadecimal digits have six different ones or fewer
/// in about two of ten thousand million cases.
pub(super) fn is_filler(body: &[u8]) -> bool {
    let mut seen = [0_u64; 4];
    for byte in body {
        if let Some(bits) = seen.get_mut(usize::from(byte >> 6)) {
            *bits |= 1 << (byte & 63);
        }
    }
    if body.is_empty() {
        return false;
    }
    let kinds: u32 = seen.iter().map(|bits| bits.count_ones()).sum();
    usize::try_from(kinds).is_ok_and(|kinds| kinds <= 8 && kinds.saturating_mul(5) <= body.len())
}

/// Random, or with the middle that every one of `OpenAI`'s keys has.
fn is_random(body: &[u8]) -> bool {
    looks_random(body) || memchr::memmem::find(body, b"T3BlbkFJ").is_some()
}

/// The last characters of a token that its alphabet lacks: padding and checksums.
fn tail(text: &[u8], end: usize) -> usize {
    run(text, end, |byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'='))
}

/// What stands before the last byte of what [`begins`] knows.
static BEFORE: Table = table(b"SQlcyoar2sepd");

/// May a token begin in a text that has no run of [`SHORTEST_RUN`](super::token::SHORTEST_RUN) letters, digits, `_` and `-`?
#[inline(never)]
pub(super) fn may_begin(text: &[u8], scan: Scan) -> bool {
    let opens = |mark: usize| is_in(&BEFORE, before(text, mark)) && begins(cut(text, 0, mark.saturating_add(1)));
    memchr::memchr_iter(b'_', text).any(opens)
        || scan.has(kind::DASH) && memchr::memchr_iter(b'-', text).any(opens)
        // A capital stands before the tilde, too.
        || scan.has(kind::UPPER) && memchr::memchr3_iter(b'G', b'K', b'~', text).any(opens)
}

/// Whether a text ends with the beginning of a token whose body has `+`, `/`, `=`, `.` or `~` in it: up to the byte that
/// [`may_begin`] looks for.
#[inline(never)]
const fn begins(text: &[u8]) -> bool {
    matches!(
        text,
        [.., b'A', b'B', b'S', b'K']
            | [.., b'Z', b'X', b'l', b'K']
            | [.., b'S', b'G']
            | [.., b'Q', b'~']
            | [.., b'a', b'c', b'c', b'-' | b'_']
            | [.., b'd', b'n', b'k', b'e', b'y', b'-']
            | [.., b'f', b'i', b'o', b'-']
            | [.., b'x', b'o', b'x', b'a' | b'd' | b'r', b'-']
            | [.., b'd', b'u', b'f', b'f', b'e', b'l', b'_']
            | [.., b'f', b'm', b'1', b'a' | b'r', b'_']
            | [.., b'f', b'm', b'2', b'_']
            | [.., b'g', b'h', b's', b'_']
            | [.., b'g', b'l', b'c', b'_']
            | [.., b'o', b'p', b's', b'_']
            | [.., b'p', b's', b'c', b'a', b'l', b'e', b'_']
            | [.., b's', b'n', b't', b'r', b'y', b's', b'_']
            | [.., b't', b'f', b'p', b'_']
            | [.., b'w', b'h', b's', b'e', b'c', b'_']
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_beginning_of_a_token_without_a_long_run_is_looked_for() {
        let loose = "ABSK Q~ SG ZXlK acc- acc_ dnkey- duffel_ fio- fm1a_ fm1r_ fm2_ ghs_ glc_ ops_ pscale_ sntrys_ tfp_ whsec_ \
                     xoxa- xoxd- xoxr-";
        for begins in loose.split(' ') {
            for text in [begins.to_owned(), format!("x {begins}a+b"), format!("{}{begins}a+b", "x".repeat(40))] {
                assert!(may_begin(text.as_bytes(), Scan::of(text.as_bytes())), "{text}");
            }
            let other = format!("a{}", begins.get(1..).unwrap());
            assert!(other == begins || !may_begin(other.as_bytes(), Scan::of(other.as_bytes())), "{other}");
        }
    }

    #[test]
    fn shapes_are_sorted_so_that_a_byte_finds_its_own() {
        for shape in SHAPES {
            let byte = shape.prefix.as_bytes()[0];
            let (from, to) = FIRST[usize::from(byte)];
            let mine = &SHAPES[usize::from(from)..usize::from(to)];
            assert!(mine.iter().all(|other| other.prefix.as_bytes()[0] == byte), "{} is out of order", shape.prefix);
            assert!(mine.iter().any(|other| other.prefix == shape.prefix), "{} is not found", shape.prefix);
        }
    }
}
