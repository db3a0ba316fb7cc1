//! What the traffic has learnt from the answers: tokens, projects, tasks. Bounded.

use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::Value;

/// Things of a kind that are remembered; a new one replaces another.
const REMEMBERED: usize = 64;

#[derive(Debug, Default)]
pub(super) struct World(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    emails: Vec<String>,
    users: Vec<i64>,
    tokens: Vec<String>,
    projects: Vec<i64>,
    open_tasks: Vec<i64>,
}

impl World {
    pub(super) fn email(&self) -> String {
        fastrand::choice(&self.lock().emails).cloned().unwrap_or_else(|| "nobody@example.com".to_owned())
    }

    pub(super) fn token(&self) -> Option<String> {
        fastrand::choice(&self.lock().tokens).cloned()
    }

    pub(super) fn user(&self) -> i64 {
        fastrand::choice(&self.lock().users).copied().unwrap_or(1)
    }

    pub(super) fn project(&self) -> i64 {
        fastrand::choice(&self.lock().projects).copied().unwrap_or(1)
    }

    /// A task that is open, or was the last time that anybody looked.
    pub(super) fn task(&self) -> i64 {
        fastrand::choice(&self.lock().open_tasks).copied().unwrap_or(1)
    }

    /// An open task that no other client gets.
    pub(super) fn take_task(&self) -> i64 {
        let tasks = &mut self.lock().open_tasks;
        if tasks.is_empty() { 1 } else { tasks.swap_remove(fastrand::usize(..tasks.len())) }
    }

    pub(super) fn learn_user(&self, answer: &Value) {
        let mut known = self.lock();
        if let (Some(id), Some(email)) = (answer["id"].as_i64(), answer["email"].as_str()) {
            remember(&mut known.users, id);
            remember(&mut known.emails, email.to_owned());
        }
    }

    pub(super) fn learn_token(&self, answer: &Value) {
        if let Some(token) = answer["token"].as_str() {
            remember(&mut self.lock().tokens, token.to_owned());
        }
    }

    pub(super) fn learn_project(&self, answer: &Value) {
        if let Some(id) = answer["id"].as_i64() {
            remember(&mut self.lock().projects, id);
        }
    }

    pub(super) fn learn_task(&self, answer: &Value) {
        if let Some(id) = answer["id"].as_i64() {
            remember(&mut self.lock().open_tasks, id);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn remember<T>(list: &mut Vec<T>, new: T) {
    if list.len() >= REMEMBERED {
        list.swap_remove(fastrand::usize(..list.len()));
    }
    list.push(new);
}
