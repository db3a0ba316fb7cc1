//! Prometheus's HTTP API: two of its addresses, with limits.

use std::{collections::BTreeMap, fmt::Write, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderValue, StatusCode, header};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use steeple_export::{Client, Endpoint, Reason, Request};
use tokio::sync::Semaphore;

use super::{
    Grid, PrometheusOptions,
    plan::{Question, When},
};
use crate::BuildError;

/// Queries in flight, of all clients.
const IN_FLIGHT: usize = 4;
/// Largest answer.
const MAX_ANSWER: usize = 4 << 20;
/// Answers above this are read by the helper thread.
const OFFLOAD: usize = 64 * 1024;

/// A series of an answer.
#[derive(Clone, Debug, Default)]
pub(crate) struct Series {
    pub(crate) labels: BTreeMap<String, String>,
    /// Seconds since the Unix epoch, and a number.
    pub(crate) points: Vec<(f64, f64)>,
}

impl Series {
    pub(crate) fn label(&self, name: &str) -> &str {
        self.labels.get(name).map_or("", String::as_str)
    }

    /// Its last number, if that is one.
    pub(crate) fn last(&self) -> Option<f64> {
        self.points.last().map(|(_, value)| *value).filter(|value| value.is_finite())
    }
}

pub(crate) struct Prometheus {
    client: Client,
    query: Endpoint,
    query_range: Endpoint,
    authorization: Option<HeaderValue>,
    places: Arc<Semaphore>,
    /// Longest time for one query.
    timeout: Duration,
}

#[derive(Deserialize)]
struct Answer {
    status: String,
    #[serde(default)]
    data: Option<Data>,
    #[serde(default)]
    error: Option<String>,
}

#[derive(Deserialize)]
struct Data {
    result: Vec<Written>,
}

#[derive(Deserialize)]
struct Written {
    #[serde(default)]
    metric: BTreeMap<String, String>,
    #[serde(default)]
    value: Option<(f64, String)>,
    #[serde(default)]
    values: Vec<(f64, String)>,
}

impl Prometheus {
    pub(crate) fn connect(options: &PrometheusOptions) -> Result<Self, BuildError> {
        let (http, endpoint, authorization) = options.reach()?;
        let client =
            http.max_response_bytes(MAX_ANSWER).connect_timeout(options.query_timeout).build().map_err(|_error| {
                BuildError::setting("Prometheus cannot be reached with these certificates or proxies")
            })?;
        client.check(&endpoint).map_err(|error| {
            BuildError::setting(if error.is_plain_http() {
                "Prometheus is reached over https, or on this machine: see DASHBOARD_ALLOW_PLAIN_HTTP"
            } else {
                "Prometheus is reached over https, which needs a TLS feature and root certificates"
            })
        })?;
        let join =
            |path| endpoint.join(path).map_err(|_path| BuildError::setting("the URL of Prometheus is not valid"));
        Ok(Self {
            query: join("api/v1/query")?,
            query_range: join("api/v1/query_range")?,
            client,
            authorization,
            places: Arc::new(Semaphore::new(IN_FLIGHT)),
            timeout: options.query_timeout,
        })
    }

