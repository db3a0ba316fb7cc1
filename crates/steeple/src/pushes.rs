//! Metrics that are pushed: where the code or OpenTelemetry's variables ask for it.

use steeple_metrics::{Metrics, MetricsBuilder, push::PushOptions};

use crate::{
    ConfigError, SteepleBuilder,
    env::{Lookup, Service},
    integrations::Setup,
    summary::Integrations,
};

/// The pushes, and their variables.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pushes(Vec<(PushOptions, Option<&'static str>)>);

const EXPORTER: &str = "OTEL_METRICS_EXPORTER";
const ENDPOINT: &str = "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT";

impl SteepleBuilder {
    /// Pushes the metrics as well: to a Pushgateway, by remote write, by OTLP. The last push is at the end of the process.
    ///
    /// OpenTelemetry's variables for metrics add one by OTLP. `/metrics` stays as it is.
    ///
    /// ```
    /// # fn main() -> Result<(), steeple::ConfigError> {
    /// use steeple::metrics::push::{PushOptions, Temporality};
    ///
    /// let push = PushOptions::otlp("http://127.0.0.1:4318/v1/metrics", "shop").temporality(Temporality::Delta);
    /// let builder = steeple::Steeple::builder_from_env()?.push_metrics(push);
    /// # let _unused = builder;
    /// # Ok(())
    /// # }
    /// ```
    pub fn push_metrics(mut self, push: PushOptions) -> Self {
        self.pushes.0.push((push, None));
        self
    }
}

impl Pushes {
    pub(crate) fn from_env(env: &dyn Lookup) -> Result<Self, ConfigError> {
        // One road: New Relic's own API where metrics do not go by OTLP.
        let push = match otlp::from_env(env)? {
            otlp::Found::Push(push, variable) => Some((*push, Some(variable))),
            otlp::Found::None => None,
            otlp::Found::Unset => new_relic::from_env(env)?,
        };
        Ok(Self(push.into_iter().collect()))
    }

    /// Where one of them sends by OTLP, the metrics have the families of OpenTelemetry's conventions as well.
    pub(crate) fn of_metrics(&self, options: MetricsBuilder) -> MetricsBuilder {
        if self.0.iter().any(|(push, _)| push.is_otlp()) { options.with_otel_names() } else { options }
    }

    pub(crate) fn start(
        self,
        service: &Service,
        metrics: &Metrics,
        setup: &mut Setup<'_>,
        summary: &mut Integrations,
    ) -> Result<(), ConfigError> {
        for (push, variable) in self.0 {
            let mut push = push;
            if push.has_resource() {
                for (key, value) in [
                    ("service.name", &service.name),
                    ("service.version", &service.version),
                    ("deployment.environment.name", &service.environment),
                    ("cloud.region", &service.region),
                ] {
                    if let Some(value) = value {
                        push = push.resource_or(key, value);
                    }
                }
            }
            let to = push.host().to_owned();
            push = push.http(|http| http.or(&setup.http));
            let pusher = push.build(metrics).map_err(|error| ConfigError::part("pushes of metrics", &error))?;
            let sink = pusher.spawn().map_err(|error| ConfigError::part("pushes of metrics", &error))?;
            setup.sinks.push(std::sync::Arc::new(sink.clone()));
            setup.counted.push(std::sync::Arc::new(sink));
            summary.on("pushed metrics", to, variable);
        }
        Ok(())
    }
}

mod otlp {
    use std::time::Duration;

    use http::{HeaderName, HeaderValue};
    use steeple_metrics::push::{HistogramKind, PushOptions, Temporality};

    use super::{ENDPOINT, EXPORTER, new_relic};
    use crate::{ConfigError, env::Lookup};

    const GENERIC: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
    const PROTOCOLS: [&str; 2] = ["OTEL_EXPORTER_OTLP_METRICS_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"];
    const HEADERS: [&str; 2] = ["OTEL_EXPORTER_OTLP_METRICS_HEADERS", "OTEL_EXPORTER_OTLP_HEADERS"];
    const TIMEOUTS: [&str; 2] = ["OTEL_EXPORTER_OTLP_METRICS_TIMEOUT", "OTEL_EXPORTER_OTLP_TIMEOUT"];
    const INTERVAL: &str = "OTEL_METRIC_EXPORT_INTERVAL";
    const TEMPORALITY: &str = "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE";
    const HISTOGRAMS: &str = "OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION";
    const DISABLED: &str = "OTEL_SDK_DISABLED";

    /// OpenTelemetry's variables for metrics.
    pub(super) enum Found {
        Push(Box<PushOptions>, &'static str),
        /// Not to be pushed.
        None,
        Unset,
    }

