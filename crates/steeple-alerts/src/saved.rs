//! What of the alerts survives a deploy: which were announced, silences, error groups.

use std::{collections::HashMap, sync::Arc, time::Duration};

use serde_json::{Map, Value, json};
use steeple_metrics::state::{self, Adopted};

use crate::{
    Alerts, Severity, Silence,
    alerts::{Shared, lock},
    engine::Saved,
    evidence::Deploy,
    message::{Notification, Status},
    millis::millis,
    patterns::{Group, Pattern},
};

/// The version of a saved state: another one is not read.
const VERSION: u64 = 1;

/// Most alerts, and most silences, that are read.
const MAX: usize = 256;

fn time(of: &Value, key: &str) -> Option<Duration> {
    of.get(key)?.as_u64().map(Duration::from_millis)
}

impl Alerts {
    /// Keeps announcements, silences and error groups in a state that survives a deploy.
    ///
    /// After a restart an alert that was announced is not announced again, and its end is. While a predecessor still runs
    /// whose state may be adopted yet, for two minutes at most, nothing is announced: what it has announced by then is not
    /// announced twice.
    pub fn keep_in(&self, state: &state::State) {
        let _kept_already = self.0.kept.set(state.clone());
        // The state has these functions, and the alerts have the state.
        let (saving, loading) = (Arc::downgrade(&self.0), Arc::downgrade(&self.0));
        state.section(
            "alerts",
            move || saving.upgrade().map(|inner| Self(inner).save()).unwrap_or_default(),
            move |adopted, bytes| {
                if let Some(inner) = loading.upgrade()
                    && Self(inner).load(adopted, bytes).is_none()
                {
                    tracing::warn!("the saved alerts are of another version: they begin anew");
                }
            },
        );
    }

    /// Whether a process that runs still may have announced what this one would announce now.
    pub(crate) fn awaits_predecessor(&self) -> bool {
        self.0.kept.get().is_some_and(state::State::awaits_predecessor)
    }

    fn save(&self) -> Vec<u8> {
        let (mono, wall) = self.now();
        let shared = lock(&self.0.state);
        let rule = |active: &crate::alerts::Active| {
            let saved = active.state.save(mono, wall);
            json!({
                "rule": active.rule.name(),
                "severity": active.rule.severity.as_str(),
                "threshold": active.rule.policy.raise,
                "announced": saved.announced,
                "since": millis(saved.firing_since),
                "peak": saved.peak,
                "quiet_until": millis(saved.quiet_until),
                "remind_at": millis(saved.remind_at),
                "reminders": saved.reminders,
                "cooldown_until": millis(saved.cooldown_until),
                "kept_back": saved.suppressed,
                "kept_back_since": millis(saved.suppressed_since),
                "kept_back_peak": saved.suppressed_peak,
                "acknowledged": active.is_acknowledged,
            })
        };
        let silence =
            |silence: &Silence| json!({"rule": silence.rule, "until": millis(silence.until), "author": silence.author});
        let channels: Map<_, _> = self
            .0
            .channels
            .iter()
            .map(|channel| {
                let (firing, recent) = channel.save(mono, wall);
                let recent: Vec<_> = recent.into_iter().map(millis).collect();
                (channel.name().to_owned(), json!({"firing": firing, "recent": recent}))
            })
            .collect();
        // Alerts that are held back were not announced.
        let groups = shared.groups.all().into_iter().filter(|(id, _)| !shared.held.contains(&(*id, Pattern::New)));
        let saved = json!({
            "version": VERSION,
            "rules": shared.rules.iter().map(rule).collect::<Vec<_>>(),
            "silences": shared.silences.iter().filter(|silence| silence.until > wall).map(silence).collect::<Vec<_>>(),
            "groups": groups.map(|(id, group)| group.save(id)).collect::<Vec<_>>(),
            "other": shared.groups.other(),
            "channels": channels,
        });
        saved.to_string().into_bytes()
    }

