use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use serde::{Serialize, Serializer};
use steeple_metrics::{
    Metrics,
    indicator::{FamilyReading, SeriesReading},
};

use super::num::Num;

/// What users did in a while. Each number is counted by events with a role.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Business {
    /// The while that was asked for.
    #[serde(serialize_with = "seconds")]
    pub range: Duration,
    /// The while that is known: the process may be younger.
    #[serde(serialize_with = "seconds")]
    pub covers: Duration,
    /// Users who registered.
    pub new_users: Figure,
    /// Projects, or whatever the product's central thing is, that were created.
    pub projects_created: Figure,
    /// Tasks that were completed.
    pub tasks_completed: Figure,
    /// Payments that failed.
    pub payments_failed: Figure,
    /// Users who went from one step to the next, for each new user: `trial` to `paid`.
    pub conversion: Figure,
    /// Revenue in minor units by currency, refunds taken away. Empty where no payment was.
    pub revenue: BTreeMap<String, f64>,
    /// The code that counts revenue.
    pub revenue_feed: &'static str,
}

/// A number, or how to get it.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Figure {
    /// `None`: nothing counts it.
    pub value: Option<f64>,
    /// The code that counts it.
    pub feed: &'static str,
}

impl Serialize for Figure {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Written {
            value: Option<Num>,
            feed: &'static str,
        }
        Written { value: self.value.map(Num), feed: self.feed }.serialize(serializer)
    }
}

fn seconds<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(duration.as_secs())
}

/// A counter that one of the figures is read from.
const USERS: &str = "user_registrations_total";
const PROJECTS: &str = "projects_created_total";
const TASKS: &str = "tasks_completed_total";
const PAYMENTS: &str = "payments_total";
const CONVERSIONS: &str = "conversions_total";
const REVENUE: &str = "revenue_minor_units_total";
const REFUNDS: &str = "refunds_minor_units_total";
const FAMILIES: [&str; 7] = [USERS, PROJECTS, TASKS, PAYMENTS, CONVERSIONS, REVENUE, REFUNDS];

/// Currencies that are shown. Amounts in others are not.
const MAX_CURRENCIES: usize = 8;

/// A day of minutes.
const MAX_SAMPLES: usize = 1441;
const STEP: Duration = Duration::from_secs(60);

/// All counters at one moment.
#[derive(Clone, Debug, Default, PartialEq)]
struct Counters {
    users: Option<f64>,
    projects: Option<f64>,
    tasks: Option<f64>,
    failed: Option<f64>,
    conversions: Option<f64>,
    revenue: Vec<(Box<str>, f64)>,
}

impl Counters {
    fn read(metrics: &Metrics) -> Self {
        let families = metrics.families_of(&FAMILIES);
        let family = |name: &str| families.iter().find(|family| family.name == name);
        let sum = |name: &str| family(name).map(|family| family.series.iter().map(SeriesReading::number).sum());
        let failed = |family: &FamilyReading| {
            let failed = family.series.iter().filter(|series| series.label("result") == "failed");
            failed.map(SeriesReading::number).sum()
        };
        let mut revenue: Vec<(Box<str>, f64)> = Vec::new();
        for (name, sign) in [(REVENUE, 1.0), (REFUNDS, -1.0)] {
            for series in family(name).into_iter().flat_map(|family| &family.series) {
                let (currency, amount) = (series.label("currency"), sign * series.number());
                if let Some((_, sum)) = revenue.iter_mut().find(|(known, _)| **known == *currency) {
                    *sum += amount;
                } else if revenue.len() < MAX_CURRENCIES {
                    revenue.push((currency.into(), amount));
                }
            }
        }
        Self {
            users: sum(USERS),
            projects: sum(PROJECTS),
            tasks: sum(TASKS),
            failed: family(PAYMENTS).map(failed),
            conversions: sum(CONVERSIONS),
            revenue,
        }
    }
}

/// The counters of the last day, a sample a minute: at most 0.4 MB.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    samples: VecDeque<(Duration, Counters)>,
}

impl Ledger {
    /// Takes a sample, unless the last one is younger than a minute. `at` never goes back.
    pub(crate) fn sample(&mut self, metrics: &Metrics, at: Duration) {
        let due = self.samples.back().is_none_or(|(last, _)| at.saturating_sub(*last) >= STEP);
        if !due {
            return;
        }
        if self.samples.len() >= MAX_SAMPLES {
            self.samples.pop_front();
        }
        self.samples.push_back((at, Counters::read(metrics)));
    }

