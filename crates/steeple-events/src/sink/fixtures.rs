//! Our requests, beside those of the vendors' own clients: equal as JSON, field by field, but for the listed fields.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::test_support::{outgoing, outgoing_of_visitor, person};
use crate::Service;

fn theirs(name: &str) -> Value {
    let all: Value = serde_json::from_str(include_str!("../../tests/data/reference-clients.json")).unwrap();
    all[name]["body"].clone()
}

/// Paths of all values that hold no others: `properties.time`.
fn leaves(value: &Value, path: &str, out: &mut Map<String, Value>) {
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                leaves(value, &format!("{path}/{key}"), out);
            }
        }
        Value::Array(items) => {
            for (place, value) in items.iter().enumerate() {
                leaves(value, &format!("{path}/{place}"), out);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            out.insert(path.to_owned(), value.clone());
        }
    }
}

/// `deviations`: each path, and why it differs.
#[track_caller]
fn check(ours: &Value, name: &str, deviations: &[(&str, &str)]) {
    let (mut our_leaves, mut their_leaves) = (Map::new(), Map::new());
    leaves(ours, "", &mut our_leaves);
    leaves(&theirs(name), "", &mut their_leaves);
    let paths: BTreeSet<_> = our_leaves.keys().chain(their_leaves.keys()).cloned().collect();
    let differing: Vec<_> =
        paths.iter().map(String::as_str).filter(|path| our_leaves.get(*path) != their_leaves.get(*path)).collect();
    let listed: Vec<_> = deviations.iter().map(|(path, _why)| *path).collect();
    assert_eq!(differing, listed, "{name}: {ours:#} {:#}", theirs(name));
}

#[test]
#[cfg(feature = "mixpanel")]
fn mixpanel_events_are_those_of_its_python_client() {
    let event = outgoing("page view", &json!({"path": "/a"}), Some("u1"));
    let ours = super::mixpanel::document(&event, &Service::default(), None);
    check(
        &ours,
        "mixpanel_import",
        &[
            ("/properties/$insert_id", "made per event"),
            ("/properties/$lib_version", "their client's"),
            ("/properties/$user_id", "simplified id merge: who logged in"),
            ("/properties/ip", "their client says it in the query (`ip=0`): no place is looked up for the server"),
            ("/properties/mp_lib", "their client's"),
            ("/properties/time", "milliseconds; theirs has seconds, Mixpanel takes both"),
            ("/properties/token", "in the header: /import authenticates by it"),
        ],
    );
}

#[test]
#[cfg(feature = "mixpanel")]
fn mixpanel_events_for_track_are_those_of_its_python_client() {
    let event = outgoing("page view", &json!({"path": "/a"}), Some("u1"));
    let ours = super::mixpanel::document(&event, &Service::default(), Some("TOKEN"));
    check(
        &ours,
        "mixpanel_track",
        &[
            ("/properties/$insert_id", "made per event"),
            ("/properties/$lib_version", "their client's"),
            ("/properties/$user_id", "simplified id merge: who logged in"),
            ("/properties/ip", "their client says it in the query (`ip=0`): no place is looked up for the server"),
            ("/properties/mp_lib", "their client's"),
            ("/properties/time", "milliseconds; theirs has seconds, Mixpanel takes both"),
        ],
    );
}

#[test]
#[cfg(feature = "mixpanel")]
fn mixpanel_batches_are_arrays_as_its_node_client_writes_them() {
    let ours: Vec<_> = ["a", "b"]
        .map(|name| super::mixpanel::document(&outgoing(name, &json!({}), Some("u1")), &Service::default(), None))
        .into();
    let of = |place: usize| {
        ["$insert_id", "$user_id", "ip", "time", "token"].map(|key| format!("/{place}/properties/{key}"))
    };
    let paths: Vec<_> = of(0).into_iter().chain(of(1)).collect();
    let deviations: Vec<_> = paths.iter().map(|path| (path.as_str(), "as above")).collect();
    check(&ours.into(), "mixpanel_import_batch", &deviations);
}

#[test]
#[cfg(feature = "mixpanel")]
fn mixpanel_profiles_are_those_of_its_python_client() {
    let change = person("u1", &json!({"plan": "pro", "$email": "bob@example.com"}));
    let ours = super::people::change(&change, "TOKEN").unwrap();
    check(
        &ours,
        "mixpanel_people_set",
        &[
            ("/$ip", "their client says it in the query (`ip=0`)"),
            ("/$set/$email", "an e-mail address never leaves"),
            ("/$set/property_email", "the visible part of it"),
            ("/$time", "milliseconds; theirs has seconds"),
        ],
    );
}

#[test]
#[cfg(feature = "ga4")]
fn ga4_events_are_those_of_ga4mp() {
    let properties = json!({"page_location": "http://x/a"});
    let event = outgoing_of_visitor("page_view", &properties, None, "_ga=GA1.1.123.456; _ga_X=GS2.1.s1795460188$o1");
    let ours = super::ga4::document(&event, false).unwrap();
    check(
        &ours,
        "ga4_collect",
        &[
            ("/events/0/params/engagement_time_msec", "the least that counts; theirs is 100"),
            ("/events/0/params/session_id", "as text, as the cookie has it; GA4 takes both"),
            ("/timestamp_micros", "of the event"),
            ("/user_properties/plan/value", "the properties of users go to Mixpanel alone"),
        ],
    );
}

#[test]
#[cfg(feature = "newrelic")]
fn new_relic_events_are_those_of_its_telemetry_sdk() {
    let event = outgoing("PageView", &json!({"path": "/a", "status": 500, "ok": true, "ms": 1.5}), None);
    let ours = json!([super::newrelic::document(&event, &Service::default())]);
    check(
        &ours,
        "newrelic_event",
        &[
            ("/0/event.id", "by it NRQL counts one that came twice once"),
            ("/0/ok", "New Relic has no booleans: as text"),
            ("/0/timestamp", "of the event"),
        ],
    );
}
