//! The same numbers as a Grafana dashboard.

use serde_json::{Value, json};
use steeple_metrics::Names;

use crate::panels::{GrafanaUnit, Kind, Panel, Style, panels};

/// A Grafana dashboard of the page's panels, as the JSON that Grafana imports and provisions (schema 42).
///
/// It has variables for the data source, the job and the instance, a line for each deploy, and exemplars that lead to traces
/// where the data source is set up for it (`exemplarTraceIdDestinations` with the label `trace_id`).
///
/// # Examples
/// ```
/// use steeple_dashboard::Grafana;
/// use steeple_metrics::Names;
///
/// let file = Grafana::new("shop").names(Names::OpenTelemetry).native(true).json();
/// assert!(file.contains("\"schemaVersion\": 42"));
/// ```
#[derive(Clone, Debug)]
#[must_use = "a dashboard does nothing until its JSON is written"]
pub struct Grafana {
    service: String,
    style: Style,
}

/// Grafana's schema, of version 12 and 13. Older numbers are migrated, higher ones are refused.
const SCHEMA: u32 = 42;

impl Grafana {
    /// A dashboard of this service, with classic names and buckets.
    pub fn new(service: impl Into<String>) -> Self {
        Self { service: service.into(), style: Style::grafana() }
    }

    /// Which names the metrics have on the server. [`Names::Both`] is read as [`Names::Classic`]. Default: classic.
    pub fn names(mut self, names: Names) -> Self {
        self.style.names = names;
        self
    }

    /// Whether the server has native histograms alone. Default: no.
    pub fn native(mut self, native: bool) -> Self {
        self.style.native = native;
        self
    }

    /// The file.
    pub fn json(&self) -> String {
        // Writing values that are made here cannot fail.
        serde_json::to_string_pretty(&self.value()).unwrap_or_default() + "\n"
    }

    /// The expressions of all panels, with Grafana's variables in them.
    pub fn expressions(&self) -> Vec<String> {
        let queries = panels(&self.style).into_iter().flat_map(|panel| panel.queries);
        queries.map(|query| query.expr).collect()
    }

    fn value(&self) -> Value {
        let mut place = Place::default();
        let panels: Vec<Value> = panels(&self.style)
            .iter()
            .zip(1_u32..)
            .map(|(shown, id)| panel(shown, id, &place.next(shown.kind)))
            .collect();
        json!({
            "id": null,
            "uid": uid(&self.service),
            "title": format!("{}: service", self.service),
            "description": "Made by Steeple from the definitions of its own dashboard.",
            "tags": ["steeple"],
            "timezone": "browser",
            "editable": true,
            "graphTooltip": 1,
            "time": { "from": "now-1h", "to": "now" },
            "refresh": "30s",
            "schemaVersion": SCHEMA,
            "templating": { "list": [
                {
                    "type": "datasource", "name": "datasource", "label": "data source", "query": "prometheus", "regex": "",
                    "refresh": 1, "hide": 0, "includeAll": false, "multi": false
                },
                variable("job", "label_values(process_start_time_seconds, job)"),
                variable("instance", "label_values(process_start_time_seconds{job=~\"$job\"}, instance)"),
            ] },
            "annotations": { "list": [
                {
                    "builtIn": 1, "datasource": { "type": "grafana", "uid": "-- Grafana --" }, "enable": true, "hide": true,
                    "iconColor": "rgba(0, 211, 255, 1)", "name": "Annotations & Alerts", "type": "dashboard"
                },
                {
                    "datasource": source(), "enable": true, "iconColor": "blue", "name": "Deploys",
                    "expr": "changes(process_start_time_seconds{job=~\"$job\",instance=~\"$instance\"}[1m]) > 0",
                    "titleFormat": "start", "textFormat": "{{instance}}", "step": "30s"
                },
            ] },
            "panels": panels,
            "links": []
        })
    }
}

/// What links depend on: the same for a service whatever it is built with.
fn uid(service: &str) -> String {
    let plain: String = service
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' })
        .take(28)
        .collect();
    format!("steeple-{plain}")
}

fn source() -> Value {
    json!({ "type": "prometheus", "uid": "${datasource}" })
}

fn variable(name: &str, query: &str) -> Value {
    json!({
        "type": "query", "name": name, "datasource": source(),
        "query": { "query": query, "refId": name, "qryType": 1 },
        "refresh": 2, "sort": 1, "multi": true, "includeAll": true, "allValue": ".*",
        "current": { "text": ["All"], "value": ["$__all"] }, "hide": 0
    })
}

