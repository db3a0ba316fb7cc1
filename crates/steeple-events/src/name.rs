//! The rules that event names follow, checked when the program is compiled.
//!
//! # Source
//! - GA4: Measurement Protocol reference, "Reserved names", and "Send Measurement Protocol events", "Limitations": 40
//!   characters, a letter first, then letters, digits and `_`.
//! - New Relic: "Data requirements and limits for custom event data": letters, digits, `_`, `:` and spaces, at most 255.
//! - Mixpanel: "Reserved properties": names that begin with `$` or `mp_` belong to Mixpanel; at most 255 bytes.

/// Names that GA4 keeps for itself.
const GA4_RESERVED: [&str; 36] = [
    "ad_activeview",
    "ad_click",
    "ad_exposure",
    "ad_impression",
    "ad_query",
    "ad_reward",
    "adunit_exposure",
    "app_clear_data",
    "app_exception",
    "app_install",
    "app_remove",
    "app_store_refund",
    "app_update",
    "app_upgrade",
    "dynamic_link_app_open",
    "dynamic_link_app_update",
    "dynamic_link_first_open",
    "error",
    "firebase_campaign",
    "firebase_in_app_message_action",
    "firebase_in_app_message_dismiss",
    "firebase_in_app_message_impression",
    "first_open",
    "first_visit",
    "in_app_purchase",
    "notification_dismiss",
    "notification_foreground",
    "notification_open",
    "notification_receive",
    "notification_send",
    "os_update",
    "screen_view",
    "session_start",
    "session_start_with_rollout",
    "user_engagement",
    "user_engagement_with_rollout",
];

/// Prefixes that GA4 keeps for itself.
const GA4_PREFIXES: [&str; 5] = ["_", "firebase_", "ga_", "google_", "gtag."];

/// Event types that New Relic keeps for itself: `Metric` and what begins with it, and `Public_`.
const NEW_RELIC_PREFIXES: [&str; 2] = ["Metric", "Public_"];

/// The longest name of an event in Steeple, in bytes. GA4 has the lowest limit of all sinks.
pub const MAX_NAME: usize = 40;

/// Whether this is an event's name in Steeple: `sign_up`. A lower-case letter, then lower-case letters, digits and `_`,
/// at most [`MAX_NAME`] in all.
pub const fn is_name(name: &str) -> bool {
    let bytes = name.as_bytes();
    if bytes.is_empty() || bytes.len() > MAX_NAME || !at(bytes, 0).is_ascii_lowercase() {
        return false;
    }
    let mut place = 0;
    while place < bytes.len() {
        let byte = at(bytes, place);
        if !(byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_') {
            return false;
        }
        place = place.saturating_add(1);
    }
    true
}

/// Whether GA4 takes this as an event's name.
pub const fn is_ga4(name: &str) -> bool {
    let bytes = name.as_bytes();
    if bytes.is_empty() || bytes.len() > 40 || !at(bytes, 0).is_ascii_alphabetic() {
        return false;
    }
    let mut place = 0;
    while place < bytes.len() {
        let byte = at(bytes, place);
        if !(byte.is_ascii_alphanumeric() || byte == b'_') {
            return false;
        }
        place = place.saturating_add(1);
    }
    !(is_one_of(bytes, &GA4_RESERVED) || begins_with_one_of(bytes, &GA4_PREFIXES))
}

/// Whether New Relic takes this as an event type.
pub const fn is_new_relic(name: &str) -> bool {
    let bytes = name.as_bytes();
    if bytes.is_empty() || bytes.len() > 255 {
        return false;
    }
    let mut place = 0;
    while place < bytes.len() {
        let byte = at(bytes, place);
        if !(byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b':' | b' ')) {
            return false;
        }
        place = place.saturating_add(1);
    }
    !begins_with_one_of(bytes, &NEW_RELIC_PREFIXES)
}

/// Whether Mixpanel takes this as an event's name.
pub const fn is_mixpanel(name: &str) -> bool {
    let bytes = name.as_bytes();
    !bytes.is_empty() && bytes.len() <= 255 && !begins_with_one_of(bytes, &["$", "mp_"])
}

/// Fails to compile where a name is not valid. [`event!`](crate::event) calls it in a constant.
///
/// # Panics
/// When a name is not valid, which at compile time is an error with the rules for names.
#[track_caller]
pub const fn check(name: &str, new_relic: &str, ga4: &str, mixpanel: &str) {
    assert!(is_name(name), "an event's name has 1 to 40 characters: a lower-case letter, then a-z, 0-9 and _");
    assert!(
        is_new_relic(new_relic),
        "a New Relic event type has letters, digits, _, : and spaces, and is not reserved"
    );
    assert!(is_ga4(ga4), "a GA4 event name has a letter, then letters, digits and _, at most 40, and is not reserved");
    assert!(is_mixpanel(mixpanel), "a Mixpanel event name has 1 to 255 bytes and does not begin with $ or mp_");
}

/// A byte; 0 behind the end, which no rule allows.
const fn at(bytes: &[u8], place: usize) -> u8 {
    if let Some((_, rest)) = bytes.split_at_checked(place)
        && let Some(byte) = rest.first()
    {
        *byte
    } else {
        0
    }
}

const fn is_one_of(bytes: &[u8], names: &[&str]) -> bool {
    let mut names = names;
    while let Some((name, rest)) = names.split_first() {
        if name.len() == bytes.len() && begins_with(bytes, name.as_bytes()) {
            return true;
        }
        names = rest;
    }
    false
}

const fn begins_with_one_of(bytes: &[u8], prefixes: &[&str]) -> bool {
    let mut prefixes = prefixes;
    while let Some((prefix, rest)) = prefixes.split_first() {
        if begins_with(bytes, prefix.as_bytes()) {
            return true;
        }
        prefixes = rest;
    }
    false
}

const fn begins_with(bytes: &[u8], prefix: &[u8]) -> bool {
    let mut place = 0;
    while place < prefix.len() {
        if place >= bytes.len() || at(bytes, place) != at(prefix, place) {
            return false;
        }
        place = place.saturating_add(1);
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_lower_case_words_of_at_most_40_characters() {
        let longest = "a".repeat(MAX_NAME);
        for good in ["sign_up", "a", "a1_", &longest] {
            assert!(is_name(good), "{good}");
        }
        for bad in ["", "Sign_up", "1a", "_a", "a-b", "a b", "grüße", &"a".repeat(MAX_NAME + 1)] {
            assert!(!is_name(bad), "{bad}");
        }
    }

    #[test]
    fn ga4_keeps_names_and_prefixes_for_itself() {
        for good in ["sign_up", "Purchase", "api_error"] {
            assert!(is_ga4(good), "{good}");
        }
        for bad in GA4_RESERVED.into_iter().chain(["_a", "ga_x", "google_x", "firebase_x", "1a", "a.b", ""]) {
            assert!(!is_ga4(bad), "{bad}");
        }
    }

    #[test]
    fn new_relic_and_mixpanel_take_words_and_keep_theirs() {
        assert!(is_new_relic("UserRegistration") && is_new_relic("my:Event 1"));
        assert!(
            !is_new_relic("Metric") && !is_new_relic("MetricRaw") && !is_new_relic("Public_x") && !is_new_relic("a.b")
        );
        assert!(is_mixpanel("User Journey Step") && is_mixpanel("Grüße"));
        assert!(!is_mixpanel("$identify") && !is_mixpanel("mp_x") && !is_mixpanel(""));
    }
}
