//! Metrics, alarms and lines in CloudWatch.

#[cfg(feature = "alerts")]
mod alarms;

use std::{fmt, path::PathBuf, sync::Arc};

use steeple_cloudwatch::{
    Aws, CloudWatch, CloudWatchBuilder, CloudWatchLogs, CloudWatchLogsBuilder, Credentials, ProfileFiles,
    ProvideCredentials,
};
use steeple_log::Format;

use super::{Integration, LogOutputs, NoCalls, Setting, Setup, Started, spool::SpoolSetting};
use crate::{
    ConfigError, Steeple, SteepleBuilder,
    env::{Lookup, Service},
};

pub(crate) type Options = CloudWatchOptions;
pub(crate) type Observer = ();

/// What goes to CloudWatch, and as whom. Changed by [`SteepleBuilder::cloudwatch`].
#[derive(Clone, Default)]
#[must_use = "options do nothing until Steeple is built with them"]
pub struct CloudWatchOptions {
    // Boxed: the builder of everything stays small.
    metrics: Option<Box<CloudWatchBuilder>>,
    is_emf: bool,
    logs: Option<Box<CloudWatchLogsBuilder>>,
    region: Option<String>,
    endpoint: Option<String>,
    credentials: Option<Arc<dyn ProvideCredentials>>,
    /// As the environment sets it.
    spool: Option<SpoolSetting>,
}

impl CloudWatchOptions {
    /// Sends metrics in this namespace. [`metrics`](Self::metrics) changes how.
    pub fn namespace(mut self, namespace: impl Into<String>) -> Self {
        self.metrics = Some(Box::new(CloudWatch::builder(namespace)));
        self
    }

    /// Changes how metrics are sent, where a namespace is set.
    pub fn metrics(mut self, change: impl FnOnce(CloudWatchBuilder) -> CloudWatchBuilder) -> Self {
        self.metrics = self.metrics.map(|metrics| Box::new(change(*metrics)));
        self
    }

    /// Writes metrics to standard output in the embedded metric format, in place of sending them: for Lambda and Fargate.
    pub fn emf(mut self) -> Self {
        self.is_emf = true;
        self
    }

    /// Sends lines to CloudWatch Logs, where Steeple sets up the log. Changes how: by default to `/aws/ecs/<service>-<environment>`.
    pub fn logs(mut self, change: impl FnOnce(CloudWatchLogsBuilder) -> CloudWatchLogsBuilder) -> Self {
        self.logs = Some(Box::new(change(self.logs.map_or_else(CloudWatchLogs::builder, |logs| *logs))));
        self
    }

    /// The region. Default: `AWS_REGION`, else `AWS_DEFAULT_REGION`.
    pub fn aws_region(mut self, region: impl Into<String>) -> Self {
        self.region = Some(region.into());
        self
    }

    /// Another address than AWS's own. Default: `AWS_ENDPOINT_URL`, else AWS's.
    pub fn endpoint(mut self, url: impl Into<String>) -> Self {
        self.endpoint = Some(url.into());
        self
    }

    /// Who signs: what a team's `aws-config` finds. Default: `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY` and
    /// `AWS_SESSION_TOKEN`, else AWS's files.
    pub fn credentials(mut self, credentials: impl ProvideCredentials) -> Self {
        self.credentials = Some(Arc::new(credentials));
        self
    }

    fn aws(&self, setup: &Setup<'_>) -> Result<Aws, ConfigError> {
        let missing = ConfigError::missing;
        let region = self.region.clone().or_else(|| setup.service.region.clone()).ok_or_else(|| {
            missing("AWS_REGION", "a region such as `eu-central-1`, since something is sent to CloudWatch")
        })?;
        let credentials = self.credentials.clone().ok_or_else(|| {
            missing(
                "AWS_ACCESS_KEY_ID",
                "an access key, since something is sent to CloudWatch; or set `credentials` in code",
            )
        })?;
        let mut aws = Aws::new(region).shared_credentials(credentials).http(|http| http.or(&setup.http));
        if let Some(endpoint) = &self.endpoint {
            aws = aws.endpoint(endpoint.clone());
        }
        Ok(aws)
    }
}

