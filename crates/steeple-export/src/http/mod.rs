//! One way to speak HTTP: a client without surprises, and protocols that do no I/O.

mod client;
mod connect;
mod endpoint;
mod exporter;
mod message;
mod options;
mod protocol;
mod proxies;

pub use self::{
    client::{Client, ClientBuilder},
    endpoint::{Endpoint, EndpointError},
    exporter::{Authorize, Http},
    message::{Request, Response, retry_after},
    options::HttpOptions,
    protocol::Protocol,
    proxies::ProxyOptions,
};
