//! What sinks see of a user and of an address.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::HashSet;

use steeple_user::{BuildError, Privacy, PrivacyPolicy, PseudonymKey, Treatment, User};

fn key(id: &str, first: u8) -> PseudonymKey {
    let secret: Vec<u8> = (first..).take(32).collect();
    PseudonymKey::new(id, &secret).unwrap()
}

fn all(treatment: Treatment, key: PseudonymKey) -> PrivacyPolicy {
    PrivacyPolicy::builder().id(treatment).email(treatment).name(treatment).address(treatment).key(key).build().unwrap()
}

fn ann() -> User {
    User::new("u-4711-ann").with_email("Ann@Example.org").with_name("Ann Smith")
}

fn seen(policy: &PrivacyPolicy, user: &User) -> [Option<String>; 3] {
    let seen = policy.user(user).unwrap_or_default();
    [seen.id(), seen.email(), seen.name()].map(|part| part.map(str::to_owned))
}

fn address(policy: &PrivacyPolicy, text: &str) -> Option<String> {
    policy.address(text.parse().unwrap()).map(|seen| seen.to_string())
}

#[test]
fn by_default_the_id_is_kept_and_the_address_cut() {
    let policy = PrivacyPolicy::default();
    assert_eq!(seen(&policy, &ann()), [Some("u-4711-ann".to_owned()), None, None]);
    assert_eq!(address(&policy, "203.0.113.77").unwrap(), "203.0.113.0");
    assert_eq!(address(&policy, "2001:db8:1:2::3").unwrap(), "2001:db8:1::");
    assert_eq!(policy.user(&User::anonymous().with_email("a@b.c")), None, "nothing is left");
}

#[test]
fn each_part_is_kept_dropped_or_truncated() {
    let keep = all(Treatment::Keep, key("k1", 0));
    assert_eq!(seen(&keep, &ann()), ["u-4711-ann", "Ann@Example.org", "Ann Smith"].map(|text| Some(text.to_owned())));
    assert_eq!(address(&keep, "::ffff:203.0.113.77").unwrap(), "203.0.113.77");

    let drop = all(Treatment::Drop, key("k1", 0));
    assert_eq!((drop.user(&ann()), address(&drop, "203.0.113.77")), (None, None));

    let truncate = all(Treatment::Truncate, key("k1", 0));
    assert_eq!(seen(&truncate, &ann()), ["u-47", "example.org", "A."].map(|text| Some(text.to_owned())));
    assert_eq!(
        seen(&truncate, &User::new("abc").with_email("no address").with_name("  ")),
        [Some("a".to_owned()), None, None]
    );
    assert_eq!(truncate.user(&User::new("7").with_email("ann@")), None, "one character is all of it");
}

/// Computed with Python's `hmac` and `hashlib`.
#[test]
fn a_pseudonym_is_hmac_sha_256_with_the_fields_name_in_front() {
    let policy = all(Treatment::Pseudonymize, key("k1", 0));
    assert_eq!(
        seen(&policy, &ann()),
        [
            Some("k1_08060ba6cf7c49f7a9dc5319c2638626".to_owned()),
            Some("k1_3b6f155b65fc9707a6aa03dcea89eeb1".to_owned()),
            Some("k1_9e6af4d53a48a83e24325bef5293fc70".to_owned()),
        ]
    );
    assert_eq!(address(&policy, "203.0.113.77").unwrap(), "k1_75a3150059192a4df1b7c06b9db42a46");
}

#[test]
fn the_same_person_is_the_same_pseudonym_however_it_is_written() {
    let policy = all(Treatment::Pseudonymize, key("k1", 0));
    let email = |text: &str| seen(&policy, &User::anonymous().with_email(text))[1].clone();
    assert_eq!(email(" ANN@example.ORG\t"), email("ann@example.org"));
    assert_ne!(email("ann@example.org"), email("ann@example.com"));
    assert_eq!(address(&policy, "::ffff:203.0.113.77"), address(&policy, "203.0.113.77"));
}

#[test]
fn each_field_and_key_has_its_own_pseudonyms() {
    let text = "203.0.113.77";
    let pseudonyms: Vec<String> = [key("k1", 0), key("k1", 1)]
        .into_iter()
        .flat_map(|key| {
            let policy = all(Treatment::Pseudonymize, key);
            let user = User::new(text).with_email(text).with_name(text);
            seen(&policy, &user).into_iter().chain([address(&policy, text)]).flatten().collect::<Vec<_>>()
        })
        .collect();
    assert_eq!(pseudonyms.len(), 8);
    assert_eq!(pseudonyms.iter().collect::<HashSet<_>>().len(), 8, "{pseudonyms:?}");
    assert!(pseudonyms.iter().all(|pseudonym| pseudonym.len() == "k1_".len() + 32 && !pseudonym.contains(text)));
    let newer = all(Treatment::Pseudonymize, key("2026b", 0));
    assert!(address(&newer, text).unwrap().starts_with("2026b_"));
}

#[test]
fn a_weak_key_or_none_is_an_error() {
    #[track_caller]
    fn check<T: std::fmt::Debug>(result: Result<T, BuildError>, says: &str) {
        let error = result.unwrap_err();
        assert!(error.is_key() && !error.is_proxies() && error.to_string().contains(says), "{error}");
    }
    check(PseudonymKey::new("k1", b"only a password"), "has 15 bytes: expected at least 32");
    check(PseudonymKey::new("k1", &[0; 64]), "repeats one byte");
    for id in ["", "k_1", "k 1", "a-very-long-name", "ü", "12345678901234567"] {
        check(PseudonymKey::new(id, &(0..32).collect::<Vec<_>>()), "cannot name a key");
    }
    check(
        PrivacyPolicy::builder().name(Treatment::Pseudonymize).build(),
        "user's name is pseudonymized, which needs a key",
    );
}

#[test]
fn no_debug_output_holds_the_secret() {
    let secret = b"correct horse battery staple, twice over";
    let key = PseudonymKey::new("k1", secret).unwrap();
    let policy = PrivacyPolicy::builder().id(Treatment::Pseudonymize).key(key.clone()).build().unwrap();
    for shown in [format!("{key:?}"), format!("{policy:#?}")] {
        assert!(shown.contains("[redacted]") && !shown.contains("horse"), "{shown}");
    }
    assert_eq!(format!("{key:?}"), "PseudonymKey(\"k1\", [redacted])");
}
