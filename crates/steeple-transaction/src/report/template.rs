//! Reports the route: a template, or the route that Axum matched.

use http::Extensions;
use steeple_core::Text;

#[derive(Clone, Debug)]
pub(super) enum Template {
    Fixed(Text),
    #[cfg(feature = "axum")]
    Matched,
}

impl Template {
    #[cfg_attr(
        not(feature = "axum"),
        expect(unused_variables, clippy::unnecessary_wraps, reason = "Axum may have matched nothing")
    )]
    pub(super) fn of(&self, extensions: &Extensions) -> Option<Text> {
        match self {
            Self::Fixed(template) => Some(template.clone()),
            #[cfg(feature = "axum")]
            Self::Matched => {
                let path = Text::of_matched_route(extensions)?;
                Some(behind_catch_all(path.as_str()).map(Text::configured).unwrap_or(path))
            }
        }
    }
}

/// What follows a catch-all. It is always the last segment of a route; if it is not, then a router is behind
/// `route_service`, which leaves the path whole, and Axum has joined two templates that overlap:
/// `/a/{*rest}/a/users/{id}`.
#[cfg(feature = "axum")]
fn behind_catch_all(path: &str) -> Option<&str> {
    let (_, rest) = path.rsplit_once("/{*")?;
    rest.find('/').and_then(|slash| rest.get(slash..))
}
