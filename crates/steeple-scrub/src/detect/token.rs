//! Tokens that their makers gave a shape: JWTs and keys with a prefix.

use super::{Findings, add, at, before, cut, random::looks_random, run, run_back, run_max};
use crate::marker::Rule;

/// The shortest token below is that long.
const SHORTEST: usize = 16;

/// One that has dots in it (`hvs.…`) still has a run of letters, digits, `_` and `-` of that length.
pub(crate) const SHORTEST_RUN: u32 = 16;

/// The alphabet of a token's body.
#[derive(Clone, Copy)]
enum Body {
    Alnum,
    /// Letters, digits, `_`.
    Word,
    /// Letters, digits, `_`, `-`.
    Url,
    /// The same, and `.`.
    Dotted,
    /// The same, and `+`, `/`, `=`.
    Base64,
    /// Lower-case hexadecimal.
    Hex,
    /// Capitals and digits.
    Upper,
}

impl Body {
    const fn has(self, byte: u8) -> bool {
        match self {
            Self::Alnum => byte.is_ascii_alphanumeric(),
            Self::Word => byte.is_ascii_alphanumeric() || byte == b'_',
            Self::Url => byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'),
            Self::Dotted => byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.'),
            Self::Base64 => byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.' | b'+' | b'/' | b'='),
            Self::Hex => matches!(byte, b'0'..=b'9' | b'a'..=b'f'),
            Self::Upper => byte.is_ascii_uppercase() || byte.is_ascii_digit(),
        }
    }
}

/// A prefix, what follows it, and how much of that at least.
struct Shape {
    prefix: &'static str,
    body: Body,
    min: usize,
    /// The body must look random: the prefix alone says too little.
    random: bool,
    rule: Rule,
}

const fn sure(prefix: &'static str, body: Body, min: usize, rule: Rule) -> Shape {
    Shape { prefix, body, min, random: false, rule }
}

const fn random(prefix: &'static str, body: Body, min: usize, rule: Rule) -> Shape {
    Shape { prefix, body, min, random: true, rule }
}

