//! What channels are sent: one notification, and how it reads as text, as HTML, in Slack and in a webhook.

use std::{fmt::Write as _, time::Duration};

use serde_json::{Value, json};
use steeple_core::date::rfc3339;
use steeple_metrics::indicator::Unit;
use steeple_scrub::{Scrubbed, Scrubber};

use crate::Severity;

/// What a notification is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Status {
    /// The alert fires.
    Firing,
    /// The alert still fires.
    Reminder,
    /// The alert is over.
    Resolved,
    /// The rule's cooldown has ended. What fired in it was kept back, and is over.
    KeptBack,
}

impl Status {
    /// `firing` or `resolved`: a reminder is about an alert that fires. `kept_back` is about alerts that are over, and of which no other
    /// notification was sent.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Firing | Self::Reminder => "firing",
            Self::Resolved => "resolved",
            Self::KeptBack => "kept_back",
        }
    }

    const fn label(self) -> &'static str {
        match self {
            Self::Firing => "FIRING",
            Self::Reminder => "STILL FIRING",
            Self::Resolved => "RESOLVED",
            Self::KeptBack => "KEPT BACK",
        }
    }
}

/// A value as people read it: `12 %`, `1.25 s`, `3`.
pub fn show(unit: Unit, value: f64) -> String {
    match unit {
        Unit::Ratio => format!("{} %", trimmed(value * 100.0, 1)),
        Unit::Seconds if value < 1.0 => format!("{} ms", trimmed(value * 1_000.0, 1)),
        Unit::Seconds => format!("{} s", trimmed(value, 2)),
        Unit::PerSecond => format!("{}/s", trimmed(value, 2)),
        Unit::Count | _ => trimmed(value, 1),
    }
}

/// A number without zeros behind the point.
fn trimmed(value: f64, digits: usize) -> String {
    let text = format!("{value:.digits$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

/// One alert, as channels get it. Its texts have been through a scrubber; it holds no user's data and no query.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Notification {
    /// What it is about.
    pub status: Status,
    /// The rule's name: `high_error_rate`.
    pub rule: String,
    /// The rule, in a sentence.
    pub summary: String,
    /// How much it matters.
    pub severity: Severity,
    /// The service that it is about.
    pub service: Option<String>,
    /// Where the service runs: `production`.
    pub environment: Option<String>,
    /// Which instance of the service.
    pub instance: Option<String>,
    /// The value now; `None` without data.
    pub value: Option<f64>,
    /// The threshold.
    pub threshold: f64,
    /// The worst value while it fired, of one that is over.
    pub peak: Option<f64>,
    /// What the value counts.
    pub unit: Unit,
    /// When it began to fire, since the Unix epoch.
    pub since: Duration,
    /// When this notification was made.
    pub at: Duration,
    /// The group of errors that it is about, by an id that stays the same. `None` for the alerts of rules.
    pub group: Option<String>,
    /// How many alerts of the rule the cooldown before it kept back.
    pub suppressed: u64,
    /// The known facts about the cause.
    pub evidence: Evidence,
    /// Where to read what to do about it.
    pub runbook: Option<String>,
    /// The dashboard, with the time range of the alert.
    pub link: Option<String>,
}

/// The known facts about the cause of an alert. Unknown ones are left out of each message.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Evidence {
    /// Requests to look at: the slowest, the first and the last that failed.
    pub requests: Vec<Example>,
    /// The routes with the greatest part in it, and how great that part is, from 0 to 1.
    pub routes: Vec<(String, f64)>,
    /// The group of errors that it belongs to.
    pub error: Option<ErrorGroup>,
    /// How the requests of the window ended, and how many did.
    pub outcomes: Vec<(String, u64)>,
    /// How many users met it.
    pub users: Option<u64>,
    /// The deploy that it began after: the version, and how long after.
    pub deploy: Option<(String, Duration)>,
}

