//! What the page shows of all instances, as JSON with the names of a frame.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use bytes::Bytes;
use serde_json::{Map, Value, json};
use steeple_export::Reason;

use super::{Grid, client::Series, plan::Of};
use crate::data::Num;

/// Most deploys that are marked.
const MAX_DEPLOYS: usize = 50;
/// Starts of several instances that are one deploy: milliseconds.
const ONE_DEPLOY: i64 = 900_000;

/// All numbers of one moment.
pub(super) struct View {
    pub(super) grid: Grid,
    asked: Duration,
    body: Value,
}

/// Nothing is known yet.
pub(super) struct Stale;

impl Stale {
    pub(super) fn json(why: &Reason) -> Bytes {
        write(&json!({ "asked": null, "error": why.as_str() }))
    }
}

fn write(value: &Value) -> Bytes {
    serde_json::to_vec(value).unwrap_or_default().into()
}

fn number(value: Option<f64>) -> Value {
    serde_json::to_value(Num(value.unwrap_or(f64::NAN))).unwrap_or(Value::Null)
}

#[expect(clippy::cast_possible_truncation, reason = "times since the Unix epoch")]
fn milliseconds(seconds: f64) -> i64 {
    (seconds * 1000.0).round() as i64
}

/// The columns of a route as they come in.
#[derive(Default)]
struct Route(BTreeMap<&'static str, f64>);

impl View {
    pub(super) fn new(grid: Grid, asked: Duration, answers: Vec<(Of, Vec<Series>)>) -> Self {
        let times = (0_u64..).map(|point| grid.from.saturating_add(point.saturating_mul(grid.step)));
        let times: Vec<u64> = times.take(grid.points()).map(|seconds| seconds.saturating_mul(1000)).collect();
        let mut columns = Map::new();
        columns.insert("t".to_owned(), json!(times));
        let (mut trends, mut system, mut hour, mut day) = (Map::new(), Map::new(), Map::new(), Map::new());
        let mut routes: BTreeMap<(String, String), Route> = BTreeMap::new();
        let (mut replicas, mut builds, mut deploys, mut firing) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for (of, series) in answers {
            match of {
                Of::Column(name, factor) => {
                    columns.insert(name.to_owned(), column(grid, factor, &series));
                }
                Of::Trend(name) => {
                    trends.insert(name.to_owned(), trend(asked, &series));
                }
                Of::Level(name) => {
                    system.insert(name.to_owned(), level(name, &series));
                }
                Of::Hour(name) => {
                    hour.insert(name.to_owned(), figure(name, &series));
                }
                Of::Day(name) => {
                    day.insert(name.to_owned(), figure(name, &series));
                }
                Of::Route(name) => {
                    for one in series {
                        let Some(value) = one.last() else { continue };
                        routes.entry(route(&one)).or_default().0.insert(name, value);
                    }
                }
                Of::Replicas => replicas = series,
                Of::Builds => builds = series,
                Of::Deploys => deploys = starts(grid, &series),
                Of::Firing => firing = series,
            }
        }
        trends.insert("routes".to_owned(), table(routes));
        let replicas: Vec<Value> = replicas
            .iter()
            .map(|one| {
                let instance = one.label("instance");
                let version = builds.iter().find(|build| build.label("instance") == instance);
                json!({
                    "instance": instance, "started": one.last().map(milliseconds),
                    "version": version.map(|build| build.label("version")),
                })
            })
            .collect();
        let firing: Vec<Value> = firing
            .iter()
            .map(|alert| {
                json!({
                    "name": alert.label("alertname"), "severity": alert.label("severity"), "instance": alert.label("instance"),
                })
            })
            .collect();
        for (business, seconds) in [(&mut hour, 3600), (&mut day, 86_400)] {
            business.insert("covers".to_owned(), json!(seconds));
        }
        let body = json!({
            "step": grid.step, "columns": columns, "real_time": trends, "system": system, "hour": hour, "day": day,
            "replicas": replicas, "firing": firing, "deploys": deploys,
        });
        Self { grid, asked, body }
    }

    /// `why`: it is out of date, because Prometheus did not answer.
    pub(super) fn json(&self, why: Option<&Reason>) -> Bytes {
        let mut body = self.body.clone();
        if let Some(body) = body.as_object_mut() {
            body.insert("asked".to_owned(), json!(u64::try_from(self.asked.as_millis()).unwrap_or_default()));
            body.insert("error".to_owned(), json!(why.map(Reason::as_str)));
        }
        write(&body)
    }
}

/// The numbers of the first series, at the grid's times.
pub(super) fn numbers(grid: Grid, series: &[Series]) -> Vec<Option<f64>> {
    let mut numbers = vec![None; grid.points()];
    for (at, value) in series.first().into_iter().flat_map(|series| &series.points) {
        if let Some(place) = grid.place(*at).and_then(|place| numbers.get_mut(place)) {
            *place = Some(*value).filter(|value| value.is_finite());
        }
    }
    numbers
}

fn column(grid: Grid, factor: f64, series: &[Series]) -> Value {
    let numbers = numbers(grid, series);
    Value::Array(numbers.into_iter().map(|value| number(value.map(|value| value * factor))).collect())
}

fn trend(asked: Duration, series: &[Series]) -> Value {
    let half_an_hour_ago = asked.as_secs_f64() - 1800.0;
    let points = series.first().map(|series| series.points.as_slice()).unwrap_or_default();
    let find = |is_now: bool| points.iter().find(|(at, _)| (*at > half_an_hour_ago) == is_now).map(|(_, value)| *value);
    json!({ "now": number(find(true)), "hour_ago": number(find(false)) })
}

/// Of all instances, only the part that is used is known.
fn level(name: &str, series: &[Series]) -> Value {
    let value = series.first().and_then(Series::last);
    match name {
        "throttled" | "cache_hit_ratio" => number(value),
        _ => value.map_or(Value::Null, |ratio| json!({ "ratio": number(Some(ratio)) })),
    }
}

fn figure(name: &str, series: &[Series]) -> Value {
    if name == "revenue" {
        let by = series.iter().filter_map(|one| Some((one.label("currency").to_owned(), number(Some(one.last()?)))));
        return Value::Object(by.filter(|(currency, _)| !currency.is_empty()).collect());
    }
    json!({ "value": number(series.first().and_then(Series::last)) })
}

/// The method and the route: by the names that the server has for both.
fn route(series: &Series) -> (String, String) {
    let either = |classic, otel| {
        let classic = series.label(classic);
        if classic.is_empty() { series.label(otel) } else { classic }.to_owned()
    };
    (either("method", "http_request_method"), either("route", "http_route"))
}

fn table(routes: BTreeMap<(String, String), Route>) -> Value {
    let mut rows: Vec<((String, String), Route)> =
        routes.into_iter().filter(|(_, route)| route.0.get("rate").is_some_and(|rate| *rate > 0.0)).collect();
    let rate = |route: &Route| route.0.get("rate").copied().unwrap_or_default();
    rows.sort_by(|(_, one), (_, other)| rate(other).total_cmp(&rate(one)));
    let rows = rows.into_iter().take(200).map(|((method, name), route)| {
        let of = |column| number(route.0.get(column).copied());
        let rate = rate(&route);
        let client = route.0.get("client_errors").map_or(0.0, |errors| errors / rate);
        json!({
            "method": method, "route": name, "rate": of("rate"), "error_ratio": of("error_ratio"),
            "client_error_ratio": number(Some(client)), "p50": of("p50"), "p95": of("p95"),
            "rate_hour_ago": of("rate_hour_ago"), "p95_hour_ago": of("p95_hour_ago"),
        })
    });
    Value::Array(rows.collect())
}

/// Where processes began: one mark for instances that got the same version one after the other.
fn starts(grid: Grid, series: &[Series]) -> Vec<Value> {
    #[expect(clippy::cast_precision_loss, reason = "seconds since the Unix epoch")]
    let (from, to) = (grid.from as f64, grid.to as f64);
    // By milliseconds, with the version.
    let mut starts: BTreeSet<(i64, &str)> = BTreeSet::new();
    for one in series {
        let within = one.points.iter().filter(|(_, start)| (from..=to).contains(start));
        starts.extend(within.map(|(_, start)| (milliseconds(*start), one.label("version"))));
    }
    // Each start is there once with its version, if it has one, and once without.
    let versions: BTreeSet<i64> = starts.iter().filter(|(_, version)| !version.is_empty()).map(|(at, _)| *at).collect();
    let mut starts: Vec<(i64, &str)> =
        starts.into_iter().filter(|(at, version)| !version.is_empty() || !versions.contains(at)).collect();
    starts.dedup_by(|later, earlier| later.1 == earlier.1 && later.0.saturating_sub(earlier.0) < ONE_DEPLOY);
    let marks = starts.into_iter().rev().take(MAX_DEPLOYS).map(|(at, version)| {
        let label = if version.is_empty() { "start".to_owned() } else { format!("deploy {version}") };
        json!({ "t": at, "label": label })
    });
    marks.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(labels: &[(&str, &str)], points: &[(f64, f64)]) -> Series {
        let labels = labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Series { labels: labels.collect(), points: points.to_vec() }
    }

    #[test]
    fn a_rolling_deploy_is_one_line_and_a_restart_another() {
        let grid = Grid { from: 1000, to: 9000, step: 100 };
        let answers = [
            series(&[("instance", "a"), ("version", "1")], &[(1000.0, 500.0), (2000.0, 2000.0)]),
            series(&[("instance", "b"), ("version", "1")], &[(2100.0, 2060.0)]),
            series(&[("instance", "a")], &[(2000.0, 2000.0)]),
            series(&[("instance", "c")], &[(5000.0, 5000.0)]),
        ];
        let labels: Vec<Value> = starts(grid, &answers);
        assert_eq!(
            labels,
            [json!({ "t": 5_000_000, "label": "start" }), json!({ "t": 2_000_000, "label": "deploy 1" })]
        );
    }

    #[test]
    fn numbers_stand_at_their_times_and_what_is_missing_is_null() {
        let grid = Grid { from: 100, to: 130, step: 10 };
        let asked = Duration::from_secs(7200);
        let view = View::new(
            grid,
            asked,
            vec![
                (Of::Column("ok", 2.0), vec![series(&[], &[(110.0, 1.5), (130.0, f64::NAN)])]),
                (Of::Trend("p95"), vec![series(&[], &[(3600.0, 0.5), (7200.0, 0.25)])]),
                (Of::Trend("p50"), vec![series(&[], &[(3600.0, 0.5)])]),
                (Of::Route("rate"), vec![series(&[("method", "GET"), ("route", "/a")], &[(1.0, 3.0)])]),
                (
                    Of::Route("p95"),
                    vec![series(&[("http_request_method", "GET"), ("http_route", "/b")], &[(1.0, 3.0)])],
                ),
                (Of::Hour("revenue"), vec![series(&[("currency", "EUR")], &[(1.0, 300.0)])]),
            ],
        );
        let body: Value = serde_json::from_slice(&view.json(None)).unwrap();
        assert_eq!(body["columns"], json!({ "t": [100_000, 110_000, 120_000, 130_000], "ok": [null, 3, null, null] }));
        assert_eq!(body["real_time"]["p95"], json!({ "now": 0.25, "hour_ago": 0.5 }));
        assert_eq!(body["real_time"]["p50"], json!({ "now": null, "hour_ago": 0.5 }));
        assert_eq!(body["real_time"]["routes"].as_array().unwrap().len(), 1, "without requests, it is not shown");
        assert_eq!((&body["hour"]["revenue"]["EUR"], &body["error"]), (&json!(300), &Value::Null));
        let stale: Value = serde_json::from_slice(&view.json(Some(&Reason::from("down")))).unwrap();
        assert_eq!((&stale["error"], &stale["asked"]), (&json!("down"), &json!(7_200_000)));
    }
}
