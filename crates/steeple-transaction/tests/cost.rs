//! What naming costs on the path of a request: nothing on the heap.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use http::Request;
use steeple_core::{Exchange, Observer, Text};
use steeple_transaction::{Naming, Pattern};

/// Allocations of the second of two requests alike: the first one may warm up shared state.
fn allocations(naming: &Naming, path: &str) -> u64 {
    let (mut head, ()) = Request::get(path).body(()).unwrap().into_parts();
    let run = |head: &mut _| {
        let exchange = Exchange::detached();
        let counted = allocation_counter::measure(|| {
            assert!(naming.on_request(&exchange, head).is_none());
        });
        counted.count_total
    };
    run(&mut head);
    run(&mut head)
}

#[test]
fn neither_rules_nor_their_absence_allocate_on_a_request() {
    assert_eq!(allocations(&Naming::new(), "/users/7"), 0);
    let mut rules = Naming::builder().skip_probes();
    for number in 0..100 {
        rules = rules.template(format!("/v{number}/users/{{id}}"));
    }
    let naming = rules.rename(Pattern::regex(r"\.(css|js)$"), "/{asset}").build().unwrap();
    for path in ["/v99/users/7", "/healthz", "/a/b/c.css", "/none/of/these"] {
        assert_eq!(allocations(&naming, path), 0, "{path}");
    }
}

#[test]
fn a_rules_name_is_as_fixed_as_a_routes_template() {
    let template: String = ["/users", "/{id}"].concat();
    assert!(!Text::from(template.clone()).is_fixed());
    let naming = Naming::builder().template(template).build().unwrap();
    let (mut head, ()) = Request::get("/users/7").body(()).unwrap().into_parts();
    let exchange = Exchange::detached();
    naming.on_request(&exchange, &mut head);
    assert!(exchange.rule_name().unwrap().is_fixed(), "metrics give it a separate series");
}
