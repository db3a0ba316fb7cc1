//! What the service is.

use super::Lookup;
use crate::ConfigError;

/// What the service is: on every log line, span and event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Service {
    pub(crate) name: Option<String>,
    pub(crate) version: Option<String>,
    pub(crate) environment: Option<String>,
    pub(crate) region: Option<String>,
}

impl Service {
    /// The name of the executable, where nothing else is set.
    pub(crate) fn or_executable(mut self) -> Self {
        let executable = || std::env::current_exe().ok()?.file_stem()?.to_str().map(str::to_owned);
        self.name = self.name.or_else(executable);
        self
    }
}

const ATTRIBUTES: &str = "OTEL_RESOURCE_ATTRIBUTES";

pub(crate) fn service(env: &dyn Lookup) -> Result<Service, ConfigError> {
    let attributes = match env.text(ATTRIBUTES)? {
        Some(text) => resource_attributes(&text)?,
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
        region: match attribute(&["cloud.region"]) {
            Some(region) => Some(region),
            None => env.first(&["AWS_REGION", "AWS_DEFAULT_REGION"])?.map(|(_, region)| region),
        },
    })
}

/// `key=value,key=value`, percent-encoded. An error has the key at most: an attribute can be a credential.
///
/// # Source
/// OpenTelemetry specification, resource SDK: specifying resource information via an environment variable.
fn resource_attributes(text: &str) -> Result<Vec<(String, String)>, ConfigError> {
    let pairs = text.split(',').map(str::trim).enumerate().filter(|(_, pair)| !pair.is_empty());
    pairs
        .map(|(index, pair)| {
            let decoded = pair.split_once('=').and_then(|(key, value)| {
                let key = key.trim();
                (!key.is_empty()).then_some(())?;
                Some((key.to_owned(), percent_decode(value.trim())?))
            });
            let invalid = || {
                let place = index.saturating_add(1);
                let message = format!(
                    "{ATTRIBUTES}: item {place} is invalid; it may hold pairs such as `service.version=1.2.3`, \
                     percent-encoded, with commas between"
                );
                ConfigError::new(Some(ATTRIBUTES), &message)
            };
            decoded.ok_or_else(invalid)
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