impl fmt::Debug for CloudWatchOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CloudWatchOptions")
            .field("metrics", &self.metrics)
            .field("is_emf", &self.is_emf)
            .field("logs", &self.logs)
            .field("region", &self.region)
            .finish_non_exhaustive()
    }
}

impl SteepleBuilder {
    /// Changes the options for CloudWatch. What the environment has set stays, unless this sets the same.
    ///
    /// ```
    /// # fn main() -> Result<(), steeple::ConfigError> {
    /// use steeple::cloudwatch::Dimension;
    ///
    /// let builder = steeple::Steeple::builder_from_env()?
    ///     .cloudwatch(|aws| aws.metrics(|metrics| metrics.dimensions([Dimension::Service, Dimension::Environment])));
    /// # let _unused = builder;
    /// # Ok(())
    /// # }
    /// ```
    pub fn cloudwatch(mut self, change: impl FnOnce(CloudWatchOptions) -> CloudWatchOptions) -> Self {
        self.integrations.cloudwatch.change(change);
        self
    }
}

impl Steeple {
    /// The metrics in CloudWatch: `put_metric` and its like. `None`: no metrics go there.
    pub fn cloudwatch(&self) -> Option<&CloudWatch> {
        self.running().cloudwatch.as_ref().and_then(|running| running.metrics.as_ref())
    }
}

/// What runs.
#[derive(Clone, Debug)]
pub(crate) struct CloudWatchHandle {
    metrics: Option<CloudWatch>,
    /// `None` where nothing is sent.
    aws: Option<Aws>,
}

const NAMESPACE: &str = "CLOUDWATCH_NAMESPACE";
const GROUP: &str = "CLOUDWATCH_LOG_GROUP";
const EMF: &str = "CLOUDWATCH_EMF";
const SPOOL_DIR: &str = "CLOUDWATCH_LOG_SPOOL_DIR";
const SPOOL_BYTES: &str = "CLOUDWATCH_LOG_SPOOL_BYTES";

impl Integration for CloudWatchOptions {
    type Handle = CloudWatchHandle;
    type Observer = Observer;
    type CallObserver = NoCalls;

    fn from_env(env: &dyn Lookup) -> Result<Setting<Self>, ConfigError> {
        let mut options = Self::default();
        let mut variable = None;
        if let Some(namespace) = env.text(NAMESPACE)? {
            options = options.namespace(namespace);
            variable = Some(NAMESPACE);
        }
        if super::switch(env, EMF)? {
            if variable.is_none() {
                return Err(ConfigError::missing(NAMESPACE, "a namespace, since CLOUDWATCH_EMF is set"));
            }
            options = options.emf();
        }
        if let Some(group) = env.text(GROUP)? {
            options = options.logs(|logs| if group == "auto" { logs } else { logs.group(group) });
            variable.get_or_insert(GROUP);
        }
        options.spool = SpoolSetting::from_env(env, SPOOL_DIR, SPOOL_BYTES)?;
        // These may be the application's: they turn nothing on.
        options.region = env.first(&["AWS_REGION", "AWS_DEFAULT_REGION"])?.map(|(_, region)| region);
        options.endpoint = env.secret("AWS_ENDPOINT_URL")?;
        if variable.is_some() {
            options.credentials = Some(credentials(env)?);
        }
        Ok(Setting { options, variable })
    }

