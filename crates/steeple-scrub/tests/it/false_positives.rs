//! The false positives that gitleaks lists for its rules stay, unless the name before them marks them as secrets.
//!
//! `tests/data/gitleaks-false-positives.tsv`: the rule, `bare` or `named` (its value stands under a denied name), and the text
//! with `\n`, `\t` and `\\` escaped. Left out: what another rule of the same file finds. From gitleaks at b58d3f10, under the
//! licence beside it.

use std::collections::BTreeMap;

use steeple_scrub::{EmailPolicy, Scrubber};

use crate::draw::Draw;

const LIST: &str = include_str!("../data/gitleaks-false-positives.tsv");

#[test]
fn false_positives_of_gitleaks_stay_unless_their_name_is_denied() {
    // An e-mail address is not a secret; another policy handles it.
    let scrubber = Scrubber::builder().email(EmailPolicy::Keep).build().unwrap();
    let mut table: BTreeMap<&str, [usize; 4]> = BTreeMap::new();
    let mut changed = Vec::new();
    for line in LIST.lines() {
        let mut fields = line.splitn(3, '\t');
        let (rule, kind, text) = (fields.next().unwrap(), fields.next().unwrap(), unescaped(fields.next().unwrap()));
        let seen = scrubber.text(&text);
        let row = table.entry(rule).or_default();
        let column = usize::from(kind == "named") * 2;
        row[column] += 1;
        if !seen.is_clean() {
            row[column + 1] += 1;
            if kind == "bare" {
                changed.push(format!("{rule}: {text:?} -> {seen:?}"));
            }
        }
    }
    println!("{:<44}{:>6}{:>9}{:>7}{:>9}", "rule", "bare", "changed", "named", "changed");
    for (rule, row) in &table {
        println!("{rule:<44}{:>6}{:>9}{:>7}{:>9}", row[0], row[1], row[2], row[3]);
    }
    let bare: usize = table.values().map(|row| row[0]).sum();
    println!("{} of {bare} changed", changed.len());
    assert!(bare >= 270, "{bare} are not the list");
    assert!(changed.len() * 100 <= bare, "{changed:#?}");
}

/// The list's escapes.
fn unescaped(text: &str) -> String {
    let mut out = String::new();
    let mut chars = text.chars();
    while let Some(char) = chars.next() {
        out.push(match (char, char == '\\') {
            (_, true) => match chars.next().unwrap() {
                'n' => '\n',
                't' => '\t',
                'r' => '\r',
                other => other,
            },
            (char, false) => char,
        });
    }
    out
}

#[test]
fn examples_from_manuals_stay_and_values_of_the_same_form_go() {
    let scrubber = Scrubber::default();
    let mut draw = Draw::new(7);
    for (example, form) in [
        ("AKIAIOSFODNN7EXAMPLE", "AKIA{base32 16}"),
        ("AIzaSyabcdefghijklmnopqrstuvwxyz1234567", "AIza{url 35}"),
        ("sk-ant-api03-abc123xyz-456de-klMnopqrstuvwx-3456yza789bcde-1234fghijklmnopAA", "sk-ant-api03-{url 93}AA"),
        ("xoxb-12345-abcd234", "xoxb-{digit 10-13}-{digit 10-13}-{alnum 24}"),
        ("sgp_78Ad84a5B6e8A2fE5B_4085FB0ccaDDd29DB66Fd7FE9bA2C1cdCE8400CD", "sgp_{hexany 16}_{hexany 40}"),
        ("sntryu_611189a84ecd93b4a65454833973a3637cd1443f763f2e1058638c12fda9ddf", "sntryu_{hex 64}"),
        ("x9+EZAKGqQRiRyqAFRQshGPWOIAwNWGORfKHSBnVNFtVmWYoW6PH23lkqbbDWep95C/3VmW", "EZAK{alnum 54}"),
        ("-----BEGIN PRIVATE KEY-----\nanything\n-----END PRIVATE KEY-----", "AGE-SECRET-KEY-1{bech32 58}"),
        ("curl -u username:token https://x.example", "curl -u ann:{alnum 12} https://x.example"),
    ] {
        assert_eq!(scrubber.text(example), example);
        for _ in 0..100 {
            let value = draw.value(form);
            assert!(!scrubber.text(&value).is_clean(), "{value}");
        }
    }
}

#[test]
fn public_keys_hashes_of_keys_and_versions_stay() {
    let scrubber = Scrubber::default();
    for text in [
        "public_key = \"9Cnzj4p4WGeKLs1Pt8QuKUpRKfFLfRYC9AIKjbJTWit\"",
        "foreignKey=iMXOytURdVaN6_9o2uJWiRllb.wv.m",
        "issuerKeyHash=5LTAzPxXkGdXJki761WLv2YUW94cnK",
        "\"bucket_key\": \"SalesResults-1.2\"",
    ] {
        assert_eq!(scrubber.text(text), text);
    }
    for text in
        ["key = adf4b1dbRdW3rOcB7xLthrM4BTBGK1qPLkHigpN1bXD6z", "license_key = 9Cnzj4p4WGeKLs1Pt8QuKUpRKfFLfRYC9A"]
    {
        assert!(!scrubber.text(text).is_clean(), "{text}");
    }
}
