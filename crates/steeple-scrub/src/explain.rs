//! Describes a policy, and what it does to a given request.

use std::fmt;

use http::request::Parts;

use crate::{
    header::{self, HeaderVerdict},
    marker::Rule,
    policy::{EmailPolicy, Policy},
    text, url,
};

/// What a scrubber removes, where, and by which rule. `Display` prints one line per rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    lines: Vec<(String, String)>,
}

impl Explanation {
    pub(crate) fn of(policy: &Policy) -> Self {
        let headers = &policy.headers;
        let mut lines = vec![
            ("headers shown".to_owned(), headers.allowed().join(", ")),
            ("headers always hidden".to_owned(), headers.denied.join(", ")),
            ("headers hidden, whatever their name".to_owned(), "those with a value marked sensitive".to_owned()),
        ];
        let cookies = if headers.cookies.is_empty() { "none".to_owned() } else { headers.cookies.join(", ") };
        lines.push(("cookies shown".to_owned(), cookies));
        let keys = |names: &[Box<[u8]>]| {
            let names: Vec<_> = names.iter().map(|name| String::from_utf8_lossy(name).into_owned()).collect();
            names.join(", ")
        };
        lines.push((
            "values removed by name".to_owned(),
            "in queries, forms, JSON, fields, cookies and text: password, secret, token, API key, session, credential, signature, CSRF, PIN, \
             one-time code and their kin"
                .to_owned(),
        ));
        if !policy.names.denied.is_empty() {
            lines.push(("names added".to_owned(), keys(&policy.names.denied)));
        }
        lines.push(("names excepted".to_owned(), keys(&policy.names.excepted)));
        for rule in Rule::BUILT_IN {
            if rule == Rule::Email && policy.email == EmailPolicy::Keep {
                lines.push(("kept".to_owned(), rule.describe().to_owned()));
            } else {
                lines.push((rule.marker().to_owned(), rule.describe().to_owned()));
            }
        }
        for (pattern, marker) in policy.patterns.iter().zip(&policy.markers) {
            lines.push((marker.to_string(), format!("pattern {}", pattern.text)));
        }
        Self { lines }
    }

    /// Iterates over the lines: a subject and its explanation.
    pub fn lines(&self) -> impl Iterator<Item = (&str, &str)> {
        self.lines.iter().map(|(subject, what)| (subject.as_str(), what.as_str()))
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.lines().try_for_each(|(subject, what)| writeln!(f, "{subject}: {what}"))
    }
}

/// What a sink would see of one request. `Display` prints it.
///
/// # Examples
/// ```
/// use steeple_scrub::Scrubber;
///
/// let request = http::Request::get("/reset?token=abc").header("accept", "*/*").header("x-api-key", "abc").body(())?;
/// let (parts, ()) = request.into_parts();
/// assert_eq!(
///     Scrubber::default().dry_run(&parts).to_string(),
///     "GET /reset?token=[redacted:key]\naccept: */*\nx-api-key (denied)\n"
/// );
/// # Ok::<(), http::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DryRun {
    /// Method and target.
    target: String,
    headers: Vec<(String, Result<String, &'static str>)>,
}

impl DryRun {
    pub(crate) fn of(policy: &Policy, request: &Parts) -> Self {
        let method = request.method.as_str();
        let target = format!("{} {}", text::scrub(policy, method), url::uri(policy, &request.uri));
        let headers = request.headers.iter().map(|(name, value)| {
            let verdict = match header::verdict(policy, name, value) {
                HeaderVerdict::Shown(value) => Ok(value.to_string()),
                HeaderVerdict::Hidden(reason) => Err(reason.as_str()),
            };
            (text::scrub(policy, name.as_str()).into_owned(), verdict)
        });
        Self { target, headers: headers.collect() }
    }

    /// Returns the method and the scrubbed target.
    pub fn target(&self) -> &str {
        &self.target
    }

    /// Iterates over the headers: a name, and the scrubbed value or the reason why it is hidden.
    pub fn headers(&self) -> impl Iterator<Item = (&str, Result<&str, &'static str>)> {
        self.headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_ref().map(String::as_str).map_err(|reason| *reason)))
    }
}

impl fmt::Display for DryRun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.target)?;
        self.headers().try_for_each(|(name, value)| match value {
            Ok(value) => writeln!(f, "{name}: {value}"),
            Err(reason) => writeln!(f, "{name} ({reason})"),
        })
    }
}
