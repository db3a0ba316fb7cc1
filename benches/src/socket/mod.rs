//! What is needed to measure over a socket.

mod load;
mod server;
mod sink;
mod tails;

pub use self::{
    load::{Generator, Load},
    server::Server,
    sink::Sink,
    tails::{Tails, at_rate},
};
