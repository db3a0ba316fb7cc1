//! Lines of work that is not a request.

use http::request;
use steeple_core::{ACCESS_TARGET, End, Exchange, Identity, Observer, Outcome, Signal, clock};
use steeple_scrub::Scrubbed;
use tracing::Level;

use crate::{
    Log,
    encode::{Context, Field, Line, Names, Value},
    event,
};

/// Writes one line for each run of a job, when it is over: [`Log::jobs`].
///
/// - Level: `error` for a run that failed or panicked, `warn` for one that was cancelled, else `info`.
/// - Message: `nightly import completed`. The other fields are in `docs/log-fields.md`.
#[derive(Clone, Debug)]
#[must_use = "an observer does nothing until a layer gets it"]
pub struct JobLog(Log);

impl Log {
    /// The observer that writes the lines of jobs, to the same outputs.
    pub fn jobs(&self) -> JobLog {
        JobLog(self.clone())
    }
}

/// How a run ended, in the words of lines and metrics: `completed`, `failed`, `panicked` or `cancelled`.
const fn outcome(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::ServiceError | Outcome::BodyError => "failed",
        Outcome::Completed | Outcome::Upgraded => "completed",
        Outcome::Panicked => "panicked",
        Outcome::Cancelled | Outcome::CancelledInBody => "cancelled",
    }
}

impl Observer for JobLog {
    type State = ();

    fn identity(&self) -> Option<Identity> {
        self.0.identity()
    }

    fn on_request(&self, exchange: &Exchange, head: &mut request::Parts) -> Option<()> {
        if !self.0.is_on() {
            return None;
        }
        exchange.trace_or_continue(&head.headers);
        Some(())
    }

    fn on_end(&self, (): (), exchange: &Exchange, end: &End) {
        let level = match end.outcome {
            Outcome::ServiceError | Outcome::BodyError | Outcome::Panicked => Level::ERROR,
            Outcome::Cancelled | Outcome::CancelledInBody => Level::WARN,
            Outcome::Completed | Outcome::Upgraded => Level::INFO,
        };
        if exchange.is_skipped(Signal::Log) || !self.0.wants(level) {
            return;
        }
        let outcome = outcome(end.outcome);
        let (writer, scrubber) = self.0.outputs();
        let millis = millis(end);
        let error = exchange.error();
        let names = Names::of(exchange);
        let context = Context::of(scrubber, exchange, &names);
        let (_, name) = context.name();
        let message = format!("{} {outcome}", *name);
        let error_text = error.as_ref().map(ToString::to_string);
        let error_text = error_text.as_deref().map(|text| Line::message(scrubber, text));
        let attributes = || {
            let attributes = exchange.attributes();
            let field = |(key, value): &(steeple_core::Text, _)| Field::of_attribute(scrubber, key.as_str(), value);
            attributes.iter().map(field).collect::<Vec<_>>()
        };
        if let Some(writer) = writer {
            let word = |key, word: &'static str| Field {
                key: Scrubbed::from_static(key).into(),
                value: Value::Text(Scrubbed::from_static(word).into()),
            };
            let mut fields = vec![word("outcome", outcome)];
            fields.push(Field { key: Scrubbed::from_static("duration_ms").into(), value: Value::Float(millis) });
            if let (Some(error), Some(text)) = (&error, &error_text) {
                fields.push(word("error.type", error.type_name()));
                let value = Value::Text(text.clone());
                fields.push(Field { key: Scrubbed::from_static("error.message").into(), value });
            } else if end.outcome != Outcome::Completed {
                fields.push(word("error.type", outcome));
            }
            fields.extend(attributes().into_iter().map(Field::into_attribute));
            writer.write_line(&Line {
                at: clock::unix_now(),
                level,
                target: Scrubbed::from_static(ACCESS_TARGET),
                message: Line::message(scrubber, &message),
                context: Some(context),
                span: None,
                is_access: false,
                fields,
                stacktrace: None,
            });
            if !self.0.also_events() {
                return;
            }
            return exchange.in_scope(|| {
                event::written(|| event::job(exchange, level, &message, outcome, millis, error_text.as_ref()));
            });
        }
        exchange.in_scope(|| event::job(exchange, level, &message, outcome, millis, error_text.as_ref()));
    }
}

#[expect(clippy::cast_precision_loss, reason = "exact for 285 years of microseconds")]
fn millis(end: &End) -> f64 {
    end.duration.as_micros() as f64 / 1e3
}
