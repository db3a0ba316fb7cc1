use std::{
    collections::{HashMap, VecDeque},
    fmt,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    time::{Duration, Instant},
};

use steeple_core::clock;
use steeple_export::{Pipeline, Sink};
use steeple_metrics::{
    indicator::{History, Subscription, Unit},
    state,
};
use steeple_scrub::Scrubber;

use crate::{
    AlertsBuilder, Rule, Severity,
    about::About,
    channel::Channel,
    engine::{Phase, Sample, State, Transition},
    evidence::{self, Deploy, Failed, Seen},
    message::{ErrorGroup, Evidence, Notification, Status},
    normalize::normalize,
    patterns::{Failure, Pattern},
    watching::Watching,
};

/// How many notifications are remembered.
const MAX_LOG: usize = 256;

/// Evaluates rules over the metrics and notifies, once for each incident. A cheap clone.
///
/// # Examples
/// ```
/// use steeple_alerts::{Alerts, Rules};
/// use steeple_metrics::Metrics;
///
/// let metrics = Metrics::builder().build()?;
/// let alerts = Alerts::builder().rules(Rules::mission().guarded()).build(&metrics)?;
/// assert_eq!(alerts.rules().len(), 6);
/// assert!(alerts.firing().is_empty());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Alerts(pub(crate) Arc<Inner>);

pub(crate) struct Inner {
    pub(crate) history: History,
    /// Ends the evaluation when the alerts are dropped.
    pub(crate) subscription: Mutex<Option<Subscription>>,
    pub(crate) channels: Vec<Channel>,
    pub(crate) about: About,
    pub(crate) scrubber: Scrubber,
    /// When this was built, on the wall clock.
    pub(crate) started: Duration,
    /// What survives a deploy.
    pub(crate) kept: OnceLock<state::State>,
    pub(crate) slow_response: Duration,
    /// For how long Alertmanager gets the end of an alert.
    pub(crate) resolved_for: Duration,
    pub(crate) stop_when: Option<Box<dyn Fn() -> bool + Send + Sync>>,
    pub(crate) seen: Mutex<Seen>,
    pub(crate) state: Mutex<Shared>,
    /// Instances of Alertmanager.
    pub(crate) fleet: OnceLock<Vec<Pipeline<Notification>>>,
    pub(crate) heartbeat: OnceLock<Pipeline<()>>,
    #[cfg(feature = "file")]
    pub(crate) reloads: crate::file::Reloads,
    /// When the rules were evaluated last.
    pub(crate) evaluated: Mutex<Instant>,
}

pub(crate) struct Shared {
    pub(crate) rules: Vec<Active>,
    pub(crate) groups: crate::patterns::Groups,
    pub(crate) silences: Vec<Silence>,
    pub(crate) log: VecDeque<Notification>,
    /// What of error groups is not announced yet, because a predecessor may have announced it.
    pub(crate) held: Vec<(u64, Pattern)>,
    /// This version, if the one before it was another.
    pub(crate) deploy: Option<Deploy>,
    pub(crate) is_stopped: bool,
}

pub(crate) struct Active {
    pub(crate) rule: Rule,
    /// `None`: fed by hand only.
    pub(crate) watched: Option<Watching>,
    pub(crate) state: State,
    /// What [`Alerts::check`] set, until the next evaluation of the rule.
    pub(crate) by_hand: Option<Sample>,
    /// Since when the alert of the last evaluation fires, and since when the one before is over.
    pub(crate) fires_since: Option<Duration>,
    pub(crate) ended: Option<(Duration, Duration)>,
    pub(crate) is_acknowledged: bool,
}

/// Keeps notifications of a rule back until a time.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Silence {
    /// The rule's name.
    pub rule: String,
    /// Until when, since the Unix epoch.
    pub until: Duration,
    /// Who set it.
    pub author: String,
}

/// Where a rule is.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct RuleStatus {
    /// The rule's name.
    pub name: String,
    /// How much its alerts matter.
    pub severity: Severity,
    /// Where it is.
    pub phase: Phase,
    /// Whether there is data at all.
    pub has_data: bool,
    /// The value that was read last.
    pub value: Option<f64>,
    /// The threshold.
    pub threshold: f64,
    /// The unit of value and threshold.
    pub unit: Unit,
    /// When the alert began to fire, while it is one.
    pub firing_since: Option<Duration>,
    /// Whether somebody has acknowledged the alert.
    pub is_acknowledged: bool,
}

impl Alerts {
    /// Options, all with a default. Without a rule and a channel, nothing is evaluated or sent.
    pub fn builder() -> AlertsBuilder {
        AlertsBuilder::default()
    }

