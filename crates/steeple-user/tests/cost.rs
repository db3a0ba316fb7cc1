//! What finding out costs on the path of a request: nothing on the heap, unless there is a user.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use http::Request;
use steeple_core::{Exchange, Observer};
use steeple_user::{Peer, PrivacyPolicy, Users};

fn allocations(users: &Users, forwarded: &'static str) -> u64 {
    let request = Request::get("/").header("x-forwarded-for", forwarded).body(()).unwrap();
    let (mut head, ()) = request.into_parts();
    head.extensions.insert(Peer::Address("10.0.0.1:80".parse().unwrap()));
    let exchange = Exchange::detached();
    let counted = allocation_counter::measure(|| {
        users.on_request(&exchange, &mut head);
    });
    assert!(exchange.client_address().is_some());
    counted.count_total
}

#[test]
fn neither_the_address_nor_a_policy_allocates() {
    assert_eq!(allocations(&Users::new(), "1.1.1.1"), 0);
    let options = Users::builder().trusted_proxies("10.0.0.0/8".parse().unwrap()).privacy(PrivacyPolicy::default());
    let users = options.user_extension(|user: &steeple_user::User| user.clone()).build().unwrap();
    assert_eq!(allocations(&users, "1.1.1.1, 203.0.113.9, 10.0.0.2, 10.0.0.3"), 0);
}