/// Where the next panel is, in Grafana's 24 columns.
#[derive(Default)]
struct Place {
    x: u32,
    y: u32,
    height: u32,
}

impl Place {
    fn next(&mut self, kind: Kind) -> Value {
        let (width, height) = match kind {
            Kind::Stat => (4, 4),
            Kind::Gauge | Kind::Lines | Kind::Stacked | Kind::Heatmap => (12, 8),
            Kind::Table => (12, 10),
        };
        if self.x.saturating_add(width) > 24 {
            (self.x, self.y, self.height) = (0, self.y.saturating_add(self.height), 0);
        }
        let place = json!({ "x": self.x, "y": self.y, "w": width, "h": height });
        self.x = self.x.saturating_add(width);
        self.height = self.height.max(height);
        place
    }
}

fn panel(shown: &Panel, id: u32, place: &Value) -> Value {
    let kind = match shown.kind {
        Kind::Stat => "stat",
        Kind::Lines | Kind::Stacked => "timeseries",
        Kind::Table => "table",
        Kind::Gauge => "gauge",
        Kind::Heatmap => "heatmap",
    };
    let is_instant = matches!(shown.kind, Kind::Table);
    let targets = shown.queries.iter().zip('A'..='Z').map(|(query, reference)| {
        let format = match shown.kind {
            Kind::Table => "table",
            Kind::Heatmap => "heatmap",
            Kind::Stat | Kind::Lines | Kind::Stacked | Kind::Gauge => "time_series",
        };
        json!({
            "refId": reference.to_string(), "datasource": source(), "expr": query.expr, "editorMode": "code",
            "legendFormat": if query.legend.is_empty() { "__auto" } else { query.legend },
            "range": !is_instant, "instant": is_instant, "format": format,
            "exemplar": shown.id == "response_times"
        })
    });
    let mut panel = json!({
        "id": id, "type": kind, "title": shown.title, "description": shown.description, "datasource": source(),
        "gridPos": place, "targets": targets.collect::<Vec<_>>(),
        "fieldConfig": { "defaults": defaults(shown), "overrides": overrides(shown) },
        "options": options(shown.kind)
    });
    if shown.kind == Kind::Table
        && shown.queries.len() > 1
        && let Some(panel) = panel.as_object_mut()
    {
        panel.insert("transformations".to_owned(), json!([{ "id": "merge", "options": {} }]));
    }
    panel
}

fn defaults(shown: &Panel) -> Value {
    let steps = match shown.limit {
        Some(limit) => json!([
            { "value": null, "color": "green" }, { "value": limit / 2.0, "color": "yellow" }, { "value": limit, "color": "red" }
        ]),
        None if shown.kind == Kind::Gauge => json!([
            { "value": null, "color": "green" }, { "value": 0.75, "color": "yellow" }, { "value": 0.9, "color": "red" }
        ]),
        None => json!([{ "value": null, "color": "blue" }]),
    };
    let mut defaults = json!({
        "unit": shown.unit.as_str(), "min": 0, "thresholds": { "mode": "absolute", "steps": steps },
        "color": { "mode": if shown.kind == Kind::Stat || shown.kind == Kind::Gauge { "thresholds" } else { "palette-classic" } },
        "custom": custom(shown.kind)
    });
    if shown.kind == Kind::Gauge
        && let Some(defaults) = defaults.as_object_mut()
    {
        defaults.insert("max".to_owned(), json!(1));
    }
    defaults
}

fn custom(kind: Kind) -> Value {
    match kind {
        Kind::Lines => {
            json!({ "drawStyle": "line", "lineWidth": 1, "fillOpacity": 8, "showPoints": "never", "spanNulls": false })
        }
        Kind::Stacked => json!({
            "drawStyle": "line", "lineWidth": 1, "fillOpacity": 30, "showPoints": "never", "spanNulls": false,
            "stacking": { "mode": "normal", "group": "A" }
        }),
        Kind::Heatmap => json!({ "hideFrom": { "legend": false, "tooltip": false, "viz": false } }),
        Kind::Stat | Kind::Table | Kind::Gauge => json!({}),
    }
}