/// Sorted by first byte; `FIRST` depends on it.
const SHAPES: &[Shape] = &[
    random("A3T", Body::Upper, 17, Rule::Aws),
    sure("ABIA", Body::Upper, 16, Rule::Aws),
    random("ABSK", Body::Base64, 40, Rule::Aws),
    sure("ACCA", Body::Upper, 16, Rule::Aws),
    sure("AGE-SECRET-KEY-1", Body::Upper, 40, Rule::PrivateKey),
    sure("AGPA", Body::Upper, 16, Rule::Aws),
    sure("AIDA", Body::Upper, 16, Rule::Aws),
    sure("AIza", Body::Url, 30, Rule::Gcp),
    sure("AKIA", Body::Upper, 12, Rule::Aws),
    random("AKID", Body::Alnum, 28, Rule::Token),
    sure("AROA", Body::Upper, 16, Rule::Aws),
    sure("ASIA", Body::Upper, 12, Rule::Aws),
    sure("ATATT3", Body::Base64, 20, Rule::Token),
    sure("ATCTT3", Body::Base64, 20, Rule::Token),
    sure("CCIPAT_", Body::Word, 20, Rule::Token),
    sure("CFPAT-", Body::Url, 20, Rule::Token),
    random("EAAA", Body::Url, 50, Rule::Token),
    random("EAAC", Body::Alnum, 60, Rule::Token),
    random("EAAG", Body::Alnum, 60, Rule::Token),
    sure("EZAK", Body::Alnum, 50, Rule::Token),
    sure("FLWSECK", Body::Url, 12, Rule::Token),
    sure("GOCSPX-", Body::Url, 20, Rule::Gcp),
    sure("GR1348941", Body::Url, 16, Rule::GitLab),
    random("LTAI", Body::Alnum, 12, Rule::Token),
    sure("NRAA-", Body::Url, 24, Rule::NewRelic),
    sure("NRAK-", Body::Alnum, 20, Rule::NewRelic),
    sure("NRII-", Body::Url, 20, Rule::NewRelic),
    sure("NRIQ-", Body::Url, 20, Rule::NewRelic),
    sure("NRJS-", Body::Url, 16, Rule::NewRelic),
    sure("NRRA-", Body::Alnum, 20, Rule::NewRelic),
    sure("NRSP-", Body::Url, 20, Rule::NewRelic),
    sure("PMAK-", Body::Url, 24, Rule::Token),
    sure("SG.", Body::Dotted, 40, Rule::Token),
    sure("SK", Body::Hex, 32, Rule::Token),
    sure("SWMTKN-1-", Body::Url, 40, Rule::Token),
    sure("apify_api_", Body::Alnum, 20, Rule::Token),
    sure("bkua_", Body::Hex, 32, Rule::Token),
    sure("ccpat_", Body::Word, 20, Rule::Token),
    sure("dapi", Body::Hex, 32, Rule::Token),
    sure("dckr_oat_", Body::Url, 20, Rule::Token),
    sure("dckr_pat_", Body::Url, 20, Rule::Token),
    sure("dop_v1_", Body::Hex, 32, Rule::Token),
    sure("doo_v1_", Body::Hex, 32, Rule::Token),
    sure("dor_v1_", Body::Hex, 32, Rule::Token),
    sure("dp.ct.", Body::Alnum, 30, Rule::Token),
    sure("dp.pt.", Body::Alnum, 30, Rule::Token),
    sure("dp.st.", Body::Dotted, 30, Rule::Token),
    sure("dt0c01.", Body::Dotted, 40, Rule::Token),
    sure("dt0s01.", Body::Dotted, 40, Rule::Token),
    sure("duffel_live_", Body::Base64, 30, Rule::Token),
    sure("figd_", Body::Url, 30, Rule::Token),
    sure("fm2_", Body::Base64, 40, Rule::Token),
    sure("ghapp_", Body::Alnum, 24, Rule::GitHub),
    sure("gho_", Body::Alnum, 24, Rule::GitHub),
    sure("ghp_", Body::Alnum, 24, Rule::GitHub),
    sure("ghr_", Body::Alnum, 24, Rule::GitHub),
    sure("ghs_", Body::Base64, 24, Rule::GitHub),
    sure("ghu_", Body::Alnum, 24, Rule::GitHub),
    sure("github_pat_", Body::Word, 24, Rule::GitHub),
    sure("glagent-", Body::Url, 20, Rule::GitLab),
    sure("glcbt-", Body::Url, 16, Rule::GitLab),
    sure("gldt-", Body::Url, 16, Rule::GitLab),
    sure("glft-", Body::Url, 16, Rule::GitLab),
    sure("glimt-", Body::Url, 16, Rule::GitLab),
    sure("gloas-", Body::Url, 20, Rule::GitLab),
    sure("glpat-", Body::Dotted, 16, Rule::GitLab),
    sure("glptt-", Body::Url, 16, Rule::GitLab),
    sure("glrt-", Body::Dotted, 16, Rule::GitLab),
    sure("glsoat-", Body::Url, 16, Rule::GitLab),
    sure("glc_", Body::Base64, 32, Rule::Token),
    sure("glsa_", Body::Word, 24, Rule::Token),
    sure("gsk_", Body::Alnum, 40, Rule::Token),
    sure("hf_", Body::Alnum, 30, Rule::Token),
    sure("hooks_", Body::Hex, 32, Rule::Token),
    sure("hvb.", Body::Url, 24, Rule::Token),
    sure("hvr.", Body::Url, 24, Rule::Token),
    sure("hvs.", Body::Url, 20, Rule::Token),
    random("key-", Body::Hex, 32, Rule::Token),
    sure("lin_api_", Body::Alnum, 30, Rule::Token),
    sure("live_", Body::Hex, 32, Rule::Token),
    sure("nfp_", Body::Alnum, 30, Rule::Token),
    sure("npm_", Body::Alnum, 30, Rule::Token),
    sure("ntn_", Body::Alnum, 40, Rule::Token),
    sure("nvapi-", Body::Url, 40, Rule::Token),
    sure("ops_eyJ", Body::Base64, 40, Rule::Token),
    random("oy2", Body::Alnum, 40, Rule::Token),
    random("pat", Body::Dotted, 70, Rule::Token),
    sure("phx_", Body::Url, 30, Rule::Token),
    sure("pnu_", Body::Alnum, 30, Rule::Token),
    sure("pplx-", Body::Alnum, 40, Rule::Token),
    sure("pscale_oauth_", Body::Dotted, 30, Rule::Token),
    sure("pscale_pw_", Body::Dotted, 30, Rule::Token),
    sure("pscale_tkn_", Body::Dotted, 30, Rule::Token),
    sure("pul-", Body::Hex, 40, Rule::Token),
    sure("pypi-AgE", Body::Url, 40, Rule::Token),
    random("r8_", Body::Alnum, 30, Rule::Token),
    sure("rdme_", Body::Alnum, 40, Rule::Token),
    random("rk_", Body::Word, 10, Rule::Stripe),
    sure("rk_live_", Body::Word, 10, Rule::Stripe),
    sure("rk_prod_", Body::Word, 10, Rule::Stripe),
    sure("rk_test_", Body::Word, 10, Rule::Stripe),
    random("rnd_", Body::Alnum, 28, Rule::Token),
    sure("rubygems_", Body::Hex, 40, Rule::Token),
    random("s.", Body::Alnum, 24, Rule::Token),
    sure("sb_secret_", Body::Url, 20, Rule::Token),
    sure("sbp_", Body::Hex, 40, Rule::Token),
    sure("secret_", Body::Alnum, 40, Rule::Token),
    sure("sgp_", Body::Word, 40, Rule::Token),
    sure("shippo_live_", Body::Hex, 30, Rule::Token),
    sure("shpat_", Body::Alnum, 30, Rule::Token),
    sure("shpca_", Body::Alnum, 30, Rule::Token),
    sure("shppa_", Body::Alnum, 30, Rule::Token),
    sure("shpss_", Body::Alnum, 30, Rule::Token),
    random("sk-", Body::Url, 30, Rule::OpenAi),
    random("sk-admin-", Body::Url, 20, Rule::OpenAi),
    random("sk-ant-", Body::Url, 20, Rule::OpenAi),
    random("sk-or-v1-", Body::Hex, 40, Rule::Token),
    random("sk-proj-", Body::Url, 20, Rule::OpenAi),
    random("sk-svcacct-", Body::Url, 20, Rule::OpenAi),
    sure("sk_live_", Body::Word, 10, Rule::Stripe),
    sure("sk_prod_", Body::Word, 10, Rule::Stripe),
    sure("sk_test_", Body::Word, 10, Rule::Stripe),
    sure("sntrys_", Body::Base64, 20, Rule::Token),
    sure("sntryu_", Body::Hex, 30, Rule::Token),
    sure("sq0atp-", Body::Url, 20, Rule::Token),
    sure("sq0csp-", Body::Url, 20, Rule::Token),
    sure("tfp_", Body::Alnum, 40, Rule::Token),
    sure("vc_", Body::Alnum, 40, Rule::Token),
    random("v1.0-", Body::Url, 100, Rule::Token),
    sure("whsec_", Body::Base64, 20, Rule::Stripe),
    sure("xai-", Body::Alnum, 60, Rule::Token),
    sure("xapp-", Body::Url, 20, Rule::Slack),
    sure("xkeysib-", Body::Url, 60, Rule::Token),
    sure("xoxa-", Body::Url, 10, Rule::Slack),
    sure("xoxb-", Body::Url, 10, Rule::Slack),
    sure("xoxc-", Body::Url, 10, Rule::Slack),
    sure("xoxd-", Body::Base64, 10, Rule::Slack),
    sure("xoxe-", Body::Url, 10, Rule::Slack),
    sure("xoxe.xox", Body::Url, 10, Rule::Slack),
    sure("xoxo-", Body::Url, 10, Rule::Slack),
    sure("xoxp-", Body::Url, 10, Rule::Slack),
    sure("xoxr-", Body::Url, 10, Rule::Slack),
    sure("xoxs-", Body::Url, 10, Rule::Slack),
    sure("ya29.", Body::Url, 20, Rule::Gcp),
];

