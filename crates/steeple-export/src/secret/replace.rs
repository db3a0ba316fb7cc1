//! Puts new secrets in the place of old ones in a request.

use base64::{Engine, engine::general_purpose::STANDARD};
use http::{HeaderValue, Uri};

use super::{Form, changed, changes};
use crate::{Endpoint, Request};

/// Shorter texts are replaced only where they are all there is: `key` may be in any text.
const MIN_WITHIN: usize = 8;

/// What one secret has become, where it can be in a request.
#[derive(Default)]
struct Replacements {
    /// Beginnings of URLs, without user and password.
    urls: Vec<(String, String)>,
    /// Values of `authorization` for the users in URLs.
    headers: Vec<(HeaderValue, HeaderValue)>,
    texts: Vec<(String, String)>,
}

/// Puts the secrets of files that have changed in the place of those that the request was written with.
pub(crate) fn apply(request: &mut Request) {
    if changes() > 0 {
        let mut all = Replacements::default();
        for (form, old, new) in changed() {
            all.add(form, &old, &new);
        }
        all.apply(request);
    }
}

impl Replacements {
    fn add(&mut self, form: Form, old: &str, new: &str) {
        match form {
            Form::Text => self.texts.push((old.to_owned(), new.to_owned())),
            Form::Url => self.add_urls(old, new),
            Form::Dsn => self.add_dsn(old, new),
            Form::Headers => {
                // The same header has another value; one that is gone has none, and the receiver says so.
                for (name, old) in pairs(old) {
                    if let Some((_, new)) = pairs(new).into_iter().find(|(other, _)| *other == name)
                        && old != new
                    {
                        self.texts.push((old, new));
                    }
                }
            }
        }
    }

    /// A URL, or several with commas between.
    fn add_urls(&mut self, old: &str, new: &str) {
        for (old, new) in old.split(',').zip(new.split(',')) {
            let (Ok(from), Ok(to)) = (Endpoint::parse(old), Endpoint::parse(new)) else { continue };
            if from.uri() != to.uri() {
                self.urls.push((base(from.uri()), base(to.uri())));
            }
            if let (Some(from), Some(to)) = (from.authorization(), to.authorization())
                && from != to
            {
                self.headers.push((from.clone(), to.clone()));
            }
        }
    }

    /// The host and the project are in the URL, and the user in a header of Sentry's own.
    fn add_dsn(&mut self, old: &str, new: &str) {
        if let (Some(from), Some(to)) = (api(old), api(new))
            && from != to
        {
            self.urls.push((from, to));
        }
        if let (Some(from), Some(to)) = (user(old), user(new))
            && from != to
        {
            self.texts.push((format!("sentry_key={from}"), format!("sentry_key={to}")));
        }
    }

    fn apply(&self, request: &mut Request) {
        if let Some(uri) = self.uri(request.uri()) {
            *request.uri_mut() = uri;
        }
        if request.is_body_secret()
            && let Some(body) = self.body(request.payload())
        {
            request.set_body(body);
        }
        for value in request.headers_mut().values_mut() {
            if let Some(new) = self.header(value) {
                *value = new;
                value.set_sensitive(true);
            }
        }
    }

    fn uri(&self, uri: &Uri) -> Option<Uri> {
        let whole = uri.to_string();
        let moved = self.urls.iter().find_map(|(old, new)| {
            let rest = whole.strip_prefix(old.as_str())?;
            // The end of a path, not the middle of a word.
            (rest.is_empty() || rest.starts_with(['/', '?', '&'])).then(|| format!("{new}{rest}"))
        });
        let text = moved.as_deref().unwrap_or(&whole);
        let replaced = self.text(text);
        replaced.or(moved)?.parse().ok()
    }

    fn header(&self, value: &HeaderValue) -> Option<HeaderValue> {
        if let Some((_, new)) = self.headers.iter().find(|(old, _)| old == value) {
            return Some(new.clone());
        }
        let text = value.to_str().ok()?;
        if let Some(new) = self.text(text) {
            return HeaderValue::try_from(new).ok();
        }
        let plain = String::from_utf8(STANDARD.decode(text.strip_prefix("Basic ")?).ok()?).ok()?;
        let (user, password) = plain.split_once(':')?;
        let (new_user, new_password) = (self.text(user), self.text(password));
        if new_user.is_none() && new_password.is_none() {
            return None;
        }
        let pair = format!("{}:{}", new_user.as_deref().unwrap_or(user), new_password.as_deref().unwrap_or(password));
        HeaderValue::try_from(format!("Basic {}", STANDARD.encode(pair))).ok()
    }

