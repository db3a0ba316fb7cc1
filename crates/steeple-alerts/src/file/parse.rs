use std::time::Duration;

use steeple_core::Outcome;
use steeple_metrics::indicator::{Indicator, Selector, Unit};
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{FileError, shown};
use crate::{Rule, Rules, Severity};

/// What a table of a rule may have.
const KEYS: [&str; 24] = [
    "enabled",
    "indicator",
    "quantile",
    "target",
    "outcome",
    "route",
    "family",
    "labels",
    "labels_not",
    "window",
    "also_over",
    "above",
    "below",
    "clear",
    "for",
    "keep_firing_for",
    "min_uptime",
    "min_samples",
    "min_bad",
    "cooldown",
    "repeat",
    "severity",
    "summary",
    "runbook",
];

/// The keys of which an indicator is made.
const OF_INDICATOR: [&str; 8] =
    ["indicator", "quantile", "target", "outcome", "route", "family", "labels", "labels_not"];

const INDICATORS: &str = "`error_ratio`, `quantile`, `mean`, `rate`, `slow_ratio`, `aborted_ratio`, `cpu`, `cpu_throttled`, \
     `memory`, `disk`, `connections`, `in_flight`, `active_users`, `cache_hit_ratio`, `dropped`, `counter_rate`, \
     `counter_increase`, `counter_ratio`, `gauge` or `histogram_quantile`";

const DURATION: &str = "a duration such as \"90s\", \"5m\" or \"1h30m\"";

/// A value, with the place where it stands.
#[derive(Clone, Copy)]
struct Item<'a> {
    text: &'a str,
    key: &'a str,
    value: &'a Spanned<DeValue<'a>>,
}

pub(super) fn parse(text: &str, base: &Rules) -> Result<Rules, FileError> {
    let table = DeTable::parse(text)
        .map_err(|error| FileError::new(error.span().map(|span| line(text, span.start)), "", error.message()))?;
    let mut rules = base.clone();
    let mut tables = Vec::new();
    for (key, value) in table.get_ref() {
        let item = Item { text, key: key.get_ref(), value };
        match &**key.get_ref() {
            "start_from" => {
                rules = match item.text_of("`guarded`, `mission`, `recommended` or `none`")? {
                    "guarded" => Rules::mission().guarded(),
                    "mission" => Rules::mission(),
                    "recommended" => Rules::recommended(),
                    "none" => Rules::from_iter([]),
                    other => {
                        let what =
                            format!("expected `guarded`, `mission`, `recommended` or `none`, found {}", shown(other));
                        return Err(item.error(what));
                    }
                };
            }
            "rules" => {
                // They stand in the order of the file, and not in that of their names.
                let rules = item.table()?;
                tables.extend(rules.iter().map(|(name, table)| (name.span().start, name.get_ref(), table)));
                tables.sort_by_key(|(start, ..)| *start);
            }
            other => {
                let what = "expected `start_from` or a table `[rules.NAME]`";
                return Err(FileError::new(Some(line(text, key.span().start)), cut_key(other), what));
            }
        }
    }
    for (start, name, table) in tables {
        let key = format!("rules.{}", cut_key(name));
        let item = Item { text, key: &key, value: table };
        let known = rules.iter().position(|rule| rule.name() == name);
        let found = read(name, item, known.and_then(|at| rules.iter().nth(at)))?;
        rules = match found {
            None => rules.without(name),
            Some(rule) => {
                rule.clone()
                    .check()
                    .map_err(|error| FileError::new(Some(line(text, start)), &*key, error.to_string()))?;
                let rule = std::cell::Cell::new(Some(rule));
                let changed = rules.map(|old| if old.name() == name { rule.take().unwrap_or(old) } else { old });
                match rule.into_inner() {
                    Some(new) => changed.with(new),
                    None => changed,
                }
            }
        };
    }
    if rules.iter().len() > super::MAX_RULES {
        let what = format!("{} rules are too many: at most {}", rules.iter().len(), super::MAX_RULES);
        return Err(FileError::new(Some(1), "rules", what));
    }
    Ok(rules)
}