    /// `None`: it was saved by another version.
    fn load(&self, adopted: &Adopted, bytes: &[u8]) -> Option<()> {
        let saved: Value = serde_json::from_slice(bytes).ok()?;
        if saved.get("version")?.as_u64()? != VERSION {
            return None;
        }
        let (mono, wall) = self.now();
        let list = |key: &str| saved.get(key).and_then(Value::as_array).into_iter().flatten().take(MAX);
        let mut gone = Vec::new();
        {
            let mut shared = lock(&self.0.state);
            let version = self.0.about.version.clone().unwrap_or_default();
            if !version.is_empty() && version != adopted.version {
                shared.deploy = Some(Deploy { version, at: self.0.started });
            }
            for rule in list("rules") {
                gone.extend(shared.adopt_rule(rule, mono, wall));
            }
            for silence in list("silences") {
                shared.adopt_silence(silence, mono, wall);
            }
            for (id, group) in list("groups").filter_map(Group::load) {
                let reached = shared.groups.adopt(id, group);
                // The process before announced that it is new.
                shared.held.retain(|(held, _)| *held != id);
                shared.held.extend(reached.map(|reached| (id, reached)));
            }
            shared.groups.add_other(saved.get("other").and_then(Value::as_u64).unwrap_or_default());
        }
        let channels = saved.get("channels").and_then(Value::as_object);
        let channels: HashMap<_, _> = channels.into_iter().flatten().collect();
        for channel in &self.0.channels {
            let Some(told) = channels.get(&channel.name().to_owned()) else { continue };
            let each = |key: &str| told.get(key).and_then(Value::as_array).into_iter().flatten().take(MAX);
            let firing = each("firing").filter_map(Value::as_str).map(str::to_owned);
            let recent = each("recent").filter_map(Value::as_u64).map(Duration::from_millis);
            channel.adopt(mono, wall, firing, recent);
        }
        for mut notification in gone {
            self.sign(&mut notification);
            self.notify(mono, notification);
        }
        Some(())
    }
}

impl Shared {
    /// Returns the end of an alert whose rule this version of the service does not have.
    fn adopt_rule(&mut self, rule: &Value, mono: Duration, wall: Duration) -> Option<Notification> {
        let name = rule.get("rule")?.as_str()?;
        let saved = Saved {
            announced: rule.get("announced")?.as_bool()?,
            firing_since: time(rule, "since")?,
            peak: rule.get("peak").and_then(Value::as_f64).unwrap_or(f64::NAN),
            quiet_until: time(rule, "quiet_until")?,
            remind_at: time(rule, "remind_at")?,
            reminders: rule.get("reminders")?.as_u64().and_then(|reminders| u32::try_from(reminders).ok())?,
            cooldown_until: time(rule, "cooldown_until").unwrap_or_default(),
            suppressed: rule.get("kept_back").and_then(Value::as_u64).unwrap_or_default(),
            suppressed_since: time(rule, "kept_back_since").unwrap_or_default(),
            suppressed_peak: rule.get("kept_back_peak").and_then(Value::as_f64).unwrap_or(f64::NAN),
        };
        if let Some(active) = self.rules.iter_mut().find(|active| active.rule.name() == name) {
            active.state.adopt(&active.rule.policy, mono, wall, &saved);
            active.is_acknowledged |= rule.get("acknowledged").and_then(Value::as_bool).unwrap_or_default();
            return None;
        }
        if !saved.announced {
            return None;
        }
        let severity = rule.get("severity").and_then(Value::as_str)?.parse::<Severity>().unwrap_or_default();
        let threshold = rule.get("threshold").and_then(Value::as_f64).unwrap_or_default();
        let unit = steeple_metrics::indicator::Unit::Count;
        let mut notification = Notification::new(Status::Resolved, name, severity, unit, threshold);
        "This version of the service does not have the rule any more.".clone_into(&mut notification.summary);
        (notification.since, notification.at) = (saved.firing_since, wall);
        Some(notification)
    }

    fn adopt_silence(&mut self, silence: &Value, mono: Duration, wall: Duration) -> Option<()> {
        let rule = silence.get("rule")?.as_str()?.to_owned();
        let (until, author) = (time(silence, "until")?, silence.get("author")?.as_str()?.to_owned());
        let is_known = self.rules.iter().any(|active| active.rule.name() == rule);
        let is_newer = self.silences.iter().all(|own| own.rule != rule || own.until < until);
        if until > wall && is_known && is_newer {
            self.silences.retain(|own| own.rule != rule);
            for active in self.rules.iter_mut().filter(|active| active.rule.name() == rule) {
                active.state.keep_quiet(mono.saturating_add(until.saturating_sub(wall)));
            }
            self.silences.push(Silence { rule, until, author });
        }
        Some(())
    }
}
