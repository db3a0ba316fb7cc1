use http::HeaderMap;

/// Whether the client asks not to be tracked: `Sec-GPC: 1` (Global Privacy Control) or the older `DNT: 1`.
///
/// For what feeds analytics; logs, metrics and captured errors of the service itself are another matter.
///
/// # Examples
/// ```
/// let mut headers = http::HeaderMap::new();
/// assert!(!steeple_user::wants_no_analytics(&headers));
/// headers.insert("sec-gpc", "1".parse()?);
/// assert!(steeple_user::wants_no_analytics(&headers));
/// # Ok::<(), http::header::InvalidHeaderValue>(())
/// ```
pub fn wants_no_analytics(headers: &HeaderMap) -> bool {
    ["sec-gpc", "dnt"].into_iter().any(|name| headers.get(name).is_some_and(|value| value.as_bytes() == b"1"))
}