/// For each byte, the shapes that begin with it.
static FIRST: [(u8, u8); 128] = first();

const fn first() -> [(u8, u8); 128] {
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

pub(crate) fn find(text: &[u8], findings: &mut Findings) {
    let mut from = 0;
    while from < text.len() {
        // Runs of letters, digits, `_` and `-` with `.` and the like inside: what is shorter than the shortest token is passed.
        let start = run(text, from, |byte| !byte.is_ascii_alphanumeric());
        let end = run(text, start, is_part);
        if end.saturating_sub(start) < SHORTEST {
            from = end.max(start.saturating_add(1));
            continue;
        }
        from = part(text, start, end, findings);
    }
}

const fn is_part(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.' | b'~' | b':')
}

/// Looks at each place in `start..end` where a token can begin; goes on after it.
fn part(text: &[u8], start: usize, end: usize, findings: &mut Findings) -> usize {
    let mut here = start;
    while here < end {
        if before(text, here).is_ascii_alphanumeric() && here > start {
            here = run(text, here, |byte| byte.is_ascii_alphanumeric()).max(here.saturating_add(1));
            continue;
        }
        let found = jwt(text, here)
            .map(|end| (here, end, Rule::Jwt))
            .or_else(|| shaped(text, here))
            .or_else(|| odd(text, here));
        if let Some((from, to, rule)) = found {
            add(findings, from, to, rule);
            here = to.max(here.saturating_add(1));
        } else {
            here = here.saturating_add(1);
        }
    }
    here.max(end)
}

fn shaped(text: &[u8], start: usize) -> Option<(usize, usize, Rule)> {
    let byte = at(text, start);
    let &(from, to) = FIRST.get(usize::from(byte))?;
    let rest = text.get(start..).unwrap_or_default();
    let shapes = SHAPES.get(usize::from(from)..usize::from(to)).unwrap_or_default();
    shapes.iter().find_map(|shape| {
        if !rest.starts_with(shape.prefix.as_bytes()) {
            return None;
        }
        let body = start.saturating_add(shape.prefix.len());
        let max = if shape.random { 512 } else { usize::MAX };
        let end = run_max(text, body, max, |byte| shape.body.has(byte));
        let long = end.saturating_sub(body) >= shape.min;
        // A body of capitals or hexadecimal that goes on as something else is not one.
        let whole = !at(text, end).is_ascii_alphanumeric() && at(text, end) != b'_'
            || !matches!(shape.body, Body::Upper | Body::Hex);
        let digit = || cut(text, body, end).iter().any(u8::is_ascii_digit);
        (long
            && whole
            && if shape.random { looks_random(cut(text, body, end)) } else { digit() || end.saturating_sub(body) > 18 })
        .then(|| (start, tail(text, run(text, end, |byte| shape.body.has(byte))), shape.rule))
    })
}

/// A token's last characters go with it: padding, and what its alphabet left out.
fn tail(text: &[u8], end: usize) -> usize {
    run(text, end, |byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'='))
}

