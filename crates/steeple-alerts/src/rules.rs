use std::time::Duration;

use steeple_core::Outcome;
use steeple_metrics::indicator::{Indicator, Selector};

use crate::{Rule, Severity};

/// Most rules of one service.
pub const MAX_RULES: usize = 64;

/// Rules to start from.
#[derive(Clone, Debug)]
#[must_use = "rules do nothing until alerts are built with them"]
pub struct Rules(Vec<Rule>);

impl Rules {
    /// The six rules that every service has, to the number:
    ///
    /// | rule | fires when | severity | cooldown |
    /// | --- | --- | --- | --- |
    /// | `high_cpu_usage` | CPU above 80 % of the limit | high | 15 min |
    /// | `high_memory_usage` | memory above 85 % of the limit | high | 15 min |
    /// | `high_error_rate` | more than 5 % of the requests failed | critical | 5 min |
    /// | `slow_response_time` | the mean response time is above 2 s | medium | 10 min |
    /// | `low_user_activity` | fewer than 10 active users | low | 60 min |
    /// | `payment_failures` | more than 3 payments failed | high | 5 min |
    ///
    /// Each looks at the last 5 minutes. [`guarded`](Self::guarded) keeps them quiet where they know too little.
    pub fn mission() -> Self {
        let window = Duration::from_secs(300);
        let failed = Selector::new("payments_total").label("result", "failed");
        let rule = |name, indicator, severity, cooldown: u64| {
            Rule::new(name, indicator, window)
                .severity(severity)
                .cooldown(Duration::from_secs(cooldown.saturating_mul(60)))
        };
        Self(vec![
            rule("high_cpu_usage", Indicator::cpu(), Severity::High, 15)
                .above(0.80)
                .summary("The CPU is above 80 % of its limit."),
            rule("high_memory_usage", Indicator::memory(), Severity::High, 15)
                .above(0.85)
                .summary("The memory is above 85 % of its limit."),
            rule("high_error_rate", Indicator::error_ratio(), Severity::Critical, 5)
                .above(0.05)
                .summary("More than 5 % of the requests failed."),
            rule("slow_response_time", Indicator::mean(), Severity::Medium, 10)
                .above(2.0)
                .summary("The mean response time is above 2 seconds."),
            rule("low_user_activity", Indicator::active_users(), Severity::Low, 60)
                .below(10.0)
                .summary("Fewer than 10 users are active."),
            rule("payment_failures", Indicator::counter_increase(failed), Severity::High, 5)
                .above(3.0)
                .summary("More than 3 payments failed."),
        ])
    }

    /// The rules that we recommend to a service with no rules yet: each is relative to a limit or to the traffic, each waits until
    /// it knows enough, and none needs a number of the team's own.
    ///
    /// | rule | fires when | for | over | severity |
    /// | --- | --- | --- | --- | --- |
    /// | `high_cpu_usage` | CPU above 85 % of the limit | 5 min | below 70 % | high |
    /// | `cpu_throttled` | the CPU had to wait in more than 25 % of its periods | 5 min | below 10 % | medium |
    /// | `high_memory_usage` | memory above 90 % of the limit | 5 min | below 80 % | high |
    /// | `memory_nearly_full` | memory above 97 % of the limit | 1 min | below 90 % | critical |
    /// | `disk_nearly_full` | the disk above 90 % | 5 min | below 85 % | high |
    /// | `high_error_rate` | more than 5 % of the requests failed, 20 at least, 3 of them failed | 5 min, and the last minute | below 2 % | critical |
    /// | `slow_response_time` | the 95th percentile above 1 s, of 20 requests at least | 5 min | below 0.8 s | medium |
    /// | `requests_cancelled` | clients gave up more than 20 % of the requests, 20 at least | 5 min | below 10 % | medium |
    /// | `payment_failures` | more than 10 % of the payments failed, 3 at least | 10 min | below 5 % | high |
    /// | `connections_used_up` | more than 90 % of the database's connections in use | 5 min | below 75 % | high |
    /// | `telemetry_dropped` | lines, events or spans were dropped, on average more than one in 10 s | 10 min | none for 10 min | low |
    ///
    /// "For" is the window: the value is that of the whole window. Users have no rule, since only the team knows how many are too few.
    /// The page about alerts lists the differences from the [mission's](Self::mission) rules.
    pub fn recommended() -> Self {
        let minutes = |minutes: u64| Duration::from_secs(minutes.saturating_mul(60));
        let rule = |name, indicator, window| Rule::new(name, indicator, minutes(window));
        let payments = Selector::new("payments_total");
        let failed = payments.clone().label("result", "failed");
        Self(vec![
            rule("high_cpu_usage", Indicator::cpu(), 5)
                .above(0.85)
                .clear(0.70)
                .severity(Severity::High)
                .summary("The CPU is above 85 % of its limit."),
            rule("cpu_throttled", Indicator::cpu_throttled(), 5)
                .above(0.25)
                .clear(0.10)
                .severity(Severity::Medium)
                .summary("The CPU had to wait in more than a quarter of its periods."),
            rule("high_memory_usage", Indicator::memory(), 5)
                .above(0.90)
                .clear(0.80)
                .severity(Severity::High)
                .summary("The memory is above 90 % of its limit."),
            rule("memory_nearly_full", Indicator::memory(), 1)
                .above(0.97)
                .clear(0.90)
                .severity(Severity::Critical)
                .summary("The memory is nearly used up."),
            rule("disk_nearly_full", Indicator::disk(), 5)
                .above(0.90)
                .clear(0.85)
                .severity(Severity::High)
                .summary("The disk is above 90 %."),
            rule("high_error_rate", Indicator::error_ratio(), 5)
                .also_over(minutes(1))
                .above(0.05)
                .clear(0.02)
                .min_samples(20)
                .min_bad(3)
                .severity(Severity::Critical)
                .summary("More than 5 % of the requests failed."),
            rule("slow_response_time", Indicator::quantile(0.95), 5)
                .above(1.0)
                .clear(0.8)
                .min_samples(20)
                .severity(Severity::Medium)
                .summary("One request in twenty takes longer than a second."),
            rule("requests_cancelled", Indicator::aborted_ratio(Outcome::Cancelled), 5)
                .above(0.20)
                .clear(0.10)
                .min_samples(20)
                .severity(Severity::Medium)
                .summary("Clients give up more than a fifth of their requests."),
            rule("payment_failures", Indicator::counter_ratio(failed, payments), 10)
                .above(0.10)
                .clear(0.05)
                .min_bad(3)
                .severity(Severity::High)
                .summary("More than a tenth of the payments failed."),
            rule("connections_used_up", Indicator::connections(), 5)
                .above(0.90)
                .clear(0.75)
                .severity(Severity::High)
                .summary("Nearly all database connections are in use."),
            rule("telemetry_dropped", Indicator::dropped(), 10)
                .above(0.1)
                .clear(0.0)
                .severity(Severity::Low)
                .summary("Lines, events or spans were dropped: the observations are not complete."),
        ])
    }

