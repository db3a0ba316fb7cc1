//! The lifecycle policy that is shipped, by the rules by which Elasticsearch accepts one. No Elasticsearch runs here.

use serde_json::{Map, Value, json};

const SHIPPED: &str = include_str!("../../elasticsearch/lifecycle.json");
const PAGE: &str = include_str!("data/elasticsearch.md");

/// The phases in their order, and what may be done in each.
///
/// # Source
/// Elasticsearch reference 8, "Index lifecycle", "Phase actions"; `TimeseriesLifecycleType`.
const PHASES: [(&str, &[&str]); 5] = [
    (
        "hot",
        &[
            "set_priority",
            "unfollow",
            "rollover",
            "readonly",
            "downsample",
            "shrink",
            "forcemerge",
            "searchable_snapshot",
        ],
    ),
    ("warm", &["set_priority", "unfollow", "readonly", "downsample", "allocate", "migrate", "shrink", "forcemerge"]),
    ("cold", &["set_priority", "unfollow", "readonly", "downsample", "searchable_snapshot", "allocate", "migrate"]),
    ("frozen", &["unfollow", "searchable_snapshot"]),
    ("delete", &["wait_for_snapshot", "delete"]),
];

/// What in the hot phase is refused without a rollover.
const NEEDS_ROLLOVER: [&str; 5] = ["readonly", "downsample", "shrink", "forcemerge", "searchable_snapshot"];

fn object<'a>(value: &'a Value, of: &str) -> Result<&'a Map<String, Value>, String> {
    value.as_object().ok_or_else(|| format!("{of} is an object"))
}

fn only(fields: &Map<String, Value>, known: &[&str], of: &str) -> Result<(), String> {
    match fields.keys().find(|field| !known.contains(&field.as_str())) {
        Some(unknown) => Err(format!("unknown field [{unknown}] in {of}")),
        None => Ok(()),
    }
}

/// A number and its unit; the number in the smallest one.
fn amount(value: &Value, units: &[(&str, u64)], of: &str) -> Result<u64, String> {
    let text = value.as_str().ok_or_else(|| format!("{of} is text"))?;
    if text == "0" {
        return Ok(0);
    }
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let factor = units.iter().find(|(known, _)| *known == unit).map(|(_, factor)| *factor);
    match (number.parse::<u64>(), factor) {
        (Ok(number), Some(factor)) => number.checked_mul(factor).ok_or_else(|| format!("{of}: too much")),
        _ => Err(format!("{of}: failed to parse [{text}]")),
    }
}

