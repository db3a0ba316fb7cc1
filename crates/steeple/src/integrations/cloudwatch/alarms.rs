//! Alert rules as alarms of CloudWatch.

use std::time::Duration;

use steeple_alerts::{Rule, Rules, engine::Side};
use steeple_cloudwatch::{Alarm, AlarmDefinition, AlarmsReport};

use super::NAMESPACE;
use crate::{ConfigError, Steeple};

impl Steeple {
    /// Alert rules as alarms of CloudWatch, on the metrics that are sent there. Cooldown, reminders and a rule's second window have
    /// no counterpart in CloudWatch. Off, where no metrics go there: an error.
    ///
    /// # Errors
    /// When metrics are off, or CloudWatch cannot compute what a rule watches.
    pub fn cloudwatch_alarms(&self, rules: &Rules) -> Result<Vec<AlarmDefinition>, ConfigError> {
        let off =
            || ConfigError::new(Some(NAMESPACE), "no metrics go to CloudWatch; CLOUDWATCH_NAMESPACE turns them on");
        let alarms: Vec<_> = rules.iter().map(alarm).collect();
        let cloudwatch = self.cloudwatch().ok_or_else(off)?;
        cloudwatch.alarms(&alarms).map_err(|error| ConfigError::part("CloudWatch", &error))
    }

    /// Sends them to CloudWatch, where each replaces the one of its name. Blocks the thread, for `timeout` at most.
    ///
    /// # Errors
    /// As [`cloudwatch_alarms`](Self::cloudwatch_alarms), and when AWS is not configured, as with `CLOUDWATCH_EMF` alone.
    pub fn put_cloudwatch_alarms(&self, rules: &Rules, timeout: Duration) -> Result<AlarmsReport, ConfigError> {
        let alarms = self.cloudwatch_alarms(rules)?;
        let aws = self.running().cloudwatch.as_ref().and_then(|running| running.aws.as_ref());
        let aws = aws.ok_or_else(|| {
            let message = "alarms need a connection to AWS, which CLOUDWATCH_EMF does not make; without it, AWS_REGION holds the region";
            ConfigError::new(Some("AWS_REGION"), message)
        })?;
        let report = steeple_cloudwatch::put_alarms(&alarms, aws, timeout);
        report.map_err(|error| ConfigError::part("CloudWatch", &error))
    }
}

/// A rule as an alarm.
fn alarm(rule: &Rule) -> Alarm {
    let policy = rule.policy();
    let alarm = Alarm::new(rule.name(), rule.indicator().clone(), rule.window())
        .hold(policy.hold)
        .min_samples(policy.min_samples)
        .min_bad(policy.min_bad);
    let alarm = match policy.side {
        Side::Above => alarm.above(policy.raise),
        Side::Below => alarm.below(policy.raise),
    };
    match rule.summary_text() {
        Some(summary) => alarm.description(summary),
        None => alarm,
    }
}
