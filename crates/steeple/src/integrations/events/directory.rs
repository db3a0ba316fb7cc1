//! Events are kept on disk: the Cargo feature `spool` is on.

#![expect(clippy::unnecessary_wraps, reason = "the same signature as without the feature")]

use steeple_events::EventsBuilder;

use crate::ConfigError;

/// Has events kept in the directory of `EVENTS_DIR`.
pub(super) fn keep_in(options: EventsBuilder, directory: String) -> Result<EventsBuilder, ConfigError> {
    Ok(options.directory(directory))
}
