//! Alerts by mail.

use steeple_alerts::{AlertsBuilder, channel::Mail};

use super::list;
use crate::{ConfigError, env::Lookup};

/// Whether the feature is on.
pub(super) const IS_COMPILED: bool = true;

/// The server, the sender and the recipients belong together.
fn mail(env: &dyn Lookup) -> Result<Option<Mail>, ConfigError> {
    let needs = ConfigError::missing;
    let found = (env.secret("ALERTS_SMTP_URL")?, env.text("ALERTS_MAIL_FROM")?, env.text("ALERTS_MAIL_TO")?);
    let (url, from, to) = match found {
        (Some(url), Some(from), Some(to)) => (url, from, to),
        (None, None, None) => return Ok(None),
        (None, _, _) => {
            return Err(needs("ALERTS_SMTP_URL", "`smtp://user:password@host:587`, since ALERTS_MAIL_… is set"));
        }
        (_, None, _) => return Err(needs("ALERTS_MAIL_FROM", "an address, since ALERTS_SMTP_URL is set")),
        (_, _, None) => {
            return Err(needs("ALERTS_MAIL_TO", "addresses with commas between, since ALERTS_SMTP_URL is set"));
        }
    };
    Ok(Some(list(&to).fold(Mail::new(url, from), Mail::to)))
}

/// Adds the channel, if the variables turn it on; else a warning, if one of them has no effect.
pub(super) fn from_env(
    env: &dyn Lookup,
    options: AlertsBuilder,
    variable: &mut Option<&'static str>,
) -> Result<(AlertsBuilder, Option<&'static str>), ConfigError> {
    let Some(mail) = mail(env)? else { return Ok((options, None)) };
    variable.get_or_insert("ALERTS_SMTP_URL");
    Ok((options.channel(mail), None))
}
