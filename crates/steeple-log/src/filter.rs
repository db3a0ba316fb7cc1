//! Which lines are written.

use std::str::FromStr;

use tracing::{Level, level_filters::LevelFilter};
use tracing_subscriber::filter::{EnvFilter, Targets};

use crate::{BuildError, event};

/// A valid filter.
#[derive(Clone, Debug)]
pub(crate) struct Filter(String);

impl Filter {
    /// `is_level`: a word alone must be a level. `RUST_LOG` takes it for a target, and writes nothing else.
    pub(crate) fn parse(text: &str, is_level: bool) -> Result<Self, BuildError> {
        let text = text.trim();
        let mut items = split(text).peekable();
        if items.peek().is_none() {
            return Err(BuildError::filter(text, "it is empty"));
        }
        for item in items {
            let (target, level) = match item.rsplit_once('=') {
                // The `=` of a span's field stands within its braces.
                Some((target, level)) if !level.contains(['}', ']']) => (Some(target), Some(level)),
                _ if is_level => (None, Some(item)),
                _ => (Some(item), None),
            };
            if let Some(level) = level
                && LevelFilter::from_str(level).is_err()
            {
                return Err(BuildError::filter(text, format!("`{level}` is not a level")));
            }
            if target.is_some_and(|target| target.contains(char::is_whitespace)) {
                return Err(BuildError::filter(text, format!("`{item}` contains a space")));
            }
        }
        // `EnvFilter` takes no spaces between items.
        let plain = split(text).collect::<Vec<_>>().join(",");
        EnvFilter::builder().parse(&plain).map_err(|error| BuildError::filter(text, error.to_string()))?;
        Ok(Self(plain))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    pub(crate) fn to_env_filter(&self) -> EnvFilter {
        // Not `new`, which writes to standard error what it does not accept.
        EnvFilter::builder().parse(&self.0).unwrap_or_default()
    }

    /// The least severe level of exchanges' own lines, which are not always `tracing` events, that passes the filter.
    pub(crate) fn access_level(&self) -> LevelFilter {
        // Directives that depend on spans do not apply to them.
        let targets = split(&self.0).filter(|item| !item.contains('[')).collect::<Vec<_>>().join(",");
        let targets = Targets::from_str(&targets).unwrap_or_default();
        let wanted = |level: &&Level| targets.would_enable(event::ACCESS, level);
        [Level::INFO, Level::WARN, Level::ERROR].iter().find(wanted).map_or(LevelFilter::OFF, |level| (*level).into())
    }
}

fn split(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|item| !item.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, want: LevelFilter) {
        assert_eq!(Filter::parse(text, false).unwrap().access_level(), want, "{text}");
    }

    #[test]
    fn lines_of_exchanges_obey_the_filter_like_all_others() {
        check("info", LevelFilter::INFO);
        check("TRACE", LevelFilter::INFO);
        check("warn", LevelFilter::WARN);
        check("off", LevelFilter::OFF);
        check("warn,steeple::access=info", LevelFilter::INFO);
        check("info, steeple=error", LevelFilter::ERROR);
        check("info,steeple::access=off", LevelFilter::OFF);
        check("my_crate", LevelFilter::OFF);
        check("info,my_crate[request{id=7}]=debug", LevelFilter::INFO);
    }

    #[test]
    fn an_invalid_filter_is_rejected_and_named() {
        for (text, is_level, named) in [
            ("verbose", true, "`verbose`"),
            ("inof,hyper=warn", true, "`inof`"),
            ("info,hyper=loud", false, "`loud`"),
            ("", false, "empty"),
            (" , ", true, "empty"),
            ("info warn", true, "`info warn`"),
        ] {
            let error = Filter::parse(text, is_level).unwrap_err();
            assert!(error.is_filter() && error.to_string().contains(named), "{error}");
        }
        assert!(Filter::parse("verbose", false).is_ok(), "RUST_LOG may name a target alone");
    }
}
