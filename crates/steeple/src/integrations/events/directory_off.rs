//! Events are not kept on disk: the Cargo feature `spool` is off.

#![expect(clippy::needless_pass_by_value, reason = "the same signature as with the feature")]

use steeple_events::EventsBuilder;

use crate::ConfigError;

/// Whoever sets `EVENTS_DIR` relies on events that survive the process.
pub(super) fn keep_in(_options: EventsBuilder, directory: String) -> Result<EventsBuilder, ConfigError> {
    Err(ConfigError::variable_value(
        "EVENTS_DIR",
        directory,
        "unset, since Steeple is built without the feature `spool`",
    ))
}