    /// JSON in which old secrets are whole texts. `None`: it has none of them.
    fn body(&self, body: &[u8]) -> Option<String> {
        let is_plain = |text: &str| !text.contains(['"', '\\']) && !text.chars().any(char::is_control);
        let mut found = None::<String>;
        let body = std::str::from_utf8(body).ok()?;
        for (old, new) in self.texts.iter().filter(|(old, new)| is_plain(old) && is_plain(new)) {
            let (old, new) = (format!("\"{old}\""), format!("\"{new}\""));
            let text = found.as_deref().unwrap_or(body);
            if text.contains(&old) {
                found = Some(text.replace(&old, &new));
            }
        }
        found
    }

    /// Replaces each old secret that stands alone. Returns `None` if the text has none.
    fn text(&self, text: &str) -> Option<String> {
        let mut found = None::<String>;
        for (old, new) in &self.texts {
            let text = found.as_deref().unwrap_or(text);
            let replaced = if text == old { Some(new.clone()) } else { within(text, old, new) };
            found = replaced.or(found);
        }
        found
    }
}

/// Replaces a text where no letter, digit, `-` or `_` is on either side of it.
fn within(text: &str, old: &str, new: &str) -> Option<String> {
    if old.len() < MIN_WITHIN {
        return None;
    }
    let is_word = |c: char| c.is_alphanumeric() || c == '-' || c == '_';
    let mut out = String::new();
    let (mut rest, mut before) = (text, None);
    while let Some((left, right)) = rest.split_once(old) {
        let stands_alone = !left.chars().next_back().or(before).is_some_and(is_word) && !right.starts_with(is_word);
        out.push_str(left);
        out.push_str(if stands_alone { new } else { old });
        (rest, before) = (right, old.chars().next_back());
    }
    out.push_str(rest);
    (out != text).then_some(out)
}

/// A URL as it begins the URLs of requests: without a slash at its end.
fn base(uri: &Uri) -> String {
    uri.to_string().trim_end_matches('/').to_owned()
}

/// What the URLs of a DSN's requests begin with: `https://sentry.example.com/prefix/api/7`.
fn api(dsn: &str) -> Option<String> {
    let endpoint = Endpoint::parse(dsn).ok()?;
    let (uri, default) = (endpoint.uri(), if endpoint.is_https() { 443 } else { 80 });
    let (path, project) = uri.path().trim_end_matches('/').rsplit_once('/')?;
    // Sentry's SDK leaves the scheme's own port out.
    let port = uri.port_u16().filter(|port| *port != default).map_or_else(String::new, |port| format!(":{port}"));
    let (scheme, host) = (uri.scheme_str()?, uri.host()?);
    (!project.is_empty()).then(|| format!("{scheme}://{host}{port}{path}/api/{project}"))
}

/// The user in a URL, without the password.
fn user(url: &str) -> Option<&str> {
    let (_, rest) = url.split_once("://")?;
    let (user, _) = rest.split(['/', '?']).next()?.rsplit_once('@')?;
    user.split(':').next().filter(|user| !user.is_empty())
}

