use std::{
    collections::VecDeque,
    fmt,
    sync::{Arc, Mutex, OnceLock},
    time::Duration,
};

use steeple_metrics::Metrics;
use steeple_scrub::Scrubber;

#[cfg(feature = "file")]
use crate::file::{Change, RuleFile};
use crate::{
    Alerts, BuildError, Rule, Rules,
    about::About,
    alerts::{Inner, Shared, lock},
    channel::{ChannelContext, IntoChannel},
    evidence::Seen,
    patterns::Groups,
};

/// The name of the machine: it identifies the instance.
fn host() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name = name.trim();
    if name.is_empty() { "unknown".to_owned() } else { name.to_owned() }
}

/// Options for [`Alerts`], all with a default.
#[must_use = "options do nothing until they are built"]
pub struct AlertsBuilder {
    rules: Vec<Rule>,
    #[cfg(feature = "file")]
    file: Option<std::path::PathBuf>,
    channels: Vec<Box<dyn IntoChannel>>,
    scrubber: Scrubber,
    about: About,
    per_minute: u64,
    #[cfg(feature = "http")]
    http: steeple_export::ClientBuilder,
    #[cfg(feature = "alertmanager")]
    alertmanager: Option<crate::channel::Alertmanager>,
    #[cfg(feature = "heartbeat")]
    heartbeat: Option<crate::channel::Heartbeat>,
    slow_response: Duration,
    #[cfg(feature = "file")]
    file_interval: Duration,
    regression_after: Duration,
    #[cfg(feature = "http")]
    group_wait: Option<Duration>,
    stop_when: Option<Box<dyn Fn() -> bool + Send + Sync>>,
}