    /// Evaluates every rule now. Called after each sample of the metrics' history.
    pub fn evaluate(&self) {
        let (mono, wall) = self.now();
        let (awaits, ends) = (self.awaits_predecessor(), self.is_ending());
        let (mut transitions, mut changed) = (Vec::new(), false);
        let mut held = Vec::new();
        {
            let mut shared = lock(&self.0.state);
            let shared = &mut *shared;
            if shared.is_stopped || ends {
                return;
            }
            for active in &mut shared.rules {
                if awaits {
                    active.state.keep_quiet(mono.saturating_add(Duration::from_nanos(1)));
                }
                let sample = active.sample();
                let stepped = active.state.step(&active.rule.policy, mono, wall, &sample);
                changed |= active.follow(wall);
                if let Some(transition) = stepped {
                    if matches!(transition, Transition::Resolved { .. }) {
                        active.is_acknowledged = false;
                    }
                    if !(active.is_acknowledged && matches!(transition, Transition::Reminder { .. })) {
                        transitions.push((active.rule.clone(), transition));
                    }
                }
            }
            if !awaits {
                held = std::mem::take(&mut shared.held);
            }
        }
        *lock(&self.0.evaluated) = clock::now();
        if changed {
            self.tell_fleet();
        }
        for (rule, transition) in transitions {
            let notification = self.notification(&rule, &transition, wall);
            self.notify(mono, notification);
        }
        for (id, pattern) in held {
            self.notify_of_group(mono, wall, id, pattern);
        }
    }

    /// Sends every alert that fires, or ended a while ago, to Alertmanager.
    fn tell_fleet(&self) {
        let Some(fleet) = self.0.fleet.get().filter(|fleet| !fleet.is_empty()) else { return };
        for alert in self.for_fleet() {
            for instance in fleet {
                instance.push(alert.clone());
            }
        }
    }

    /// The alerts that fire, and those that ended in the last 15 minutes, as they are sent to Alertmanager.
    pub(crate) fn for_fleet(&self) -> Vec<Notification> {
        let (_, wall) = self.now();
        let mut alerts = Vec::new();
        {
            let shared = lock(&self.0.state);
            if shared.is_stopped || self.is_ending() {
                // What fires ends by itself, or the next process sends it.
                return alerts;
            }
            for active in &shared.rules {
                alerts.extend(active.for_fleet(wall, self.0.resolved_for));
            }
        }
        for alert in &mut alerts {
            let at = alert.at;
            self.sign(alert);
            alert.at = at;
        }
        alerts
    }

    /// Whether the rules were evaluated in this time.
    #[cfg(feature = "heartbeat")]
    pub(crate) fn is_evaluating(&self, within: Duration) -> bool {
        let evaluated = *lock(&self.0.evaluated);
        !lock(&self.0.state).is_stopped && clock::now().saturating_duration_since(evaluated) < within
    }

    /// Feeds a rule by hand: its next evaluation, which is now, sees this value in place of its indicator's.
    ///
    /// Returns whether there is a rule of this name.
    pub fn check(&self, rule: &str, value: f64) -> bool {
        self.feed(rule, Sample::gauge(value))
    }

    /// Feeds a rule by hand with what succeeded and what failed: its next evaluation, which is now, sees the part that failed,
    /// with as many samples as there were.
    ///
    /// Returns whether there is a rule of this name, and whether there was anything at all.
    pub fn ratio(&self, rule: &str, ok: u64, failed: u64) -> bool {
        let samples = ok.saturating_add(failed);
        samples > 0 && self.feed(rule, Sample { value: count(failed) / count(samples), samples, bad: failed })
    }

    /// Reports how long something took: a query, a call. From [5 seconds](AlertsBuilder::slow_response) on it is counted in the
    /// group of its name, and notified of as [`error`](Self::error) is: the first, the tenth, the hundredth ….
    pub fn response(&self, name: &str, duration: Duration) {
        if duration >= self.0.slow_response {
            let message = format!("took {} s or longer", self.0.slow_response.as_secs_f64());
            self.error(&Failure { kind: SLOW, route: name, message: &message, fingerprint: None });
        }
    }

    fn feed(&self, rule: &str, sample: Sample) -> bool {
        let found = {
            let mut shared = lock(&self.0.state);
            let active = shared.rules.iter_mut().find(|active| active.rule.name() == rule);
            active.map(|active| active.by_hand = Some(sample)).is_some()
        };
        if found {
            self.evaluate();
        }
        found
    }