/// Columns of the table of routes have different units.
fn overrides(shown: &Panel) -> Value {
    let unit = |reference: &str, unit: GrafanaUnit| {
        json!({
            "matcher": { "id": "byName", "options": format!("Value #{reference}") },
            "properties": [{ "id": "unit", "value": unit.as_str() }]
        })
    };
    match shown.id {
        "routes" => json!([
            unit("A", GrafanaUnit::PerSecond), unit("B", GrafanaUnit::Ratio), unit("C", GrafanaUnit::Seconds),
            { "matcher": { "id": "byName", "options": "Time" }, "properties": [{ "id": "custom.hidden", "value": true }] }
        ]),
        _ => json!([]),
    }
}

fn options(kind: Kind) -> Value {
    let last = json!({ "calcs": ["lastNotNull"], "fields": "", "values": false });
    match kind {
        Kind::Stat => {
            json!({ "reduceOptions": last, "graphMode": "area", "colorMode": "value", "textMode": "auto", "orientation": "auto", "justifyMode": "auto" })
        }
        Kind::Gauge => {
            json!({ "reduceOptions": last, "showThresholdLabels": false, "showThresholdMarkers": true, "orientation": "auto" })
        }
        Kind::Lines | Kind::Stacked => json!({
            "legend": { "displayMode": "list", "placement": "bottom", "showLegend": true, "calcs": [] },
            "tooltip": { "mode": "multi", "sort": "desc" }
        }),
        Kind::Table => json!({ "showHeader": true }),
        Kind::Heatmap => json!({
            "calculate": false, "cellGap": 1, "color": { "mode": "scheme", "scheme": "Oranges", "steps": 64 },
            "yAxis": { "unit": "s" }, "rowsFrame": { "layout": "auto" }, "filterValues": { "le": 1e-9 }
        }),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::{
        assets,
        panels::{ONLY_GRAFANA, ONLY_PAGE},
    };

    fn all() -> Vec<Grafana> {
        [Names::Classic, Names::OpenTelemetry]
            .into_iter()
            .flat_map(|names| [false, true].map(|native| Grafana::new("shop").names(names).native(native)))
            .collect()
    }

    #[test]
    fn the_page_and_grafana_have_the_same_panels() {
        let page: HashSet<&str> =
            assets::index().split("data-panel=\"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
        for grafana in all() {
            let mut there: HashSet<&str> = panels(&grafana.style).iter().map(|panel| panel.id).collect();
            for only in ONLY_GRAFANA {
                assert!(there.remove(only) && !page.contains(only), "{only}");
            }
            assert_eq!(page, there);
        }
        // Each part of the page is a panel, or one of the few parts that cannot be one.
        let mut only_page = Vec::new();
        for part in assets::index()
            .split('<')
            .filter(|tag| tag.starts_with("section ") || tag.starts_with("figure ") || tag.contains("class=\"tile\""))
        {
            if !part.contains("data-panel=") {
                only_page.push(part.split("id=\"").nth(1).and_then(|rest| rest.split('"').next()).unwrap());
            }
        }
        assert_eq!(only_page, ONLY_PAGE);
    }

    #[test]
    fn panels_have_a_place_of_their_own_and_no_data_source_by_name() {
        for grafana in all() {
            let value: Value = serde_json::from_str(&grafana.json()).unwrap();
            assert_eq!((&value["id"], &value["schemaVersion"]), (&Value::Null, &json!(42)));
            let uid = value["uid"].as_str().unwrap();
            assert!(
                (8..=40).contains(&uid.len()) && uid.chars().all(|c| c.is_ascii_alphanumeric() || c == '-'),
                "{uid}"
            );
            let (mut ids, mut taken) = (HashSet::new(), HashSet::new());
            for panel in value["panels"].as_array().unwrap() {
                assert!(ids.insert(panel["id"].as_u64().unwrap()), "{panel}");
                let at = |name: &str| panel["gridPos"][name].as_u64().unwrap();
                assert!(at("x") + at("w") <= 24, "{panel}");
                for x in at("x")..at("x") + at("w") {
                    for y in at("y")..at("y") + at("h") {
                        assert!(taken.insert((x, y)), "overlaps: {panel}");
                    }
                }
                for target in panel["targets"].as_array().unwrap() {
                    assert_eq!(target["datasource"]["uid"], "${datasource}", "{target}");
                    assert_ne!(target["range"], target["instant"], "{target}");
                    let expr = target["expr"].as_str().unwrap();
                    assert!(expr.contains("$job") && !expr.contains("[5m]"), "{expr}");
                }
                let first = &panel["fieldConfig"]["defaults"]["thresholds"]["steps"][0];
                assert_eq!(first["value"], Value::Null, "{panel}");
            }
        }
    }
}