/// One request to look at.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Example {
    /// Why this one: `slowest`, `first failed`, `latest failed`.
    pub which: &'static str,
    /// Its trace's id.
    pub trace_id: Option<String>,
    /// Its id.
    pub request_id: Option<String>,
}

impl Example {
    /// A request, by the ids that are known of it.
    pub const fn new(which: &'static str, trace_id: Option<String>, request_id: Option<String>) -> Self {
        Self { which, trace_id, request_id }
    }
}

/// A group of errors.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ErrorGroup {
    /// The error's kind.
    pub kind: String,
    /// The normalized message.
    pub message: String,
    /// How many there were.
    pub count: u64,
}

impl ErrorGroup {
    /// A group.
    pub fn new(kind: impl Into<String>, message: impl Into<String>, count: u64) -> Self {
        Self { kind: kind.into(), message: message.into(), count }
    }
}

impl Notification {
    /// A notification with nothing but a rule's name, its severity and its threshold.
    pub fn new(status: Status, rule: impl Into<String>, severity: Severity, unit: Unit, threshold: f64) -> Self {
        Self {
            status,
            rule: rule.into(),
            summary: String::new(),
            severity,
            service: None,
            environment: None,
            instance: None,
            value: None,
            threshold,
            peak: None,
            unit,
            since: Duration::ZERO,
            at: Duration::ZERO,
            group: None,
            suppressed: 0,
            evidence: Evidence::default(),
            runbook: None,
            link: None,
        }
    }

    /// How many bytes of memory it takes, about.
    pub fn size(&self) -> usize {
        let evidence = &self.evidence;
        let error = evidence.error.as_ref().map_or(0, |error| error.kind.len().saturating_add(error.message.len()));
        let texts = evidence.routes.iter().map(|(route, _)| route.len()).sum::<usize>();
        [
            size_of::<Self>(),
            self.rule.len(),
            self.summary.len(),
            error,
            texts,
            evidence.requests.len().saturating_mul(128),
        ]
        .into_iter()
        .fold(0, usize::saturating_add)
    }

    /// Removes secrets from every text.
    pub fn scrub(self, scrubber: &Scrubber) -> Scrubbed<Self> {
        scrubber.scrub_with(self, |scrubber, alert| {
            let scrub = |text: &mut String| {
                let clean = scrubber.text(text).cut(1_024, "…").into_owned().into_inner();
                *text = clean;
            };
            scrub(&mut alert.rule);
            scrub(&mut alert.summary);
            let about = [&mut alert.service, &mut alert.environment, &mut alert.instance];
            about.into_iter().chain([&mut alert.runbook, &mut alert.link]).flatten().for_each(scrub);
            let Evidence { requests, routes, error, outcomes, users: _, deploy } = &mut alert.evidence;
            // A client may choose the id of its request.
            let ids = requests.iter_mut().flat_map(|example| [&mut example.trace_id, &mut example.request_id]);
            ids.flatten().for_each(scrub);
            let routes = routes.iter_mut().map(|(route, _)| route);
            let outcomes = outcomes.iter_mut().map(|(outcome, _)| outcome);
            let versions = deploy.iter_mut().map(|(version, _)| version);
            routes.chain(outcomes).chain(versions).for_each(scrub);
            if let Some(error) = error {
                scrub(&mut error.kind);
                scrub(&mut error.message);
            }
        })
    }

    /// One line: `[FIRING] high_error_rate: 12 % (threshold 5 %), shop in production`. Without line breaks.
    pub fn subject(&self) -> String {
        let mut out = format!("[{}] {}", self.status.label(), self.rule);
        if let Some(value) = self.value {
            let (value, threshold) = (show(self.unit, value), show(self.unit, self.threshold));
            let _infallible = write!(out, ": {value} (threshold {threshold})");
        }
        if self.status == Status::KeptBack {
            let _infallible = write!(out, ": fired {} in the cooldown, and is over", times(self.suppressed));
        }
        match (&self.service, &self.environment) {
            (Some(service), Some(environment)) => _ = write!(out, ", {service} in {environment}"),
            (Some(only), None) | (None, Some(only)) => _ = write!(out, ", {only}"),
            (None, None) => (),
        }
        out.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
    }

