//! The list of known methods is global to the process, so this test runs in a separate process.

use http::Method;
use steeple_core::{known_method, set_known_methods};

#[test]
fn a_list_of_known_methods_replaces_the_default_and_is_set_once() {
    let known = |method: &str| known_method(&Method::from_bytes(method.as_bytes()).unwrap());
    assert_eq!((known("GET"), known("PURGE")), ("GET", "_OTHER"));
    assert!(!set_known_methods([""; 0]) && !set_known_methods(["not a method"]) && !set_known_methods(["A"; 65]));
    assert_eq!(known("GET"), "GET", "what cannot be used changes nothing");
    assert!(set_known_methods(["GET", "PURGE"]) && set_known_methods(["GET", "PURGE"]));
    assert!(!set_known_methods(["GET"]), "set before, and to others");
    assert_eq!([known("GET"), known("PURGE"), known("purge"), known("POST")], ["GET", "PURGE", "_OTHER", "_OTHER"]);
}
