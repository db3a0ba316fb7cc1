//! The names of the process and of this library in exported data.

use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_sdk::Resource;

/// The process: its name, an id for this run of it, and the attributes that were set.
pub(crate) fn of(service_name: Option<&str>, given: &[KeyValue]) -> Resource {
    // An empty builder: the SDK's own would read the process's environment.
    let sdk = [
        KeyValue::new("telemetry.sdk.name", "opentelemetry"),
        KeyValue::new("telemetry.sdk.language", "rust"),
        KeyValue::new("telemetry.sdk.version", "0.33.1"),
    ];
    let name = service_name.unwrap_or("unknown_service").to_owned();
    let named = [KeyValue::new("service.name", name), KeyValue::new("service.instance.id", instance_id())];
    // A dedicated setter overrides the general list.
    let others = given.iter().filter(|known| !(known.key.as_str() == "service.name" && service_name.is_some()));
    Resource::builder_empty().with_attributes(named).with_attributes(sdk).with_attributes(others.cloned()).build()
}

/// This library.
pub(crate) fn scope() -> InstrumentationScope {
    InstrumentationScope::builder("steeple-trace")
        .with_version(env!("CARGO_PKG_VERSION"))
        .with_schema_url("https://opentelemetry.io/schemas/1.44.0")
        .build()
}

/// Tells this process from others of the same service: a random UUID.
fn instance_id() -> String {
    let id = fastrand::u128(..) & !(0xf << 76 | 0b11 << 62) | 0x4 << 76 | 0b10 << 62;
    let hex = format!("{id:032x}");
    let part = |from: usize, to: usize| hex.get(from..to).unwrap_or_default();
    format!("{}-{}-{}-{}-{}", part(0, 8), part(8, 12), part(12, 16), part(16, 20), part(20, 32))
}
