//! `/lab`: what makes alerts fire that requests alone do not: processor time, memory, failed payments. From this machine only.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use axum::{
    Json, Router,
    extract::{ConnectInfo, Query, Request, State, rejection::QueryRejection},
    http::{HeaderMap, StatusCode, header},
    middleware::{Next, from_fn},
    response::{IntoResponse, Response},
    routing::get,
};
use serde::Deserialize;
use serde_json::{Value, json};
use steeple::{core::clock, events::preset::Payment};
use tokio::sync::Semaphore;

use super::{App, api::ApiError, lab::up_to};

const MAX_CORES: u64 = 4;
const MAX_BURN_MS: u64 = 60_000;
const MAX_MIB: u64 = 1_024;
const MAX_HOLD_MS: u64 = 120_000;
const MAX_PAYMENTS: u64 = 1_000;

/// What all requests together may burn and hold at once.
static CORES: Semaphore = Semaphore::const_new(4);
static MIB: Semaphore = Semaphore::const_new(1_024);

type Params<T> = Result<Query<T>, QueryRejection>;

pub(super) fn routes() -> Router<App> {
    Router::new()
        .route("/burn-cpu", get(burn_cpu))
        .route("/hold-memory", get(hold_memory))
        .route("/payment", get(payment))
        .route_layer(from_fn(this_machine_only))
}

/// A proxy on this machine brings requests from everywhere: what one of them forwards is refused too.
async fn this_machine_only(request: Request, next: Next) -> Response {
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>();
    let is_here = peer.is_some_and(|ConnectInfo(peer)| peer.ip().to_canonical().is_loopback());
    if is_here && !is_forwarded(request.headers()) {
        return next.run(request).await;
    }
    let message = "the lab's loads are for this machine alone: ask from a loopback address, without a proxy";
    ApiError::refused(StatusCode::FORBIDDEN, "not_from_here", message).into_response()
}

fn is_forwarded(headers: &HeaderMap) -> bool {
    let ours = ["x-forwarded-for", "x-forwarded-host", "x-real-ip"];
    headers.contains_key(header::FORWARDED)
        || headers.contains_key(header::VIA)
        || ours.iter().any(|name| headers.contains_key(*name))
}

fn too_much() -> ApiError {
    ApiError::refused(StatusCode::TOO_MANY_REQUESTS, "too_much", "other requests use what there is for this")
}

#[derive(Debug, Deserialize)]
struct Burn {
    cores: Option<u64>,
    ms: Option<u64>,
}

/// Answers at once and goes on, so that the request itself is not slow.
async fn burn_cpu(params: Params<Burn>) -> Result<(StatusCode, Json<Value>), ApiError> {
    let Query(params) = params?;
    let cores = up_to("cores", params.cores, 1, MAX_CORES)?;
    let ms = up_to("ms", params.ms, 1_000, MAX_BURN_MS)?;
    let permits = u32::try_from(cores).ok().and_then(|cores| CORES.try_acquire_many(cores).ok());
    let mut permits = permits.ok_or_else(too_much)?;
    let until = clock::now().checked_add(Duration::from_millis(ms));
    while let Some(permit) = permits.split(1) {
        std::thread::spawn(move || {
            let _permit = permit;
            burn(until);
        });
    }
    Ok((StatusCode::ACCEPTED, Json(json!({ "cores": cores, "ms": ms }))))
}

fn burn(until: Option<Instant>) {
    let mut number = 1_u64;
    while until.is_some_and(|until| clock::now() < until) {
        for _ in 0..10_000 {
            number = std::hint::black_box(number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1));
        }
    }
}

#[derive(Debug, Deserialize)]
struct Hold {
    mib: Option<u64>,
    ms: Option<u64>,
}

async fn hold_memory(params: Params<Hold>) -> Result<(StatusCode, Json<Value>), ApiError> {
    let Query(params) = params?;
    let mib = up_to("mib", params.mib, 64, MAX_MIB)?;
    let ms = up_to("ms", params.ms, 1_000, MAX_HOLD_MS)?;
    let permit = u32::try_from(mib).ok().and_then(|mib| MIB.try_acquire_many(mib).ok()).ok_or_else(too_much)?;
    let bytes = usize::try_from(mib.saturating_mul(1 << 20)).unwrap_or_default();
    tokio::spawn(async move {
        let _permit = permit;
        // Not zeros: they take no memory until they are written.
        let held = tokio::task::spawn_blocking(move || vec![1_u8; bytes]).await;
        tokio::time::sleep(Duration::from_millis(ms)).await;
        drop(std::hint::black_box(held));
    });
    Ok((StatusCode::ACCEPTED, Json(json!({ "mib": mib, "ms": ms }))))
}

#[derive(Debug, Deserialize)]
struct Payments {
    ok: Option<u64>,
    fail: Option<u64>,
}

async fn payment(State(app): State<App>, params: Params<Payments>) -> Result<Json<Value>, ApiError> {
    let Query(params) = params?;
    let ok = up_to("ok", params.ok, 0, MAX_PAYMENTS)?;
    let fail = up_to("fail", params.fail, 1, MAX_PAYMENTS)?;
    let events = app.events();
    for (count, failed) in [(ok, false), (fail, true)] {
        for _ in 0..count {
            events.track(Payment { failed, minor_units: 1_250, currency: "EUR" });
        }
    }
    Ok(Json(json!({ "ok": ok, "failed": fail })))
}
