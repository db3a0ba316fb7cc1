use std::time::Duration;

use http::HeaderName;

use crate::{
    BuildError, NewRelic, Otlp, Protocol, Sampling, TraceBuilder,
    export::Settings,
    otlp::{Signal, header_value},
};

impl TraceBuilder {
    /// Reads the variables of OpenTelemetry's specification through `lookup`, such as `|name| std::env::var(name).ok()`. What
    /// is not UTF-8 is for `lookup` to refuse.
    ///
    /// | variable | what |
    /// | --- | --- |
    /// | `OTEL_SERVICE_NAME`, `OTEL_RESOURCE_ATTRIBUTES`, `NEW_RELIC_APP_NAME` | who this is |
    /// | `OTEL_PROPAGATORS` | `tracecontext`, `baggage`, `b3`, `b3multi`, `none` |
    /// | `OTEL_TRACES_SAMPLER`, `OTEL_TRACES_SAMPLER_ARG` | see [`Sampling::from_names`] |
    /// | `OTEL_EXPORTER_OTLP_ENDPOINT`, `_PROTOCOL`, `_HEADERS`, `_TIMEOUT`, `_COMPRESSION`, `_CERTIFICATE`, `_INSECURE`; `OTEL_EXPORTER_OTLP_TRACES_…` first | the receiver of spans |
    /// | the same with `OTEL_EXPORTER_OTLP_LOGS_…` first | the receiver of log records |
    /// | `HTTPS_PROXY`, `HTTP_PROXY`, `NO_PROXY`, or the same in lower case | proxies in between, never to this machine |
    /// | `NEW_RELIC_LICENSE_KEY` | to New Relic, unless an OTLP endpoint is set |
    /// | `OTEL_TRACES_EXPORTER`, `OTEL_LOGS_EXPORTER` | `otlp` or `none` |
    /// | `OTEL_BSP_SCHEDULE_DELAY`, `_MAX_QUEUE_SIZE`, `_MAX_EXPORT_BATCH_SIZE`, `_EXPORT_TIMEOUT` | the queue of spans; `OTEL_BLRP_…` that of log records |
    /// | `OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT`, `OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT`, and without `SPAN_` | bounds of a span |
    /// | `OTEL_SDK_DISABLED` | `true`: nothing is exported |
    ///
    /// Unlike in the specification, a signal is not exported unless one of the variables names its receiver or
    /// `OTEL_…_EXPORTER` is `otlp`: everything else is off. An empty variable counts as not set.
    ///
    /// # Errors
    /// [`BuildError::is_setting`] for an invalid value, whether or not anything is exported; the specification ignores it.
    ///
    /// # Examples
    /// ```
    /// use steeple_trace::TraceBuilder;
    ///
    /// let builder = TraceBuilder::from_env(|name| match name {
    ///     "OTEL_SERVICE_NAME" => Some("taskboard".to_owned()),
    ///     "OTEL_TRACES_SAMPLER" => Some("always_off".to_owned()),
    ///     _ => None,
    /// })?;
    /// # let _unused = builder;
    /// # Ok::<(), steeple_trace::BuildError>(())
    /// ```
    pub fn from_env(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, BuildError> {
        let get = |name: &str| lookup(name).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty());
        let mut builder = Self::default();
        builder.service_name = get("OTEL_SERVICE_NAME");
        for pair in
            get("OTEL_RESOURCE_ATTRIBUTES").unwrap_or_default().split(',').filter(|pair| !pair.trim().is_empty())
        {
            let (key, value) =
                pair.split_once('=').ok_or_else(|| BuildError::setting("OTEL_RESOURCE_ATTRIBUTES", pair, PAIRS))?;
            builder = builder.resource(key.trim(), percent_decoded(value.trim()));
        }
        let has_name = builder.service_name.is_some()
            || builder.resource.iter().any(|attribute| attribute.key.as_str() == "service.name");
        if !has_name {
            builder.service_name = get("NEW_RELIC_APP_NAME");
        }
        if let Some(names) = get("OTEL_PROPAGATORS") {
            builder.propagators = names.parse()?;
        }
        if let Some(sampler) = get("OTEL_TRACES_SAMPLER") {
            builder.sampling = Sampling::from_names(&sampler, get("OTEL_TRACES_SAMPLER_ARG").as_deref())?;
        }
        builder.settings.read("OTEL_BSP", &get)?;
        builder.limits_from(&get)?;
        builder.export_from(&get)
    }