    /// Off, unless a variable names metrics: their exporter or their endpoint.
    pub(super) fn from_env(env: &dyn Lookup) -> Result<Found, ConfigError> {
        let own = env.text(ENDPOINT)?;
        let exporter = env.text(EXPORTER)?;
        let variable = match exporter.as_deref() {
            Some("otlp") => EXPORTER,
            // What Prometheus scrapes is there anyway.
            Some("none" | "prometheus") => return Ok(Found::None),
            Some(other) => {
                return Err(ConfigError::variable_value(EXPORTER, other, "`otlp`, `prometheus` or `none`"));
            }
            None if own.is_some() => ENDPOINT,
            None => return Ok(Found::Unset),
        };
        if env.text(DISABLED)?.is_some_and(|value| value.eq_ignore_ascii_case("true")) {
            return Ok(Found::None);
        }
        if let Some((name, protocol)) = env.first(&PROTOCOLS)?
            && protocol != "http/protobuf"
        {
            let expected =
                "`http/protobuf` for metrics: set OTEL_EXPORTER_OTLP_METRICS_PROTOCOL where traces use another";
            return Err(ConfigError::variable_value(name, protocol, expected));
        }
        // An endpoint of all signals is their root. As for spans: to New Relic where there is a key and no endpoint.
        let (url, key) = match (own, env.text(GENERIC)?, env.secret(new_relic::KEY)?) {
            (Some(own), _, _) => (own, None),
            (None, Some(root), _) => (format!("{}/v1/metrics", root.trim_end_matches('/')), None),
            (None, None, Some(key)) => (new_relic::Region::of(env, &key)?.otlp().to_owned(), Some(key)),
            (None, None, None) => ("http://localhost:4318/v1/metrics".to_owned(), None),
        };
        let mut push = PushOptions::otlp(url, "").timeout(time(env, &TIMEOUTS)?.unwrap_or(Duration::from_secs(10)));
        if let Some(key) = key {
            let key = new_relic::header(&key)?;
            // What New Relic recommends.
            push = push.header(HeaderName::from_static("api-key"), key).temporality(Temporality::Delta);
            push = push.histograms(HistogramKind::Exponential);
        }
        if let Some(interval) = time(env, &[INTERVAL])? {
            push = push.interval(interval);
        }
        if let Some((name, headers)) = env.first(&HEADERS)? {
            for pair in headers.split(',').filter(|pair| !pair.trim().is_empty()) {
                let header = pair.split_once('=').and_then(|(key, value)| {
                    let value = HeaderValue::from_str(value.trim()).ok()?;
                    Some((key.trim().parse::<HeaderName>().ok()?, value))
                });
                let Some((key, value)) = header else {
                    return Err(ConfigError::secret_value(name, "`name=value` pairs with commas between"));
                };
                push = push.header(key, value);
            }
        }
        let preference = env.text(TEMPORALITY)?.map(|text| text.to_ascii_lowercase());
        push = match preference.as_deref() {
            None => push,
            Some("cumulative") => push.temporality(Temporality::Cumulative),
            // Steeple has no asynchronous counters, by which the two differ.
            Some("delta" | "lowmemory") => push.temporality(Temporality::Delta),
            Some(other) => {
                return Err(ConfigError::variable_value(TEMPORALITY, other, "`cumulative`, `delta` or `lowmemory`"));
            }
        };
        let histograms = env.text(HISTOGRAMS)?.map(|text| text.to_ascii_lowercase());
        push = match histograms.as_deref() {
            None => push,
            Some("explicit_bucket_histogram") => push.histograms(HistogramKind::Explicit),
            Some("base2_exponential_bucket_histogram") => push.histograms(HistogramKind::Exponential),
            Some(other) => {
                let expected = "`explicit_bucket_histogram` or `base2_exponential_bucket_histogram`";
                return Err(ConfigError::variable_value(HISTOGRAMS, other, expected));
            }
        };
        Ok(Found::Push(Box::new(push), variable))
    }

    /// Milliseconds, as OpenTelemetry has them.
    fn time(env: &dyn Lookup, names: &[&'static str]) -> Result<Option<Duration>, ConfigError> {
        let Some((name, value)) = env.first(names)? else { return Ok(None) };
        match value.parse() {
            Ok(millis) if (1..=86_400_000).contains(&millis) => Ok(Some(Duration::from_millis(millis))),
            _ => Err(ConfigError::variable_value(
                name,
                value,
                "a whole number of milliseconds from 1 to 86400000 (a day)",
            )),
        }
    }
}

/// New Relic's Metric API.
mod new_relic {
    use http::HeaderValue;
    use steeple_metrics::push::PushOptions;

    use crate::{ConfigError, env::Lookup};

    pub(super) const KEY: &str = "NEW_RELIC_LICENSE_KEY";
    const ACCOUNT: &str = "NEW_RELIC_ACCOUNT_ID";
    const ENDPOINT: &str = "NEW_RELIC_METRICS_ENDPOINT";
    const REGION: &str = "NEW_RELIC_REGION";

    /// Where an account's data lives.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(super) enum Region {
        Us,
        Eu,
    }

    impl Region {
        /// As it is set, else by the key: European ones begin with `eu`.
        pub(super) fn of(env: &dyn Lookup, key: &str) -> Result<Self, ConfigError> {
            match env.text(REGION)?.map(|region| region.to_ascii_lowercase()).as_deref() {
                None if key.starts_with("eu") => Ok(Self::Eu),
                None | Some("us") => Ok(Self::Us),
                Some("eu") => Ok(Self::Eu),
                Some(other) => Err(ConfigError::variable_value(REGION, other, "`us` or `eu`")),
            }
        }