/// The rule of a table. `None`: it is left out.
fn read(name: &str, item: Item<'_>, known: Option<&Rule>) -> Result<Option<Rule>, FileError> {
    let table = item.table()?;
    for (key, value) in table {
        let key = &**key.get_ref();
        if !KEYS.contains(&key) {
            let full = format!("{}.{}", item.key, cut_key(key));
            let at = Item { key: &full, value, ..item };
            return Err(at.error(format!("unknown key, expected one of {}", KEYS.join(", "))));
        }
    }
    let at = |key: &str| table.get(key).map(|value| (format!("{}.{key}", item.key), value));
    macro_rules! set {
        ($rule:ident, $key:literal, $read:expr, $setter:ident) => {
            if let Some((key, value)) = at($key) {
                let found = $read(Item { key: &key, value, ..item })?;
                $rule = $rule.$setter(found);
            }
        };
    }
    if let Some((key, value)) = at("enabled")
        && !(Item { key: &key, value, ..item }).truth()?
    {
        return Ok(None);
    }
    let is_measured = OF_INDICATOR.iter().any(|key| table.contains_key(*key));
    let mut rule = match known {
        Some(known) if !is_measured => known.clone(),
        Some(known) => known.clone().measure(indicator(item)?),
        None => Rule::new(name, indicator(item)?, Duration::from_secs(300)),
    };
    let unit = rule.indicator().unit();
    set!(rule, "window", Item::duration, over);
    set!(rule, "also_over", Item::duration, also_over);
    set!(rule, "above", |item: Item<'_>| item.threshold(unit), above);
    set!(rule, "below", |item: Item<'_>| item.threshold(unit), below);
    if let Some((key, value)) = at("below")
        && table.contains_key("above")
    {
        return Err(Item { key: &key, value, ..item }.error("a rule has `above` or `below`, not both"));
    }
    set!(rule, "clear", |item: Item<'_>| item.threshold(unit), clear);
    set!(rule, "for", Item::duration, hold);
    set!(rule, "keep_firing_for", Item::duration, keep_firing);
    set!(rule, "min_uptime", Item::duration, min_uptime);
    set!(rule, "min_samples", Item::whole, min_samples);
    set!(rule, "min_bad", Item::whole, min_bad);
    set!(rule, "cooldown", Item::duration, cooldown);
    set!(rule, "repeat", Item::duration, repeat);
    set!(rule, "severity", Item::severity, severity);
    set!(rule, "summary", |item: Item<'_>| item.text_of("a text").map(str::to_owned), summary);
    set!(rule, "runbook", |item: Item<'_>| item.text_of("a URL").map(str::to_owned), runbook);
    Ok(Some(rule))
}

fn indicator(item: Item<'_>) -> Result<Indicator, FileError> {
    let table = item.table()?;
    let needs = |key: &str, what: &str| {
        let full = format!("{}.{key}", item.key);
        match table.get(key) {
            Some(value) => Ok((full, value)),
            None => Err(Item { key: &full, ..item }.error(format!("expected {what}, and it is not there"))),
        }
    };
    let (key, value) = needs("indicator", INDICATORS)?;
    let named = Item { key: &key, value, ..item };
    let name = named.text_of(INDICATORS)?;
    let quantile = || {
        let (key, value) = needs("quantile", "a number above 0 and below 1")?;
        Item { key: &key, value, ..item }.number("a number above 0 and below 1")
    };
    let series = || {
        let (key, value) = needs("family", "the name of a metric")?;
        let family = Item { key: &key, value, ..item }.text_of("the name of a metric")?;
        let mut selector = Selector::new(family);
        for (key, is_equal) in [("labels", true), ("labels_not", false)] {
            let Some(value) = table.get(key) else { continue };
            let full = format!("{}.{key}", item.key);
            for (label, value) in (Item { key: &full, value, ..item }).table()? {
                let full = format!("{full}.{}", cut_key(label.get_ref()));
                let value = Item { key: &full, value, ..item }.text_of("a text")?;
                selector = if is_equal {
                    selector.label(label.get_ref(), value)
                } else {
                    selector.not(label.get_ref(), value)
                };
            }
        }
        Ok(selector)
    };
    let (found, keys): (_, &[&str]) = match name {
        "error_ratio" => (Indicator::error_ratio(), &["route"]),
        "mean" => (Indicator::mean(), &["route"]),
        "rate" => (Indicator::rate(), &["route"]),
        "quantile" => (Indicator::quantile(quantile()?), &["quantile", "route"]),
        "slow_ratio" => {
            let (key, value) = needs("target", DURATION)?;
            let target = Item { key: &key, value, ..item }.duration()?;
            (Indicator::slow_ratio(target), &["target", "route"])
        }
        "aborted_ratio" => {
            const OUTCOMES: &str = "`cancelled`, `cancelled_in_body`, `service_error`, `body_error` or `panicked`";
            let (key, value) = needs("outcome", OUTCOMES)?;
            let at = Item { key: &key, value, ..item };
            let text = at.text_of(OUTCOMES)?;
            let outcome = [
                Outcome::Cancelled,
                Outcome::CancelledInBody,
                Outcome::ServiceError,
                Outcome::BodyError,
                Outcome::Panicked,
            ]
            .into_iter()
            .find(|outcome| outcome.as_str() == text)
            .ok_or_else(|| at.error(format!("expected {OUTCOMES}, found {}", shown(text))))?;
            (Indicator::aborted_ratio(outcome), &["outcome", "route"])
        }
        "cpu" => (Indicator::cpu(), &[]),
        "cpu_throttled" => (Indicator::cpu_throttled(), &[]),
        "memory" => (Indicator::memory(), &[]),
        "disk" => (Indicator::disk(), &[]),
        "connections" => (Indicator::connections(), &[]),
        "in_flight" => (Indicator::in_flight(), &[]),
        "active_users" => (Indicator::active_users(), &[]),
        "cache_hit_ratio" => (Indicator::cache_hit_ratio(), &[]),
        "dropped" => (Indicator::dropped(), &[]),
        "counter_rate" => (Indicator::counter_rate(series()?), &["family", "labels", "labels_not"]),
        "counter_increase" => (Indicator::counter_increase(series()?), &["family", "labels", "labels_not"]),
        "counter_ratio" => {
            let part = series()?;
            let whole = Selector::new(part.family());
            (Indicator::counter_ratio(part, whole), &["family", "labels", "labels_not"])
        }
        "gauge" => (Indicator::gauge(series()?), &["family", "labels", "labels_not"]),
        "histogram_quantile" => {
            let found = Indicator::histogram_quantile(quantile()?, series()?);
            (found, &["family", "labels", "labels_not", "quantile"])
        }
        other => return Err(named.error(format!("expected {INDICATORS}, found {}", shown(other)))),
    };
    for key in OF_INDICATOR.iter().filter(|key| **key != "indicator" && !keys.contains(key)) {
        if let Some(value) = table.get(*key) {
            let full = format!("{}.{key}", item.key);
            return Err(Item { key: &full, value, ..item }.error(format!("the indicator `{name}` has no such key")));
        }
    }
    let Some(value) = table.get("route") else { return Ok(found) };
    let key = format!("{}.route", item.key);
    let expected = "`METHOD /route`, or `package.Service/Method` for gRPC";
    let at = Item { key: &key, value, ..item };
    let route = at.text_of(expected)?;
    match route.split_once(' ') {
        Some((method, route)) if !method.is_empty() && route.starts_with('/') => Ok(found.of(method, route)),
        None if route.contains('/') && !route.starts_with('/') => Ok(found.of("", route)),
        _ => Err(at.error(format!("expected {expected}, found {}", shown(route)))),
    }
}

impl<'a> Item<'a> {
    fn error(&self, what: impl Into<String>) -> FileError {
        FileError::new(Some(line(self.text, self.value.span().start)), self.key, what)
    }

    fn expected(&self, what: &str) -> FileError {
        self.error(format!("expected {what}, found a value of type {}", self.value.get_ref().type_str()))
    }

    fn table(&self) -> Result<&'a DeTable<'a>, FileError> {
        self.value.get_ref().as_table().ok_or_else(|| self.expected("a table"))
    }

    fn text_of(&self, what: &str) -> Result<&'a str, FileError> {
        self.value.get_ref().as_str().ok_or_else(|| self.expected(what))
    }

    fn truth(&self) -> Result<bool, FileError> {
        self.value.get_ref().as_bool().ok_or_else(|| self.expected("`true` or `false`"))
    }

    fn whole(self) -> Result<u64, FileError> {
        let found = self.value.get_ref().as_integer().filter(|number| number.radix() == 10);
        found.and_then(|number| number.as_str().parse().ok()).ok_or_else(|| self.expected("a whole number, 0 or more"))
    }

    fn number(&self, what: &str) -> Result<f64, FileError> {
        let value = self.value.get_ref();
        let text = match (value.as_integer(), value.as_float()) {
            (Some(integer), _) if integer.radix() == 10 => integer.as_str(),
            (_, Some(float)) => float.as_str(),
            _ => return Err(self.expected(what)),
        };
        let number = text.parse::<f64>().ok().filter(|number| number.is_finite());
        number.ok_or_else(|| self.error(format!("expected {what}, found {}", shown(text))))
    }

    /// A number, or a text in the indicator's unit.
    fn threshold(&self, unit: Unit) -> Result<f64, FileError> {
        let what = match unit {
            Unit::Ratio => "a number from 0 to 1, or a text such as \"5%\"",
            Unit::Seconds => "a number of seconds, or a text such as \"1.5s\" or \"200ms\"",
            Unit::PerSecond | Unit::Count | _ => "a number",
        };
        let Some(text) = self.value.get_ref().as_str() else { return self.number(what) };
        let found = match unit {
            Unit::Ratio => {
                text.strip_suffix('%').and_then(|number| number.trim().parse::<f64>().ok()).map(|n| n / 100.0)
            }
            Unit::Seconds => {
                let millis = text.strip_suffix("ms").and_then(|number| number.trim().parse::<f64>().ok());
                let seconds = || text.strip_suffix('s').and_then(|number| number.trim().parse::<f64>().ok());
                millis.map(|millis| millis / 1_000.0).or_else(seconds)
            }
            Unit::PerSecond | Unit::Count | _ => None,
        };
        let found = found.filter(|number| number.is_finite());
        found.ok_or_else(|| self.error(format!("expected {what}, found {}", shown(text))))
    }

    fn duration(self) -> Result<Duration, FileError> {
        let text = self.text_of(DURATION)?;
        duration(text).ok_or_else(|| self.error(format!("expected {DURATION}, found {}", shown(text))))
    }

    fn severity(self) -> Result<Severity, FileError> {
        let text = self.text_of("`low`, `medium`, `high` or `critical`")?;
        text.parse().map_err(|error| self.error(format!("{error}, found {}", shown(text))))
    }
}

/// `1h30m`: whole numbers with `d`, `h`, `m`, `s` or `ms`.
fn duration(text: &str) -> Option<Duration> {
    let mut all = Duration::ZERO;
    let mut rest = text.trim();
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let (number, behind) = rest.split_at_checked(digits)?;
        let number: u64 = number.parse().ok()?;
        let letters = behind.find(|c: char| c.is_ascii_digit()).unwrap_or(behind.len());
        let (unit, behind) = behind.split_at_checked(letters)?;
        let part = match unit.trim() {
            "ms" => Duration::from_millis(number),
            "s" => Duration::from_secs(number),
            "m" => Duration::from_secs(number.checked_mul(60)?),
            "h" => Duration::from_secs(number.checked_mul(3_600)?),
            "d" => Duration::from_secs(number.checked_mul(86_400)?),
            _ => return None,
        };
        all = all.checked_add(part)?;
        rest = behind;
    }
    Some(all)
}

/// A key as it is shown: short, on one line.
fn cut_key(key: &str) -> String {
    steeple_core::text::cut(key, 64).escape_debug().to_string()
}

/// The line that a byte stands in, from 1 on.
fn line(text: &str, at: usize) -> usize {
    text.bytes().take(at).filter(|byte| *byte == b'\n').count().saturating_add(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXAMPLE: &str = include_str!("example.toml");

    fn of(text: &str) -> Result<Rules, FileError> {
        parse(text, &Rules::mission().guarded())
    }

    #[test]
    fn the_example_has_the_rules_that_it_says() {
        let rules = of(EXAMPLE).unwrap();
        let names: Vec<_> = rules.iter().map(Rule::name).collect();
        let want = [
            "high_cpu_usage",
            "high_memory_usage",
            "high_error_rate",
            "slow_response_time",
            "payment_failures",
            "checkout_slow",
            "payments_declined",
            "queue_is_long",
        ];
        assert_eq!(names, want);
        let minutes = |minutes: u64| Duration::from_secs(minutes * 60);
        let slow = Rule::new("checkout_slow", Indicator::quantile(0.95).of("POST", "/checkout"), minutes(5))
            .above(1.5)
            .clear(1.0)
            .hold(minutes(3))
            .keep_firing(minutes(2))
            .min_samples(50)
            .severity(Severity::High)
            .summary("The checkout is slow.")
            .runbook("https://wiki.example.org/checkout-slow");
        let all = Selector::new("payments_total");
        let failed = all.clone().label("result", "failed");
        let declined = Rule::new("payments_declined", Indicator::counter_ratio(failed, all), minutes(10))
            .above(0.1)
            .min_bad(3)
            .severity(Severity::Critical)
            .cooldown(minutes(30));
        let queue = Indicator::gauge(Selector::new("queue_length").not("queue", "nightly"));
        let queue = Rule::new("queue_is_long", queue, minutes(5)).above(1_000.0).clear(200.0).repeat(minutes(480));
        let found: Vec<_> = rules.iter().skip(5).cloned().collect();
        assert_eq!(found, [slow, declined, queue]);
        let before = Rules::mission().guarded();
        let twice = of("[rules.x]\nindicator = 'error_ratio'\nabove = '2%'\nwindow = '1h'\nalso_over = '5m'").unwrap();
        assert_eq!(twice.iter().last().unwrap().second_window(), Some(minutes(5)));
        let error = before.iter().find(|rule| rule.name() == "high_error_rate").unwrap();
        let changed = rules.iter().find(|rule| rule.name() == "high_error_rate").unwrap();
        assert_eq!(*changed, error.clone().above(0.02).clear(0.01), "settings that are not in the file stay");
    }

    #[test]
    fn each_indicator_can_be_in_a_file() {
        for (keys, want) in [
            ("indicator='error_ratio'", "error ratio"),
            ("indicator='error_ratio'\nroute='shop.v1.Shop/Pay'", "error ratio of shop.v1.Shop/Pay"),
            ("indicator='mean'\nroute='GET /a'", "mean response time of GET /a"),
            ("indicator='rate'", "requests per second"),
            ("indicator='quantile'\nquantile=0.99", "p99"),
            ("indicator='slow_ratio'\ntarget='300ms'", "part slower than 300ms"),
            ("indicator='aborted_ratio'\noutcome='cancelled'", "part that ended as cancelled"),
            ("indicator='cpu'", "CPU"),
            ("indicator='cpu_throttled'", "throttled CPU periods"),
            ("indicator='memory'", "memory"),
            ("indicator='disk'", "disk"),
            ("indicator='connections'", "database connections in use"),
            ("indicator='in_flight'", "requests in flight"),
            ("indicator='active_users'", "active users"),
            ("indicator='cache_hit_ratio'", "cache hit ratio"),
            ("indicator='dropped'", "dropped items per second"),
            ("indicator='counter_rate'\nfamily='x_total'", "x_total per second"),
            ("indicator='counter_increase'\nfamily='x_total'\nlabels={a='b'}", "increase of x_total{a=\"b\"}"),
            ("indicator='counter_ratio'\nfamily='x_total'\nlabels={a='b'}", "x_total{a=\"b\"} of x_total"),
            ("indicator='gauge'\nfamily='x'", "x"),
            ("indicator='histogram_quantile'\nfamily='x'\nquantile=0.5", "p50 of x"),
        ] {
            let text = format!("start_from = 'none'\n[rules.r]\n{keys}\nabove = 0.5");
            let rules = of(&text).unwrap_or_else(|error| panic!("{keys}: {error}"));
            assert_eq!(rules.iter().next().unwrap().indicator().to_string(), want);
        }
    }

    #[test]
    fn an_invalid_file_is_refused_with_line_key_and_what_is_allowed() {
        for (text, line, key, says) in [
            ("start_from = 'all'", 1, "start_from", "`recommended`"),
            ("rule = 1", 1, "rule", "[rules.NAME]"),
            ("\n\nrules = 1", 3, "rules", "a table"),
            ("[rules.x\n", 1, "", ""),
            ("[rules.x]\n\n\nabov = 1", 4, "rules.x.abov", "above"),
            ("[rules.x]\nabove = 1", 1, "rules.x.indicator", "`error_ratio`"),
            ("[rules.x]\nindicator = 'errors'", 2, "rules.x.indicator", "\"errors\""),
            ("[rules.x]\nindicator = 'error_ratio'", 1, "rules.x", "threshold"),
            ("[rules.x]\nindicator = 'error_ratio'\nabove = 5", 1, "rules.x", "ratio"),
            ("[rules.x]\nindicator = 'error_ratio'\nabove = '5'", 3, "rules.x.above", "\"5%\""),
            ("[rules.x]\nindicator = 'mean'\nabove = 1\nfor = 3", 4, "rules.x.for", "\"90s\""),
            ("[rules.x]\nindicator = 'mean'\nabove = 1\nwindow = '25h'", 1, "rules.x", "24 hours"),
            ("[rules.x]\nindicator = 'mean'\nabove = 1\nalso_over = '25h'", 1, "rules.x", "24 hours"),
            ("[rules.x]\nindicator = 'mean'\nabove = 1\nbelow = 1", 4, "rules.x.below", "not both"),
            ("[rules.x]\nindicator = 'mean'\nabove = nan", 3, "rules.x.above", "seconds"),
            ("[rules.x]\nindicator = 'mean'\nroute = 'checkout'\nabove=1", 3, "rules.x.route", "METHOD"),
            ("[rules.x]\nindicator = 'cpu'\nroute = 'GET /'\nabove=0.5", 3, "rules.x.route", "`cpu`"),
            ("[rules.x]\nindicator = 'gauge'\nabove=0.5", 1, "rules.x.family", "name of a metric"),
            ("[rules.high_error_rate]\nmin_bad = -1", 2, "rules.high_error_rate.min_bad", "whole number"),
            ("[rules.high_error_rate]\nseverity = 'bad'", 2, "rules.high_error_rate.severity", "`critical`"),
            ("[rules.high_error_rate]\nabove = 0.01", 1, "rules.high_error_rate", "good side"),
            ("[rules.'Bad Name']\nindicator = 'mean'\nabove = 1", 1, "rules.Bad Name", "lower-case"),
        ] {
            let error = of(text).map(|rules| format!("{rules:?}")).unwrap_err();
            assert_eq!((error.line(), error.key()), (Some(line), key), "{text}: {error}");
            assert!(error.to_string().contains(says) && !error.to_string().contains('\n'), "{text}: {error}");
        }
        let table = |n| format!("[rules.r{n}]\nindicator='mean'\nabove=1\n");
        let many = (0..65).map(table).collect::<Vec<_>>().concat();
        assert!(of(&many).unwrap_err().to_string().contains("at most 64"));
    }

    #[test]
    fn durations_are_read_as_they_are_written() {
        for (text, seconds) in [("90s", Some(90)), ("5m", Some(300)), ("1h30m", Some(5_400)), ("1d", Some(86_400))] {
            assert_eq!(duration(text), seconds.map(Duration::from_secs), "{text}");
        }
        assert_eq!(duration("500ms"), Some(Duration::from_millis(500)));
        for text in ["", "5", "m", "5 minutes", "-5m", "5m5", "99999999999999999999s", "1.5h"] {
            assert_eq!(duration(text), None, "{text}");
        }
    }
}
