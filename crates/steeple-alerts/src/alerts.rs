use std::{
    collections::{HashMap, HashSet, VecDeque},
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use steeple_export::Sink;
use steeple_metrics::{
    Metrics,
    indicator::{History, Subscription, Unit, Watched},
};
use steeple_scrub::Scrubber;

use crate::{
    BuildError, Rule, Rules, Severity,
    channel::{Channel, ChannelContext, IntoChannel},
    engine::{Phase, Sample, State, Transition},
    message::{ErrorGroup, Evidence, Notification, Status},
    normalize::normalize,
    patterns::{Failure, Groups, Pattern},
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
pub struct Alerts(Arc<Inner>);

struct Inner {
    history: History,
    /// Ends the evaluation when the alerts are dropped.
    subscription: Mutex<Option<Subscription>>,
    channels: Vec<Channel>,
    about: About,
    scrubber: Scrubber,
    state: Mutex<Shared>,
}

struct Shared {
    rules: Vec<Active>,
    groups: Groups,
    silences: Vec<Silence>,
    log: VecDeque<Notification>,
    is_stopped: bool,
}

struct Active {
    rule: Rule,
    /// `None`: fed by hand only.
    watched: Watched,
    state: State,
    /// What [`Alerts::check`] set, until the next evaluation of the rule.
    by_hand: Option<f64>,
    is_acknowledged: bool,
}

/// Which service the alerts are about: on every notification.
#[derive(Clone, Debug, Default)]
struct About {
    service: Option<String>,
    environment: Option<String>,
    instance: Option<String>,
    version: Option<String>,
    link: Option<String>,
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

/// Options for [`Alerts`], all with a default.
#[must_use = "options do nothing until they are built"]
pub struct AlertsBuilder {
    rules: Vec<Rule>,
    channels: Vec<Box<dyn IntoChannel>>,
    scrubber: Scrubber,
    about: About,
    per_minute: u64,
    #[cfg(feature = "http")]
    http: steeple_export::ClientBuilder,
}

impl Default for AlertsBuilder {
    fn default() -> Self {
        Self {
            rules: Vec::new(),
            channels: Vec::new(),
            scrubber: Scrubber::default(),
            about: About::default(),
            per_minute: 10,
            #[cfg(feature = "http")]
            http: steeple_export::ClientBuilder::default(),
        }
    }
}

impl AlertsBuilder {
    /// Adds rules. Default: none.
    pub fn rules(mut self, rules: Rules) -> Self {
        self.rules.extend(rules);
        self
    }

    /// Adds a rule.
    pub fn rule(mut self, rule: Rule) -> Self {
        self.rules.push(rule);
        self
    }

    /// Notifies here as well. Every notification is a line of the log (target `steeple::alerts`) anyway.
    pub fn channel(mut self, channel: impl IntoChannel) -> Self {
        self.channels.push(Box::new(channel));
        self
    }

    /// Changes how receivers are reached, where a channel does not set it: proxies, certificates.
    #[cfg(feature = "http")]
    pub fn http(mut self, change: impl FnOnce(steeple_export::ClientBuilder) -> steeple_export::ClientBuilder) -> Self {
        self.http = change(self.http);
        self
    }

    /// What counts as a secret. Default: [`Scrubber::default`].
    pub fn scrubber(mut self, scrubber: Scrubber) -> Self {
        self.scrubber = scrubber;
        self
    }

    /// Which service the alerts are about.
    pub fn service(mut self, name: impl Into<String>) -> Self {
        self.about.service = Some(name.into());
        self
    }

    /// Which version of it runs.
    pub fn version(mut self, version: impl Into<String>) -> Self {
        self.about.version = Some(version.into());
        self
    }

    /// Where it runs: `production`.
    pub fn environment(mut self, environment: impl Into<String>) -> Self {
        self.about.environment = Some(environment.into());
        self
    }

    /// Which instance of it this is.
    pub fn instance(mut self, instance: impl Into<String>) -> Self {
        self.about.instance = Some(instance.into());
        self
    }

    /// The dashboard that notifications link to.
    pub fn dashboard(mut self, url: impl Into<String>) -> Self {
        self.about.link = Some(url.into());
        self
    }

    /// From how many failures a minute on a group of errors is reported. Default: 10. Zero: never.
    pub fn errors_per_minute(mut self, failures: u64) -> Self {
        self.per_minute = failures;
        self
    }

    /// Whether there is a channel.
    pub fn has_channels(&self) -> bool {
        !self.channels.is_empty()
    }

    /// Whether there is a rule.
    pub fn has_rules(&self) -> bool {
        !self.rules.is_empty()
    }

    /// Checks the rules, starts the channels and the evaluation.
    ///
    /// # Errors
    /// [`BuildError::is_rule`] when a rule can never fire or its name is taken; [`BuildError::is_channel`] when a channel
    /// cannot start.
    pub fn build(self, metrics: &Metrics) -> Result<Alerts, BuildError> {
        let history = metrics.history();
        let mut names = HashSet::new();
        let mut active = Vec::new();
        for mut rule in self.rules {
            let window = rule.check()?;
            if !names.insert(rule.name().to_owned()) {
                return Err(BuildError::twice(rule.name()));
            }
            let watched = history
                .watch(rule.indicator.clone(), window)
                .map_err(|error| BuildError::rule(rule.name(), &error.to_string()))?;
            active.push(Active { rule, watched, state: State::default(), by_hand: None, is_acknowledged: false });
        }
        let scrubber = self.scrubber;
        let context =
            ChannelContext {
                scrubber: scrubber.clone(),
                #[cfg(feature = "http")]
                http: self.http.or(&steeple_export::Client::builder()
                    .user_agent(concat!("steeple-alerts/", env!("CARGO_PKG_VERSION")))),
            };
        let channels =
            self.channels.into_iter().map(|channel| channel.into_channel(&context)).collect::<Result<_, _>>()?;
        let groups = Groups::new(self.about.version.clone().unwrap_or_default()).per_minute(self.per_minute);
        let state = Shared { rules: active, groups, silences: Vec::new(), log: VecDeque::new(), is_stopped: false };
        let alerts = Alerts(Arc::new(Inner {
            history: history.clone(),
            subscription: Mutex::new(None),
            channels,
            about: self.about,
            scrubber,
            state: Mutex::new(state),
        }));
        let weak = Arc::downgrade(&alerts.0);
        let subscription = history.subscribe(move |_sampled| {
            if let Some(inner) = weak.upgrade() {
                Alerts(inner).evaluate();
            }
        });
        *lock(&alerts.0.subscription) = Some(subscription);
        history.start().map_err(BuildError::history)?;
        Ok(alerts)
    }
}

impl fmt::Debug for AlertsBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AlertsBuilder")
            .field("rules", &self.rules)
            .field("channels", &self.channels.len())
            .finish_non_exhaustive()
    }
}

impl Alerts {
    /// Options, all with a default. Without a rule and a channel, nothing is evaluated and no one is notified.
    pub fn builder() -> AlertsBuilder {
        AlertsBuilder::default()
    }

    /// Evaluates every rule now. Called after each sample of the metrics' history.
    pub fn evaluate(&self) {
        let (mono, wall) = self.now();
        let mut notifications = Vec::new();
        {
            let mut shared = lock(&self.0.state);
            if shared.is_stopped {
                return;
            }
            for active in &mut shared.rules {
                let sample = active.sample();
                if let Some(transition) = active.state.step(&active.rule.policy, mono, wall, &sample) {
                    if matches!(transition, Transition::Resolved { .. }) {
                        active.is_acknowledged = false;
                    }
                    if !(active.is_acknowledged && matches!(transition, Transition::Reminder { .. })) {
                        notifications.push(self.notification(&active.rule, &transition, wall));
                    }
                }
            }
        }
        for notification in notifications {
            self.notify(mono, notification);
        }
    }

    /// Feeds a rule by hand: its next evaluation, which is now, sees this value in place of its indicator's.
    ///
    /// Returns whether there is a rule of this name.
    pub fn check(&self, rule: &str, value: f64) -> bool {
        let found = {
            let mut shared = lock(&self.0.state);
            let active = shared.rules.iter_mut().find(|active| active.rule.name() == rule);
            active.map(|active| active.by_hand = Some(value)).is_some()
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
        let notification = {
            let mut shared = lock(&self.0.state);
            if shared.is_stopped {
                return;
            }
            let Some((id, pattern)) = shared.groups.record_normalized(wall, &failure, normalized) else { return };
            shared.groups.get(id).map(|group| {
                let (rule, summary) = described(pattern);
                let mut notification = Notification::new(
                    Status::Firing,
                    rule,
                    Severity::Medium,
                    Unit::Count,
                    count(group.count.saturating_sub(1)),
                );
                notification.summary = summary;
                notification.value = Some(count(group.count));
                (notification.since, notification.at) = (group.first_seen, wall);
                notification.evidence = Evidence {
                    error: Some(ErrorGroup::new(group.kind.clone(), group.message.clone(), group.count)),
                    routes: vec![(group.route.clone(), 1.0)],
                    ..Evidence::default()
                };
                notification
            })
        };
        if let Some(mut notification) = notification {
            self.sign(&mut notification);
            log(&notification);
            for channel in &self.0.channels {
                channel.offer_once(mono, &notification);
            }
        }
    }

    /// The error groups, the one with the most failures first.
    pub fn error_groups(&self) -> Vec<crate::patterns::Group> {
        lock(&self.0.state).groups.all().into_iter().map(|(_, group)| group.clone()).collect()
    }

    /// Where each rule is.
    pub fn rules(&self) -> Vec<RuleStatus> {
        lock(&self.0.state).rules.iter().map(Active::status).collect()
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

    /// Sends a notification that says that it is a test. Returns whether there is a channel of this name.
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

    /// The channels: their queues, losses and health.
    pub fn sinks(&self) -> Vec<Arc<dyn Sink>> {
        self.0.channels.iter().map(Channel::sink).collect()
    }

    /// Notifications that the limit of an hour kept back, by channel.
    pub fn capped(&self) -> HashMap<String, u64> {
        self.0.channels.iter().map(|channel| (channel.name().to_owned(), channel.capped())).collect()
    }

    /// Evaluates nothing any more: a service that ends is no incident.
    pub fn stop(&self) {
        lock(&self.0.state).is_stopped = true;
        drop(lock(&self.0.subscription).take());
    }

    /// What tells these alerts from others, see [`steeple_core::Identity`].
    pub(crate) fn identity(&self) -> steeple_core::Identity {
        steeple_core::Identity::of(&*self.0)
    }

    fn now(&self) -> (Duration, Duration) {
        let clock = self.0.history.clock();
        (clock.monotonic(), clock.unix())
    }

    fn notification(&self, rule: &Rule, transition: &Transition, wall: Duration) -> Notification {
        let status = match transition {
            Transition::Firing { .. } => Status::Firing,
            Transition::Reminder { .. } => Status::Reminder,
            Transition::Resolved { .. } => Status::Resolved,
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
        }
        self.sign(&mut notification);
        notification
    }

    /// Says which service it is about.
    fn sign(&self, notification: &mut Notification) {
        let about = &self.0.about;
        notification.service.clone_from(&about.service);
        notification.environment.clone_from(&about.environment);
        notification.instance.clone_from(&about.instance);
        notification.link.clone_from(&about.link);
    }

    fn notify(&self, mono: Duration, notification: Notification) {
        log(&notification);
        for channel in &self.0.channels {
            channel.offer(mono, &notification);
        }
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
        Status::Resolved => tracing::info!(target: "steeple::alerts", rule, severity, "{subject}"),
    }
}

impl Active {
    fn sample(&mut self) -> Sample {
        if let Some(value) = self.by_hand.take() {
            return Sample::gauge(value);
        }
        let value = self.watched.value();
        match value.value {
            Some(read) => Sample { value: read, samples: value.samples, bad: value.bad },
            None => Sample::none(),
        }
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

/// The name of a pattern, and what it means.
fn described(pattern: Pattern) -> (&'static str, String) {
    match pattern {
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

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl fmt::Debug for Alerts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Alerts").field("firing", &self.firing().len()).field("channels", &self.0.channels).finish()
    }
}