    /// The series of an answer. `left`: the rest of the time for all questions.
    pub(super) async fn ask(
        &self,
        question: &Question,
        grid: Grid,
        now: Duration,
        left: Duration,
    ) -> Result<Vec<Series>, Reason> {
        const HOUR: u64 = 3600;
        let at = now.as_secs();
        let (endpoint, times) = match question.when {
            When::Now => (&self.query, vec![("time", at)]),
            When::HourAgo => (&self.query, vec![("time", at.saturating_sub(HOUR))]),
            When::NowAndHourAgo => {
                (&self.query_range, vec![("start", at.saturating_sub(HOUR)), ("end", at), ("step", HOUR)])
            }
            When::Chart => (&self.query_range, vec![("start", grid.from), ("end", grid.to), ("step", grid.step)]),
        };
        let mut body = format!(
            "query={}&timeout={}ms",
            utf8_percent_encode(&question.expr, NON_ALPHANUMERIC),
            // Prometheus refuses 0.
            self.timeout.as_millis().max(1)
        );
        for (name, value) in times {
            let _infallible = write!(body, "&{name}={value}");
        }
        let mut request = Request::post(endpoint).content_type("application/x-www-form-urlencoded").body(body);
        if let Some(authorization) = &self.authorization {
            request = request.header(header::AUTHORIZATION, authorization.clone());
        }
        let _place = self.places.acquire().await;
        let timeout = left.min(self.timeout);
        if timeout.is_zero() {
            return Err(Reason::from("Prometheus takes too long for all queries together"));
        }
        let response = self.client.ask(request, timeout).await?;
        match response.status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                return Err(Reason::from("Prometheus does not accept the credentials"));
            }
            // These have a body with the reason.
            StatusCode::OK | StatusCode::BAD_REQUEST | StatusCode::UNPROCESSABLE_ENTITY => (),
            _ => return Err(response.reason()),
        }
        if response.is_cut {
            return Err(Reason::from("an answer of Prometheus is larger than 4 MiB, or did not end in time"));
        }
        let body = response.body;
        if body.len() < OFFLOAD {
            return read(&body);
        }
        steeple_export::offload(move || read(&body))
            .await
            .unwrap_or_else(|_panicked| Err(Reason::from("an answer of Prometheus could not be read")))
    }
}

fn read(body: &Bytes) -> Result<Vec<Series>, Reason> {
    let answer: Answer =
        serde_json::from_slice(body).map_err(|_error| Reason::from("the answer is not one of Prometheus's"))?;
    match answer.data {
        Some(data) if answer.status == "success" => Ok(data.result.into_iter().map(series).collect()),
        _ => Err(Reason::scrub(&answer.error.unwrap_or_else(|| "Prometheus gives no reason".to_owned()))),
    }
}

fn series(written: Written) -> Series {
    let number = |(at, text): (f64, String)| (at, text.parse().unwrap_or(f64::NAN));
    let points = written.values.into_iter().chain(written.value).map(number).collect();
    Series { labels: written.metric, points }
}

#[cfg(test)]
mod tests {
    use steeple_export::ClientBuilder;

    use super::*;

    #[test]
    fn invalid_settings_are_refused_and_plain_http_goes_to_this_machine_alone() {
        let options = PrometheusOptions::new;
        for bad in [
            options("prometheus:9090"),
            options("http://prometheus.example:9090"),
            options("http://127.0.0.1:9090").bearer("a\nb"),
            options("http://127.0.0.1:9090").matchers("{job=\"a\"}"),
            options("http://127.0.0.1:9090").scrape_interval(Duration::ZERO),
        ] {
            assert!(Prometheus::connect(&bad).is_err_and(|error| error.is_setting()), "{bad:?}");
        }
        let local = options("http://127.0.0.1:9090");
        assert!(Prometheus::connect(&local).is_ok());
        let allowed = options("http://prometheus.example:9090").http(ClientBuilder::allow_plain_http);
        assert!(Prometheus::connect(&allowed).is_ok());
    }

    #[test]
    fn answers_are_read_and_errors_have_their_reason() {
        let matrix = r#"{"status":"success","data":{"resultType":"matrix","result":[
            {"metric":{"instance":"a"},"values":[[1.5,"2"],[2.5,"NaN"]]}]}}"#;
        let series = read(&Bytes::from_static(matrix.as_bytes())).unwrap();
        assert_eq!((series[0].label("instance"), series[0].points[0], series[0].last()), ("a", (1.5, 2.0), None));
        let vector =
            r#"{"status":"success","data":{"resultType":"vector","result":[{"metric":{},"value":[1,"+Inf"]}]}}"#;
        assert_eq!(read(&Bytes::from_static(vector.as_bytes())).unwrap()[0].last(), None);
        let failed = r#"{"status":"error","errorType":"bad_data","error":"parse error"}"#;
        assert_eq!(read(&Bytes::from_static(failed.as_bytes())).unwrap_err().as_str(), "parse error");
        for other in ["", "[]", "<html>", "{\"status\":\"success\"}"] {
            assert!(read(&Bytes::from_static(other.as_bytes())).is_err(), "{other}");
        }
    }
}