    fn limits_from(&mut self, get: &impl Fn(&str) -> Option<String>) -> Result<(), BuildError> {
        for name in ["OTEL_ATTRIBUTE_COUNT_LIMIT", "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT"] {
            self.max_attributes = number(name, get)?.unwrap_or(self.max_attributes);
        }
        for name in ["OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT", "OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT"] {
            self.max_value = number(name, get)?.unwrap_or(self.max_value);
        }
        Ok(())
    }

    fn export_from(mut self, get: &impl Fn(&str) -> Option<String>) -> Result<Self, BuildError> {
        // Checked whether or not anything is sent: a mistake is found when it is made.
        let traces = Receiver::from_lookup(Signal::Traces, get)?;
        #[cfg(feature = "otlp")]
        {
            self.logs.settings.read("OTEL_BLRP", get)?;
            if let Some(proxies) = steeple_export::ProxyOptions::from_lookup(get) {
                self.http = self.http.proxy(proxies);
            }
        }
        let logs = Receiver::from_lookup(Signal::Logs, get)?;
        if get("OTEL_SDK_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true")) {
            return Ok(self);
        }
        match traces {
            Some(Receiver::Otlp(otlp)) => self = self.otlp(otlp),
            Some(Receiver::NewRelic(new_relic)) => self = self.new_relic(new_relic),
            None => (),
        }
        #[cfg(feature = "otlp")]
        {
            self.logs.otlp = logs.map(|receiver| match receiver {
                Receiver::Otlp(otlp) => otlp,
                Receiver::NewRelic(new_relic) => new_relic.logs(),
            });
        }
        #[cfg(not(feature = "otlp"))]
        drop(logs);
        Ok(self)
    }
}

impl Settings {
    fn read(&mut self, prefix: &str, get: &impl Fn(&str) -> Option<String>) -> Result<(), BuildError> {
        if let Some(items) = number::<usize>(&format!("{prefix}_MAX_QUEUE_SIZE"), get)? {
            self.max_queue = items.max(1);
        }
        if let Some(items) = number(&format!("{prefix}_MAX_EXPORT_BATCH_SIZE"), get)? {
            self.max_batch = items;
        }
        self.max_batch = self.max_batch.clamp(1, self.max_queue);
        if let Some(millis) = number(&format!("{prefix}_SCHEDULE_DELAY"), get)? {
            self.delay = Duration::from_millis(millis);
        }
        if let Some(millis) = number(&format!("{prefix}_EXPORT_TIMEOUT"), get)? {
            self.export_timeout = Duration::from_millis(millis);
        }
        Ok(())
    }
}

/// The receiver of a signal.
enum Receiver {
    Otlp(Otlp),
    NewRelic(NewRelic),
}

impl Receiver {
    fn from_lookup(signal: Signal, get: &impl Fn(&str) -> Option<String>) -> Result<Option<Self>, BuildError> {
        let exporter = format!("OTEL_{}_EXPORTER", signal.name());
        let (asked, off) = match get(&exporter).as_deref() {
            None => (false, false),
            Some("otlp") => (true, false),
            Some("none") => (false, true),
            Some(other) => return Err(BuildError::setting(exporter, other, "`otlp` or `none`")),
        };
        let has_endpoint = of_signal(signal, "ENDPOINT", get).is_some();
        let otlp = Otlp::from_lookup(signal, get)?;
        let license_key = get("NEW_RELIC_LICENSE_KEY").map(checked_key).transpose()?;
        Ok(match license_key {
            _ if off => None,
            Some(key) if !has_endpoint => Some(Self::NewRelic(NewRelic::new(key))),
            _ if has_endpoint || asked => Some(Self::Otlp(otlp)),
            _ => None,
        })
    }
}