    /// The facts, a label and a text each, in the order in which they are read. Unknown ones are absent.
    pub fn facts(&self) -> Vec<(&'static str, String)> {
        let mut facts = Vec::new();
        let mut fact = |label, text: String| facts.push((label, text));
        fact("Severity", self.severity.to_string());
        if let Some(value) = self.value {
            fact("Value", format!("{} (threshold {})", show(self.unit, value), show(self.unit, self.threshold)));
        }
        if let Some(peak) = self.peak {
            let threshold = show(self.unit, self.threshold);
            let of_several = self.status == Status::KeptBack;
            fact(
                "Worst",
                show(self.unit, peak) + &if of_several { format!(" (threshold {threshold})") } else { String::new() },
            );
        }
        fact("Since", rfc3339(self.since));
        if self.status == Status::Resolved {
            fact("Lasted", lasted(self.at.saturating_sub(self.since)));
        }
        if let Some(instance) = &self.instance {
            fact("Instance", instance.clone());
        }
        let evidence = &self.evidence;
        if let Some((version, after)) = &evidence.deploy {
            fact("Deploy", format!("first seen {} after the deploy of {version}", lasted(*after)));
        }
        if !evidence.routes.is_empty() {
            let share = |(route, share): &(String, f64)| format!("{route} {}", show(Unit::Ratio, *share));
            fact("Routes", evidence.routes.iter().map(share).collect::<Vec<_>>().join(", "));
        }
        if let Some(error) = &evidence.error {
            fact("Error", format!("{}: {} ({} times)", error.kind, error.message, error.count));
        }
        if !evidence.outcomes.is_empty() {
            let outcome = |(outcome, count): &(String, u64)| format!("{outcome} {count}");
            fact("Outcomes", evidence.outcomes.iter().map(outcome).collect::<Vec<_>>().join(", "));
        }
        if let Some(users) = evidence.users {
            fact("Users hit", users.to_string());
        }
        for example in &evidence.requests {
            let mut ids = Vec::new();
            ids.extend(example.trace_id.as_ref().map(|id| format!("trace {id}")));
            ids.extend(example.request_id.as_ref().map(|id| format!("request {id}")));
            if !ids.is_empty() {
                fact("Request", format!("{}: {}", example.which, ids.join(", ")));
            }
        }
        if self.suppressed > 0 && self.status != Status::KeptBack {
            fact("Kept back", format!("{} more in the cooldown before", self.suppressed));
        }
        if let Some(runbook) = &self.runbook {
            fact("Runbook", runbook.clone());
        }
        if let Some(link) = &self.link {
            fact("Dashboard", link.clone());
        }
        facts
    }

    /// As plain text, for mails and logs.
    pub fn text(&self) -> String {
        let mut out = self.subject();
        if !self.summary.is_empty() {
            let _infallible = write!(out, "\n\n{}", self.summary);
        }
        out.push('\n');
        for (label, text) in self.facts() {
            let _infallible = write!(out, "\n{label}: {text}");
        }
        out.push('\n');
        out
    }

    /// As HTML, for mails.
    pub fn html(&self) -> String {
        let mut out = format!("<h2>{}</h2>", escape_html(&self.subject()));
        if !self.summary.is_empty() {
            let _infallible = write!(out, "<p>{}</p>", escape_html(&self.summary));
        }
        out.push_str("<table>");
        for (label, text) in self.facts() {
            let text = escape_html(&text);
            let text = if text.starts_with("https://") || text.starts_with("http://") {
                format!("<a href=\"{text}\">{text}</a>")
            } else {
                text
            };
            let _infallible = write!(out, "<tr><th align=\"left\">{label}</th><td>{text}</td></tr>");
        }
        out.push_str("</table>");
        out
    }

