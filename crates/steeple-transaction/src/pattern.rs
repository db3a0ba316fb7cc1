use regex_automata::util::syntax;

use crate::{BuildError, error::Kind};

/// Which paths a rule is for.
///
/// A `&str` or `String` is a [glob](Self::glob). Patterns see the path as the client sent it, without the query and with
/// `%` escapes as they are. (A layer **inside** of a nested Axum router sees it without the prefix, which is gone then.)
#[derive(Clone, Debug)]
pub struct Pattern(Source);

#[derive(Clone, Debug)]
enum Source {
    Glob(String),
    Regex(String),
}

impl Pattern {
    /// A path with wildcards, which has to match as a whole.
    ///
    /// | | stands for |
    /// | --- | --- |
    /// | `*`, `{id}` as a whole segment | one segment, not empty |
    /// | `*` within a segment | any characters but `/`, or none |
    /// | `**` as a whole segment | any number of segments, or none: `/v1/**` matches `/v1` and `/v1/a/b` |
    /// | `{*rest}` as the last segment | at least one character, as in Axum |
    ///
    /// Every other character stands for itself.
    pub fn glob(pattern: impl Into<String>) -> Self {
        Self(Source::Glob(pattern.into()))
    }

    /// A regular expression of the `regex` crate's syntax: linear in time on any path. It may match anywhere in the
    /// path unless `^` or `$` tie it down; classes like `\w` and `(?i)` know ASCII alone.
    pub fn regex(pattern: impl Into<String>) -> Self {
        Self(Source::Regex(pattern.into()))
    }

    /// The regular expression for an anchored search.
    pub(crate) fn compile(self) -> Result<String, BuildError> {
        match self.0 {
            Source::Glob(glob) => translate(&glob).map_err(|why| BuildError::new(Kind::Glob { pattern: glob, why })),
            Source::Regex(pattern) => match syntax::parse_with(&pattern, &syntax_config()) {
                Ok(_) => Ok(format!("(?s:.*?)(?:{pattern})")),
                Err(error) => Err(BuildError::because(Kind::Regex { pattern }, error.to_string())),
            },
        }
    }
}

impl From<&str> for Pattern {
    fn from(glob: &str) -> Self {
        Self::glob(glob)
    }
}

impl From<String> for Pattern {
    fn from(glob: String) -> Self {
        Self::glob(glob)
    }
}

/// Paths are ASCII: without Unicode the automata are small.
pub(crate) fn syntax_config() -> syntax::Config {
    syntax::Config::new().unicode(false).utf8(false)
}

fn translate(glob: &str) -> Result<String, &'static str> {
    let path = glob.strip_prefix('/').ok_or("it does not start with `/`")?;
    let mut regex = String::from("^");
    let mut segments = path.split('/').peekable();
    while let Some(segment) = segments.next() {
        let last = segments.peek().is_none();
        match segment {
            "**" => regex.push_str("(?:/[^/]*)*"),
            "*" => regex.push_str("/[^/]+"),
            _ if is_braced(segment, "{*") => {
                if !last {
                    return Err("`{*name}` is not the last segment");
                }
                regex.push_str("/(?s:.+)");
            }
            _ if is_braced(segment, "{") => regex.push_str("/[^/]+"),
            _ if segment.contains("**") => return Err("`**` is only a part of a segment"),
            _ if segment.contains(['{', '}']) => return Err("a brace is only a part of a segment"),
            _ => {
                regex.push('/');
                translate_segment(segment, &mut regex);
            }
        }
    }
    regex.push('$');
    Ok(regex)
}

/// `{name}`: something between the braces, and nothing that would end them or is left open in there.
fn is_braced(segment: &str, open: &str) -> bool {
    let name = segment.strip_prefix(open).and_then(|rest| rest.strip_suffix('}'));
    name.is_some_and(|name| !name.is_empty() && !name.contains(['{', '}', '*']))
}

fn translate_segment(segment: &str, regex: &mut String) {
    for character in segment.chars() {
        match character {
            '*' => regex.push_str("[^/]*"),
            '\\' | '.' | '+' | '?' | '(' | ')' | '|' | '[' | ']' | '^' | '$' | '#' | '&' | '-' | '~' => {
                regex.push('\\');
                regex.push(character);
            }
            _ => regex.push(character),
        }
    }
}

#[cfg(test)]
mod tests {
    use regex_automata::meta::Regex;

    use super::*;

    #[track_caller]
    fn check(glob: &str, matching: &[&str], others: &[&str]) {
        let pattern = Pattern::glob(glob).compile().unwrap();
        let regex = Regex::builder().syntax(syntax_config()).build(&pattern).unwrap();
        for path in matching {
            assert!(regex.is_match(path), "{glob} matches {path}");
        }
        for path in others {
            assert!(!regex.is_match(path), "{glob} does not match {path}");
        }
    }

    #[test]
    fn a_glob_matches_whole_paths() {
        check("/", &["/"], &["", "/a", "//"]);
        check("/healthz", &["/healthz"], &["/healthz/", "/healthz2", "/a/healthz", "/health"]);
        check("/users/*", &["/users/1", "/users/a.b"], &["/users", "/users/", "/users/1/2"]);
        check("/users/{id}", &["/users/1"], &["/users/", "/users/1/2"]);
        check("/users/{id}/tasks", &["/users/1/tasks"], &["/users//tasks", "/users/1/tasks/2"]);
        check("/v1/**", &["/v1", "/v1/", "/v1/a", "/v1/a/b"], &["/v10", "/v", "/a/v1"]);
        check("/**/edit", &["/edit", "/a/edit", "/a/b/edit"], &["/a/edits", "edit"]);
        check("/**", &["/", "/a", "/a/b", "*".strip_prefix('*').unwrap()], &["a"]);
        check("/files/{*rest}", &["/files/a", "/files/a/b"], &["/files", "/files/"]);
        check("/static/*.css", &["/static/a.css", "/static/.css"], &["/static/acss", "/static/a/b.css"]);
        check("/a.b+c(d)[e]?", &["/a.b+c(d)[e]?"], &["/aXb+c(d)[e]?", "/a.b+c(d)e"]);
        check("/pkg.Service/*", &["/pkg.Service/Get"], &["/pkgXService/Get"]);
    }

    #[test]
    fn an_invalid_glob_is_rejected_with_a_reason() {
        for (glob, why) in [
            ("", "start with `/`"),
            ("v1/*", "start with `/`"),
            ("/a**", "part of a segment"),
            ("/{id", "part of a segment"),
            ("/id}", "part of a segment"),
            ("/{}", "part of a segment"),
            ("/a{id}", "part of a segment"),
            ("/{*rest}/a", "not the last segment"),
        ] {
            let error = Pattern::glob(glob).compile().unwrap_err();
            let text = error.to_string();
            assert!(error.is_pattern() && text.contains(why) && text.contains(&format!("{glob:?}")), "{glob}: {text}");
        }
    }
}