/// A license key is sent as a header. The error does not show it.
fn checked_key(key: String) -> Result<String, BuildError> {
    if header_value(&key).is_some() {
        Ok(key)
    } else {
        Err(BuildError::setting("NEW_RELIC_LICENSE_KEY", "…", "one line of ASCII text"))
    }
}

impl Otlp {
    fn from_lookup(signal: Signal, get: &impl Fn(&str) -> Option<String>) -> Result<Self, BuildError> {
        let mut otlp = Self::new();
        if let Some((variable, protocol)) = of_signal(signal, "PROTOCOL", get) {
            otlp.protocol = protocol.parse().map_err(|error: BuildError| error.of(variable))?;
        }
        let insecure = match of_signal(signal, "INSECURE", get) {
            None => false,
            Some((_, text)) if text.eq_ignore_ascii_case("true") => true,
            Some((_, text)) if text.eq_ignore_ascii_case("false") => false,
            Some((variable, text)) => return Err(BuildError::setting(variable, text, "`true` or `false`")),
        };
        if let Some((variable, endpoint)) = of_signal(signal, "ENDPOINT", get) {
            let has_scheme = endpoint.contains("://");
            let endpoint = match otlp.protocol {
                Protocol::Grpc if !has_scheme => {
                    format!("{}{endpoint}", if insecure { "http://" } else { "https://" })
                }
                Protocol::Grpc | Protocol::HttpProtobuf => endpoint,
            };
            check_endpoint(&variable, &endpoint)?;
            // The address for all signals gets a path; the one for a signal is used as it is.
            let of_all = variable == "OTEL_EXPORTER_OTLP_ENDPOINT";
            otlp = match otlp.protocol {
                Protocol::HttpProtobuf if of_all => {
                    otlp.endpoint(format!("{}{}", endpoint.trim_end_matches('/'), signal.path()))
                }
                Protocol::HttpProtobuf | Protocol::Grpc => otlp.endpoint(endpoint),
            };
        }
        let (variable, headers) = of_signal(signal, "HEADERS", get).unwrap_or_default();
        for pair in headers.split(',').filter(|pair| !pair.trim().is_empty()) {
            // The value is a secret: the error does not show it.
            let header = pair.split_once('=').map(|(name, value)| (name.trim(), percent_decoded(value.trim())));
            let is_header =
                |(name, value): &(&str, String)| name.parse::<HeaderName>().is_ok() && header_value(value).is_some();
            let header = header.filter(is_header).ok_or_else(|| BuildError::setting(&variable, "…", PAIRS))?;
            otlp = otlp.header(header.0, header.1);
        }
        if let Some((variable, millis)) = of_signal(signal, "TIMEOUT", get) {
            otlp.timeout = Duration::from_millis(parsed(&variable, &millis)?);
        }
        if let Some((_, file)) = of_signal(signal, "CERTIFICATE", get) {
            otlp = otlp.ca_file(file);
        }
        match of_signal(signal, "COMPRESSION", get) {
            Some((_, gzip)) if gzip == "gzip" => Ok(otlp.gzip()),
            Some((variable, other)) if other != "none" => Err(BuildError::setting(variable, other, "`gzip` or `none`")),
            Some(_) | None => Ok(otlp),
        }
    }
}

/// The variable for the signal, else the one for all signals, with its name.
fn of_signal(signal: Signal, name: &str, get: &impl Fn(&str) -> Option<String>) -> Option<(String, String)> {
    let names = [format!("OTEL_EXPORTER_OTLP_{}_{name}", signal.name()), format!("OTEL_EXPORTER_OTLP_{name}")];
    names.into_iter().find_map(|name| get(&name).map(|value| (name, value)))
}

/// A receiver's URL.
fn check_endpoint(variable: &str, endpoint: &str) -> Result<(), BuildError> {
    let uri = endpoint.parse::<http::Uri>().ok();
    let is_valid = uri.is_some_and(|uri| {
        matches!(uri.scheme_str(), Some("http" | "https"))
            && uri.authority().is_some_and(|authority| {
                let host_and_port = authority.as_str().rsplit('@').next().unwrap_or_default();
                !authority.host().is_empty() && (host_and_port == authority.host() || authority.port_u16().is_some())
            })
    });
    if is_valid {
        return Ok(());
    }
    // Who puts a password into a URL does not want to read it in an error.
    let shown = if endpoint.contains('@') { "…" } else { endpoint };
    Err(BuildError::setting(variable, shown, "a URL such as `http://collector:4318`"))
}

