//! Alerts: rules over the metrics, evaluated in the process.

#[cfg_attr(not(feature = "mail"), path = "mail_off.rs")]
mod mail;
#[cfg_attr(not(feature = "sentry"), path = "to_sentry_off.rs")]
mod to_sentry;

use std::sync::Arc;

use super::{Integration, NoCalls, Setting, Setup, Started};
use crate::{ConfigError, Steeple, SteepleBuilder, env::Lookup, sink::StopsFirst};
use steeple_alerts::{
    Alerts, AlertsBuilder, AlertsObserver, Rules,
    channel::{Alertmanager, Heartbeat, Payload, Slack, Webhook},
};

pub(crate) type Options = AlertsOptions;
pub(crate) type Observer = Option<AlertsObserver>;

/// The options for alerts, and where the facade sends them itself.
#[derive(Debug, Default)]
pub(crate) struct AlertsOptions {
    builder: AlertsBuilder,
    to_sentry: bool,
    /// A setting without effect.
    warning: Option<&'static str>,
}

impl SteepleBuilder {
    /// Changes the options for alerts. What the environment has set stays, unless this sets the same.
    ///
    /// Off without a channel and without a rule. With a channel and no rule, the rules are
    /// [`Rules::mission`](steeple_alerts::Rules::mission) with their guards. `ALERTS_FILE` names a file of rules that is read
    /// again when it changes and by [`Steeple::reload`], see [`steeple_alerts::file`].
    ///
    /// ```
    /// # fn main() -> Result<(), steeple::ConfigError> {
    /// use std::time::Duration;
    /// use steeple::{alerts::{Rule, Rules}, metrics::indicator::Indicator};
    ///
    /// let slow = Rule::new("checkout_slow", Indicator::quantile(0.95).of("POST", "/checkout"), Duration::from_secs(300));
    /// let builder = steeple::Steeple::builder_from_env()?
    ///     .alerts(|alerts| alerts.rules(Rules::mission().guarded()).rule(slow.above(1.5)));
    /// # let _unused = builder;
    /// # Ok(())
    /// # }
    /// ```
    pub fn alerts(mut self, change: impl FnOnce(AlertsBuilder) -> AlertsBuilder) -> Self {
        self.integrations.alerts.change(|mut options| {
            options.builder = change(options.builder);
            options
        });
        self
    }
}

impl Steeple {
    /// The alerts. `None`: off.
    pub fn alerts(&self) -> Option<&Alerts> {
        self.running().alerts.as_ref()
    }
}

/// The file of the rules.
const FILE: &str = "ALERTS_FILE";

/// What stands between commas.
fn list(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|item| !item.is_empty())
}

/// What the webhook gets.
fn payload(env: &dyn Lookup) -> Result<Payload, ConfigError> {
    const PAYLOAD: &str = "ALERTS_WEBHOOK_PAYLOAD";
    match env.text(PAYLOAD)?.as_deref() {
        None | Some("steeple") => Ok(Payload::Steeple),
        Some("alertmanager") => Ok(Payload::Alertmanager),
        Some(other) => Err(ConfigError::variable_value(PAYLOAD, other, "`steeple` or `alertmanager`")),
    }
}

impl Integration for AlertsOptions {
    type Handle = Alerts;
    type Observer = Observer;
    type CallObserver = NoCalls;

    fn from_env(env: &dyn Lookup) -> Result<Setting<Self>, ConfigError> {
        let mut options = AlertsBuilder::default();
        let mut variable = None;
        if let Some(url) = env.secret("ALERTS_SLACK_WEBHOOK_URL")? {
            options = options.channel(Slack::new(url));
            variable.get_or_insert("ALERTS_SLACK_WEBHOOK_URL");
        }
        match (env.secret("ALERTS_WEBHOOK_URL")?, env.secret("ALERTS_WEBHOOK_SECRET")?) {
            (Some(url), Some(secret)) => {
                options = options.channel(Webhook::new(url, secret).payload(payload(env)?));
                variable.get_or_insert("ALERTS_WEBHOOK_URL");
            }
            (Some(_), None) => {
                let expected = "`whsec_` and base64 of 24 to 64 bytes, since ALERTS_WEBHOOK_URL is set";
                return Err(ConfigError::missing("ALERTS_WEBHOOK_SECRET", expected));
            }
            (None, Some(_)) => {
                let expected = "a URL, since ALERTS_WEBHOOK_SECRET is set";
                return Err(ConfigError::missing("ALERTS_WEBHOOK_URL", expected));
            }
            (None, None) => (),
        }
        let warning;
        (options, warning) = mail::from_env(env, options, &mut variable)?;
        if let Some(urls) = env.secret("ALERTS_ALERTMANAGER_URL")? {
            options = options.alertmanager(Alertmanager::new(list(&urls)));
            variable.get_or_insert("ALERTS_ALERTMANAGER_URL");
        }
        if let Some(url) = env.secret("ALERTS_HEARTBEAT_URL")? {
            options = options.heartbeat(Heartbeat::new(url));
            variable.get_or_insert("ALERTS_HEARTBEAT_URL");
        }
        if let Some(path) = env.text(FILE)? {
            options = options.rules_file(path);
            variable.get_or_insert(FILE);
        }
        if let Some(url) = env.text("DASHBOARD_URL")? {
            options = options.dashboard(url);
        }
        let to_sentry = super::switch(env, "ALERTS_SENTRY")?;
        if to_sentry {
            variable.get_or_insert("ALERTS_SENTRY");
        }
        Ok(Setting { options: Self { builder: options, to_sentry, warning }, variable })
    }