        const fn metrics(self) -> &'static str {
            match self {
                Self::Us => "https://metric-api.newrelic.com/metric/v1",
                Self::Eu => "https://metric-api.eu.newrelic.com/metric/v1",
            }
        }

        pub(super) const fn otlp(self) -> &'static str {
            match self {
                Self::Us => "https://otlp.nr-data.net/v1/metrics",
                Self::Eu => "https://otlp.eu01.nr-data.net/v1/metrics",
            }
        }
    }

    pub(super) fn header(key: &str) -> Result<HeaderValue, ConfigError> {
        let header = HeaderValue::from_str(key).ok().filter(|header| !header.is_empty());
        header.ok_or_else(|| ConfigError::secret_value(KEY, "an ingest license key: letters and digits"))
    }

    /// Key and account together turn it on, as they do for events.
    pub(super) fn from_env(env: &dyn Lookup) -> Result<Option<(PushOptions, Option<&'static str>)>, ConfigError> {
        let endpoint = env.text(ENDPOINT)?;
        let (Some(_account), Some(key)) = (env.text(ACCOUNT)?, env.secret(KEY)?) else { return Ok(None) };
        let _valid = header(&key)?;
        let url = match endpoint {
            Some(host) => format!("{}/metric/v1", host.trim_end_matches('/')),
            None => Region::of(env, &key)?.metrics().to_owned(),
        };
        Ok(Some((PushOptions::new_relic(url, key, ""), Some(ACCOUNT))))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    fn variable(pairs: &[(&'static str, &'static str)]) -> Option<&'static str> {
        let pushes = Pushes::from_env(&pairs.iter().copied().collect::<HashMap<_, _>>()).unwrap();
        pushes.0.first().map(|(_, variable)| variable.unwrap())
    }

    #[test]
    fn metrics_are_pushed_where_a_variable_names_them_and_not_where_it_names_all_signals() {
        assert_eq!(variable(&[]), None);
        assert_eq!(variable(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4318")]), None);
        assert_eq!(variable(&[(EXPORTER, "otlp")]), Some(EXPORTER));
        assert_eq!(variable(&[(ENDPOINT, "http://127.0.0.1:4318/v1/metrics")]), Some(ENDPOINT));
        assert_eq!(variable(&[(ENDPOINT, "http://127.0.0.1:4318/v1/metrics"), (EXPORTER, "none")]), None);
        assert_eq!(variable(&[(EXPORTER, "otlp"), ("OTEL_SDK_DISABLED", "true")]), None);
    }

    #[test]
    fn new_relic_gets_metrics_by_one_road() {
        let found = |pairs: &[(&'static str, &'static str)]| {
            let pushes = Pushes::from_env(&pairs.iter().copied().collect::<HashMap<_, _>>()).unwrap();
            pushes.0.first().map(|(push, _)| (push.host().to_owned(), push.is_otlp()))
        };
        let to = |host: &str, is_otlp| Some((host.to_owned(), is_otlp));
        let (key, account) = (("NEW_RELIC_LICENSE_KEY", "license"), ("NEW_RELIC_ACCOUNT_ID", "12345"));
        // The key alone is for spans and log records.
        assert_eq!(found(&[key]), None);
        assert_eq!(found(&[key, account]), to("metric-api.newrelic.com", false));
        assert_eq!(found(&[("NEW_RELIC_LICENSE_KEY", "eu01xx"), account]), to("metric-api.eu.newrelic.com", false));
        assert_eq!(found(&[key, account, ("NEW_RELIC_REGION", "EU")]), to("metric-api.eu.newrelic.com", false));
        let own = ("NEW_RELIC_METRICS_ENDPOINT", "http://127.0.0.1:9");
        assert_eq!(found(&[key, account, own]), to("127.0.0.1:9", false));
        // By OTLP, or not at all.
        assert_eq!(found(&[key, account, (EXPORTER, "otlp")]), to("otlp.nr-data.net", true));
        assert_eq!(
            found(&[("NEW_RELIC_LICENSE_KEY", "eu01xx"), (EXPORTER, "otlp")]),
            to("otlp.eu01.nr-data.net", true)
        );
        assert_eq!(
            found(&[key, account, own, (ENDPOINT, "http://127.0.0.1:4318/v1/metrics")]),
            to("127.0.0.1:4318", true)
        );
        assert_eq!(found(&[key, account, (EXPORTER, "none")]), None);
    }

    #[test]
    fn an_invalid_value_is_rejected_with_its_name() {
        for (name, value) in [
            (EXPORTER, "console"),
            ("OTEL_EXPORTER_OTLP_METRICS_PROTOCOL", "grpc"),
            ("OTEL_METRIC_EXPORT_INTERVAL", "often"),
            ("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", "sometimes"),
            ("OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION", "none"),
            ("OTEL_EXPORTER_OTLP_METRICS_HEADERS", "secret"),
        ] {
            let error = Pushes::from_env(&HashMap::from([(EXPORTER, "otlp"), (name, value)])).unwrap_err();
            assert_eq!(error.variable(), Some(name), "{error}");
        }
    }
}