/// `name=value,name=value`.
fn pairs(text: &str) -> Vec<(String, String)> {
    let pair = |item: &str| {
        let (name, value) = item.split_once('=')?;
        Some((
            name.trim().to_ascii_lowercase(),
            steeple_core::text::percent_decode(value.trim().as_bytes()).into_owned(),
        ))
    };
    text.split(',').filter_map(pair).collect()
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, header};

    use super::*;

    const KEY: &str = "old-0123456789";
    const NEW: &str = "new-abcdefghij";

    fn replaced(form: Form, old: &str, new: &str, url: &str, headers: &[(&'static str, &str)]) -> Request {
        let mut all = Replacements::default();
        all.add(form, old, new);
        let mut request = Request::post(&Endpoint::parse(url).unwrap());
        for (name, value) in headers {
            request = request.header(HeaderName::from_static(name), HeaderValue::try_from(*value).unwrap());
        }
        all.apply(&mut request);
        request
    }

    #[test]
    fn a_key_is_replaced_in_headers_and_queries_where_it_stands_alone() {
        let url = format!("http://localhost/mp/collect?measurement_id=G-1&api_secret={KEY}");
        let longer = format!("{KEY}9");
        let headers = [("api-key", KEY), ("authorization", &format!("ApiKey {KEY}")), ("x-other", &longer)];
        let request = replaced(Form::Text, KEY, NEW, &url, &headers);
        assert_eq!(request.uri().query(), Some(&*format!("measurement_id=G-1&api_secret={NEW}")));
        assert_eq!(
            (&request.headers()["api-key"], &request.headers()["x-other"]),
            (&NEW.parse().unwrap(), &longer.parse().unwrap())
        );
        assert_eq!(request.headers()[header::AUTHORIZATION], format!("ApiKey {NEW}"));
        assert!(request.headers()["api-key"].is_sensitive());
    }

    #[test]
    fn a_short_key_is_replaced_where_it_is_all_there_is() {
        let request =
            replaced(Form::Text, "key", "lock", "http://localhost/key/x", &[("a", "key"), ("b", "the key is")]);
        assert_eq!((request.uri().path(), &request.headers()["a"]), ("/key/x", &"lock".parse().unwrap()));
        assert_eq!(request.headers()["b"], "the key is");
    }

    #[test]
    fn a_url_is_replaced_by_its_beginning_and_its_user_in_basic_authentication() {
        let url = format!("http://elastic:{KEY}@localhost/shop/_bulk");
        let request = replaced(
            Form::Url,
            &format!("http://elastic:{KEY}@localhost"),
            &format!("http://elastic:{NEW}@other:9200/"),
            &url,
            &[],
        );
        assert_eq!(request.uri(), "http://other:9200/shop/_bulk");
        assert_eq!(
            request.headers()[header::AUTHORIZATION],
            format!("Basic {}", STANDARD.encode(format!("elastic:{NEW}")))
        );
        let slack = |key: &str| format!("https://hooks.slack.com/services/T/B/{key}");
        let request = replaced(Form::Url, &slack(KEY), &slack(NEW), &slack(KEY), &[]);
        assert_eq!(request.uri(), &*slack(NEW));
        let other = format!("{}x", slack(KEY));
        assert_eq!(replaced(Form::Url, &slack(KEY), &slack(NEW), &other, &[]).uri(), &*other, "another URL stays");
    }

    #[test]
    fn key_host_and_project_of_a_dsn_are_replaced() {
        let sent = |key: &str| format!("Sentry sentry_key={key}, sentry_version=7");
        for (old, new, from, to) in [
            // Keys may be short in installations of one's own.
            ("https://public@old.example/1", "https://secret@old.example/1", "old.example/api/1", "old.example/api/1"),
            ("https://public@old.example/1", "https://secret@new.example/2", "old.example/api/1", "new.example/api/2"),
            (
                "https://public@old.example:443/a/1",
                "https://secret@old.example:444/b/1/",
                "old.example/a/api/1",
                "old.example:444/b/api/1",
            ),
        ] {
            let header = [("x-sentry-auth", &*sent("public"))];
            let request = replaced(Form::Dsn, old, new, &format!("https://{from}/envelope/"), &header);
            assert_eq!(request.uri().to_string(), format!("https://{to}/envelope/"), "{old} {new}");
            assert_eq!(request.headers()["x-sentry-auth"], sent("secret"));
        }
        let other = "https://old.example/api/11/envelope/";
        let request = replaced(Form::Dsn, "https://a@old.example/1", "https://a@new.example/1", other, &[]);
        assert_eq!(request.uri(), other, "another project's");
    }

    #[test]
    fn a_token_is_replaced_in_a_body_that_is_marked_where_it_is_a_whole_text() {
        let body = format!(r#"[{{"$token":"{KEY}","note":"not {KEY}"}}]"#);
        let replaced = |new: &str, is_marked: bool| {
            let mut all = Replacements::default();
            all.add(Form::Text, KEY, new);
            let request = Request::post(&Endpoint::parse("http://localhost/").unwrap()).body(body.clone());
            let mut request = if is_marked { request.secrets_in_body() } else { request };
            all.apply(&mut request);
            String::from_utf8(request.payload().to_vec()).unwrap()
        };
        assert_eq!(replaced(NEW, true), format!(r#"[{{"$token":"{NEW}","note":"not {KEY}"}}]"#));
        assert_eq!(replaced(NEW, false), body);
        assert_eq!(replaced("not\"JSON", true), body, "a key that would not be one text");
    }

    #[test]
    fn a_header_of_a_list_is_replaced_by_its_name() {
        let (old, new) = (format!("api-key={KEY},x-team=a"), format!("x-team=a, api-key={NEW}"));
        let request =
            replaced(Form::Headers, &old, &new, "http://localhost/v1/traces", &[("api-key", KEY), ("x-team", "a")]);
        assert_eq!(
            (&request.headers()["api-key"], &request.headers()["x-team"]),
            (&NEW.parse().unwrap(), &"a".parse().unwrap())
        );
    }

    #[test]
    fn a_password_is_replaced_within_basic_authentication() {
        let basic = format!("Basic {}", STANDARD.encode(format!("{KEY}:")));
        let request = replaced(Form::Text, KEY, NEW, "http://localhost/import", &[("authorization", &basic)]);
        assert_eq!(request.headers()[header::AUTHORIZATION], format!("Basic {}", STANDARD.encode(format!("{NEW}:"))));
    }
}