impl Default for AlertsBuilder {
    fn default() -> Self {
        Self {
            rules: Vec::new(),
            #[cfg(feature = "file")]
            file: None,
            channels: Vec::new(),
            scrubber: Scrubber::default(),
            about: About::default(),
            per_minute: 10,
            #[cfg(feature = "http")]
            http: steeple_export::ClientBuilder::default(),
            #[cfg(feature = "alertmanager")]
            alertmanager: None,
            #[cfg(feature = "heartbeat")]
            heartbeat: None,
            slow_response: Duration::from_secs(5),
            #[cfg(feature = "file")]
            file_interval: Duration::from_secs(5),
            regression_after: Duration::from_secs(86_400),
            #[cfg(feature = "http")]
            group_wait: None,
            stop_when: None,
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

    /// Reads rules from a file, and again when it changes, see [`file`](crate::file). Its base, unless it sets another
    /// itself, are the rules that are set here, or else [`Rules::mission`] with their guards. Default: none.
    #[cfg(feature = "file")]
    pub fn rules_file(mut self, path: impl Into<std::path::PathBuf>) -> Self {
        self.file = Some(path.into());
        self
    }

    /// How often the file of [`rules_file`](Self::rules_file) is compared with its last contents. Default: 5 seconds.
    #[cfg(feature = "file")]
    pub fn rules_interval(mut self, interval: Duration) -> Self {
        self.file_interval = interval;
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

    /// How long alerts gather for one message, in every channel that sends several in one. Overrides the channel's batch delay.
    /// Default: what the channel has, 10 seconds.
    #[cfg(feature = "http")]
    pub fn group_wait(mut self, wait: Duration) -> Self {
        self.group_wait = Some(wait);
        self
    }

    /// Sends every alert to Alertmanager as well, which groups, silences and repeats it. Rules about the whole service are left
    /// out then: on a fleet they are Prometheus's, from [`Rules::to_prometheus`], so that not every instance sends the same alert.
    #[cfg(feature = "alertmanager")]
    pub fn alertmanager(mut self, alertmanager: crate::channel::Alertmanager) -> Self {
        self.alertmanager = Some(alertmanager);
        self
    }

    /// Pings a URL for as long as the rules are evaluated.
    #[cfg(feature = "heartbeat")]
    pub fn heartbeat(mut self, heartbeat: crate::channel::Heartbeat) -> Self {
        self.heartbeat = Some(heartbeat);
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

    /// After how long without a failure a group of errors that is back is reported as a regression. Default: a day.
    pub fn regression_after(mut self, time: Duration) -> Self {
        self.regression_after = time;
        self
    }

    /// From how long on [`Alerts::response`] reports. Default: 5 seconds.
    pub fn slow_response(mut self, duration: Duration) -> Self {
        self.slow_response = duration;
        self
    }

    /// Evaluates nothing any more, and counts no error, once this is true: a service that ends is not an incident. It is asked
    /// at each evaluation and at each failure. Default: until [`Alerts::stop`].
    pub fn stop_when(mut self, is_ending: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        self.stop_when = Some(Box::new(is_ending));
        self
    }

    /// Whether there is a channel.
    pub fn has_channels(&self) -> bool {
        !self.channels.is_empty() || self.has_fleet() || self.has_heartbeat()
    }

    /// Whether alerts go to Alertmanager.
    pub fn has_fleet(&self) -> bool {
        #[cfg(feature = "alertmanager")]
        return self.alertmanager.is_some();
        #[cfg(not(feature = "alertmanager"))]
        false
    }

    #[cfg_attr(not(feature = "heartbeat"), expect(clippy::unused_self, reason = "the feature looks at it"))]
    fn has_heartbeat(&self) -> bool {
        #[cfg(feature = "heartbeat")]
        return self.heartbeat.is_some();
        #[cfg(not(feature = "heartbeat"))]
        false
    }

    /// Whether there is a rule, or a file of rules.
    pub fn has_rules(&self) -> bool {
        #[cfg(feature = "file")]
        if self.file.is_some() {
            return true;
        }
        !self.rules.is_empty()
    }

    /// Checks the rules, starts the channels and the evaluation.
    ///
    /// # Errors
    /// [`BuildError::is_rule`] when a rule can never fire, its name is taken, or there are too many; [`BuildError::is_channel`] when a channel
    /// cannot start.
    pub fn build(mut self, metrics: &Metrics) -> Result<Alerts, BuildError> {
        let of_instance = self.has_fleet();
        let mut rules: Rules = std::mem::take(&mut self.rules).into_iter().collect();
        #[cfg(feature = "file")]
        let file = match self.file.take() {
            Some(path) => {
                let base = if rules.iter().len() == 0 { Rules::mission().guarded() } else { rules.clone() };
                let mut file = RuleFile::new(path, base, of_instance);
                match file.read() {
                    Change::Rules(found) => rules = found,
                    Change::Invalid(error) => return Err(BuildError::file(error)),
                    Change::Same => (),
                }
                Some(file)
            }
            None => None,
        };
        if of_instance {
            rules = rules.of_instance();
            self.about.instance.get_or_insert_with(host);
        }
        let history = metrics.history();
        let scrubber = self.scrubber;
        #[cfg(feature = "http")]
        let http = {
            let agent = concat!("steeple-alerts/", env!("CARGO_PKG_VERSION"));
            self.http.or(&steeple_export::Client::builder().user_agent(agent))
        };
        let context = ChannelContext {
            scrubber: scrubber.clone(),
            #[cfg(feature = "http")]
            group_wait: self.group_wait,
            #[cfg(feature = "http")]
            http,
        };
        let channels =
            self.channels.into_iter().map(|channel| channel.into_channel(&context)).collect::<Result<_, _>>()?;
        let groups = Groups::new(self.about.version.clone().unwrap_or_default())
            .per_minute(self.per_minute)
            .regression_after(self.regression_after);
        let state = Shared {
            rules: Vec::new(),
            groups,
            silences: Vec::new(),
            log: VecDeque::new(),
            held: Vec::new(),
            deploy: None,
            is_stopped: false,
        };
        #[cfg(feature = "alertmanager")]
        let resolved_for = self.alertmanager.as_ref().map_or(Duration::ZERO, |alertmanager| alertmanager.resolved_for);
        #[cfg(not(feature = "alertmanager"))]
        let resolved_for = Duration::ZERO;
        let alerts = Alerts(Arc::new(Inner {
            history: history.clone(),
            subscription: Mutex::new(None),
            channels,
            about: self.about,
            scrubber,
            started: history.clock().unix(),
            kept: OnceLock::new(),
            slow_response: self.slow_response,
            resolved_for,
            stop_when: self.stop_when,
            seen: Mutex::new(Seen::default()),
            state: Mutex::new(state),
            fleet: OnceLock::new(),
            heartbeat: OnceLock::new(),
            #[cfg(feature = "file")]
            reloads: crate::file::Reloads::default(),
            evaluated: Mutex::new(steeple_core::clock::now()),
        }));
        alerts.set_rules(rules)?;
        #[cfg(feature = "alertmanager")]
        if let Some(alertmanager) = self.alertmanager {
            let weak = Arc::downgrade(&alerts.0);
            let current = move || weak.upgrade().map(|inner| Alerts(inner).for_fleet()).unwrap_or_default();
            let _first = alerts.0.fleet.set(alertmanager.start(&context, current)?);
        }
        #[cfg(feature = "heartbeat")]
        if let Some(heartbeat) = self.heartbeat {
            let weak = Arc::downgrade(&alerts.0);
            let stalled_after = heartbeat.stalled_after;
            let is_alive = move || weak.upgrade().is_some_and(|inner| Alerts(inner).is_evaluating(stalled_after));
            let _first = alerts.0.heartbeat.set(heartbeat.start(&context, is_alive)?);
        }
        let weak = Arc::downgrade(&alerts.0);
        let subscription = history.subscribe(move |_sampled| {
            if let Some(inner) = weak.upgrade() {
                Alerts(inner).evaluate();
            }
        });
        *lock(&alerts.0.subscription) = Some(subscription);
        history.start().map_err(BuildError::history)?;
        #[cfg(feature = "file")]
        if let Some(file) = file {
            alerts.watch_file(file, self.file_interval)?;
        }
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
