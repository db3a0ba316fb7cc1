//! The one place that reads the environment.

use std::time::Duration;

use steeple_log::Format;
use steeple_user::TrustedProxies;

use crate::ConfigError;

/// Looks a variable up. Tests hand in a map.
pub(crate) trait Lookup {
    fn get(&self, name: &'static str) -> Result<Option<String>, ConfigError>;

    /// A variable that is set and not empty: an empty one counts as unset, as OpenTelemetry has it.
    fn text(&self, name: &'static str) -> Result<Option<String>, ConfigError> {
        Ok(self.get(name)?.map(|value| value.trim().to_owned()).filter(|value| !value.is_empty()))
    }

    /// A variable whose name is known elsewhere. What is no text counts as unset.
    #[cfg(feature = "trace")]
    fn dynamic(&self, name: &str) -> Option<String>;

    /// The first of several names for the same thing.
    fn first(&self, names: &[&'static str]) -> Result<Option<(&'static str, String)>, ConfigError> {
        for name in names {
            if let Some(value) = self.text(name)? {
                return Ok(Some((name, value)));
            }
        }
        Ok(None)
    }
}

/// The environment of this process.
pub(crate) struct ProcessEnv;

impl Lookup for ProcessEnv {
    #[expect(clippy::disallowed_methods, reason = "this is where the environment is read")]
    fn get(&self, name: &'static str) -> Result<Option<String>, ConfigError> {
        match std::env::var(name) {
            Ok(value) => Ok(Some(value)),
            Err(std::env::VarError::NotPresent) => Ok(None),
            Err(std::env::VarError::NotUnicode(value)) => {
                // A key that was mistyped is a key still.
                let is_secret = name.ends_with("_KEY") || name.ends_with("_DSN");
                let shown = if is_secret { "…".into() } else { value.to_string_lossy() };
                Err(ConfigError::variable_value(name, shown, "text in UTF-8"))
            }
        }
    }

    #[cfg(feature = "trace")]
    #[expect(clippy::disallowed_methods, reason = "this is where the environment is read")]
    fn dynamic(&self, name: &str) -> Option<String> {
        std::env::var(name).ok()
    }
}

/// Who the service is: on every log line, span and event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Service {
    pub(crate) name: Option<String>,
    pub(crate) version: Option<String>,
    pub(crate) environment: Option<String>,
}

pub(crate) fn service(env: &impl Lookup) -> Result<Service, ConfigError> {
    let resource = env.text("OTEL_RESOURCE_ATTRIBUTES")?;
    let attributes = match &resource {
        Some(text) => resource_attributes(text).ok_or_else(|| {
            ConfigError::variable_value(
                "OTEL_RESOURCE_ATTRIBUTES",
                text,
                "pairs such as `service.version=1.2.3`, with commas between",
            )
        })?,
        None => Vec::new(),
    };
    let attribute = |names: &[&str]| {
        attributes.iter().find(|(key, _)| names.contains(&key.as_str())).map(|(_, value)| value.clone())
    };
    let either =
        |found: Option<(&str, String)>, names: &[&str]| found.map(|(_, value)| value).or_else(|| attribute(names));
    Ok(Service {
        name: either(env.first(&["SERVICE_NAME", "OTEL_SERVICE_NAME"])?, &["service.name"]),
        version: either(env.first(&["SERVICE_VERSION"])?, &["service.version"]),
        environment: either(
            env.first(&["DEPLOYMENT_ENVIRONMENT"])?,
            &["deployment.environment.name", "deployment.environment"],
        ),
    })
}

/// `SLOW_REQUEST_MS`: from how long on a request counts as slow.
pub(crate) fn slow_after(env: &impl Lookup) -> Result<Option<Duration>, ConfigError> {
    const NAME: &str = "SLOW_REQUEST_MS";
    const MAX: u64 = 86_400_000;
    let Some(value) = env.text(NAME)? else { return Ok(None) };
    match value.parse() {
        Ok(millis) if (1..=MAX).contains(&millis) => Ok(Some(Duration::from_millis(millis))),
        _ => Err(ConfigError::variable_value(NAME, value, "a whole number of milliseconds from 1 to 86400000 (a day)")),
    }
}

/// `LOG_FORMAT`: what a line looks like. `None`: pretty where standard output is a terminal, else JSON.
pub(crate) fn log_format(env: &impl Lookup) -> Result<Option<Format>, ConfigError> {
    const NAME: &str = "LOG_FORMAT";
    let Some(value) = env.text(NAME)? else { return Ok(None) };
    match value.to_ascii_lowercase().as_str() {
        "auto" => Ok(None),
        "json" => Ok(Some(Format::Json)),
        "ecs" => Ok(Some(Format::Ecs)),
        "pretty" => Ok(Some(Format::Pretty)),
        _ => Err(ConfigError::variable_value(NAME, value, "`auto`, `json`, `ecs` or `pretty`")),
    }
}

/// OpenTelemetry's variable of methods that are known.
pub(crate) const KNOWN_METHODS: &str = "OTEL_INSTRUMENTATION_HTTP_KNOWN_METHODS";

/// The methods that count as known, where others do than by default.
pub(crate) fn known_methods(env: &impl Lookup) -> Result<Option<Vec<String>>, ConfigError> {
    let Some(value) = env.text(KNOWN_METHODS)? else { return Ok(None) };
    let methods = value.split(',').map(str::trim).filter(|method| !method.is_empty());
    Ok(Some(methods.map(str::to_owned).collect()))
}

/// Makes them the process's.
pub(crate) fn set_known_methods(methods: Option<Vec<String>>) -> Result<(), ConfigError> {
    const EXPECTED: &str = "1 to 64 methods such as `GET,POST,PURGE`, the same for the whole process";
    match methods {
        Some(methods) if !steeple_core::set_known_methods(&methods) => {
            Err(ConfigError::variable_value(KNOWN_METHODS, methods.join(","), EXPECTED))
        }
        _ => Ok(()),
    }
}

/// `TRUSTED_PROXIES`: whose forwarding headers are believed.
pub(crate) fn trusted_proxies(env: &impl Lookup) -> Result<Option<TrustedProxies>, ConfigError> {
    const NAME: &str = "TRUSTED_PROXIES";
    let Some(value) = env.text(NAME)? else { return Ok(None) };
    value.parse().map(Some).map_err(|error: steeple_user::BuildError| ConfigError::refused(NAME, error))
}

/// `key=value,key=value`, percent-encoded.
///
/// # Source
/// OpenTelemetry specification, resource SDK: specifying resource information via an environment variable.
fn resource_attributes(text: &str) -> Option<Vec<(String, String)>> {
    text.split(',')
        .map(str::trim)
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (key, value) = pair.split_once('=')?;
            let key = key.trim();
            (!key.is_empty()).then(|| Some((key.to_owned(), percent_decode(value.trim())?)))?
        })
        .collect()
}

