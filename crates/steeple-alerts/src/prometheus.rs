//! The same rules as a file for Prometheus.

use std::{fmt::Write as _, time::Duration};

use serde_json::Value;
use steeple_metrics::indicator::Promql;

use crate::{Rule, Rules, engine::Side, rule::Windows};

/// The name of the group in the file.
const GROUP: &str = "steeple-alerts";

impl Rules {
    /// The rules as a rule file for Prometheus: what `promtool check rules` accepts. A rule that can never fire is left out,
    /// as [`AlertsBuilder::build`](crate::AlertsBuilder::build) refuses it.
    ///
    /// `style` has the names of the families and the matchers of the service: `job="shop"`. With matchers, the file has one alert more,
    /// `metrics_absent`: without the metrics no other rule could fire.
    ///
    /// Rules about one instance, such as those of CPU and memory, keep `instance` apart. Two things are done in process alone:
    /// cooldown and reminders, which are `group_interval` and `repeat_interval` of Alertmanager. Too few samples end an alert on
    /// the server; in process they keep it for 15 minutes.
    ///
    /// # Examples
    /// ```
    /// use steeple_alerts::Rules;
    /// use steeple_metrics::{Names, indicator::Promql};
    ///
    /// let file = Rules::mission().guarded().to_prometheus(&Promql::new().matchers(r#"job="shop""#));
    /// assert!(file.contains("alert: high_error_rate"));
    /// let file = Rules::mission().to_prometheus(&Promql::new().names(Names::OpenTelemetry));
    /// assert!(file.contains("http_server_request_duration_seconds"));
    /// ```
    pub fn to_prometheus(&self, style: &Promql) -> String {
        let mut out = format!("groups:\n  - name: {GROUP}\n    rules:\n");
        let mut is_empty = true;
        for rule in self {
            let mut rule = rule.clone();
            if let Ok(windows) = rule.check() {
                is_empty = false;
                alert(&mut out, &rule, windows, style);
            }
        }
        if !style.matcher_text().is_empty() {
            let family = format!("{}process_start_time_seconds", style.name_prefix());
            let absent = Alert {
                name: "metrics_absent",
                expr: format!("absent({})", style.select(&family)),
                hold: Duration::from_secs(300),
                keep_firing: Duration::ZERO,
                severity: "high",
                summary: "Prometheus has no metrics of the service.",
                runbook: None,
                labels: &equalities(style.matcher_text()),
            };
            absent.write(&mut out);
            is_empty = false;
        }
        if is_empty { "groups: []\n".to_owned() } else { out }
    }

    /// The rules about the whole service, such as that of the error rate: on a fleet, those that Prometheus evaluates.
    pub fn of_service(self) -> Self {
        self.filter(|rule| !rule.indicator.is_of_instance())
    }

    /// The rules about one instance, such as those of CPU and memory: on a fleet, those that each instance evaluates itself.
    pub fn of_instance(self) -> Self {
        self.filter(|rule| rule.indicator.is_of_instance())
    }
}

fn alert(out: &mut String, rule: &Rule, windows: Windows, style: &Promql) {
    let mut style = style.clone();
    if rule.indicator.is_of_instance() && !style.labels().iter().any(|label| label == "instance") {
        let labels: Vec<String> = style.labels().iter().cloned().chain(["instance".to_owned()]).collect();
        style = style.by(labels);
    }
    let summary = rule.summary.clone().unwrap_or_else(|| rule.indicator.to_string());
    Alert {
        name: &rule.name,
        expr: expression(rule, windows, &style),
        hold: rule.policy.hold,
        keep_firing: rule.policy.keep_firing,
        severity: rule.severity.as_str(),
        summary: &summary,
        runbook: rule.runbook.as_deref(),
        labels: &equalities(style.matcher_text()),
    }
    .write(out);
}