    /// Counts a failure in its group, and notifies if the group is new, grows by a power of ten, spikes or is back.
    pub fn error(&self, failure: &Failure<'_>) {
        let (mono, wall) = self.now();
        let message = self.0.scrubber.text(failure.message);
        let failure = Failure { message: &message, ..*failure };
        let normalized = normalize(&message);
        let (awaits, ends) = (self.awaits_predecessor(), self.is_ending());
        let (id, pattern) = {
            let mut shared = lock(&self.0.state);
            if shared.is_stopped || ends {
                return;
            }
            let Some((id, pattern)) = shared.groups.record_normalized(wall, &failure, normalized) else { return };
            if awaits {
                // Values relative to the past are not known yet.
                if pattern == Pattern::New {
                    shared.held.push((id, pattern));
                }
                return;
            }
            (id, pattern)
        };
        self.notify_of_group(mono, wall, id, pattern);
    }

    fn notify_of_group(&self, mono: Duration, wall: Duration, id: u64, pattern: Pattern) {
        let notification = {
            let shared = lock(&self.0.state);
            let Some(group) = shared.groups.get(id) else { return };
            let (rule, summary) = described(pattern, group.kind == SLOW);
            let threshold = count(group.count.saturating_sub(1));
            let mut notification = Notification::new(Status::Firing, rule, Severity::Medium, Unit::Count, threshold);
            notification.summary = summary;
            notification.group = Some(format!("{id:016x}"));
            notification.value = Some(count(group.count));
            (notification.since, notification.at) = (group.first_seen, wall);
            let deploy = shared.deploy.as_ref().filter(|deploy| deploy.version == group.first_version);
            notification.evidence = Evidence {
                error: Some(ErrorGroup::new(group.kind.clone(), group.message.clone(), group.count)),
                routes: vec![(group.route.clone(), 1.0)],
                deploy: deploy.and_then(|deploy| deploy.before(group.first_seen)),
                ..Evidence::default()
            };
            notification
        };
        let mut notification = notification;
        self.sign(&mut notification);
        log(&notification);
        for channel in &self.0.channels {
            channel.offer_once(mono, &notification);
        }
        for instance in self.0.fleet.get().into_iter().flatten() {
            // Replicas find the same errors: that is one alert.
            instance.push(Notification { instance: None, ..notification.clone() });
        }
        self.remember(notification);
    }

    fn is_ending(&self) -> bool {
        self.0.stop_when.as_ref().is_some_and(|is_ending| is_ending())
    }

    /// Remembers a failed exchange, as evidence.
    pub(crate) fn saw(&self, failed: Failed, user: Option<&str>) {
        let (_, wall) = self.now();
        lock(&self.0.seen).add(wall, failed, user);
    }

    /// The error groups, the one with the most failures first.
    pub fn error_groups(&self) -> Vec<crate::patterns::Group> {
        lock(&self.0.state).groups.all().into_iter().map(|(_, group)| group.clone()).collect()
    }

    /// Where each rule is.
    pub fn rules(&self) -> Vec<RuleStatus> {
        lock(&self.0.state).rules.iter().map(Active::status).collect()
    }

    /// The rules themselves, such as for [`Rules::to_prometheus`](crate::Rules::to_prometheus).
    pub fn definitions(&self) -> crate::Rules {
        lock(&self.0.state).rules.iter().map(|active| active.rule.clone()).collect()
    }

    /// The alerts that fire now.
    pub fn firing(&self) -> Vec<RuleStatus> {
        let shared = lock(&self.0.state);
        shared.rules.iter().filter(|active| active.state.is_alert()).map(Active::status).collect()
    }

    /// The last notifications, the newest last.
    pub fn notifications(&self) -> Vec<Notification> {
        lock(&self.0.state).log.iter().cloned().collect()
    }

    /// Keeps notifications of a rule back for this long. What fires then and still fires at the end is notified of then.
    ///
    /// Returns whether there is a rule of this name.
    pub fn silence(&self, rule: &str, length: Duration, author: impl Into<String>) -> bool {
        let (mono, wall) = self.now();
        let mut shared = lock(&self.0.state);
        let known = shared.rules.iter().any(|active| active.rule.name() == rule);
        if known {
            shared.silences.retain(|silence| silence.rule != rule && silence.until > wall);
            let until = wall.saturating_add(length);
            shared.silences.push(Silence { rule: rule.to_owned(), until, author: author.into() });
            for active in shared.rules.iter_mut().filter(|active| active.rule.name() == rule) {
                active.state.keep_quiet(mono.saturating_add(length));
            }
        }
        known
    }