    fn start(self, setup: &mut Setup<'_>) -> Result<Option<Started<CloudWatchHandle>>, ConfigError> {
        if let (None, Some(spool)) = (&self.logs, &self.spool) {
            spool.warn_of_off(setup, GROUP);
        }
        if self.metrics.is_none() && self.logs.is_none() {
            return Ok(None);
        }
        let failed = |error: &steeple_cloudwatch::BuildError| ConfigError::part("CloudWatch", error);
        let mut to = Vec::new();
        let mut metrics = None;
        let sends = self.logs.is_some() || !self.is_emf;
        let aws = if sends { Some(self.aws(setup)?) } else { None };
        if let Some(builder) = &self.metrics {
            let builder =
                with_service(CloudWatchBuilder::clone(builder), setup.service).scrubber(setup.scrubber.clone());
            let cloudwatch = match &aws {
                Some(aws) if !self.is_emf => builder.build(setup.metrics, aws),
                _ => builder.build_emf(setup.metrics, std::io::stdout()),
            };
            let cloudwatch = cloudwatch.map_err(|error| failed(&error))?;
            to.push(format!(
                "namespace {}{}",
                cloudwatch.namespace(),
                if self.is_emf { " on standard output" } else { "" }
            ));
            setup.add_sink(cloudwatch.sink());
            let dropped = cloudwatch.clone();
            setup.own.add_by(
                "steeple_cloudwatch_values_dropped_total",
                "Values that were not sent to CloudWatch, which would have refused them.",
                "reason",
                move || dropped.dropped().into_iter().map(|(reason, count)| (reason.to_owned(), count)).collect(),
            );
            metrics = Some(cloudwatch);
        }
        if let (Some(logs), Some(aws)) = (&self.logs, &aws) {
            let mut logs = CloudWatchLogsBuilder::clone(logs);
            if let Some(name) = &setup.service.name {
                logs = logs.service(name);
            }
            if let Some(environment) = &setup.service.environment {
                logs = logs.environment(environment);
            }
            if let Some((directory, max_bytes)) =
                self.spool.as_ref().and_then(|spool| spool.directory(setup, CloudWatchLogsBuilder::HAS_SPOOL))
            {
                logs = logs.spool_in(directory, max_bytes);
            }
            let lines = logs.build(aws).map_err(|error| match &self.spool {
                Some(spool) if error.setting_name() == "spool" => spool.refusal(&error),
                Some(_) | None => failed(&error),
            })?;
            let spooled =
                self.spool.as_ref().map(|spool| spool.shown(CloudWatchLogsBuilder::HAS_SPOOL)).unwrap_or_default();
            to.push(format!("log group {}{spooled}", lines.group()));
            setup.add_log_output(LogOutputs::new(GROUP, lines.sink(), |log| log.output(lines, Format::Json)));
        }
        Ok(Some(Started { handle: CloudWatchHandle { metrics, aws }, to: to.join(", ") }))
    }
}

fn with_service(mut builder: CloudWatchBuilder, service: &Service) -> CloudWatchBuilder {
    if let Some(name) = &service.name {
        builder = builder.service(name);
    }
    if let Some(environment) = &service.environment {
        builder = builder.environment(environment);
    }
    builder
}

/// The environment's access key, else the files of the AWS tools.
///
/// # Source
/// AWS SDKs and tools reference guide, "Environment variables support".
fn credentials(env: &dyn Lookup) -> Result<Arc<dyn ProvideCredentials>, ConfigError> {
    const ID: &str = "AWS_ACCESS_KEY_ID";
    const SECRET: &str = "AWS_SECRET_ACCESS_KEY";
    match (env.text(ID)?, env.secret(SECRET)?) {
        (Some(id), Some(secret)) => {
            let mut credentials = Credentials::new(id, secret);
            if let Some(token) = env.secret("AWS_SESSION_TOKEN")? {
                credentials = credentials.with_session_token(token);
            }
            return Ok(Arc::new(credentials));
        }
        (Some(_), None) => {
            return Err(ConfigError::missing(SECRET, "a key, since AWS_ACCESS_KEY_ID is set"));
        }
        (None, Some(_)) => {
            return Err(ConfigError::missing(ID, "a key's id, since AWS_SECRET_ACCESS_KEY is set"));
        }
        (None, None) => (),
    }
    let home = env.text("HOME")?.map(PathBuf::from);
    let mut files = Vec::new();
    for (variable, name) in [("AWS_SHARED_CREDENTIALS_FILE", "credentials"), ("AWS_CONFIG_FILE", "config")] {
        let set = env.text(variable)?.map(PathBuf::from);
        files.extend(set.or_else(|| home.as_ref().map(|home| home.join(".aws").join(name))));
    }
    let profile = env.text("AWS_PROFILE")?.unwrap_or_else(|| "default".to_owned());
    Ok(Arc::new(ProfileFiles::new(files, profile)))
}