/// When the rule fires, and between its thresholds still does.
fn expression(rule: &Rule, windows: Windows, style: &Promql) -> String {
    let policy = &rule.policy;
    let over = |window| {
        let value = rule.indicator.promql(window, style);
        // The server extrapolates to the ends of the window: 3 failures would be 3.1, and more than 3.
        if rule.indicator.is_increase() { format!("round({value})") } else { value }
    };
    let value = over(windows.over);
    let on = format!("on ({})", style.labels().join(", "));
    let sign = match policy.side {
        Side::Above => ">",
        Side::Below => "<",
    };
    let beyond = |threshold: f64| {
        let threshold = number(threshold);
        let first = format!("({value}) {sign} {threshold}");
        windows
            .also
            .map_or_else(|| first.clone(), |also| format!("{first} and {on} ({}) {sign} {threshold}", over(also)))
    };
    let mut expr = beyond(policy.raise);
    #[expect(clippy::float_cmp, reason = "unset thresholds are the same")]
    let has_clear = policy.clear != policy.raise;
    if has_clear {
        let mut firing = format!("ALERTS{{alertname=\"{}\",alertstate=\"firing\"", rule.name);
        for (label, value) in equalities(style.matcher_text()) {
            let _infallible = write!(firing, ",{label}={}", yaml(&value));
        }
        firing.push('}');
        expr = format!("({expr})\nor\n({} and {on} {firing})", beyond(policy.clear));
    }
    let mut guards = Vec::new();
    if let Some(samples) = rule.indicator.samples_promql(windows.over, style) {
        // Extrapolated as well; a ratio times its whole is the part.
        if policy.min_samples > 0 {
            guards.push(format!("round({samples}) >= {}", policy.min_samples));
        }
        if policy.min_bad > 0 {
            guards.push(format!("round(({value}) * {samples}) >= {}", policy.min_bad));
        }
    }
    if !policy.min_uptime.is_zero() {
        let family = format!("{}process_start_time_seconds", style.name_prefix());
        let by = if style.labels().is_empty() { String::new() } else { format!(" by ({})", style.labels().join(", ")) };
        let age = format!("max{by} (time() - {})", style.select(&family));
        guards.push(format!("{age} >= {}", policy.min_uptime.as_secs()));
    }
    if !guards.is_empty() {
        expr = format!("({expr})");
        for guard in guards {
            let _infallible = write!(expr, "\nand {on}\n({guard})");
        }
    }
    expr
}

/// The matchers that name one value: `job="shop"`, and not `job=~"shop|cart"`. They are labels of the alerts.
fn equalities(matchers: &str) -> Vec<(String, String)> {
    let (mut found, mut rest) = (Vec::new(), matchers);
    while let Some((name, behind)) = rest.split_once('=') {
        let (is_equal, behind) = match behind.strip_prefix('~') {
            Some(behind) => (false, behind),
            None => (!name.ends_with('!'), behind),
        };
        let Some(quoted) = behind.trim_start().strip_prefix('"') else { break };
        let (mut value, mut characters) = (String::new(), quoted.char_indices());
        let end = loop {
            match characters.next() {
                Some((end, '"')) => break Some(end),
                Some((_, '\\')) => value.extend(characters.next().map(|(_, c)| if c == 'n' { '\n' } else { c })),
                Some((_, c)) => value.push(c),
                None => break None,
            }
        };
        let Some(end) = end else { break };
        let name = name.trim_matches(|c: char| c == ',' || c.is_whitespace());
        if is_equal && name != "__name__" {
            found.push((name.to_owned(), value));
        }
        rest = quoted.get(end.saturating_add(1)..).unwrap_or_default();
    }
    found
}

struct Alert<'a> {
    name: &'a str,
    expr: String,
    hold: Duration,
    keep_firing: Duration,
    severity: &'a str,
    summary: &'a str,
    runbook: Option<&'a str>,
    /// What distinguishes alerts of one service from those of another.
    labels: &'a [(String, String)],
}

impl Alert<'_> {
    fn write(&self, out: &mut String) {
        let mut line = |indent: usize, key: &str, value: &str| {
            let _infallible = writeln!(out, "{:indent$}{key}: {value}", "");
        };
        line(6, "- alert", self.name);
        line(8, "expr", &yaml(&self.expr));
        if !self.hold.is_zero() {
            line(8, "for", &duration(self.hold));
        }
        if !self.keep_firing.is_zero() {
            line(8, "keep_firing_for", &duration(self.keep_firing));
        }
        line(8, "labels", "");
        for (name, value) in self.labels {
            line(10, name, &yaml(&template_safe(value)));
        }
        line(10, "severity", self.severity);
        line(8, "annotations", "");
        line(10, "summary", &yaml(&template_safe(self.summary)));
        line(10, "value", &yaml("{{ $value }}"));
        if let Some(runbook) = self.runbook {
            line(10, "runbook_url", &yaml(&template_safe(runbook)));
        }
    }
}

/// A number as `PromQL` reads it, without the dust of binary fractions.
fn number(value: f64) -> String {
    value.to_string()
}

/// A time as Prometheus reads it.
fn duration(of: Duration) -> String {
    let millis = of.as_millis();
    if millis.is_multiple_of(1000) { format!("{}s", of.as_secs()) } else { format!("{millis}ms") }
}

/// A string as YAML reads it: in double quotes, with the escapes of JSON.
pub(crate) fn yaml(text: &str) -> String {
    Value::from(text).to_string()
}

/// Two opening braces would begin a template.
fn template_safe(text: &str) -> String {
    text.replace("{{", "{{\"{{\"}}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matchers_of_one_value_are_labels() {
        let found = equalities(r#"job="shop", env=~"a|b",zone!="x" , name="a\"=,b""#);
        let pairs: Vec<_> = found.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(pairs, [("job", "shop"), ("name", "a\"=,b")]);
        assert_eq!(equalities("job"), []);
        assert_eq!(equalities("job=\"open"), []);
    }
}