/// `header.payload.signature`, also unsigned, encrypted, or cut off.
fn jwt(text: &[u8], start: usize) -> Option<usize> {
    if !text.get(start..).unwrap_or_default().starts_with(b"ey") {
        return None;
    }
    let url = |byte: u8| Body::Url.has(byte);
    let header = run_max(text, start, 256, url);
    let len = header.saturating_sub(start);
    if len < 12 {
        return None;
    }
    let dot = at(text, header) == b'.';
    let payload = header.saturating_add(1);
    let payload_end = run_max(text, payload, 16, url);
    let json = dot && at(text, payload) == b'e' && at(text, payload.saturating_add(1)) == b'y';
    if !(json && payload_end.saturating_sub(payload) >= 4) {
        // One part alone may be anyone's JSON; a JWT's header names its algorithm.
        let head = super::scheme::base64(cut(text, start, header), 256);
        let names = [&b"\"alg\""[..], b"\"enc\"", b"\"typ\"", b"\"kid\""];
        if !names.iter().any(|name| memchr::memmem::find(&head, name).is_some()) {
            return None;
        }
    }
    // The dot that ends a sentence stays; the one of an empty signature goes.
    let end = run(text, header, |byte| Body::Dotted.has(byte) || byte == b'=');
    let sentence = before(text, end) == b'.' && memchr::memchr_iter(b'.', cut(text, header, end)).count() != 2;
    Some(if sentence { end.saturating_sub(1) } else { end })
}

