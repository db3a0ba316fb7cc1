//! Check-ins: Sentry's monitors of jobs that should run by the clock.

use std::{borrow::Cow, time::Duration};

use http::request;
use sentry_core::{
    Client, Envelope,
    protocol::{EnvelopeItem, MonitorCheckIn, MonitorCheckInStatus, MonitorConfig, MonitorSchedule, Uuid},
};
use steeple_core::{End, Exchange, Identity, Observer, Outcome};

use crate::{Sentry, hub::Cell, transaction};

/// Checks a job in with a monitor of Sentry: when it begins, and when it ends well or not. For
/// [`Job::with`](steeple_core::Job::with).
///
/// # Examples
/// ```
/// use steeple_core::Job;
/// use steeple_sentry::CheckIn;
///
/// let job = Job::new("nightly import").with(CheckIn::new("nightly-import").crontab("0 3 * * *"));
/// # let _unused = job;
/// ```
#[derive(Clone, Debug)]
#[must_use = "it does nothing until a job has it"]
#[doc(alias = "cron")]
pub struct CheckIn {
    slug: Cow<'static, str>,
    schedule: Option<MonitorSchedule>,
    margin: Option<u64>,
    max_runtime: Option<u64>,
}

impl CheckIn {
    /// The monitor's slug, as Sentry shows it.
    pub fn new(slug: impl Into<Cow<'static, str>>) -> Self {
        Self { slug: slug.into(), schedule: None, margin: None, max_runtime: None }
    }

    /// When the job should run, as five fields of a crontab in UTC. Sentry makes or changes the monitor with the first check-in.
    /// Default: the monitor exists. An invalid crontab has no effect.
    pub fn crontab(mut self, crontab: &str) -> Self {
        self.schedule = MonitorSchedule::from_crontab(crontab).ok();
        self
    }

    /// How many minutes late the job may begin. Default: Sentry's. Without [`crontab`](Self::crontab) it has no effect.
    pub fn margin_minutes(mut self, minutes: u64) -> Self {
        self.margin = Some(minutes);
        self
    }

    /// How many minutes the job may take. Default: Sentry's. Without [`crontab`](Self::crontab) it has no effect.
    pub fn max_runtime_minutes(mut self, minutes: u64) -> Self {
        self.max_runtime = Some(minutes);
        self
    }

    fn send(&self, client: &Client, id: Uuid, status: MonitorCheckInStatus, duration: Option<Duration>) {
        let monitor_config = self.schedule.clone().map(|schedule| MonitorConfig {
            schedule,
            checkin_margin: self.margin,
            max_runtime: self.max_runtime,
            timezone: Some("UTC".to_owned()),
            failure_issue_threshold: None,
            recovery_threshold: None,
        });
        let mut envelope = Envelope::new();
        envelope.add_item(EnvelopeItem::MonitorCheckIn(MonitorCheckIn {
            check_in_id: id,
            monitor_slug: self.slug.clone().into_owned(),
            status,
            environment: client.options().environment.as_ref().map(ToString::to_string),
            duration: duration.map(|duration| duration.as_secs_f64()),
            monitor_config,
        }));
        client.send_envelope(envelope);
    }
}

/// A random id, with the marks of a UUID of version 4.
fn random_id() -> Uuid {
    const MARKS: u128 = 0xf000_c000_0000_0000_0000;
    const VERSION_4: u128 = 0x4000_8000_0000_0000_0000;
    Uuid::from_u128((fastrand::u128(..) & !MARKS) | VERSION_4)
}

/// Reports the failures of jobs: [`Sentry::jobs`].
#[derive(Clone, Debug)]
pub struct JobFailures(Sentry);

impl Sentry {
    /// The observer that reports jobs that fail, each failure once, and checks them [in](CheckIn).
    pub fn jobs(&self) -> JobFailures {
        JobFailures(self.clone())
    }
}

/// What rides along with a job.
#[derive(Debug)]
pub struct JobState {
    cell: Cell,
    check_in: Option<(CheckIn, Uuid)>,
}

impl Observer for JobFailures {
    type State = JobState;

    fn identity(&self) -> Option<Identity> {
        self.0.identity()
    }

    fn on_request(&self, exchange: &Exchange, _head: &mut request::Parts) -> Option<JobState> {
        let client = self.0.client();
        if !client.is_enabled() {
            return None;
        }
        let cell = Cell::take(&self.0.0.context, client);
        if let Some(mut slot) = cell.lock() {
            slot.exchange = Some(exchange.clone());
        }
        if let Some(sampler) = &self.0.0.context.sampler {
            transaction::start(sampler, exchange, &cell);
        }
        let check_in = exchange.get::<CheckIn>().map(|check_in| (check_in, random_id()));
        if let Some((check_in, id)) = &check_in {
            check_in.send(client, *id, MonitorCheckInStatus::InProgress, None);
        }
        Some(JobState { cell, check_in })
    }

    fn on_enter(&self, state: &mut JobState, _exchange: &Exchange) {
        state.cell.enter();
    }

    fn on_exit(&self, state: &mut JobState, _exchange: &Exchange) {
        state.cell.exit();
    }

    fn on_end(&self, JobState { cell, check_in }: JobState, exchange: &Exchange, end: &End) {
        self.0.report(cell, exchange, end, false);
        if let Some((check_in, id)) = check_in {
            let status = match end.outcome {
                Outcome::Completed | Outcome::Upgraded => MonitorCheckInStatus::Ok,
                Outcome::ServiceError
                | Outcome::BodyError
                | Outcome::Panicked
                | Outcome::Cancelled
                | Outcome::CancelledInBody => MonitorCheckInStatus::Error,
            };
            check_in.send(self.0.client(), id, status, Some(end.duration));
        }
    }
}
