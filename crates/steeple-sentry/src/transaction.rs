//! An exchange as a Sentry transaction: for those that were sampled.

use std::{sync::Arc, time::SystemTime};

use sentry_core::{
    Client, Hub, Transaction, TransactionContext,
    protocol::{DynamicSamplingContext, SampleRand, SpanId, TraceId},
};
use steeple_core::{End, Exchange, JobKind, Signal};

use crate::{
    bound,
    context::Context,
    dedup, event,
    hub::Cell,
    sampling::{Decision, Sampler},
    slot::Running,
};

/// Starts a transaction if the exchange may be sampled. Costs one random number if not.
pub(crate) fn start(sampler: &Sampler, exchange: &Exchange, cell: &Cell) {
    if exchange.is_skipped(Signal::Traces) {
        return;
    }
    let Some(slot) = cell.lock() else { return };
    let decision = Decision { random: fastrand::f64(), parent: slot.head.parent_decision() };
    if !sampler.may_sample(exchange, decision) {
        return;
    }
    let trace = slot.head.trace(exchange);
    drop(slot);
    let mut context = TransactionContext::new_with_details(
        &exchange.name().to_string(),
        event::operation(exchange),
        TraceId::from(trace.trace_id().to_bytes()),
        Some(SpanId::from(trace.span_id().to_bytes())),
        trace.parent_id().map(|id| SpanId::from(id.to_bytes())),
    );
    context.set_sampled(true);
    let running = || cell.hub.start_transaction(context);
    // The client's sampler, which is ours, asks for the decision of the exchange that is current.
    let transaction = bound::deciding(true, running);
    cell.hub.configure_scope(|scope| scope.set_span(Some(transaction.clone().into())));
    if let Some(mut slot) = cell.lock() {
        slot.running = Some(Running { transaction, decision });
    }
}

/// Ends a transaction, and sends it if it is sampled under the name that it has now.
pub(crate) fn finish(
    running: Running,
    context: &Context,
    client: &Client,
    sampler: &Sampler,
    exchange: &Exchange,
    end: &End,
    cell: &Cell,
) {
    let Running { transaction, decision } = running;
    if context.skips(exchange, Signal::Traces) {
        return;
    }
    // Spans that are still open hold the scope's transaction; without it they are not sent on their own.
    let Some(rate) = sampler.samples(exchange, decision) else { return };
    let name = exchange.name().to_string();
    transaction.set_name(&name);
    transaction.set_status(event::span_status(end));
    let is_job = exchange.get::<JobKind>().is_some();
    transaction.set_origin(if is_job { "auto.job.steeple" } else { "auto.http.steeple" });
    let set = |key: &str, value: serde_json::Value| transaction.set_data(key, value);
    if !is_job {
        set("http.request.method", exchange.method().into());
    }
    if let Some(route) = exchange.route() {
        set("http.route", route.as_str().into());
    }
    if let Some(status) = end.status {
        set("http.response.status_code", status.as_u16().into());
    }
    set("steeple.outcome", end.outcome.as_str().into());
    let request = cell.lock().and_then(|slot| slot.head.to_request(exchange.method(), &context.headers));
    if let Some(request) = request {
        transaction.set_request(request);
    }
    let user = event::visible_user(exchange, context);
    let user_is_approved = cell.hub.configure_scope(|scope| {
        scope.set_context(event::EXCHANGE, event::exchange_context(exchange, exchange.elapsed()));
        for (key, value) in event::tags(exchange, context) {
            scope.set_tag(&key, value);
        }
        let ours = scope.user().is_none() && user.is_some();
        if ours {
            scope.set_user(user);
        }
        ours
    });
    let dsc = sampling_context(client, cell, &transaction, decision, rate, name);
    Hub::run(Arc::clone(&cell.hub), || {
        dedup::expect_transaction(user_is_approved, dsc);
        transaction.finish_with_timestamp(SystemTime::now());
    });
}

/// What the server needs to weigh a transaction: the caller's own words if it began the trace, else ours.
fn sampling_context(
    client: &Client,
    cell: &Cell,
    transaction: &Transaction,
    decision: Decision,
    rate: f64,
    name: String,
) -> DynamicSamplingContext {
    let mut dsc =
        DynamicSamplingContext::new().with_trace_id(transaction.get_trace_context().trace_id).with_sampled(true);
    if let Some(slot) = cell.lock()
        && slot.head.sentry_baggage().next().is_some()
    {
        for (key, value) in slot.head.sentry_baggage() {
            dsc = match key {
                "public_key" => dsc.with_public_key(value.to_owned()),
                "sample_rate" => value.parse().map_or(dsc.clone(), |rate| dsc.with_sample_rate(rate)),
                "release" => dsc.with_release(value.to_owned()),
                "environment" => dsc.with_environment(value.to_owned()),
                "transaction" => dsc.with_transaction(value.to_owned()),
                _ => dsc,
            };
        }
        return dsc;
    }
    #[expect(clippy::cast_possible_truncation, reason = "a rate; the SDK keeps rates in single precision")]
    let rate = rate as f32;
    dsc = dsc.with_sample_rate(rate).with_transaction(name);
    if let Ok(random) = SampleRand::try_from(decision.random) {
        dsc = dsc.with_sample_rand(random);
    }
    let options = client.options();
    if let Some(dsn) = &options.dsn {
        dsc = dsc.with_public_key(dsn.public_key().to_owned());
    }
    if let Some(release) = &options.release {
        dsc = dsc.with_release(release.to_string());
    }
    if let Some(environment) = &options.environment {
        dsc = dsc.with_environment(environment.to_string());
    }
    dsc
}
