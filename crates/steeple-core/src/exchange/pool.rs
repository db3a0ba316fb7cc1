//! Exchanges that are over make room for new ones without the allocator: an exchange is by far the largest thing that is
//! allocated for a request.

use std::{
    cell::RefCell,
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicUsize, Ordering, fence},
    },
};

use http::Version;

use super::{Inner, Routes};
use crate::clock;

/// How many wait on each thread.
const MAX_SPARE: usize = 64;

thread_local! {
    static SPARE: RefCell<Vec<Arc<Inner>>> = const { RefCell::new(Vec::new()) };
}

/// An empty exchange, which `begin` fills.
#[inline]
pub(super) fn take(begin: impl FnOnce(&mut Inner)) -> Arc<Inner> {
    let spare = SPARE.try_with(|spare| spare.borrow_mut().pop()).ok().flatten();
    let (mut taken, is_used) = match spare {
        Some(used) => (used, true),
        None => (Arc::new(Inner::blank()), false),
    };
    // The only reference: an exchange that is still held elsewhere does not come back here.
    if let Some(inner) = Arc::get_mut(&mut taken) {
        if is_used {
            inner.forget();
        }
        begin(inner);
    }
    taken
}

/// Takes an exchange back, if this was the last of its handles. What its application set on it is dropped here, the rest when it
/// is used again.
#[inline]
pub(super) fn give_back(used: Arc<Inner>) {
    // Weak handles do not exist, so that nothing can make another handle from now on.
    if Arc::strong_count(&used) != 1 {
        return;
    }
    // What other threads wrote down before they dropped their handles is seen from here on.
    fence(Ordering::Acquire);
    if used.noted.load(Ordering::Relaxed) != 0 {
        used.drop_notes();
    }
    let _ending = SPARE.try_with(|spare| {
        let mut spare = spare.borrow_mut();
        if spare.len() < MAX_SPARE {
            spare.push(used);
        }
    });
}

impl Inner {
    fn blank() -> Self {
        Self {
            started: clock::now(),
            method: "_OTHER",
            version: Version::default(),
            grpc: None,
            rpc: None,
            rpc_unknown: false.into(),
            ended: false.into(),
            event_stream: false.into(),
            skipped: 0.into(),
            claimed: false.into(),
            counts_request_body: false.into(),
            request_body_bytes: super::UNKNOWN_LENGTH.into(),
            request_messages: 0.into(),
            waited: 0.into(),
            watched_by: [const { AtomicUsize::new(0) }; super::MAX_IDENTITIES],
            request_id: OnceLock::new(),
            trace: OnceLock::new(),
            privacy: OnceLock::new(),
            rule: OnceLock::new(),
            routes: Routes::new(None),
            route_id: super::NO_ROUTE_ID.into(),
            noted: 0.into(),
            notes: Mutex::default(),
        }
    }

    fn drop_notes(&self) {
        let notes = std::mem::take(&mut *self.notes.lock().unwrap_or_else(PoisonError::into_inner));
        self.noted.store(0, Ordering::Relaxed);
        drop(notes);
    }

    /// Back to what [`blank`](Self::blank) made, but for what every exchange sets. Each field is named, so that none is
    /// forgotten: no request may see what another one recorded.
    fn forget(&mut self) {
        let Self {
            started: _,
            method: _,
            version: _,
            grpc: _,
            rpc,
            rpc_unknown,
            ended,
            event_stream,
            skipped,
            claimed,
            counts_request_body,
            request_body_bytes,
            request_messages,
            waited,
            watched_by,
            request_id,
            trace,
            privacy,
            rule,
            routes,
            route_id,
            // Dropped when it was given back.
            noted: _,
            notes: _,
        } = self;
        *rpc = None;
        *rpc_unknown.get_mut() = false;
        *ended.get_mut() = false;
        *event_stream.get_mut() = false;
        *skipped.get_mut() = 0;
        *claimed.get_mut() = false;
        *counts_request_body.get_mut() = false;
        *request_body_bytes.get_mut() = super::UNKNOWN_LENGTH;
        *request_messages.get_mut() = 0;
        *waited.get_mut() = 0;
        for identity in watched_by {
            *identity.get_mut() = 0;
        }
        *request_id = OnceLock::new();
        *trace = OnceLock::new();
        *privacy = OnceLock::new();
        *rule = OnceLock::new();
        routes.forget();
        *route_id.get_mut() = super::NO_ROUTE_ID;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Exchange, Identity, RequestId, Signal, Text, TraceContext, User};

    fn recorded(exchange: &Exchange) -> String {
        let snapshot = exchange.snapshot();
        format!(
            "{snapshot:?} {:?} {:?} {:?} {:?} {} {} {} {:?} {:?} {:?} {:?}",
            exchange.get_request_id(),
            exchange.trace(),
            exchange.rule_name(),
            exchange.rpc_method(),
            exchange.has_ended(),
            exchange.is_event_stream(),
            exchange.is_skipped(Signal::Log),
            exchange.request_body_bytes(),
            exchange.user(),
            exchange.client_address(),
            (exchange.get::<u8>(), exchange.request_messages(), exchange.grpc_message()),
        )
    }

    #[test]
    fn an_exchange_that_is_used_again_knows_nothing_of_the_one_before() {
        let fresh = recorded(&Exchange::detached());
        let used = Exchange::new(
            "POST",
            Version::HTTP_2,
            Some(crate::grpc::Kind::Grpc),
            Some("p.S/M".into()),
            Some(Text::from_static("/a/{*b}")),
        );
        let address = Arc::as_ptr(&used.0).addr();
        let observer = 0_u8;
        assert!(used.admit(Identity::of(&observer)));
        used.fold_rpc_method();
        used.set_event_stream();
        used.skip(Signal::Log);
        assert!(used.claim() && used.count_request_body());
        used.add_request_body_bytes(7);
        used.set_request_messages(7);
        used.set_grpc_message(crate::GrpcStatus::UNKNOWN, "said".into());
        used.set_request_id(RequestId::new());
        used.set_trace(TraceContext::new_root());
        used.set_rule_name("rule");
        used.report_route("/a/b");
        used.set_user(User::new("u-1"));
        used.set_client_address("192.0.2.1".parse().unwrap());
        used.record_error(&std::fmt::Error);
        used.set_attribute("plan", "pro");
        used.insert(7_u8);
        used.set_name("mine");
        used.set_ended();
        used.recycle();
        let again = Exchange::detached();
        assert_eq!(Arc::as_ptr(&again.0).addr(), address, "it is the same one");
        assert_eq!(recorded(&again), fresh);
        assert!(again.admit(Identity::of(&observer)), "it is not watched");
        assert!(again.count_request_body(), "its body is not counted");
    }

    #[test]
    fn an_exchange_that_is_still_held_is_not_reused() {
        let held = Exchange::detached();
        held.set_user(User::new("u-1"));
        held.clone().recycle();
        let other = Exchange::detached();
        assert!(!other.is_same(&held));
        assert_eq!((held.user(), other.user()), (Some(User::new("u-1")), None));
    }

    #[test]
    fn what_lay_beside_an_exchange_is_dropped_when_it_is_over() {
        let beside = Arc::new(());
        let exchange = Exchange::detached();
        exchange.insert(Arc::clone(&beside));
        exchange.recycle();
        assert_eq!(Arc::strong_count(&beside), 1);
    }
}