    pub(crate) fn over(&self, range: Duration, metrics: &Metrics, at: Duration) -> Business {
        let now = Counters::read(metrics);
        let begin = at.saturating_sub(range);
        // The last sample that is at least as old, or the oldest there is.
        let place = self.samples.partition_point(|(when, _)| *when <= begin).saturating_sub(1);
        let none = (at, Counters::default());
        let (since, then) = self.samples.get(place).unwrap_or(&none);
        let increase = |now: Option<f64>, then: Option<f64>| now.map(|now| (now - then.unwrap_or(0.0)).max(0.0));
        let new_users = increase(now.users, then.users);
        let conversions = increase(now.conversions, then.conversions);
        let conversion = conversions.zip(new_users).map(|(to, of)| if of > 0.0 { to / of } else { 0.0 });
        let before =
            |currency: &str| then.revenue.iter().find(|(known, _)| **known == *currency).map_or(0.0, |(_, sum)| *sum);
        let revenue = now.revenue.iter().map(|(currency, sum)| (currency.to_string(), sum - before(currency)));
        let figure = |value, feed| Figure { value, feed };
        Business {
            range,
            covers: at.saturating_sub(*since).min(range),
            new_users: figure(new_users, "events.track(UserRegistration { source: \"web\", .. })"),
            projects_created: figure(
                increase(now.projects, then.projects),
                "events.track(ProjectCreated { kind: \"team\", .. })",
            ),
            tasks_completed: figure(increase(now.tasks, then.tasks), "events.track(TaskCompleted { .. })"),
            payments_failed: figure(increase(now.failed, then.failed), "events.track(Payment { .. })"),
            conversion: figure(conversion, "events.track(Conversion { from: \"trial\", to: \"paid\", .. })"),
            revenue: revenue.collect(),
            revenue_feed: "events.track(Revenue { minor_units: 4900, currency: \"EUR\", .. })",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_increases_over_the_range_and_the_unbound_say_what_feeds_them() {
        let metrics = Metrics::new().unwrap();
        let users = metrics.counter("user_registrations_total", "Users.", ["source"]).unwrap();
        let revenue = metrics.counter("revenue_minor_units_total", "Revenue.", ["currency"]).unwrap();
        let refunds = metrics.counter("refunds_minor_units_total", "Refunds.", ["currency"]).unwrap();
        let conversions = metrics.counter("conversions_total", "Conversions.", ["from", "to"]).unwrap();
        let mut ledger = Ledger::default();
        let minute = |n: u64| Duration::from_secs(60 * n);
        for n in 0..=1500 {
            ledger.sample(&metrics, minute(n));
            users.inc([if n % 2 == 0 { "web" } else { "app" }]);
            revenue.add(["EUR"], 250);
        }
        refunds.add(["EUR"], 100);
        conversions.add(["trial", "paid"], 15);
        assert_eq!(ledger.samples.len(), MAX_SAMPLES);
        let hour = ledger.over(minute(60), &metrics, minute(1500));
        assert_eq!((hour.new_users.value, hour.covers), (Some(61.0), minute(60)));
        assert_eq!(hour.revenue.get("EUR"), Some(&(61.0 * 250.0 - 100.0)));
        assert!((hour.conversion.value.unwrap() - 15.0 / 61.0).abs() < 1e-9);
        assert_eq!((hour.projects_created.value, hour.payments_failed.value), (None, None));
        let written = serde_json::to_value(&hour).unwrap();
        assert!(written["projects_created"]["feed"].as_str().unwrap().contains("ProjectCreated"));
        assert!(written["new_users"]["feed"].as_str().unwrap().contains("UserRegistration"));
    }

    #[test]
    fn a_young_process_knows_what_it_covers() {
        let metrics = Metrics::new().unwrap();
        let tasks = metrics.counter("tasks_completed_total", "Tasks.", []).unwrap();
        let mut ledger = Ledger::default();
        ledger.sample(&metrics, Duration::from_secs(5));
        tasks.add([], 3);
        ledger.sample(&metrics, Duration::from_secs(30));
        let day = ledger.over(Duration::from_secs(86_400), &metrics, Duration::from_secs(30));
        assert_eq!((day.tasks_completed.value, day.covers), (Some(3.0), Duration::from_secs(25)));
    }
}
