//! `POST /api/payments`: a plan is paid for. The card's processor is made up: it declines the card `declined`.

use axum::{Json, extract::State, http::StatusCode};
use serde::Deserialize;
use steeple::events::preset::{Conversion, Payment, Revenue};

use super::{
    super::{App, session::SignedIn, store},
    ApiError,
    input::{self, Body},
};

/// What can be paid for, and with what.
const PLANS: &[&str] = &["pro", "team"];
const CURRENCIES: &[&str] = &["EUR", "USD", "JPY"];

#[derive(Debug, Deserialize)]
pub(super) struct Input {
    plan: String,
    #[serde(default = "euros")]
    currency: String,
    card: String,
}

fn euros() -> String {
    "EUR".to_owned()
}

/// In the currency's minor unit.
fn price(plan: &str, currency: &str) -> i64 {
    match (plan, currency) {
        ("pro", "JPY") => 1_500,
        (_, "JPY") => 4_500,
        ("pro", _) => 1_250,
        _ => 3_900,
    }
}

pub(super) async fn create(
    State(app): State<App>,
    signed_in: SignedIn,
    body: Body<Input>,
) -> Result<(StatusCode, Json<store::Payment>), ApiError> {
    let Json(input) = body?;
    let plan = input::choice("plan", &input.plan, PLANS)?;
    let currency = input::choice("currency", &input.currency, CURRENCIES)?;
    let (minor_units, events) = (price(plan, currency), app.events());
    if input.card == "declined" {
        events.track(Payment { failed: true, minor_units, currency });
        return Err(ApiError::refused(StatusCode::PAYMENT_REQUIRED, "declined", "the card was declined"));
    }
    let payment = app.store().insert_payment(signed_in.user, plan, minor_units, currency).await?;
    events.track(Payment { failed: false, minor_units, currency });
    events.track(Revenue { minor_units, currency, transaction_id: &format!("payment-{}", payment.id) });
    events.track(Conversion { from: "free", to: plan, value: None });
    tracing::info!(payment.id = payment.id, plan, currency, "plan paid");
    Ok((StatusCode::CREATED, Json(payment)))
}
