use steeple_export::{Endpoint, HttpOptions, Pipeline, Protocol};

use super::ChannelContext;
use crate::{BuildError, message::Notification};

/// The defaults for channels: alerts gather for 10 seconds, one message may take 15, and is tried for a day.
#[cfg(any(feature = "alertmanager", feature = "heartbeat", feature = "slack", feature = "webhook"))]
pub(super) fn options() -> HttpOptions {
    use std::time::Duration;

    use steeple_export::{Retry, Unauthorized};

    HttpOptions::new()
        .timeout(Duration::from_secs(15))
        .batch_delay(Duration::from_secs(10))
        .max_queue(1_000, 4 << 20)
        // An alert that is a day old is of no use.
        .retry(Retry::default().max_attempts(u32::MAX).max_age(Duration::from_secs(86_400)))
        .unauthorized(Unauthorized::Keep)
}

/// Starts the pipeline of a channel over HTTP. `alerts` is the most alerts of one message.
///
/// # Errors
/// When the client cannot be made, does not reach such an endpoint (plain HTTP beyond this machine), or no thread starts.
pub fn start<P, F>(
    http: HttpOptions,
    context: &ChannelContext,
    name: &'static str,
    endpoint: &Endpoint,
    alerts: usize,
    make: F,
) -> Result<Pipeline<Notification>, BuildError>
where
    P: Protocol<Item = Notification>,
    F: FnMut() -> P + Send + 'static,
{
    let http = match context.group_wait {
        Some(wait) => http.batch_delay(wait),
        None => http,
    };
    http.http_or(context.http())
        .start(name, endpoint, (alerts, usize::MAX), make)
        .map_err(|error| BuildError::channel(name, error))
}

/// The settings that every channel over HTTP has.
#[cfg(any(feature = "slack", feature = "webhook"))]
macro_rules! reached {
    ($channel:ident, $receiver:literal) => {
        impl $channel {
            /// Leaves out alerts below this severity. Default: [`Severity::Low`], which leaves out none.
            pub fn at_least(mut self, severity: Severity) -> Self {
                self.at_least = severity;
                self
            }

            #[doc = concat!("Changes how ", $receiver, " is reached.")]
            ///
            /// The batch delay is how long alerts gather for one message. Defaults: 10 seconds of that, 15 seconds for a
            /// request, which is tried again for 24 hours.
            pub fn http(
                mut self,
                change: impl FnOnce(steeple_export::HttpOptions) -> steeple_export::HttpOptions,
            ) -> Self {
                self.http = change(self.http);
                self
            }
        }
    };
}

#[cfg(any(feature = "slack", feature = "webhook"))]
pub(super) use reached;
