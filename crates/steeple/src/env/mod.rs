//! The one place that reads the environment.

mod service;

use std::{fs::File, io::Read, time::Duration};

use steeple_export::secret;
use steeple_log::Format;
use steeple_user::TrustedProxies;

pub(crate) use self::service::{Service, service};
use crate::ConfigError;

/// Looks variables up. Tests pass a map.
pub(crate) trait Lookup {
    /// The value as it is.
    fn get(&self, name: &str) -> Result<Option<String>, ConfigError>;

    /// A variable that is set and not empty: an empty one counts as unset, as OpenTelemetry's specification has it.
    fn text(&self, name: &str) -> Result<Option<String>, ConfigError> {
        Ok(self.get(name)?.map(|value| value.trim().to_owned()).filter(|value| !value.is_empty()))
    }

    /// The first of several names for the same setting.
    fn first(&self, names: &[&'static str]) -> Result<Option<(&'static str, String)>, ConfigError> {
        for name in names {
            if let Some(value) = self.secret(name)? {
                return Ok(Some((name, value)));
            }
        }
        Ok(None)
    }

    /// A variable that may hold a secret: where its name is one of a secret, `NAME_FILE` may name a file with the value
    /// instead, as Docker and Kubernetes provide it.
    fn secret(&self, name: &str) -> Result<Option<String>, ConfigError> {
        let value = self.text(name)?;
        if !is_secret(name) {
            return Ok(value);
        }
        let of_file = format!("{name}_FILE");
        let value = match (value, self.text(&of_file)?) {
            (Some(_), Some(_)) => {
                let message = format!("{name} and {of_file} are both set; set one of them");
                return Err(ConfigError::new(Some(name), &message));
            }
            (value, None) => value,
            (None, Some(path)) => {
                let value = secret_file(&of_file, &path)?;
                secret::watch(name, path, &value);
                Some(value)
            }
        };
        if value.as_ref().is_some_and(|value| value.chars().any(char::is_control)) {
            return Err(ConfigError::secret_value(name, "one line of text without control characters"));
        }
        Ok(value)
    }
}

/// Whether a variable of this name holds a secret, and may be read from a file.
fn is_secret(name: &str) -> bool {
    const ENDINGS: [&str; 8] = ["_KEY", "_DSN", "_HEADERS", "_TOKEN", "_SECRET", "_PASSWORD", "_WEBHOOK", "_URL"];
    /// URLs that may have a password.
    const PROXIES: [&str; 2] = ["HTTPS_PROXY", "HTTP_PROXY"];
    ENDINGS.iter().any(|ending| name.ends_with(ending)) || PROXIES.contains(&name)
}

/// The value that a file holds, without the line break at its end.
fn secret_file(name: &str, path: &str) -> Result<String, ConfigError> {
    /// A secret is short; `/dev/zero` is not.
    const MAX_BYTES: u64 = 64 * 1024;
    let mut value = String::new();
    let read = File::open(path).and_then(|file| file.take(MAX_BYTES).read_to_string(&mut value));
    if let Err(error) = read {
        return Err(ConfigError::new(Some(name), &format!("{name}: cannot read {path:?}: {error}")));
    }
    let value = value.trim();
    if value.is_empty() {
        return Err(ConfigError::new(Some(name), &format!("{name}: {path:?} is empty")));
    }
    Ok(value.to_owned())
}

/// The environment of this process.
pub(crate) struct ProcessEnv;

impl Lookup for ProcessEnv {
    #[expect(clippy::disallowed_methods, reason = "this is where the environment is read")]
    fn get(&self, name: &str) -> Result<Option<String>, ConfigError> {
        const EXPECTED: &str = "text in UTF-8";
        match std::env::var(name) {
            Ok(value) => Ok(Some(value)),
            Err(std::env::VarError::NotPresent) => Ok(None),
            // A mistyped key is still a key.
            Err(std::env::VarError::NotUnicode(_)) if is_secret(name) => Err(ConfigError::secret_value(name, EXPECTED)),
            Err(std::env::VarError::NotUnicode(value)) => {
                Err(ConfigError::variable_value(name, value.to_string_lossy(), EXPECTED))
            }
        }
    }
}

/// `STEEPLE_DISABLE`: integrations that stay off although something turns them on.
pub(crate) fn disabled(env: &dyn Lookup, names: &[&str]) -> Result<Vec<String>, ConfigError> {
    const NAME: &str = "STEEPLE_DISABLE";
    let Some(value) = env.text(NAME)? else { return Ok(Vec::new()) };
    let disabled: Vec<_> = value.split(',').map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned).collect();
    if disabled.iter().all(|disabled| names.contains(&disabled.as_str())) {
        return Ok(disabled);
    }
    let expected = format!("a list of {}, with commas between", names.join(", "));
    Err(ConfigError::variable_value(NAME, value, &expected))
}