fn percent_decode(text: &str) -> Option<String> {
    let mut bytes = text.bytes();
    let mut out = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        if byte == b'%' {
            let digits = [bytes.next()?, bytes.next()?];
            out.push(u8::from_str_radix(str::from_utf8(&digits).ok()?, 16).ok()?);
        } else {
            out.push(byte);
        }
    }
    String::from_utf8(out).ok()
}

#[cfg(test)]
pub(crate) mod tests {
    use std::collections::HashMap;

    use super::*;

    impl Lookup for HashMap<&'static str, &'static str> {
        fn get(&self, name: &'static str) -> Result<Option<String>, ConfigError> {
            Ok(HashMap::get(self, name).map(|value| (*value).to_owned()))
        }

        #[cfg(feature = "trace")]
        fn dynamic(&self, name: &str) -> Option<String> {
            HashMap::get(self, name).map(|value| (*value).to_owned())
        }
    }

    #[test]
    fn the_plain_names_come_before_those_of_opentelemetry() {
        let env = HashMap::from([
            ("SERVICE_NAME", "board"),
            ("OTEL_SERVICE_NAME", "other"),
            ("OTEL_RESOURCE_ATTRIBUTES", "service.version=1%2E2, deployment.environment.name=prod,service.name=third"),
        ]);
        let found = service(&env).unwrap();
        assert_eq!(found.name.as_deref(), Some("board"));
        assert_eq!(found.version.as_deref(), Some("1.2"));
        assert_eq!(found.environment.as_deref(), Some("prod"));
    }

    #[test]
    fn an_empty_variable_is_unset() {
        assert_eq!(service(&HashMap::from([("SERVICE_NAME", " ")])).unwrap(), Service::default());
    }

    #[test]
    fn methods_are_a_list() {
        let found = known_methods(&HashMap::from([(KNOWN_METHODS, "GET, PURGE,,post")])).unwrap();
        assert_eq!(found.unwrap(), ["GET", "PURGE", "post"]);
        assert_eq!(known_methods(&HashMap::new()).unwrap(), None);
        let error = set_known_methods(Some(vec!["not a method".to_owned()])).unwrap_err();
        assert_eq!(error.variable(), Some(KNOWN_METHODS));
    }

    #[test]
    fn a_bad_value_is_named_with_what_it_holds_and_may_hold() {
        for bad in ["fast", "0", "-1", "86400001", "1.5"] {
            let error = slow_after(&HashMap::from([("SLOW_REQUEST_MS", bad)])).unwrap_err();
            let text = error.to_string();
            assert!(text.contains("SLOW_REQUEST_MS") && text.contains(bad) && text.contains("86400000"), "{text}");
        }
        let error = service(&HashMap::from([("OTEL_RESOURCE_ATTRIBUTES", "service.name")])).unwrap_err();
        assert_eq!(error.variable(), Some("OTEL_RESOURCE_ATTRIBUTES"));
        let error = log_format(&HashMap::from([("LOG_FORMAT", "xml")])).unwrap_err();
        assert_eq!(error.to_string(), "LOG_FORMAT holds \"xml\"; it may hold `auto`, `json`, `ecs` or `pretty`");
        let error = trusted_proxies(&HashMap::from([("TRUSTED_PROXIES", "10.0.0.0/8,everybody")])).unwrap_err();
        assert!(error.to_string().starts_with("TRUSTED_PROXIES: \"everybody\" is no trusted proxy"), "{error}");
    }
}
