//! Other rules while the service runs: what stays the same keeps its state.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use steeple_metrics::indicator::History;

use crate::{
    Alerts, BuildError, Rule, Rules,
    alerts::{Active, lock},
    engine::State,
    message::{Notification, Status},
    rule::Windows,
    rules::MAX_RULES,
    watching::Watching,
};

/// Checks each rule, and that their names differ.
fn checked(rules: Rules) -> Result<Vec<(Rule, Windows)>, BuildError> {
    if rules.iter().len() > MAX_RULES {
        return Err(BuildError::too_many(rules.iter().len(), MAX_RULES));
    }
    let mut names = HashSet::new();
    let mut checked = Vec::new();
    for mut rule in rules {
        let window = rule.check()?;
        if !names.insert(rule.name().to_owned()) {
            return Err(BuildError::twice(rule.name()));
        }
        checked.push((rule, window));
    }
    Ok(checked)
}

impl Alerts {
    /// Replaces the rules. A rule whose name stays keeps its state: whether it fires, its cooldown, its silence. An alert
    /// whose rule is gone is resolved. If one of them is invalid, nothing changes.
    ///
    /// # Errors
    /// As [`AlertsBuilder::build`](crate::AlertsBuilder::build), with [`BuildError::is_rule`].
    pub fn set_rules(&self, rules: Rules) -> Result<(), BuildError> {
        let rules = checked(rules)?;
        let (mono, wall) = self.now();
        let gone = {
            let mut shared = lock(&self.0.state);
            let mut watched = exchange(&self.0.history, &mut shared.rules, &rules)?;
            let before = std::mem::take(&mut shared.rules);
            let mut before: HashMap<_, _> =
                before.into_iter().map(|active| (active.rule.name().to_owned(), active)).collect();
            for (rule, _) in rules {
                let watched = watched.remove(rule.name());
                let active = match before.remove(rule.name()) {
                    Some(old) => Active { watched: watched.or(old.watched), rule, ..old },
                    None => Active::new(rule, watched),
                };
                shared.rules.push(active);
            }
            shared.silences.retain(|silence| !before.contains_key(&silence.rule));
            before.into_values().filter(|active| active.state.is_alert()).collect::<Vec<_>>()
        };
        for active in gone {
            self.tell_of_gone(&active, mono, wall);
        }
        Ok(())
    }

    fn tell_of_gone(&self, active: &Active, mono: Duration, wall: Duration) {
        let rule = &active.rule;
        let (unit, threshold) = (rule.indicator.unit(), rule.policy.raise);
        let mut over = Notification::new(Status::Resolved, rule.name(), rule.severity, unit, threshold);
        "The rule is gone.".clone_into(&mut over.summary);
        (over.since, over.at) = (active.state.firing_since().unwrap_or(wall), wall);
        self.sign(&mut over);
        for instance in self.0.fleet.get().into_iter().flatten() {
            instance.push(over.clone());
        }
        if active.state.is_announced() {
            self.notify(mono, over);
        }
    }
}

/// Watches new indicators, by the names of their rules. Unused indicators are removed first, to make room. Without enough room
/// nothing changes.
fn exchange(
    history: &History,
    before: &mut [Active],
    rules: &[(Rule, Windows)],
) -> Result<HashMap<String, Watching>, BuildError> {
    let measures = |active: &Active, rule: &Rule| {
        active.rule.name() == rule.name()
            && active.rule.indicator == rule.indicator
            && (active.rule.window, active.rule.also_over) == (rule.window, rule.also_over)
            && active.watched.is_some()
    };
    for active in before.iter_mut() {
        if !rules.iter().any(|(rule, _)| measures(active, rule)) {
            active.watched = None;
        }
    }
    let mut watched = HashMap::new();
    for (rule, windows) in rules {
        if before.iter().any(|active| measures(active, rule)) {
            continue;
        }
        match Watching::start(history, rule, *windows) {
            Ok(new) => watched.extend([(rule.name().to_owned(), new)]),
            Err(error) => {
                watched.clear();
                for active in before.iter_mut().filter(|active| active.watched.is_none()) {
                    let windows = active.rule.check().ok();
                    active.watched = windows.and_then(|windows| Watching::start(history, &active.rule, windows).ok());
                }
                return Err(error);
            }
        }
    }
    Ok(watched)
}

impl Active {
    pub(crate) fn new(rule: Rule, watched: Option<Watching>) -> Self {
        Self {
            rule,
            watched,
            state: State::default(),
            by_hand: None,
            fires_since: None,
            ended: None,
            is_acknowledged: false,
        }
    }
}