    /// The color of the bar beside a Slack message: that of the severity, `good` for resolved alerts.
    pub const fn slack_color(&self) -> &'static str {
        match self.status {
            Status::Firing | Status::Reminder => self.severity.slack_color(),
            Status::Resolved | Status::KeptBack => "good",
        }
    }

    /// As one attachment of a Slack message.
    ///
    /// # Source
    /// Slack, "Secondary message attachments" and "Formatting text": `&`, `<` and `>` are escaped, so that no text
    /// mentions a channel or hides a link.
    pub fn slack_attachment(&self) -> Value {
        let fields: Vec<_> = self
            .facts()
            .into_iter()
            .map(|(label, text)| json!({"title": label, "value": escape_slack(&text), "short": text.len() <= 40}))
            .collect();
        let subject = escape_slack(&self.subject());
        json!({
            "color": self.slack_color(),
            "fallback": subject,
            "title": subject,
            "text": escape_slack(&self.summary),
            "fields": fields,
            "ts": self.at.as_secs(),
        })
    }

    /// As the `data` of a webhook's message.
    pub fn webhook_data(&self) -> Value {
        let evidence = &self.evidence;
        let mut data = json!({
            "status": self.status.as_str(),
            "reminder": self.status == Status::Reminder,
            "rule": self.rule,
            "severity": self.severity.as_str(),
            "summary": self.summary,
            "threshold": self.threshold,
            "since": rfc3339(self.since),
        });
        let Some(fields) = data.as_object_mut() else { return data };
        let mut set = |key: &str, value: Value| {
            if !value.is_null() {
                fields.insert(key.to_owned(), value);
            }
        };
        set("value", json!(self.value));
        set("peak", json!(self.peak));
        set("service", json!(self.service));
        set("environment", json!(self.environment));
        set("instance", json!(self.instance));
        set("runbook", json!(self.runbook));
        set("dashboard", json!(self.link));
        set("users", json!(evidence.users));
        if self.suppressed > 0 {
            set("kept_back", json!(self.suppressed));
        }
        if !evidence.routes.is_empty() {
            let route = |(route, share): &(String, f64)| json!({"route": route, "share": share});
            set("routes", evidence.routes.iter().map(route).collect());
        }
        if let Some(error) = &evidence.error {
            set("error", json!({"kind": error.kind, "message": error.message, "count": error.count}));
        }
        if !evidence.requests.is_empty() {
            let request = |example: &Example| json!({"which": example.which, "trace_id": example.trace_id, "request_id": example.request_id});
            set("requests", evidence.requests.iter().map(request).collect());
        }
        data
    }
}

/// `once`, `2 times`.
fn times(count: u64) -> String {
    if count == 1 { "once".to_owned() } else { format!("{count} times") }
}

/// A duration as people write it: `4 min`, `2 h 5 min`.
fn lasted(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3_600 => format!("{} min", seconds / 60),
        3_600..86_400 => format!("{} h {} min", seconds / 3_600, seconds / 60 % 60),
        _ => format!("{} d {} h", seconds / 86_400, seconds / 3_600 % 24),
    }
}