    /// Two rules for an objective: the part of the requests that are good, such as 0.999. `bad` is the part that is not:
    /// [`Indicator::error_ratio`], [`Indicator::slow_ratio`], of all requests or of one route.
    ///
    /// | rule | fires when | windows | severity |
    /// | --- | --- | --- | --- |
    /// | `<name>_fast_burn` | 14.4 times as many requests are bad as may be: a month's worth in two days | 1 h and 5 min | critical |
    /// | `<name>_slow_burn` | 6 times as many: a month's worth in five days | 6 h and 30 min | high |
    ///
    /// Both need 20 requests and 3 bad ones. An objective that no ratio can miss so often, such as 0.9 (14.4 times 10 % is more than
    /// all), is refused when alerts are built.
    ///
    /// # Source
    /// Google, "The Site Reliability Workbook", chapter 5, table 5-8.
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    /// use steeple_alerts::Rules;
    /// use steeple_metrics::indicator::Indicator;
    ///
    /// let checkout = Indicator::error_ratio().of("POST", "/checkout");
    /// let rules = Rules::recommended().with_objective("checkout", checkout, 0.999);
    /// ```
    pub fn with_objective(self, name: &str, bad: Indicator, good: f64) -> Self {
        let minutes = |minutes: u64| Duration::from_secs(minutes.saturating_mul(60));
        let burn = |bad: Indicator, speed: &str, factor: f64, window: u64, also: u64| {
            // Without the dust of binary fractions: it is shown to people.
            let threshold = (factor * (1.0 - good) * 1e9).round() / 1e9;
            Rule::new(format!("{name}_{speed}_burn"), bad, minutes(window))
                .also_over(minutes(also))
                .above(threshold)
                .min_samples(20)
                .min_bad(3)
        };
        self.with(burn(bad.clone(), "fast", 14.4, 60, 5).severity(Severity::Critical).summary(format!(
            "The objective of {} % for {name} is missed 14.4 times as fast as it may be.",
            percent(good)
        )))
        .with(burn(bad, "slow", 6.0, 360, 30).severity(Severity::High).summary(format!(
            "The objective of {} % for {name} is missed 6 times as fast as it may be.",
            percent(good)
        )))
    }

    /// The same rules, which wait until they know enough: an error ratio and a response time need 20 requests and 3 bad
    /// ones; CPU and memory have to last for a minute; few users do not alert in the first hour of a process.
    pub fn guarded(mut self) -> Self {
        for rule in &mut self.0 {
            let guarded = rule.clone();
            *rule = match rule.name() {
                "high_error_rate" => guarded.min_samples(20).min_bad(3).clear(0.03),
                "slow_response_time" => guarded.min_samples(20).clear(1.5),
                "high_cpu_usage" => guarded.hold(Duration::from_secs(60)).clear(0.70),
                "high_memory_usage" => guarded.hold(Duration::from_secs(60)).clear(0.80),
                "low_user_activity" => guarded.min_uptime(Duration::from_secs(3600)),
                _ => guarded,
            };
        }
        self
    }

    /// Adds a rule.
    pub fn with(mut self, rule: Rule) -> Self {
        self.0.push(rule);
        self
    }

    /// Leaves the rule of this name out.
    pub fn without(mut self, name: &str) -> Self {
        self.0.retain(|rule| rule.name() != name);
        self
    }

    pub(crate) fn filter(mut self, keep: impl FnMut(&Rule) -> bool) -> Self {
        self.0.retain(keep);
        self
    }

    /// Changes each rule: `rules.map(|rule| rule.cooldown(Duration::ZERO))`.
    pub fn map(self, change: impl FnMut(Rule) -> Rule) -> Self {
        Self(self.0.into_iter().map(change).collect())
    }

    /// The rules, in order.
    pub fn iter(&self) -> std::slice::Iter<'_, Rule> {
        self.0.iter()
    }
}

/// 0.999 as 99.9.
fn percent(ratio: f64) -> f64 {
    (ratio * 1e8).round() / 1e6
}

impl<'a> IntoIterator for &'a Rules {
    type Item = &'a Rule;
    type IntoIter = std::slice::Iter<'a, Rule>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl FromIterator<Rule> for Rules {
    fn from_iter<T: IntoIterator<Item = Rule>>(rules: T) -> Self {
        Self(rules.into_iter().collect())
    }
}

impl IntoIterator for Rules {
    type Item = Rule;
    type IntoIter = std::vec::IntoIter<Rule>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}