    /// The silences that are in force.
    pub fn silences(&self) -> Vec<Silence> {
        let (_, wall) = self.now();
        lock(&self.0.state).silences.iter().filter(|silence| silence.until > wall).cloned().collect()
    }

    /// Sends no more reminders of this alert; its end is still notified of. Returns whether it fires.
    pub fn acknowledge(&self, rule: &str) -> bool {
        let mut shared = lock(&self.0.state);
        let active = shared.rules.iter_mut().find(|active| active.rule.name() == rule && active.state.is_alert());
        active.map(|active| active.is_acknowledged = true).is_some()
    }

    /// Sends a notification that is marked as a test. Returns whether a channel of this name exists.
    pub fn test(&self, channel: &str) -> bool {
        let (mono, wall) = self.now();
        let Some(channel) = self.0.channels.iter().find(|known| known.name() == channel) else { return false };
        let mut notification = Notification::new(Status::Firing, "test", Severity::Critical, Unit::Count, 0.0);
        "This is a test. Nothing is wrong.".clone_into(&mut notification.summary);
        (notification.since, notification.at) = (wall, wall);
        self.sign(&mut notification);
        channel.offer_once(mono, &notification);
        true
    }

    /// The names of the channels, in order.
    pub fn channels(&self) -> impl Iterator<Item = &str> {
        self.0.channels.iter().map(Channel::name)
    }

    /// The channels: their queues, losses and health.
    pub fn sinks(&self) -> Vec<Arc<dyn Sink>> {
        let mut sinks: Vec<_> = self.0.channels.iter().filter_map(Channel::sink).collect();
        for pipeline in self.0.fleet.get().into_iter().flatten() {
            sinks.push(Arc::new(pipeline.clone()));
        }
        if let Some(pipeline) = self.0.heartbeat.get() {
            sinks.push(Arc::new(pipeline.clone()));
        }
        sinks
    }

    /// Notifications that the limit of an hour kept back, by channel.
    pub fn capped(&self) -> HashMap<String, u64> {
        self.0.channels.iter().map(|channel| (channel.name().to_owned(), channel.capped())).collect()
    }

    /// Stops evaluating: a service that ends is not an incident.
    pub fn stop(&self) {
        lock(&self.0.state).is_stopped = true;
        drop(lock(&self.0.subscription).take());
    }

    /// The identity of these alerts, see [`steeple_core::Identity`].
    pub(crate) fn identity(&self) -> steeple_core::Identity {
        steeple_core::Identity::of(&*self.0)
    }

    pub(crate) fn now(&self) -> (Duration, Duration) {
        let clock = self.0.history.clock();
        (clock.monotonic(), clock.unix())
    }

    fn notification(&self, rule: &Rule, transition: &Transition, wall: Duration) -> Notification {
        let status = match transition {
            Transition::Firing { .. } => Status::Firing,
            Transition::Reminder { .. } => Status::Reminder,
            Transition::Resolved { .. } => Status::Resolved,
            Transition::KeptBack { .. } => Status::KeptBack,
        };
        let mut notification =
            Notification::new(status, rule.name(), rule.severity, rule.indicator.unit(), rule.policy.raise);
        notification.summary = rule.summary.clone().unwrap_or_else(|| rule.indicator.to_string());
        notification.runbook.clone_from(&rule.runbook);
        notification.at = wall;
        match *transition {
            Transition::Firing { value, since, suppressed } => {
                (notification.value, notification.since, notification.suppressed) = (Some(value), since, suppressed);
            }
            Transition::Reminder { value, since, .. } => {
                (notification.value, notification.since) = (Some(value), since);
            }
            Transition::Resolved { value, peak, since, .. } => {
                (notification.value, notification.peak, notification.since) = (value, Some(peak), since);
            }
            Transition::KeptBack { suppressed, since, peak } => {
                (notification.suppressed, notification.since) = (suppressed, since);
                notification.peak = Some(peak).filter(|peak| !peak.is_nan());
            }
        }
        let is_over = matches!(transition, Transition::Resolved { .. } | Transition::KeptBack { .. });
        // It reads the metrics, which runs collectors of the application: no lock is held.
        let slowest = if is_over { None } else { evidence::slowest(rule, wall, &self.0.history) };
        {
            let shared = lock(&self.0.state);
            if !is_over {
                let seen = lock(&self.0.seen);
                notification.evidence = evidence::of_rule(rule, wall, &seen, &shared.groups, &self.0.history);
            }
            notification.evidence.deploy = shared.deploy.as_ref().and_then(|deploy| deploy.before(notification.since));
        }
        if let Some(slowest) = slowest {
            notification.evidence.requests.insert(0, slowest);
        }
        self.sign(&mut notification);
        notification
    }

