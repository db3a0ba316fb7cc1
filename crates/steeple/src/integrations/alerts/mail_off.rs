//! Without the feature `mail`, its variable has no effect, which is a warning.

use steeple_alerts::AlertsBuilder;

use crate::{ConfigError, env::Lookup};

/// Whether the feature is on.
pub(super) const IS_COMPILED: bool = false;

pub(super) fn from_env(
    env: &dyn Lookup,
    options: AlertsBuilder,
    _variable: &mut Option<&'static str>,
) -> Result<(AlertsBuilder, Option<&'static str>), ConfigError> {
    const WARNING: &str = "ALERTS_SMTP_URL is set, but Steeple is built without the feature `mail`";
    Ok((options, env.secret("ALERTS_SMTP_URL")?.map(|_url| WARNING)))
}