/// # Source
/// Elasticsearch reference 8, "API conventions", "Time units" and "Byte size units".
fn millis(value: &Value, of: &str) -> Result<u64, String> {
    amount(value, &[("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)], of)
}

fn bytes(value: &Value, of: &str) -> Result<u64, String> {
    amount(value, &[("b", 1), ("kb", 1 << 10), ("mb", 1 << 20), ("gb", 1 << 30), ("tb", 1 << 40), ("pb", 1 << 50)], of)
}

/// # Source
/// Elasticsearch reference 8, "Rollover": at least one condition with `max_`.
fn rollover(action: &Map<String, Value>) -> Result<(), String> {
    let mut has_max = false;
    for (condition, value) in action {
        let Some((bound @ ("max" | "min"), what)) = condition.split_once('_') else {
            return Err(format!("unknown field [{condition}] in rollover"));
        };
        let limit = match what {
            "age" => millis(value, condition)?,
            "size" | "primary_shard_size" => bytes(value, condition)?,
            "docs" | "primary_shard_docs" => value.as_u64().ok_or_else(|| format!("{condition} is a number"))?,
            _ => return Err(format!("unknown field [{condition}] in rollover")),
        };
        if bound == "max" {
            has_max = true;
            if limit == 0 {
                return Err(format!("{condition} is more than nothing"));
            }
        }
    }
    if has_max { Ok(()) } else { Err("at least one max_* rollover condition is set".to_owned()) }
}

/// What `PUT _ilm/policy/<name>` refuses.
fn check(body: &Value) -> Result<(), String> {
    let body = object(body, "the body")?;
    only(body, &["policy"], "the body")?;
    let policy = object(body.get("policy").ok_or("policy is required")?, "policy")?;
    only(policy, &["phases", "_meta", "deprecated"], "policy")?;
    let phases = object(policy.get("phases").ok_or("phases are required")?, "phases")?;
    only(phases, &PHASES.map(|(name, _)| name), "phases")?;
    let mut age = 0;
    for (name, allowed) in PHASES {
        let Some(phase) = phases.get(name) else { continue };
        let phase = object(phase, name)?;
        only(phase, &["min_age", "actions"], name)?;
        // An age of zero is invalid.
        let own = phase.get("min_age").map_or(Ok(0), |value| millis(value, "min_age"))?;
        if own > 0 && own < age {
            return Err(format!("the phase {name} begins before the one before it"));
        }
        age = age.max(own);
        let empty = Map::new();
        let actions = phase.get("actions").map_or(Ok(&empty), |actions| object(actions, "actions"))?;
        only(actions, allowed, name)?;
        if name == "hot" && !actions.contains_key("rollover") {
            let needs = NEEDS_ROLLOVER.iter().find(|action| actions.contains_key(**action));
            if let Some(action) = needs {
                return Err(format!("{action} in the hot phase needs rollover"));
            }
        }
        for (action, settings) in actions {
            let settings = object(settings, action)?;
            match action.as_str() {
                "rollover" => rollover(settings)?,
                "delete" => {
                    only(settings, &["delete_searchable_snapshot"], action)?;
                    if settings.values().any(|value| !value.is_boolean()) {
                        return Err("delete_searchable_snapshot is true or false".to_owned());
                    }
                }
                // The shipped policy has no other: adding one means adding its rules.
                _ => return Err(format!("no rule for {action}")),
            }
        }
    }
    Ok(())
}

fn shipped() -> Value {
    serde_json::from_str(SHIPPED).unwrap()
}

#[test]
fn the_lifecycle_that_is_shipped_follows_the_rules_of_elasticsearch() {
    check(&shipped()).unwrap();
}

#[test]
fn a_lifecycle_that_elasticsearch_would_refuse_is_found() {
    let changes: [(&str, Value, &str); 14] = [
        ("/policy", json!({"phase": {}}), "unknown field [phase]"),
        ("/policy", json!({}), "phases are required"),
        ("/policy/phases", json!({"hottest": {}}), "unknown field [hottest]"),
        ("/policy/phases/hot", json!({"action": {}}), "unknown field [action]"),
        ("/policy/phases/hot/actions", json!({"delete": {}}), "unknown field [delete] in hot"),
        ("/policy/phases/hot/actions", json!({"forcemerge": {}}), "needs rollover"),
        ("/policy/phases/hot/actions/rollover", json!({}), "at least one max_*"),
        ("/policy/phases/hot/actions/rollover", json!({"min_age": "1d"}), "at least one max_*"),
        ("/policy/phases/hot/actions/rollover", json!({"max_shard_size": "50gb"}), "unknown field [max_shard_size]"),
        ("/policy/phases/hot/actions/rollover/max_age", json!("1 day"), "failed to parse [1 day]"),
        ("/policy/phases/hot/actions/rollover/max_primary_shard_size", json!(50), "is text"),
        ("/policy/phases/delete/min_age", json!("30days"), "failed to parse [30days]"),
        ("/policy/phases/delete/actions", json!({"rollover": {"max_age": "1d"}}), "unknown field [rollover] in delete"),
        ("/policy/phases/delete/actions/delete", json!({"force": true}), "unknown field [force]"),
    ];
    for (place, value, why) in changes {
        let mut policy = shipped();
        *policy.pointer_mut(place).unwrap() = value;
        let refused = check(&policy).unwrap_err();
        assert!(refused.contains(why), "{place}: {refused}");
    }
    let mut policy = shipped();
    policy["policy"]["phases"]["warm"] = json!({"min_age": "60d", "actions": {}});
    assert!(check(&policy).unwrap_err().contains("begins before"));
}

#[test]
fn the_page_says_for_how_long_the_lifecycle_keeps_lines() {
    let policy = shipped();
    let age = policy.pointer("/policy/phases/delete/min_age").and_then(Value::as_str).unwrap();
    let days = age.strip_suffix('d').unwrap();
    assert!(PAGE.contains(&format!("keeps lines for {days} days")), "{days}");
}