/// `SLOW_REQUEST_MS`: from how long on a request counts as slow.
pub(crate) fn slow_after(env: &dyn Lookup) -> Result<Option<Duration>, ConfigError> {
    milliseconds(env, "SLOW_REQUEST_MS")
}

/// A time in milliseconds.
pub(crate) fn milliseconds(env: &dyn Lookup, name: &str) -> Result<Option<Duration>, ConfigError> {
    const MAX: u64 = 86_400_000;
    let Some(value) = env.text(name)? else { return Ok(None) };
    match value.parse() {
        Ok(millis) if (1..=MAX).contains(&millis) => Ok(Some(Duration::from_millis(millis))),
        _ => Err(ConfigError::variable_value(name, value, "a whole number of milliseconds from 1 to 86400000 (a day)")),
    }
}

/// `LOG_SAMPLE_RATIO`: the share of lines of requests that went well.
pub(crate) fn log_sample_ratio(env: &dyn Lookup) -> Result<Option<f64>, ConfigError> {
    const NAME: &str = "LOG_SAMPLE_RATIO";
    let Some(value) = env.text(NAME)? else { return Ok(None) };
    match value.parse() {
        Ok(ratio) if (0.0..=1.0).contains(&ratio) => Ok(Some(ratio)),
        _ => Err(ConfigError::variable_value(NAME, value, "a number from 0 to 1")),
    }
}

/// A time limit: `5`, `2.5` (seconds), `5s`, `500ms`. At most an hour.
pub(crate) fn duration(env: &dyn Lookup, name: &str) -> Result<Option<Duration>, ConfigError> {
    let Some(value) = env.text(name)? else { return Ok(None) };
    let parsed = match value.strip_suffix("ms") {
        Some(millis) => millis.trim().parse().ok().map(|millis: f64| millis / 1000.0),
        None => value.strip_suffix('s').unwrap_or(&value).trim().parse().ok(),
    };
    match parsed {
        Some(seconds) if (0.0..=3600.0).contains(&seconds) => Ok(Some(Duration::from_secs_f64(seconds))),
        _ => Err(ConfigError::variable_value(name, value, "a time such as `5s` or `500ms`, at most `3600s`")),
    }
}

/// The variable of the format.
pub(crate) const LOG_FORMAT: &str = "LOG_FORMAT";

/// `LOG_FORMAT`: what a line looks like. `None`: pretty where standard output is a terminal, else JSON.
pub(crate) fn log_format(env: &dyn Lookup) -> Result<Option<Format>, ConfigError> {
    let Some(value) = env.text(LOG_FORMAT)? else { return Ok(None) };
    match value.to_ascii_lowercase().as_str() {
        "auto" => Ok(None),
        "json" => Ok(Some(Format::Json)),
        "ecs" => Ok(Some(Format::Ecs)),
        "pretty" => Ok(Some(Format::Pretty)),
        _ => Err(ConfigError::variable_value(LOG_FORMAT, value, "`auto`, `json`, `ecs` or `pretty`")),
    }
}

/// OpenTelemetry's variable of known methods.
pub(crate) const KNOWN_METHODS: &str = "OTEL_INSTRUMENTATION_HTTP_KNOWN_METHODS";

/// The known methods, if they are not the default ones.
pub(crate) fn known_methods(env: &dyn Lookup) -> Result<Option<Vec<String>>, ConfigError> {
    let Some(value) = env.text(KNOWN_METHODS)? else { return Ok(None) };
    let methods = value.split(',').map(str::trim).filter(|method| !method.is_empty());
    Ok(Some(methods.map(str::to_owned).collect()))
}

/// Sets them for the process.
pub(crate) fn set_known_methods(methods: Option<Vec<String>>) -> Result<(), ConfigError> {
    const EXPECTED: &str = "1 to 64 methods such as `GET,POST,PURGE`, the same for the whole process";
    match methods {
        Some(methods) if !steeple_core::set_known_methods(&methods) => {
            Err(ConfigError::variable_value(KNOWN_METHODS, methods.join(","), EXPECTED))
        }
        _ => Ok(()),
    }
}

/// The variable of proxies.
pub(crate) const TRUSTED_PROXIES: &str = "TRUSTED_PROXIES";

/// `TRUSTED_PROXIES`: whose forwarding headers are believed.
pub(crate) fn trusted_proxies(env: &dyn Lookup) -> Result<Option<TrustedProxies>, ConfigError> {
    let Some(value) = env.text(TRUSTED_PROXIES)? else { return Ok(None) };
    value.parse().map(Some).map_err(|error: steeple_user::BuildError| ConfigError::rejected(TRUSTED_PROXIES, &error))
}