/// Slack's three control characters.
pub(crate) fn escape_slack(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

fn escape_html(text: &str) -> String {
    escape_slack(text).replace('"', "&quot;").replace('\'', "&#39;")
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn firing() -> Notification {
        Notification {
            summary: "More than 5 % of the requests failed in the last 5 minutes.".to_owned(),
            service: Some("shop".to_owned()),
            environment: Some("production".to_owned()),
            value: Some(0.12),
            since: Duration::from_secs(1_795_985_484),
            at: Duration::from_secs(1_795_985_724),
            evidence: Evidence {
                requests: vec![Example::new("slowest", Some("6c90a215".to_owned()), Some("r-1".to_owned()))],
                routes: vec![("POST /pay".to_owned(), 0.9)],
                error: Some(ErrorGroup::new("io::Error", "broken <pipe> & more", 41)),
                outcomes: vec![("5xx".to_owned(), 40), ("panicked".to_owned(), 1)],
                users: Some(7),
                deploy: Some(("1.8.2".to_owned(), Duration::from_secs(240))),
            },
            ..Notification::new(Status::Firing, "high_error_rate", Severity::Critical, Unit::Ratio, 0.05)
        }
    }

    #[test]
    fn a_text_has_all_that_is_known_and_nothing_else() {
        let text = firing().text();
        assert_eq!(
            text,
            "[FIRING] high_error_rate: 12 % (threshold 5 %), shop in production\n\n\
             More than 5 % of the requests failed in the last 5 minutes.\n\n\
             Severity: critical\n\
             Value: 12 % (threshold 5 %)\n\
             Since: 2026-11-29T20:51:24Z\n\
             Deploy: first seen 4 min after the deploy of 1.8.2\n\
             Routes: POST /pay 90 %\n\
             Error: io::Error: broken <pipe> & more (41 times)\n\
             Outcomes: 5xx 40, panicked 1\n\
             Users hit: 7\n\
             Request: slowest: trace 6c90a215, request r-1\n"
        );
        let bare = Notification::new(Status::Firing, "low_user_activity", Severity::Low, Unit::Count, 10.0).text();
        assert_eq!(bare, "[FIRING] low_user_activity\n\nSeverity: low\nSince: 1970-01-01T00:00:00Z\n");
    }

    #[test]
    fn alerts_that_were_kept_back_are_summarized_in_a_line() {
        let mut alert = firing();
        (alert.status, alert.value, alert.peak) = (Status::KeptBack, None, Some(0.4));
        (alert.suppressed, alert.evidence) = (1, Evidence::default());
        assert_eq!(
            alert.text(),
            "[KEPT BACK] high_error_rate: fired once in the cooldown, and is over, shop in production\n\n\
             More than 5 % of the requests failed in the last 5 minutes.\n\n\
             Severity: critical\n\
             Worst: 40 % (threshold 5 %)\n\
             Since: 2026-11-29T20:51:24Z\n"
        );
        alert.suppressed = 3;
        assert!(alert.subject().contains("fired 3 times in the cooldown"), "{}", alert.subject());
        let data = alert.webhook_data();
        assert_eq!((&data["status"], &data["kept_back"]), (&json!("kept_back"), &json!(3)));
        assert_eq!(alert.slack_color(), "good");
    }

    #[test]
    fn slack_gets_no_mention_and_no_link_of_a_texts_making() {
        let mut notification = firing();
        notification.summary = "<!channel> <http://evil.example|click> &".to_owned();
        let attachment = notification.slack_attachment();
        assert_eq!(attachment["text"], "&lt;!channel&gt; &lt;http://evil.example|click&gt; &amp;");
        assert_eq!(attachment["color"], "danger");
        assert!(!attachment.to_string().contains('<'));
        notification.status = Status::Resolved;
        assert_eq!(notification.slack_attachment()["color"], "good");
    }

    #[test]
    fn severities_have_the_colors_of_the_mission() {
        let colors = Severity::ALL.map(Severity::slack_color);
        assert_eq!(colors, ["good", "#ffaa00", "warning", "danger"]);
    }

    #[test]
    fn a_subject_is_one_line() {
        let notification = Notification { rule: "a\r\nBcc: x@example.org".to_owned(), ..firing() };
        assert!(!notification.subject().contains(['\r', '\n']));
    }

    #[test]
    fn html_is_escaped() {
        let notification = Notification { summary: "<img src=x onerror=alert(1)>".to_owned(), ..firing() };
        assert!(!notification.html().contains("<img"));
    }

    #[test]
    fn a_webhook_has_the_fields_of_its_contract() {
        let data = firing().webhook_data();
        for key in ["status", "rule", "severity", "value", "threshold", "since"] {
            assert!(data.get(key).is_some(), "{key}");
        }
        assert_eq!((&data["status"], &data["severity"]), (&json!("firing"), &json!("critical")));
        assert_eq!(data.get("peak"), None, "unknown facts are absent");
    }
}