    /// Says which service it is about.
    pub(crate) fn sign(&self, notification: &mut Notification) {
        let about = &self.0.about;
        notification.service.clone_from(&about.service);
        notification.environment.clone_from(&about.environment);
        notification.instance.clone_from(&about.instance);
        notification.link = about.link.as_ref().map(|link| {
            // A little of the time before.
            let from = notification.since.saturating_sub(Duration::from_secs(900));
            format!("{link}#from={}&to={}", from.as_secs(), notification.at.as_secs())
        });
    }

    pub(crate) fn notify(&self, mono: Duration, notification: Notification) {
        log(&notification);
        for channel in &self.0.channels {
            channel.offer(mono, &notification);
        }
        self.remember(notification);
    }

    fn remember(&self, notification: Notification) {
        let mut shared = lock(&self.0.state);
        if shared.log.len() >= MAX_LOG {
            shared.log.pop_front();
        }
        shared.log.push_back(notification);
    }
}

/// The channel that is always there.
fn log(notification: &Notification) {
    let (rule, severity, subject) = (&notification.rule, notification.severity.as_str(), notification.subject());
    match notification.status {
        Status::Firing | Status::Reminder => tracing::warn!(target: "steeple::alerts", rule, severity, "{subject}"),
        Status::Resolved | Status::KeptBack => tracing::info!(target: "steeple::alerts", rule, severity, "{subject}"),
    }
}

impl Active {
    fn sample(&mut self) -> Sample {
        if let Some(sample) = self.by_hand.take() {
            return sample;
        }
        self.watched.as_ref().map_or_else(Sample::none, |watched| watched.sample(&self.rule.policy))
    }

    /// Notices when the alert begins and ends, whatever is sent to channels. Returns whether it did.
    fn follow(&mut self, wall: Duration) -> bool {
        let now = self.state.firing_since();
        let before = std::mem::replace(&mut self.fires_since, now);
        if let (Some(since), None) = (before, now) {
            self.ended = Some((since, wall));
        }
        before != now
    }

    /// The alert as it is sent to Alertmanager: also where channels get nothing, because Alertmanager has its own silences.
    fn for_fleet(&self, wall: Duration, resolved_for: Duration) -> Option<Notification> {
        let (status, since, at) = match (self.state.firing_since(), self.ended) {
            (Some(since), _) => (Status::Firing, since, wall),
            (None, Some((since, at))) if wall.saturating_sub(at) < resolved_for => (Status::Resolved, since, at),
            _ => return None,
        };
        let rule = &self.rule;
        let mut alert = Notification::new(status, rule.name(), rule.severity, rule.indicator.unit(), rule.policy.raise);
        alert.summary = rule.summary.clone().unwrap_or_else(|| rule.indicator.to_string());
        alert.runbook.clone_from(&rule.runbook);
        (alert.value, alert.since, alert.at) = (self.state.value(), since, at);
        Some(alert)
    }

    fn status(&self) -> RuleStatus {
        RuleStatus {
            name: self.rule.name().to_owned(),
            severity: self.rule.severity,
            phase: self.state.phase(),
            has_data: self.state.has_data(),
            value: self.state.value(),
            threshold: self.rule.policy.raise,
            unit: self.rule.indicator.unit(),
            firing_since: self.state.firing_since(),
            is_acknowledged: self.is_acknowledged,
        }
    }
}

/// The kind of the groups of [`Alerts::response`].
const SLOW: &str = "slow_response";

/// The name of a pattern, and what it means.
fn described(pattern: Pattern, is_slow: bool) -> (&'static str, String) {
    match pattern {
        _ if is_slow => ("slow_response", "Something took too long.".to_owned()),
        Pattern::New => ("new_error", "An error was seen for the first time.".to_owned()),
        Pattern::Reached(count) => ("frequent_error", format!("An error was seen {count} times.")),
        Pattern::Spike { failures } => {
            ("error_spike", format!("An error was seen {failures} times in 5 minutes, far more than in its last hour."))
        }
        Pattern::Regression { .. } => ("error_is_back", "An error is back after more than 24 hours.".to_owned()),
        Pattern::PerMinute(failures) => ("error_rate", format!("An error was seen {failures} times in a minute.")),
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts below 9 quadrillion are exact")]
fn count(of: u64) -> f64 {
    of as f64
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl fmt::Debug for Alerts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Alerts").field("firing", &self.firing().len()).field("channels", &self.0.channels).finish()
    }
}