const PAIRS: &str = "pairs such as `name=value`, percent-encoded ASCII, with commas between";

fn number<N: std::str::FromStr>(name: &str, get: &impl Fn(&str) -> Option<String>) -> Result<Option<N>, BuildError> {
    get(name).map(|value| parsed(name, &value)).transpose()
}

fn parsed<N: std::str::FromStr>(name: &str, value: &str) -> Result<N, BuildError> {
    value.parse().map_err(|_no_number| BuildError::setting(name, value, "a whole number, 0 or more"))
}

/// Values are percent-encoded as in baggage.
fn percent_decoded(value: &str) -> String {
    crate::propagation::decode(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Propagators, builder::Export};

    fn from(pairs: &[(&str, &str)]) -> Result<TraceBuilder, BuildError> {
        let value_of =
            |name: &str| pairs.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
        TraceBuilder::from_env(value_of)
    }

    fn otlp_of(pairs: &[(&str, &str)]) -> Otlp {
        match from(pairs).unwrap().export {
            Export::Otlp(otlp) => otlp,
            other @ (Export::Nowhere | Export::NewRelic(_)) => panic!("{other:?}"),
        }
    }

    #[test]
    fn without_any_variable_nothing_is_exported() {
        assert!(matches!(from(&[]).unwrap().export, Export::Nowhere));
        assert!(matches!(from(&[("OTEL_EXPORTER_OTLP_ENDPOINT", " ")]).unwrap().export, Export::Nowhere));
        let off = [("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4318"), ("OTEL_SDK_DISABLED", "TRUE")];
        assert!(matches!(from(&off).unwrap().export, Export::Nowhere));
        let none = [("NEW_RELIC_LICENSE_KEY", "k"), ("OTEL_TRACES_EXPORTER", "none")];
        assert!(matches!(from(&none).unwrap().export, Export::Nowhere));
    }

    #[test]
    fn the_endpoint_of_all_signals_gets_a_path_and_that_of_traces_does_not() {
        let general = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4318/");
        assert_eq!(otlp_of(&[general]).url(Signal::Traces), "http://c:4318/v1/traces");
        assert_eq!(
            otlp_of(&[general, ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://t:1/x")]).url(Signal::Traces),
            "http://t:1/x"
        );
        let grpc =
            otlp_of(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4317"), ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")]);
        assert_eq!((grpc.url(Signal::Traces).as_str(), grpc.protocol), ("http://c:4317", Protocol::Grpc));
        assert_eq!(otlp_of(&[("OTEL_TRACES_EXPORTER", "otlp")]).url(Signal::Traces), "http://localhost:4318/v1/traces");
    }

    #[cfg(feature = "otlp")]
    #[test]
    fn log_records_have_their_own_variables_and_share_the_general_ones() {
        let logs = |pairs: &[(&str, &str)]| from(pairs).unwrap().logs;
        let address = |pairs: &[(&str, &str)]| logs(pairs).otlp.map(|otlp| otlp.url(Signal::Logs));
        let general = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4318");
        let own = ("OTEL_EXPORTER_OTLP_LOGS_ENDPOINT", "http://l:1/x");
        assert_eq!(address(&[]), None);
        assert_eq!(address(&[general]).as_deref(), Some("http://c:4318/v1/logs"));
        assert_eq!(address(&[general, own]).as_deref(), Some("http://l:1/x"));
        assert_eq!(address(&[general, ("OTEL_LOGS_EXPORTER", "none")]), None);
        assert_eq!(address(&[general, ("OTEL_SDK_DISABLED", "true")]), None);
        assert_eq!(address(&[("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://t:1/x")]), None);
        assert_eq!(address(&[("OTEL_LOGS_EXPORTER", "otlp")]).as_deref(), Some("http://localhost:4318/v1/logs"));
        let new_relic = address(&[("NEW_RELIC_LICENSE_KEY", "eu01xx")]);
        assert_eq!(new_relic.as_deref(), Some("https://otlp.eu01.nr-data.net/v1/logs"));
        assert!(matches!(from(&[own]).unwrap().export, Export::Nowhere));
        let settings = logs(&[("OTEL_BLRP_MAX_QUEUE_SIZE", "9"), ("OTEL_BSP_SCHEDULE_DELAY", "7")]).settings;
        assert_eq!((settings.max_queue, settings.max_batch, settings.delay), (9, 9, Duration::from_secs(1)));
        assert!(from(&[("OTEL_LOGS_EXPORTER", "console")]).unwrap_err().to_string().contains("OTEL_LOGS_EXPORTER"));
    }

    #[test]
    fn headers_are_decoded_and_never_shown() {
        let otlp = otlp_of(&[
            ("OTEL_TRACES_EXPORTER", "otlp"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "api-key = s3cret%3D, x=1"),
            ("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip"),
            ("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "250"),
        ]);
        assert_eq!(otlp.headers, [("api-key".to_owned(), "s3cret=".to_owned()), ("x".to_owned(), "1".to_owned())]);
        assert!(otlp.gzip && otlp.timeout == Duration::from_millis(250));
        assert!(!format!("{otlp:?}").contains("s3cret"));
        for bad in ["s3cret", "api key=s3cret", "api-key=s3cret%0A", "=s3cret"] {
            let bad = from(&[("OTEL_TRACES_EXPORTER", "otlp"), ("OTEL_EXPORTER_OTLP_HEADERS", bad)]).unwrap_err();
            let text = bad.to_string();
            assert!(bad.is_setting() && text.contains("OTEL_EXPORTER_OTLP_HEADERS"), "{text}");
            assert!(!text.contains("s3cret"), "{text}");
        }
    }

    #[test]
    fn invalid_values_are_refused_with_the_variables_name_also_where_nothing_is_exported() {
        let cases = [
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:99999"),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:x"),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://:4318"),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4318"),
            ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "ftp://collector"),
            ("OTEL_EXPORTER_OTLP_LOGS_ENDPOINT", "http://u:p@collector:x"),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json"),
            ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "carrier pigeon"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "10s"),
            ("OTEL_EXPORTER_OTLP_LOGS_TIMEOUT", "-1"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "api-key=%FF"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "api-key=gr\u{fc}n"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "api-key=a%0Ab"),
            ("OTEL_EXPORTER_OTLP_COMPRESSION", "zstd"),
            ("OTEL_EXPORTER_OTLP_INSECURE", "maybe"),
            ("OTEL_TRACES_EXPORTER", "zipkin"),
            ("OTEL_LOGS_EXPORTER", "console"),
            ("NEW_RELIC_LICENSE_KEY", "0123\n456"),
            ("NEW_RELIC_LICENSE_KEY", "\u{fc}123"),
            ("OTEL_BSP_MAX_QUEUE_SIZE", "many"),
            ("OTEL_TRACES_SAMPLER", "xray"),
            ("OTEL_PROPAGATORS", "jaeger"),
            ("OTEL_RESOURCE_ATTRIBUTES", "service.version"),
        ];
        for (name, value) in cases {
            for disabled in ["false", "true"] {
                let error = from(&[(name, value), ("OTEL_SDK_DISABLED", disabled)]).unwrap_err();
                let text = error.to_string();
                assert!(error.is_setting() && text.contains(name), "{name}={value}: {text}");
                assert!(!text.contains("0123") && !text.contains("u:p") && !text.contains('\n'), "{text}");
            }
        }
        let ipv6 = otlp_of(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "http://[::1]:4318")]);
        assert_eq!(ipv6.url(Signal::Traces), "http://[::1]:4318/v1/traces");
    }

    #[test]
    fn over_grpc_an_endpoint_without_a_scheme_is_encrypted_unless_it_is_insecure() {
        let grpc = [("OTEL_EXPORTER_OTLP_ENDPOINT", "c:4317"), ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")];
        assert_eq!(otlp_of(&grpc).url(Signal::Traces), "https://c:4317");
        let insecure = [grpc[0], grpc[1], ("OTEL_EXPORTER_OTLP_INSECURE", "true")];
        assert_eq!(otlp_of(&insecure).url(Signal::Traces), "http://c:4317");
        let scheme = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "https://c:4317");
        assert_eq!(
            otlp_of(&[scheme, insecure[1], insecure[2]]).url(Signal::Traces),
            "https://c:4317",
            "the scheme counts"
        );
    }

    #[test]
    fn new_relic_needs_a_key_and_no_endpoint() {
        let key = ("NEW_RELIC_LICENSE_KEY", "eu01xx");
        let builder = from(&[key, ("NEW_RELIC_APP_NAME", "shop")]).unwrap();
        assert_eq!((builder.service_name.as_deref(), builder.max_attributes), (Some("shop"), 64));
        assert!(matches!(builder.export, Export::NewRelic(_)));
        assert_eq!(
            otlp_of(&[key, ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:1")]).url(Signal::Traces),
            "http://c:1/v1/traces"
        );
    }

    #[test]
    fn who_how_many_and_in_which_format_is_read() {
        let builder = from(&[
            ("OTEL_SERVICE_NAME", "board"),
            ("OTEL_RESOURCE_ATTRIBUTES", "service.name=other,team=a%20b"),
            ("OTEL_PROPAGATORS", "b3"),
            ("OTEL_TRACES_SAMPLER", "traceidratio"),
            ("OTEL_TRACES_SAMPLER_ARG", "0.5"),
            ("OTEL_BSP_MAX_QUEUE_SIZE", "100"),
            ("OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT", "10"),
        ])
        .unwrap();
        assert_eq!(builder.service_name.as_deref(), Some("board"));
        assert_eq!(builder.resource.last().unwrap().value.as_str(), "a b");
        assert_eq!(builder.propagators, Propagators::none().b3());
        assert_eq!(builder.sampling, Sampling::ratio(0.5));
        assert_eq!((builder.settings.max_queue, builder.settings.max_batch, builder.max_value), (100, 100, 10));
    }

    #[test]
    fn an_invalid_value_is_an_error_with_the_allowed_ones() {
        let receiver = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4318");
        let ratio = ("OTEL_TRACES_SAMPLER", "traceidratio");
        for (name, value, may_hold) in [
            ("OTEL_BSP_MAX_QUEUE_SIZE", "many", "a whole number"),
            ("OTEL_TRACES_SAMPLER", "sometimes", "parentbased_"),
            ("OTEL_TRACES_SAMPLER_ARG", "2", "from 0 to 1"),
            ("OTEL_TRACES_SAMPLER_ARG", "half", "from 0 to 1"),
            ("OTEL_PROPAGATORS", "smoke", "tracecontext"),
            ("OTEL_TRACES_EXPORTER", "zipkin", "`otlp` or `none`"),
            ("OTEL_RESOURCE_ATTRIBUTES", "team", "name=value"),
            ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "nonsense", "http://"),
            ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "collector:4318", "http://"),
            ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "ftp://c", "http://"),
            ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "http/json", "`grpc`"),
            ("OTEL_EXPORTER_OTLP_TRACES_COMPRESSION", "zstd", "`gzip`"),
            ("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "1s", "a whole number"),
        ] {
            let error = from(&[(name, value), receiver, ratio]).unwrap_err();
            let text = error.to_string();
            assert!(error.is_setting() && text.starts_with(&format!("invalid {name} {value:?}: expected ")), "{text}");
            assert!(text.contains(may_hold), "{text}");
        }
    }

    #[test]
    fn an_address_for_grpc_may_lack_the_scheme_and_a_password_in_one_is_not_shown() {
        let grpc = ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc");
        assert_eq!(otlp_of(&[grpc, ("OTEL_EXPORTER_OTLP_ENDPOINT", "c:4317")]).url(Signal::Traces), "https://c:4317");
        let error = from(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "ann:s3cret@c:4318")]).unwrap_err().to_string();
        assert!(error.contains("OTEL_EXPORTER_OTLP_ENDPOINT") && !error.contains("s3cret"), "{error}");
    }
}
