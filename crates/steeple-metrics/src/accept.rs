//! What a scraper asks for.

/// A format that `/metrics` can answer in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    Text,
    OpenMetrics {
        /// Whether the scraper wants to hear how names are escaped.
        says_escaping: bool,
    },
    Protobuf,
}

/// Picks the format: the highest weight wins, then the first that is named. Text 0.0.4 if nothing fits.
pub(crate) fn format(accept: Option<&str>) -> Format {
    let mut best: Option<(f32, Format)> = None;
    for range in accept.unwrap_or_default().split(',') {
        let mut parts = range.split(';').map(str::trim);
        let kind = parts.next().unwrap_or_default().to_ascii_lowercase();
        let parameters: Vec<(String, &str)> = parts
            .filter_map(|part| part.split_once('='))
            .map(|(name, value)| (name.trim().to_ascii_lowercase(), value.trim().trim_matches('"')))
            .collect();
        let parameter = |name| parameters.iter().find(|(other, _)| other == name).map(|(_, value)| *value);
        let weight: f32 = parameter("q").map_or(1.0, |weight| weight.parse().unwrap_or(0.0));
        let version = parameter("version");
        let format = match &*kind {
            "application/vnd.google.protobuf"
                if parameter("proto").is_none_or(|proto| proto == "io.prometheus.client.MetricFamily")
                    && parameter("encoding") == Some("delimited") =>
            {
                Format::Protobuf
            }
            "application/openmetrics-text" if matches!(version, None | Some("1.0.0")) => {
                Format::OpenMetrics { says_escaping: parameter("escaping").is_some() }
            }
            "text/plain" if matches!(version, None | Some("0.0.4")) => Format::Text,
            "*/*" | "text/*" => Format::Text,
            _ => continue,
        };
        if weight > 0.0 && best.is_none_or(|(other, _)| weight > other) {
            best = Some((weight, format));
        }
    }
    best.map_or(Format::Text, |(_, format)| format)
}

/// Whether the scraper takes gzip.
#[cfg(feature = "gzip")]
pub(crate) fn takes_gzip(accept_encoding: Option<&str>) -> bool {
    let weight = |wanted: &str| {
        accept_encoding.unwrap_or_default().split(',').find_map(|coding| {
            let mut parts = coding.split(';').map(str::trim);
            let is_it = parts.next().is_some_and(|name| name.eq_ignore_ascii_case(wanted));
            let weight = parts.find_map(|part| part.strip_prefix("q="));
            is_it.then(|| weight.is_none_or(|weight| weight.parse().is_ok_and(|weight: f32| weight > 0.0)))
        })
    };
    weight("gzip").or_else(|| weight("*")).unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(accept: &str, want: Format) {
        assert_eq!(format(Some(accept)), want, "{accept}");
    }

    #[test]
    fn real_scrapers_get_what_they_like_best() {
        // Prometheus 2.42 with native histograms, then without; then Prometheus 3.
        check(
            "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited,\
             application/openmetrics-text;version=1.0.0;q=0.8,application/openmetrics-text;version=0.0.1;q=0.75,\
             text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
            Format::Protobuf,
        );
        check(
            "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,\
             text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
            Format::OpenMetrics { says_escaping: false },
        );
        check(
            "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,\
             application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,\
             text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
            Format::OpenMetrics { says_escaping: true },
        );
    }

    #[test]
    fn unknown_accept_headers_get_text() {
        check("", Format::Text);
        check("text/html, application/json", Format::Text);
        check("*/*", Format::Text);
        check("application/openmetrics-text;version=2.0.0", Format::Text);
        check("application/vnd.google.protobuf;encoding=text", Format::Text);
        check("application/openmetrics-text;q=0, text/plain", Format::Text);
        check("application/openmetrics-text;q=0.2, text/plain;q=0.3", Format::Text);
        assert_eq!(format(None), Format::Text);
    }

    #[cfg(feature = "gzip")]
    #[test]
    fn gzip_is_for_those_who_take_it() {
        for yes in ["gzip", "deflate, GZIP;q=0.5", "*", "br;q=1, *;q=0.1"] {
            assert!(takes_gzip(Some(yes)), "{yes}");
        }
        for no in ["", "br", "gzip;q=0", "gzip;q=0, *", "identity"] {
            assert!(!takes_gzip(Some(no)), "{no}");
        }
        assert!(!takes_gzip(None));
    }
}