#[cfg(test)]
pub(crate) mod tests {
    use std::collections::HashMap;

    use super::*;

    impl Lookup for HashMap<&'static str, &'static str> {
        fn get(&self, name: &str) -> Result<Option<String>, ConfigError> {
            Ok(HashMap::get(self, name).map(|value| (*value).to_owned()))
        }
    }

    #[test]
    fn the_plain_names_come_before_those_of_opentelemetry() {
        let env = HashMap::from([
            ("SERVICE_NAME", "board"),
            ("OTEL_SERVICE_NAME", "other"),
            ("OTEL_RESOURCE_ATTRIBUTES", "service.version=1%2E2, deployment.environment.name=prod,service.name=third"),
            ("AWS_REGION", "eu-central-1"),
        ]);
        let found = service(&env).unwrap();
        assert_eq!(found.name.as_deref(), Some("board"));
        assert_eq!(found.version.as_deref(), Some("1.2"));
        assert_eq!(found.environment.as_deref(), Some("prod"));
        assert_eq!(found.region.as_deref(), Some("eu-central-1"));
    }

    #[test]
    fn an_invalid_attribute_is_named_by_its_place_and_no_value_is_shown() {
        for text in ["api.key=hunter2,bad", "a=hunter2,=b", "a=hunter2, ,b=%zz"] {
            let error = service(&HashMap::from([("OTEL_RESOURCE_ATTRIBUTES", text)])).unwrap_err().to_string();
            assert!(
                error.contains("OTEL_RESOURCE_ATTRIBUTES") && error.contains("item ") && !error.contains("hunter2"),
                "{error}"
            );
        }
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
    fn an_invalid_value_is_rejected_with_its_name_and_what_is_allowed() {
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
        assert!(error.to_string().starts_with("TRUSTED_PROXIES: \"everybody\""), "{error}");
        for bad in ["1.1", "-0.1", "NaN", "half"] {
            let error = log_sample_ratio(&HashMap::from([("LOG_SAMPLE_RATIO", bad)])).unwrap_err();
            assert!(error.to_string().contains(bad), "{error}");
        }
        let error = disabled(&HashMap::from([("STEEPLE_DISABLE", "sentry,tarce")]), &["trace", "sentry"]).unwrap_err();
        assert!(error.to_string().contains("trace, sentry"), "{error}");
    }

    #[test]
    fn a_time_has_a_unit_or_is_in_seconds() {
        for (text, millis) in [("5", 5000), ("2.5", 2500), ("5s", 5000), ("500ms", 500), ("0", 0), ("3600s", 3_600_000)]
        {
            let found = duration(&HashMap::from([("SHUTDOWN_DELAY", text)]), "SHUTDOWN_DELAY").unwrap();
            assert_eq!(found, Some(Duration::from_millis(millis)), "{text}");
        }
        for bad in ["-1", "3601", "5m", "soon", "NaN", "inf"] {
            let error = duration(&HashMap::from([("SHUTDOWN_DELAY", bad)]), "SHUTDOWN_DELAY").unwrap_err();
            assert!(error.to_string().contains(bad), "{error}");
        }
    }

    #[test]
    fn a_secret_may_be_in_a_file_and_is_in_no_error() {
        const DSN: &str = "SENTRY_DSN";
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str, value: &str| {
            let path = directory.path().join(name);
            std::fs::write(&path, value).unwrap();
            &*path.to_str().unwrap().to_owned().leak()
        };
        let good = path("good", "https://public@sentry.example/1\n");
        let env = HashMap::from([("SENTRY_DSN_FILE", good)]);
        assert_eq!(env.secret(DSN).unwrap().unwrap(), "https://public@sentry.example/1");
        assert_eq!(env.first(&[DSN]).unwrap().unwrap().0, DSN, "as if the variable itself was set");
        for (files, names) in [
            (HashMap::from([("SENTRY_DSN_FILE", path("empty", "\n"))]), "is empty"),
            (HashMap::from([("SENTRY_DSN_FILE", "/nowhere/at-all")]), "/nowhere/at-all"),
            (HashMap::from([("SENTRY_DSN_FILE", path("lines", "hunter2\nhunter3"))]), "control characters"),
            (HashMap::from([("SENTRY_DSN_FILE", good), (DSN, "hunter2")]), "both set"),
            (HashMap::from([(DSN, "hunter2\nhunter3")]), "control characters"),
        ] {
            let error = files.secret(DSN).unwrap_err().to_string();
            assert!(error.contains(DSN) && error.contains(names) && !error.contains("hunter"), "{error}");
        }
        let read =
            crate::integrations::lookups(&HashMap::from([("SENTRY_DSN_FILE", "/nowhere")]), |lookup| lookup(DSN));
        assert!(read.is_err(), "an error of a lookup is not lost");
    }
}
