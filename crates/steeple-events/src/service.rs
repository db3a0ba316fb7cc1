/// Which service the events come from: on every event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use = "options do nothing until events are built with them"]
pub struct Service {
    pub(crate) name: Option<String>,
    pub(crate) version: Option<String>,
    pub(crate) environment: Option<String>,
    pub(crate) region: Option<String>,
}

impl Service {
    /// A service with a name.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: Some(name.into()), ..Self::default() }
    }

    /// Its version.
    pub fn version(mut self, version: impl Into<String>) -> Self {
        self.version = Some(version.into());
        self
    }

    /// Where it runs: `production`, `staging`.
    pub fn environment(mut self, environment: impl Into<String>) -> Self {
        self.environment = Some(environment.into());
        self
    }

    /// The region it runs in: `eu-central-1`.
    pub fn region(mut self, region: impl Into<String>) -> Self {
        self.region = Some(region.into());
        self
    }

    /// What is known of it, by OpenTelemetry's names.
    ///
    /// # Source
    /// OpenTelemetry semantic conventions, resource attributes.
    pub fn attributes(&self) -> impl Iterator<Item = (&'static str, &str)> {
        [
            ("service.name", &self.name),
            ("service.version", &self.version),
            ("deployment.environment.name", &self.environment),
            ("cloud.region", &self.region),
        ]
        .into_iter()
        .filter_map(|(key, value)| Some((key, value.as_deref()?)))
    }
}
