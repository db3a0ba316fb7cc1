//! JSON values, walked with a stack of our own: no depth overflows it.

use serde_json::{Map, Value};

use crate::{detect::remark::is_folder, judge, marker::Rule, name::Class, policy::Policy, text};

pub(crate) fn scrub(policy: &Policy, value: &mut Value) {
    let mut todo = vec![(value, Class::Open)];
    while let Some((value, class)) = todo.pop() {
        let folder = class == Class::Folder && value.as_str().is_some_and(|text| is_folder(text.as_bytes()));
        if class >= Class::Folder && !folder {
            redact(policy, value, Rule::Key);
            continue;
        }
        match value {
            Value::Null | Value::Bool(_) => {}
            Value::Number(number) => {
                if let Some(rule) = judge::hit(policy, number.to_string().as_bytes()) {
                    *value = Value::String(policy.marker(rule).to_owned());
                }
            }
            Value::String(string) => {
                let clean = match judge::verdict(policy, class, string.as_bytes()) {
                    None => None,
                    Some(Rule::Entropy) => Some(policy.marker(Rule::Entropy).to_owned()),
                    Some(_) => Some(text::scrub(policy, string).into_owned()),
                };
                if let Some(clean) = clean {
                    *string = clean;
                }
            }
            Value::Array(items) => {
                // `["authorization", "Bearer …"]`: a header as some list them.
                let pair = match items.as_slice() {
                    [Value::String(name), Value::String(_)] => policy.classify(name.as_bytes()),
                    _ => Class::Open,
                };
                todo.extend(
                    items.iter_mut().enumerate().map(|(nth, item)| (item, if nth == 1 { pair } else { class })),
                );
            }
            Value::Object(map) => {
                rename(policy, map);
                // `{"name": "password", "value": "…"}`: a form field, a header or an attribute as some list them.
                let named = ["name", "key", "Name", "Key"].iter().find_map(|name| map.get(*name)?.as_str());
                let named = named.map_or(Class::Open, |name| policy.classify(name.as_bytes()));
                for (name, item) in map {
                    let class = policy.classify(name.as_bytes());
                    let marked = policy.is_marker(name.as_bytes());
                    let value = name.eq_ignore_ascii_case("value") || name.eq_ignore_ascii_case("values");
                    todo.push((
                        item,
                        if marked {
                            Class::Strong
                        } else if value {
                            class.max(named)
                        } else {
                            class
                        },
                    ));
                }
            }
        }
    }
}

/// Replaces a value by a marker. Values without information (`null`, a boolean, an empty string) stay.
fn redact(policy: &Policy, value: &mut Value, rule: Rule) {
    match value {
        Value::Null | Value::Bool(_) => return,
        Value::String(string) if string.is_empty() || policy.is_marker(string.as_bytes()) => return,
        Value::Array(items) if items.is_empty() => return,
        Value::Object(map) if map.is_empty() => return,
        Value::String(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {}
    }
    bury(std::mem::replace(value, Value::String(policy.marker(rule).to_owned())));
}

/// Drops a value level by level: `Value`'s own `drop` recurses.
fn bury(value: Value) {
    let mut todo = vec![value];
    while let Some(value) = todo.pop() {
        match value {
            Value::Array(items) => todo.extend(items),
            Value::Object(map) => todo.extend(map.into_iter().map(|(_, item)| item)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
}

/// Scrubs the names of a map. Two names that become the same marker leave one.
fn rename(policy: &Policy, map: &mut Map<String, Value>) {
    let dirty = |name: &String| !policy.is_marker(name.as_bytes()) && judge::hit(policy, name.as_bytes()).is_some();
    if !map.keys().any(dirty) {
        return;
    }
    for (name, item) in std::mem::take(map) {
        let rule = if policy.is_marker(name.as_bytes()) { None } else { judge::hit(policy, name.as_bytes()) };
        let name = rule.map_or(name, |rule| policy.marker(rule).to_owned());
        if let Some(twin) = map.insert(name, item) {
            bury(twin);
        }
    }
}
