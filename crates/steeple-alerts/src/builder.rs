use std::{
    collections::{HashSet, VecDeque},
    fmt,
    sync::{Arc, Mutex, OnceLock},
    time::Duration,
};

use steeple_metrics::Metrics;
use steeple_scrub::Scrubber;

use crate::{
    Alerts, BuildError, Rule, Rules,
    alerts::{Active, Inner, Shared, lock},
    channel::{ChannelContext, IntoChannel},
    engine::State,
    evidence::Seen,
    patterns::Groups,
};

/// Which service the alerts are about: on every notification.
#[derive(Clone, Debug, Default)]
pub(crate) struct About {
    pub(crate) service: Option<String>,
    pub(crate) environment: Option<String>,
    pub(crate) instance: Option<String>,
    pub(crate) version: Option<String>,
    pub(crate) link: Option<String>,
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
    slow_response: Duration,
    stop_when: Option<Box<dyn Fn() -> bool + Send + Sync>>,
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
            slow_response: Duration::from_secs(5),
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
            active.push(Active {
                rule,
                watched: Some(watched),
                state: State::default(),
                by_hand: None,
                is_acknowledged: false,
            });
        }
        let scrubber = self.scrubber;
        #[cfg(feature = "http")]
        let http = {
            let agent = concat!("steeple-alerts/", env!("CARGO_PKG_VERSION"));
            self.http.or(&steeple_export::Client::builder().user_agent(agent))
        };
        let context = ChannelContext {
            scrubber: scrubber.clone(),
            #[cfg(feature = "http")]
            http,
        };
        let channels =
            self.channels.into_iter().map(|channel| channel.into_channel(&context)).collect::<Result<_, _>>()?;
        let groups = Groups::new(self.about.version.clone().unwrap_or_default()).per_minute(self.per_minute);
        let state = Shared {
            rules: active,
            groups,
            silences: Vec::new(),
            log: VecDeque::new(),
            held: Vec::new(),
            deploy: None,
            is_stopped: false,
        };
        let alerts = Alerts(Arc::new(Inner {
            history: history.clone(),
            subscription: Mutex::new(None),
            channels,
            about: self.about,
            scrubber,
            started: history.clock().unix(),
            kept: OnceLock::new(),
            slow_response: self.slow_response,
            stop_when: self.stop_when,
            seen: Mutex::new(Seen::default()),
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
