//! Which requests look at a page, and which are sampled.

use http::{Method, header, request, response};
use steeple_core::Exchange;

/// What of all requests becomes an event. Off by default.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sampled {
    pub(crate) page_views: f64,
    pub(crate) api_responses: f64,
    pub(crate) database_queries: f64,
    pub(crate) cache_operations: f64,
}

impl Sampled {
    pub(crate) fn takes_page_view(&self) -> bool {
        takes(self.page_views)
    }

    pub(crate) fn takes_api_response(&self) -> bool {
        takes(self.api_responses)
    }
}

/// Whether one of so many is taken.
pub(crate) fn takes(ratio: f64) -> bool {
    ratio > 0.0 && (ratio >= 1.0 || fastrand::f64() < ratio)
}

/// What an [`EventsObserver`](crate::EventsObserver) keeps of a request that may look at a page.
#[derive(Debug)]
pub struct PageRequest {
    origin: String,
}

/// Names of programs that fetch pages without a person.
const ROBOTS: [&str; 9] =
    ["bot", "spider", "crawl", "preview", "facebookexternalhit", "headless", "monitor", "curl/", "python"];

impl PageRequest {
    /// A GET of a browser, for a person who is there.
    pub(crate) fn of(request: &request::Parts) -> Option<Self> {
        let text = |name| request.headers.get(name).and_then(|value| value.to_str().ok());
        let agent = text(header::USER_AGENT)?.to_ascii_lowercase();
        // Fetched ahead, it may never be looked at.
        let is_ahead = ["sec-purpose", "purpose", "x-moz"]
            .iter()
            .any(|name| request.headers.get(*name).is_some_and(|value| value.as_bytes().starts_with(b"prefetch")));
        if request.method != Method::GET || is_ahead || ROBOTS.iter().any(|robot| agent.contains(robot)) {
            return None;
        }
        let host = request.uri.host().or_else(|| text(header::HOST))?;
        let valid =
            host.len() <= 253 && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-:[]".contains(&byte));
        // Behind a proxy, a request does not have the scheme by which it came.
        let scheme = request.uri.scheme_str().unwrap_or("https");
        valid.then(|| Self { origin: format!("{scheme}://{host}") })
    }

    /// Scheme, host and the route's template: no query, and no part that names one thing. `None`: no route.
    pub(crate) fn location(&self, exchange: &Exchange) -> Option<String> {
        exchange.route().map(|route| format!("{}{}", self.origin, route.as_str()))
    }
}

/// Whether the answer is a page.
pub(crate) fn is_page(response: &response::Parts) -> bool {
    let kind = response.headers.get(header::CONTENT_TYPE);
    response.status.is_success() && kind.is_some_and(|kind| kind.as_bytes().starts_with(b"text/html"))
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn page(headers: &[(&str, &str)]) -> Option<String> {
        let request =
            headers.iter().fold(Request::get("/a?token=x"), |request, (name, value)| request.header(*name, *value));
        PageRequest::of(&request.body(()).unwrap().into_parts().0).map(|page| page.origin)
    }

    #[test]
    fn browsers_look_at_pages_and_robots_and_prefetches_do_not() {
        let (host, browser) = (("host", "shop.example:8080"), ("user-agent", "Mozilla/5.0 (X11; Linux) Firefox/140.0"));
        assert_eq!(page(&[host, browser]).as_deref(), Some("https://shop.example:8080"));
        assert_eq!(page(&[host]), None);
        assert_eq!(page(&[host, ("user-agent", "Mozilla/5.0 (compatible; Googlebot/2.1)")]), None);
        assert_eq!(page(&[host, browser, ("sec-purpose", "prefetch;prerender")]), None);
        assert_eq!(page(&[("host", "a b"), browser]), None);
    }

    #[test]
    fn a_ratio_of_zero_takes_none_and_one_takes_all() {
        assert!(!takes(0.0) && !takes(-1.0) && !takes(f64::NAN) && takes(1.0));
        let taken = (0..10_000).filter(|_| takes(0.5)).count();
        assert!((4_000..6_000).contains(&taken), "{taken}");
    }
}