/// Shapes without a prefix.
fn odd(text: &[u8], start: usize) -> Option<(usize, usize, Rule)> {
    let end = run(text, start, |byte| byte.is_ascii_alphanumeric());
    let len = end.saturating_sub(start);
    let word = cut(text, start, end);
    // New Relic licence keys.
    if len == 40 && word.ends_with(b"NRAL") {
        return Some((start, end, Rule::NewRelic));
    }
    // Telegram bots: `123456789:AA…`.
    if (8..=10).contains(&len) && at(text, end) == b':' && word.iter().all(u8::is_ascii_digit) {
        let body = end.saturating_add(1);
        let to = run_max(text, body, 40, |byte| Body::Url.has(byte));
        if to.saturating_sub(body) == 35 && looks_random(cut(text, body, to)) {
            return Some((start, to, Rule::Token));
        }
    }
    // Mailchimp: `…-us6`.
    if len == 32
        && text.get(end..).unwrap_or_default().starts_with(b"-us")
        && at(text, end.saturating_add(3)).is_ascii_digit()
    {
        let to = run(text, end.saturating_add(3), |byte| byte.is_ascii_digit());
        return Some((start, to, Rule::Token));
    }
    // HashiCorp: `….atlasv1.…`.
    if len == 14 && text.get(end..).unwrap_or_default().starts_with(b".atlasv1.") {
        let to = run(text, end, |byte| Body::Dotted.has(byte));
        return Some((start, to, Rule::Token));
    }
    // Discord bots: 24 to 28, 6, and at least 27 characters; the first begins with M, N or O.
    let id = if matches!(at(text, start), b'M' | b'N' | b'O') {
        run_max(text, start, 32, |byte| Body::Url.has(byte))
    } else {
        start
    };
    if (23..=28).contains(&id.saturating_sub(start)) && at(text, id) == b'.' {
        let time = id.saturating_add(1);
        let time_end = run_max(text, time, 16, |byte| Body::Url.has(byte));
        let mac = time_end.saturating_add(1);
        let mac_end = run_max(text, mac, 80, |byte| Body::Url.has(byte));
        if time_end.saturating_sub(time) == 6 && at(text, time_end) == b'.' && mac_end.saturating_sub(mac) >= 27 {
            return Some((start, mac_end, Rule::Token));
        }
    }
    // Azure client secrets: three characters, a digit, `Q~`, and 31 to 34 more.
    if at(text, end) == b'~' && word.ends_with(b"Q") && len >= 2 {
        let from = run_back(text, end, 5, |byte| Body::Dotted.has(byte) || byte == b'~');
        let to = run_max(text, end, 48, |byte| Body::Dotted.has(byte) || byte == b'~');
        if at(text, end.saturating_sub(2)).is_ascii_digit()
            && (31..=40).contains(&to.saturating_sub(end.saturating_add(1)))
        {
            return Some((from.min(start), to, Rule::Token));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

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