    fn start(self, setup: &mut Setup<'_>) -> Result<Option<Started<Alerts>>, ConfigError> {
        let Self { mut builder, to_sentry: wants_sentry, warning } = self;
        setup.warnings.extend(warning.map(str::to_owned));
        if wants_sentry {
            match to_sentry::channel(setup) {
                Some(channel) => builder = builder.channel(channel),
                None => setup.warnings.push("alerts do not go to Sentry, which is off".to_owned()),
            }
        }
        if !builder.has_channels() && !builder.has_rules() {
            return Ok(None);
        }
        let mut options = builder.scrubber(setup.scrubber.clone()).http(|http| http.or(&setup.http));
        if !options.has_rules() {
            options = options.rules(Rules::mission().guarded());
        }
        if let Some(name) = &setup.service.name {
            options = options.service(name.clone());
        }
        if let Some(version) = &setup.service.version {
            options = options.version(version.clone());
        }
        if let Some(environment) = &setup.service.environment {
            options = options.environment(environment.clone());
        }
        let shutdown = setup.shutdown.clone();
        // A service that ends is not an incident.
        options = options.stop_when(move || shutdown.has_begun());
        let alerts = options.build(setup.metrics).map_err(|error| {
            if error.is_file() { ConfigError::rejected(FILE, &error) } else { ConfigError::part("alerts", &error) }
        })?;
        if let Some(state) = &setup.state {
            alerts.keep_in(state);
        }
        let mut names = vec!["the log".to_owned()];
        names.extend(alerts.channels().filter(|name| *name == "sentry").map(str::to_owned));
        for sink in alerts.sinks() {
            names.push(sink.name().to_owned());
            setup.counted.push(Arc::clone(&sink));
            let stopped = alerts.clone();
            setup.sinks.push(Arc::new(StopsFirst::new(sink, move || stopped.stop())));
        }
        let capped = alerts.clone();
        setup.own.add_by(
            "steeple_alerts_capped_total",
            "Notifications that a channel did not get because it had too many in an hour.",
            "channel",
            move || capped.capped().into_iter().collect(),
        );
        let reloads = alerts.clone();
        setup.own.add_by(
            "steeple_alerts_reloads_total",
            "Times that a changed file of rules was read: taken, or invalid, so that the rules before stayed.",
            "result",
            move || {
                let (ok, invalid) = reloads.reloads();
                vec![("ok".to_owned(), ok), ("invalid".to_owned(), invalid)]
            },
        );
        Ok(Some(Started { handle: alerts, to: names.join(", ") }))
    }

    fn reload(handle: &Alerts) {
        handle.reload();
    }

    fn observer(handle: Option<&Alerts>) -> Observer {
        handle.map(Alerts::observer)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    fn from_env(env: &[(&'static str, &'static str)]) -> Result<Setting<AlertsOptions>, ConfigError> {
        AlertsOptions::from_env(&env.iter().copied().collect::<HashMap<_, _>>())
    }

    #[test]
    fn each_channel_is_turned_on_by_its_variable() {
        assert!(!from_env(&[]).unwrap().options.builder.has_channels());
        for variables in [
            &[("ALERTS_SLACK_WEBHOOK_URL", "https://hooks.slack.com/services/T/B/X")][..],
            &[("ALERTS_ALERTMANAGER_URL", "http://am-0:9093,http://am-1:9093")],
            &[("ALERTS_HEARTBEAT_URL", "https://example.org/ping/1")],
        ] {
            let setting = from_env(variables).unwrap();
            assert!(setting.options.builder.has_channels(), "{variables:?}");
            assert_eq!(setting.variable, Some(variables[0].0));
        }
        assert!(from_env(&[("ALERTS_ALERTMANAGER_URL", "http://am-0:9093")]).unwrap().options.builder.has_fleet());
        assert!(!from_env(&[("DASHBOARD_URL", "https://example.org/steeple")]).unwrap().options.builder.has_channels());
    }

    #[test]
    fn mail_needs_its_feature_and_all_of_its_variables() {
        let all = [
            ("ALERTS_SMTP_URL", "smtp://user:hunter2@mail.example.org"),
            ("ALERTS_MAIL_FROM", "alerts@example.org"),
            ("ALERTS_MAIL_TO", "ann@example.org, ben@example.org"),
        ];
        let setting = from_env(&all).unwrap();
        assert_eq!(setting.options.builder.has_channels(), mail::IS_COMPILED);
        assert_eq!(setting.options.warning.is_some(), !mail::IS_COMPILED, "a setting without effect");
        if !mail::IS_COMPILED {
            return;
        }
        assert_eq!(setting.variable, Some("ALERTS_SMTP_URL"));
        for (variables, missing) in
            [(&all[..1], "ALERTS_MAIL_FROM"), (&all[..2], "ALERTS_MAIL_TO"), (&all[2..], "ALERTS_SMTP_URL")]
        {
            let error = from_env(variables).err().unwrap();
            assert_eq!(error.variable(), Some(missing));
            assert!(error.to_string().starts_with(&format!("{missing} is not set; it has to hold ")), "{error}");
            assert!(!error.to_string().contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn a_variable_without_those_that_it_needs_is_an_error_without_its_value() {
        for (variables, missing) in [
            ([("ALERTS_WEBHOOK_URL", "https://hunter2.example.org")], "ALERTS_WEBHOOK_SECRET"),
            ([("ALERTS_WEBHOOK_SECRET", "hunter2hunter2")], "ALERTS_WEBHOOK_URL"),
        ] {
            let error = from_env(&variables).err().unwrap();
            assert_eq!(error.variable(), Some(missing));
            assert!(!error.to_string().contains("hunter2"), "{error}");
        }
    }
}
