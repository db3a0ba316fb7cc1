//! Rows, as the API shows them.

use serde::Serialize;

#[derive(Clone, Debug)]
pub(in super::super) struct NewUser {
    pub email: String,
    pub name: String,
    pub source: &'static str,
}

#[derive(Clone, Debug, Serialize)]
pub(in super::super) struct User {
    pub id: i64,
    pub email: String,
    pub name: String,
    pub source: String,
    pub created_at: String,
}

/// A user for an operator's eyes: no e-mail address.
#[derive(Clone, Debug, Serialize)]
pub(in super::super) struct UserSummary {
    pub id: i64,
    pub name: String,
    pub source: String,
    pub created_at: String,
    pub projects: i64,
    pub open_tasks: i64,
}

#[derive(Clone, Debug, Serialize)]
pub(in super::super) struct Project {
    pub id: i64,
    pub owner_id: i64,
    pub name: String,
    #[serde(rename = "type")]
    pub kind: String,
    pub created_at: String,
    pub open_tasks: i64,
    pub completed_tasks: i64,
}

#[derive(Clone, Debug, Serialize)]
pub(in super::super) struct Task {
    pub id: i64,
    pub project_id: i64,
    pub title: String,
    pub created_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub completed_at: Option<String>,
    /// Seconds from creation to completion.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub open_seconds: Option<f64>,
}

#[derive(Clone, Debug, Serialize)]
pub(in super::super) struct Payment {
    pub id: i64,
    pub plan: &'static str,
    pub minor_units: i64,
    pub currency: &'static str,
}
